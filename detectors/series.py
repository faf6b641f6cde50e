"""Which series a value belongs to: (subject, column) to a row of the detector banks.

A *subject* is one version of one model as seen on one topic; the caller numbers subjects. A *series* is one column of a
subject. Whether a column holds numbers or categories is decided by the first value that is either; a value of the other
kind later is a type fault: counted, and kept from the detectors. Rows are counted for each of the two kinds apart, as
the banks of numbers know nothing of categories.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from detectors.ids import UNSEEN, IdTable

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]


class ValueKind(IntEnum):
    """What a value is, as far as detectors care."""

    NUMBER = 0  # finite
    CATEGORY = 1
    MISSING = 2  # null, NaN, infinite
    MISFIT = 3  # neither number nor text


WATCHED = (ValueKind.NUMBER, ValueKind.CATEGORY)  # the kinds that have rows, by index
UNDECIDED = 255  # kind of a series that has seen nothing but missing values
NO_ROW = -1


class SeriesTable:
    """All series of a fold unit, with what has been counted of each. 75 to 145 bytes a series."""

    def __init__(self, series_max: int) -> None:
        self._ids = IdTable(series_max)
        self._kind = np.full(64, UNDECIDED, np.uint8)
        self._row = np.full(64, NO_ROW, np.int64)
        self._tally = np.zeros((64, 4), np.int64)  # by ValueKind as it arrived; a type fault counts as MISFIT
        self._series_of_row = np.empty((64, len(WATCHED)), np.int64)
        self.rows = np.zeros(len(WATCHED), np.int64)  # rows given out, by kind

    def __len__(self) -> int:
        return len(self._ids)

    def route(self, subjects: I64, columns: NDArray[np.int32], kinds: U8) -> tuple[I64, int]:
        """Count each value and return its row, and how many values had no series because the table is full.

        The row is among those of the value's kind. It is `NO_ROW` for values without a series, and for those that are
        not of the kind of their series.
        """
        series = self._ids.lookup(subjects << 32 | columns)
        self._make_room()
        rows = np.empty(len(series), np.int64)
        _route(self._kind, self._row, self._tally, self._series_of_row, self.rows, series, kinds, rows)
        return rows, int(np.count_nonzero(series == UNSEEN))

    def subject_and_column(self, row: int, kind: ValueKind = ValueKind.NUMBER) -> tuple[int, int]:
        """Whose row of this kind this is."""
        key = self._ids.key_of(self._series_of_row[row, kind])
        return key >> 32, key & 0xFFFFFFFF

    def count_of_row(self, row: int, kind: ValueKind = ValueKind.NUMBER) -> int:
        """How many values of its kind the series has had."""
        return int(self._tally[self._series_of_row[row, kind], kind])

    def dump(self) -> dict[str, NDArray[Any]]:
        n = len(self)
        return {
            "keys": self._ids.keys,
            "kind": self._kind[:n].copy(),
            "row": self._row[:n].copy(),
            "tally": self._tally[:n].copy(),
        }

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._ids.load(arrays["keys"])
        self._make_room()
        n = len(self)
        self._kind[:n], self._row[:n], self._tally[:n] = arrays["kind"], arrays["row"], arrays["tally"]
        for kind in WATCHED:
            series = np.flatnonzero(self._kind[:n] == kind)
            self._series_of_row[self._row[series], kind] = series
            self.rows[kind] = len(series)

    def _make_room(self) -> None:
        size = len(self._kind)
        if len(self) <= size:
            return
        more = max(len(self), 2 * size) - size
        self._kind = np.concatenate([self._kind, np.full(more, UNDECIDED, np.uint8)])
        self._row = np.concatenate([self._row, np.full(more, NO_ROW, np.int64)])
        self._tally = np.concatenate([self._tally, np.zeros((more, 4), np.int64)])
        self._series_of_row = np.concatenate([self._series_of_row, np.empty((more, len(WATCHED)), np.int64)])


@njit(cache=True, nogil=True)
def _route(kind: U8, row: I64, tally: I64, series_of_row: I64, given: I64, series: I64, kinds: U8, out: I64) -> None:
    """Decide kinds at first sight, count, and look rows up; `given` counts the rows given out."""
    for i in range(len(series)):
        s = series[i]
        k = kinds[i]
        out[i] = NO_ROW
        if s == UNSEEN:
            continue
        if kind[s] == UNDECIDED and k <= 1:
            kind[s] = k
            row[s] = given[k]
            series_of_row[given[k], k] = s
            given[k] += 1
        if k <= 1 and kind[s] != k:
            k = np.uint8(3)
        tally[s, k] += 1
        if k <= 1:
            out[i] = row[s]
