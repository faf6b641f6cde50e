"""A small sample of each series' past, from which the baseline of a drift is taken.

Of the first 64 values, all are kept. From then on, 16 are kept of each doubling of their number: one of each of 16
equal stretches, at a place that a hash of the stretch picks, so that no cycle of the values falls in step with it. The
last 64 kept reach back over fifteen sixteenths of the series' values. The number of a value alone decides whether it is
kept, so the sample needs no counter and no random generator. It is a deterministic relative of reservoir sampling
(J. S. Vitter, "Random sampling with a reservoir", ACM Transactions on Mathematical Software, 1985).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.growth import ensure_length
from detectors.arrays.jit import kernel
from detectors.arrays.types import F64, I64

KEPT = 64
PER_DOUBLING = 16
FIRST_DOUBLING = 6  # 64 is 2 to the power of this
HASH = 0x9E3779B97F4A7C1  # odd; what of the product is used lies in the middle of its bits


class HistorySample:
    """The kept values of each row: 64, of 4 or 8 bytes each.

    dtype: float32 for numbers; float64 for categories, whose ids may need it.
    """

    def __init__(self, dtype: Any = np.float32) -> None:
        self._ring = np.empty((0, KEPT), dtype)

    def add(self, rows: I64, values: F64, numbers: I64) -> None:
        """Sample these values [n]: value `numbers[i]` of series `rows[i]`, counted from 0."""
        self._grow(int(rows.max(initial=-1)) + 1)
        _add(self._ring, rows, values, numbers)

    def between(self, row: int, now: int, start: int, end: int) -> F64:
        """The kept values of a row with numbers from `start` to below `end`; `now` is that of the newest."""
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
        """The sample of the first `rows` rows, [rows, KEPT]; valid until the next `add`."""
        self._grow(rows)
        return self._ring[:rows]

    def load(self, ring: NDArray[Any]) -> None:
        """The inverse of `dump`."""
        self._ring = ring.astype(self._ring.dtype).reshape(-1, KEPT)

    def _grow(self, rows: int) -> None:
        self._ring = ensure_length(self._ring, rows, np.nan)


def _index(number: int) -> int:
    """The index, among all kept values of a series, of the one from the stretch of value `number`."""
    if number < KEPT:
        return number
    doubling = number.bit_length() - 1
    return KEPT + PER_DOUBLING * (doubling - FIRST_DOUBLING) + ((number - (1 << doubling)) >> (doubling - 4))


def _first_number(index: int) -> int:
    """The number of the first value in the stretch of kept value `index`."""
    if index < KEPT:
        return index
    doubling, stretch = divmod(index - KEPT, PER_DOUBLING)
    doubling += FIRST_DOUBLING
    return (1 << doubling) + (stretch << (doubling - 4))


@kernel
def _add(ring: NDArray[Any], rows: I64, values: F64, numbers: I64) -> None:
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
