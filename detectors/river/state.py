"""The state of river's detectors as numbers, and detectors restored from those numbers, bit for bit.

Each form handles one type of attribute. Attributes are private to river, see `catalog.py`. Where river keeps a number
in compiled code (the mean with fading weights), a public method restores it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

GENERATOR_WORDS = 625  # of the Mersenne twister behind `random.Random`: 624, and the position among them


class Form(NamedTuple):
    """How an attribute of one type is converted to numbers, and restored in a fresh detector."""

    size: int | str  # how many, 0 for a single number; or the setting that bounds a window, whose length is the first
    take: Callable[[Any], Any]
    give: Callable[[Any, Any], Any]
    dtype: type = np.float64


def _give_number(_: Any, number: Any) -> float:
    return float(number)


def _give_share(_: Any, number: Any) -> float | None:
    return None if number < 0.0 else float(number)


def _give_mean(mean: Any, numbers: Any) -> Any:
    mean.n, mean._mean = numbers.tolist()
    return mean


def _give_variance(variance: Any, numbers: Any) -> Any:
    variance.mean.n, variance.mean._mean, variance._S = numbers.tolist()
    return variance


def _give_sample(sample: Any, numbers: Any) -> Any:
    known, sample._ibc, mean = numbers.tolist()
    sample._is_init = bool(known)
    if known:
        sample._ewma.update(mean)  # the first value is the mean, so this is the mean as it was, to the last bit
    return sample


def _take_window(window: Any) -> list[float]:
    return [len(window), *window, *[0.0] * (window.maxlen - len(window))]


def _give_window(window: Any, numbers: Any) -> Any:
    held, *values = numbers.tolist()
    window.extend(values[: int(held)])
    return window


def _give_generator(generator: Any, words: Any) -> Any:
    generator.setstate((generator.VERSION, tuple(words.tolist()), None))
    return generator


NUMBER = Form(0, float, _give_number)
SHARE = Form(0, lambda share: -1.0 if share is None else share, _give_share)  # -1 stands for None
MEAN = Form(2, lambda mean: (mean.n, mean._mean), _give_mean)
VARIANCE = Form(3, lambda variance: (variance.mean.n, variance.mean._mean, variance._S), _give_variance)
SAMPLE = Form(3, lambda sample: (sample._is_init, sample._ibc, sample.ewma), _give_sample)
GENERATOR = Form(GENERATOR_WORDS, lambda generator: generator.getstate()[1], _give_generator, np.uint32)


def window(setting: str) -> Form:
    """The form of a window of values, whose greatest length is a setting."""
    return Form(setting, _take_window, _give_window)
