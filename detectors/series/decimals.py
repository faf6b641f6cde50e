"""Decimal numbers as categories: an id that is derived from the number as it is written, so that no table grows.

An id holds the sign, the number of decimals and the digits: `12.1` and `12.10` are two categories. Ids of other
categories are smaller.
"""

from __future__ import annotations

import math
import re
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.jit import kernel
from detectors.arrays.types import F64

BASE: Final = 1 << 52
DIGITS_BITS: Final = 47
DIGITS_MAX: Final = 14
SCALE_MAX: Final = 15
NONE: Final = -1.0

_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,17})(?:\.\d{1,18})?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_GROUPED = re.compile(r"-?[1-9]\d{0,2}(?:,\d{3})+\.\d{1,18}", re.ASCII)
_FIRST: Final = frozenset("-0123456789")
_EXACT = re.compile(r"-?(?:0|[1-9]\d*)(?:\.(\d+))?", re.ASCII)


@kernel
def decimal_id(number: float, scale: int) -> float:
    """The id of a number with so many decimals; `NONE` where it has too many digits."""
    digits = np.rint(abs(number) * 10.0**scale)
    if scale < 0 or scale > SCALE_MAX or not digits < 1e14:
        return NONE
    sign = 1 if number < 0 else 0
    return float(BASE + ((sign << 4 | scale) << DIGITS_BITS) + np.int64(digits))


@kernel
def decimal_ids(numbers: F64, scales: NDArray[np.int32]) -> F64:
    """The ids [n] of numbers [n] with so many decimals [n]; `NONE` where there is none."""
    found = np.empty(len(numbers))
    for i in range(len(numbers)):
        found[i] = decimal_id(numbers[i], scales[i])
    return found


def ungrouped(text: str) -> str:
    """A number without its thousands separators: `1234.5` of `1,234.5`; any other text as it is.

    Only a text with both marks is sure: `1,234` may also be a fraction.
    """
    return text.replace(",", "") if "," in text and _GROUPED.fullmatch(text) else text


def scale_of(text: str) -> int:
    """How many decimals a text has that is a decimal number with an id; -1 for any other text."""
    text = ungrouped(text)
    found = _EXACT.fullmatch(text)
    if found is None or sum(map(str.isdigit, text)) > DIGITS_MAX:
        return -1
    return len(found[1] or "")


def number_in(text: str) -> float | None:
    """The number that a text is, as producers of typed records write it; None for names, such as `007` and `nan`."""
    text = ungrouped(text)
    if text[:1] not in _FIRST or not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def decimal_name(category: int) -> str | None:
    """The text of the number with this id; None for the id of another category."""
    if category < BASE:
        return None
    digits, head = category & ((1 << DIGITS_BITS) - 1), (category - BASE) >> DIGITS_BITS
    scale, sign = head & 15, "-" if head >> 4 else ""
    text = str(digits).zfill(scale + 1)
    return f"{sign}{text[:-scale]}.{text[-scale:]}" if scale else f"{sign}{text}"
