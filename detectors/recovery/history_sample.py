"""What a series was like before something happened: a few of its values, from all of its recent life.

Of the first 64 values each is kept; from then on 16 of each doubling of their number, one out of each of 16 equal
stretches, at a place that a hash of the stretch picks, so that no cycle of the values hides between them. So the 64
kept last reach back over fifteen sixteenths of the series' life. Which values are kept follows from their numbers
alone: there is nothing to count, and a value that is not kept costs a glance at its number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.growth import longer
from detectors.arrays.jit import kernel
from detectors.arrays.types import F32, F64, I64

KEPT = 64
PER_DOUBLING = 16
FIRST_DOUBLING = 6  # 64 is 2 to the power of this
HASH = 0x9E3779B97F4A7C1  # odd; what of the product is used lies in the middle of its bits


class Earlier:
    """The values kept of each row, 256 bytes a row."""

    def __init__(self) -> None:
        self._ring = np.empty((0, KEPT), np.float32)

    def keep(self, rows: I64, values: F64, numbers: I64) -> None:
        """Keep what is to be kept of these values, which are `numbers[i]` in the life of series `rows[i]`, from 0."""
        self._hold(int(rows.max(initial=-1)) + 1)
        _keep(self._ring, rows, values, numbers)

    def between(self, row: int, now: int, start: int, end: int) -> F64:
        """The values kept of a row with numbers from `start` to below `end`, where `now` is that of its newest."""
        if row >= len(self._ring):
            return np.empty(0)
        newest = _index(now)
        index = newest - (newest - np.arange(KEPT)) % KEPT
        first = np.array([_first_number(int(i)) for i in index])
        past = np.array([_first_number(int(i) + 1) for i in index])
        kept = self._ring[row].astype(np.float64)
        found: F64 = kept[(index >= 0) & (first >= start) & (past <= end) & np.isfinite(kept)]
        return found

    def dump(self, rows: int) -> NDArray[Any]:
        """The values of the first `rows` rows; good until the next `keep`."""
        self._hold(rows)
        return self._ring[:rows]

    def load(self, ring: NDArray[Any]) -> None:
        self._ring = ring.astype(np.float32).reshape(-1, KEPT)

    def _hold(self, rows: int) -> None:
        self._ring = longer(self._ring, rows, np.nan)


def _index(number: int) -> int:
    """How many values have been kept of a series, less one, once the stretch of value `number` is over."""
    if number < KEPT:
        return number
    doubling = number.bit_length() - 1
    return KEPT + PER_DOUBLING * (doubling - FIRST_DOUBLING) + ((number - (1 << doubling)) >> (doubling - 4))


def _first_number(index: int) -> int:
    """The number with which the stretch of a kept value begins."""
    if index < KEPT:
        return index
    doubling, stretch = divmod(index - KEPT, PER_DOUBLING)
    doubling += FIRST_DOUBLING
    return (1 << doubling) + (stretch << (doubling - 4))


@kernel
def _keep(ring: F32, rows: I64, values: F64, numbers: I64) -> None:
    for i in range(len(rows)):
        number = numbers[i]
        if number < KEPT:
            ring[rows[i], number] = values[i]
            continue
        doubling = 0
        for step in (32, 16, 8, 4, 2, 1):
            if number >> (doubling + step):
                doubling += step
        length = 1 << (doubling - 4)
        if (((number >> (doubling - 4)) * HASH) >> 20) & (length - 1) == number & (length - 1):
            index = PER_DOUBLING * (doubling - FIRST_DOUBLING) + ((number - (1 << doubling)) >> (doubling - 4))
            ring[rows[i], index % KEPT] = values[i]
