"""The detectors of river: the class of each, the attributes that form its state, and what decides its alarms.

State is read from attributes that are private to river, whose range is pinned to `>=0.26.1,<0.27` in `pyproject.toml`.
The tests compare with river's objects, so a release that moves an attribute fails there first. A `Form` converts
attributes of one type to numbers and restores them, bit for bit. Where river keeps a number in compiled code (the mean
with fading weights), a public method restores it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from detectors.arrays.rows import Layout
from detectors.river import settings

SMALLEST = 5e-324
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


class RiverKind(NamedTuple):
    """One detector of river."""

    settings: type[Any]
    module: str
    river_class: str
    state: Mapping[str, Form]  # attribute -> its form as numbers; all that a decision can depend on
    decisive: Callable[[Any], tuple[float, float]]  # after an alarm: statistic and threshold
    errors: bool = False  # whether it takes 0 and 1 only ...
    inverted: bool = False  # ... with 1 for a right value

    def make(self, options: Any) -> Any:
        """A fresh detector under these settings. Imports river, which takes a second."""
        made = getattr(import_module(self.module), self.river_class)
        return made(**{name: getattr(options, name) for name in self.settings.__dataclass_fields__})

    def layout(self, options: Any) -> Layout:
        """Name -> type, and shape of one row, of the arrays that hold the state."""
        shapes: dict[str, tuple[DTypeLike, tuple[int, ...]]] = {}
        for name, form in self.state.items():
            size = 1 + getattr(options, form.size) if isinstance(form.size, str) else form.size
            shapes[name.strip("_")] = form.dtype, (size,) if size else ()
        return shapes


def _page_hinkley(detector: Any) -> tuple[float, float]:
    up = detector._sum_increase - detector._min_increase
    down = detector._max_decrease - detector._sum_decrease
    return {"up": up, "down": down, "both": max(up, down)}[detector.mode], detector.threshold


def _kswin(detector: Any) -> tuple[float, float]:
    return -math.log10(max(detector.p_value, SMALLEST)), -math.log10(detector.alpha)


def _ddm(detector: Any) -> tuple[float, float]:
    share, n = detector._p.get(), detector._p.n
    reached = share + math.sqrt(share * (1 - share) / n)
    return reached, detector._p_min + detector.drift_threshold * detector._s_min


def _eddm(detector: Any) -> tuple[float, float]:
    distances = detector._error_distances
    reached = distances.mean.get() + 2 * distances.get() ** 0.5
    return 1.0 - reached / detector._p2s_prime_max, 1.0 - detector.beta


def _fhddm(_: Any) -> tuple[float, float]:
    """River has dropped the share that it compared."""
    return 1.0, 1.0


def _hddm_a(detector: Any) -> tuple[float, float]:
    level, now = detector.drift_confidence, detector._z
    best = detector._x_min if detector._mean_incr(level) else detector._x_max
    spread = (now.n - best.n) / best.n * (1.0 / now.n)
    return abs(now.get() - best.get()), math.sqrt(spread / 2 * math.log(2.0 / level))


def _hddm_w(detector: Any) -> tuple[float, float]:
    level = detector.drift_confidence
    low, high = detector._s1_incr, detector._s2_incr
    if not detector._detect_mean_incr(level):
        low, high = detector._s2_decr, detector._s1_decr
    return high.ewma - low.ewma, detector._mcdiarmid_bound(low.ibc + high.ibc, level)


RIVER: dict[str, RiverKind] = {
    "page_hinkley": RiverKind(
        settings.PageHinkleySettings,
        "river.drift",
        "PageHinkley",
        {"_x_mean": MEAN} | dict.fromkeys(("_sum_increase", "_sum_decrease", "_min_increase", "_max_decrease"), NUMBER),
        _page_hinkley,
    ),
    "kswin": RiverKind(
        settings.KswinSettings,
        "river.drift",
        "KSWIN",
        {"window": window("window_size"), "_rng": GENERATOR},
        _kswin,
    ),
    "ddm": RiverKind(
        settings.DdmSettings,
        "river.drift.binary",
        "DDM",
        {"_p": MEAN, "_p_min": SHARE, "_s_min": SHARE, "_ps_min": NUMBER},
        _ddm,
        errors=True,
    ),
    "eddm": RiverKind(
        settings.EddmSettings,
        "river.drift.binary",
        "EDDM",
        {"_error_distances": VARIANCE} | dict.fromkeys(("_n", "_last_error", "_n_errors", "_p2s_prime_max"), NUMBER),
        _eddm,
        errors=True,
    ),
    "fhddm": RiverKind(
        settings.FhddmSettings,
        "river.drift.binary",
        "FHDDM",
        {"_sliding_window": window("sliding_window_size")} | dict.fromkeys(("n_one", "_u_max", "_u_short_max"), NUMBER),
        _fhddm,
        errors=True,
        inverted=True,
    ),
    "hddm_a": RiverKind(
        settings.HddmASettings,
        "river.drift.binary",
        "HDDMA",
        dict.fromkeys(("_x_min", "_x_max", "_z"), MEAN),
        _hddm_a,
        errors=True,
    ),
    "hddm_w": RiverKind(
        settings.HddmWSettings,
        "river.drift.binary",
        "HDDMW",
        dict.fromkeys(("_total", "_s1_incr", "_s2_incr", "_s1_decr", "_s2_decr"), SAMPLE)
        | dict.fromkeys(("_incr_cutpoint", "_decr_cutpoint"), NUMBER),
        _hddm_w,
        errors=True,
    ),
}
