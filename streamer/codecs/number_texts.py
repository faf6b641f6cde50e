"""Texts that read as numbers or booleans, as producers of typed or generated records write them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

import numpy as np

from detectors.arrays.types import F64, I32
from detectors.series.decimals import scale_of
from streamer.events import TEXT_NUMBER

BOOLEANS: Final = {"true": 1.0, "false": 0.0, "True": 1.0, "False": 0.0, "TRUE": 1.0, "FALSE": 0.0}

_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,17})(?:\.\d{1,18})?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_FIRST: Final = frozenset("-0123456789")


def number_in(text: str) -> tuple[float, int] | None:
    """The number that a text is, and its category in an `EventBatch`; None for names, such as `007` and `nan`."""
    if text[:1] not in _FIRST or not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    return (number, TEXT_NUMBER - 1 - scale_of(text)) if math.isfinite(number) else None


def numbers_in(texts: Sequence[str]) -> tuple[F64, I32] | None:
    """The same of many texts, as columns; None if any of them is no number."""
    found = []
    for text in texts:
        one = number_in(text)
        if one is None:
            return None
        found.append(one)
    numbers, categories = zip(*found, strict=True)
    return np.array(numbers), np.array(categories, np.int32)
