"""The series table: from (subject, column) to a row of the detector banks.

A *subject* is one version of one model on one topic; the caller numbers subjects. A *series* is one column of a
subject. The first value that is a number or a category decides the kind of the series. A later value of the other kind
is a type fault: it is counted and kept from the detectors. Each kind numbers its own rows, because a bank takes values
of one kind.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.growth import ensure_length
from detectors.arrays.jit import kernel
from detectors.arrays.types import F64, I64, U8
from detectors.series.id_table import UNSEEN, IdTable

State = tuple[NDArray[np.uint8], I64, I64, I64, I64, I64]


class ValueKind(IntEnum):
    """The kind of a value, as detectors distinguish them."""

    NUMBER = 0  # finite
    CATEGORY = 1
    MISSING = 2  # null, NaN, infinite
    MISFIT = 3  # neither number nor text


WATCHED = (ValueKind.NUMBER, ValueKind.CATEGORY)  # the kinds that have rows, by index
UNDECIDED = 255  # kind of a series whose values were all missing or misfit
NO_ROW = -1
KINDS = len(ValueKind)

# columns of SeriesTable._known, after the counts by ValueKind as values arrived; a type fault counts as MISFIT
FIRST = KINDS  # sequence number, within the subject, of the event of the first value ...
LAST = KINDS + 1  # ... and the highest such number
VALUE = KINDS + 2  # the first number or category, as bits; VARIED after a different one
KNOWN = KINDS + 3
VARIED = np.iinfo(np.int64).min  # the bits of -0.0, which is kept as 0.0


@dataclass(frozen=True, slots=True)
class SeriesFacts:
    """The counts of a series, apart from the state of its detectors."""

    kind: ValueKind | None  # None: nothing but missing and misfit values so far
    row: int  # among those of its kind; NO_ROW without a kind
    counts: tuple[int, ...]  # of values, by ValueKind
    first: int  # sequence number, within the subject, of the event of the first value ...
    last: int  # ... and the highest such number
    is_constant: bool  # at least one value of its kind, and all of them the same


class Routed(NamedTuple):
    """The series and row of each of `m` values."""

    row: I64  # [m] among the rows of the value's kind; NO_ROW: none
    series: I64  # [m] UNSEEN: the table is full
    number: I64  # [m] of the value in its series, of all kinds, from 0; -1 without a series
    columns: I64  # [m] series of numbers of the value's subject at this value, this one included


class SeriesTable:
    """All series of a fold unit with their counts. 100 to 190 bytes a series."""

    def __init__(self, series_max: int) -> None:
        self._ids = IdTable(series_max)
        self._kind = np.full(64, UNDECIDED, np.uint8)
        self._row = np.full(64, NO_ROW, np.int64)
        self._known = np.zeros((64, KNOWN), np.int64)
        self._series_of_row = np.empty((64, len(WATCHED)), np.int64)
        self._columns = np.zeros(64, np.int64)  # of numbers, by subject
        self.rows = np.zeros(len(WATCHED), np.int64)  # rows in use, by kind

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def limit(self) -> int:
        """The largest number of series."""
        return self._ids.limit

    def route(self, subjects: I64, columns: NDArray[np.int32], kinds: U8, values: F64, sequence: I64) -> Routed:
        """Count these values [m] and return the series and row of each.

        `sequence` [m] is the sequence number of each value's event within its subject. The row is `NO_ROW` for values
        without a series, and for those of another kind than their series.
        """
        series = self._ids.add(subjects << 32 | columns)
        self._grow()
        self._columns = ensure_length(self._columns, int(subjects.max(initial=-1)) + 1, 0)
        routed = Routed(np.empty(len(series), np.int64), series, np.empty_like(series), np.empty_like(series))
        state = (self._kind, self._row, self._known, self._series_of_row, self.rows, self._columns)
        _route(state, subjects, kinds, (values + 0.0).view(np.int64), sequence, routed)
        return routed

    def find(self, subjects: I64, columns: NDArray[np.int32]) -> I64:
        """The series [n] of each subject [n] and column [n], or `UNSEEN`; adds none."""
        return self._ids.find(subjects << 32 | columns)

    def of_subjects(self, subjects: Collection[int]) -> Iterator[tuple[int, int, SeriesFacts]]:
        """Subject, column and counts of each series of these subjects, in order of first sight."""
        keys = self._ids.keys
        for series in np.flatnonzero(np.isin(keys >> 32, list(subjects))).tolist():
            key, known, kind = int(keys[series]), self._known[series].tolist(), int(self._kind[series])
            decided = None if kind == UNDECIDED else ValueKind(kind)
            constant = decided is not None and known[VALUE] != VARIED
            counts = tuple(known[:KINDS])
            facts = SeriesFacts(decided, int(self._row[series]), counts, known[FIRST], known[LAST], constant)
            yield key >> 32, key & 0xFFFFFFFF, facts

    def subject_and_column(self, row: int, kind: ValueKind = ValueKind.NUMBER) -> tuple[int, int]:
        """Subject and column of this row of this kind."""
        key = self._ids.key_of(self._series_of_row[row, kind])
        return key >> 32, key & 0xFFFFFFFF

    def keys(self, series: slice | I64) -> tuple[I64, I64]:
        """Subject and column of each of these series."""
        keys = self._ids.keys_of(series)
        return keys >> 32, keys & 0xFFFFFFFF

    def key_of(self, series: int) -> tuple[int, int]:
        """Subject and column of a series."""
        key = self._ids.key_of(series)
        return key >> 32, key & 0xFFFFFFFF

    def first_event_of(self, series: int) -> int:
        """Sequence number, within the subject, of the event of the series' first value."""
        return int(self._known[series, FIRST])

    def count_of(self, series: int, kind: ValueKind) -> int:
        """How many values of this kind the series has had."""
        return int(self._known[series, kind])

    def count_of_row(self, row: int, kind: ValueKind = ValueKind.NUMBER) -> int:
        """How many values of its kind the series of this row has had."""
        return int(self._known[self._series_of_row[row, kind], kind])

    def dump(self) -> dict[str, NDArray[Any]]:
        """A copy of the state."""
        n = len(self)
        return {
            "keys": self._ids.keys,
            "kind": self._kind[:n].copy(),
            "row": self._row[:n].copy(),
            "known": self._known[:n].copy(),
        }

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `dump`."""
        self._ids.load(arrays["keys"])
        self._grow()
        n = len(self)
        self._kind[:n], self._row[:n], self._known[:n] = arrays["kind"], arrays["row"], arrays["known"]
        for kind in WATCHED:
            series = np.flatnonzero(self._kind[:n] == kind)
            self._series_of_row[self._row[series], kind] = series
            self.rows[kind] = len(series)
        subjects = self._ids.keys[self._kind[:n] == ValueKind.NUMBER] >> 32
        self._columns = np.bincount(subjects, minlength=64)

    def _grow(self) -> None:
        size = len(self)
        self._kind = ensure_length(self._kind, size, UNDECIDED)
        self._row = ensure_length(self._row, size, NO_ROW)
        self._known = ensure_length(self._known, size, 0)
        self._series_of_row = ensure_length(self._series_of_row, size, 0)


@kernel
def _route(state: State, subjects: I64, kinds: U8, bits: I64, sequence: I64, routed: Routed) -> None:
    """Decide kinds at first sight, count, and assign rows; `used` counts the rows in use."""
    kind, row, known, series_of_row, used, columns = state
    for i in range(len(subjects)):
        s = routed.series[i]
        k = kinds[i]
        routed.row[i] = NO_ROW
        routed.number[i] = -1
        routed.columns[i] = 1
        if s == UNSEEN:
            continue
        if kind[s] == UNDECIDED and k <= 1:
            kind[s] = k
            row[s] = used[k]
            series_of_row[used[k], k] = s
            used[k] += 1
            columns[subjects[i]] += 1 - k
        if k <= 1 and kind[s] != k:
            k = np.uint8(3)
        routed.number[i] = known[s, 0] + known[s, 1] + known[s, 2] + known[s, 3]
        if routed.number[i] == 0:
            known[s, FIRST] = sequence[i]
        known[s, LAST] = max(known[s, LAST], sequence[i])
        if k <= 1:
            routed.row[i] = row[s]
            routed.columns[i] = columns[subjects[i]]
            if known[s, k] == 0:
                known[s, VALUE] = bits[i]
            elif known[s, VALUE] != bits[i]:
                known[s, VALUE] = VARIED
        known[s, k] += 1
