"""Which series a value belongs to: (subject, column) to a row of the detector banks.

A *subject* is one version of one model as seen on one topic; the caller numbers subjects. A *series* is one column of a
subject. Whether a column holds numbers or categories is decided by the first value that is either; a value of the other
kind later is a type fault: counted, and kept from the detectors. Rows are counted for each of the two kinds apart, as
the banks of numbers know nothing of categories.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.growth import longer
from detectors.arrays.jit import kernel
from detectors.arrays.types import F64, I64, U8
from detectors.series.id_table import UNSEEN, IdTable

State = tuple[NDArray[np.uint8], I64, I64, I64, I64, I64]


class ValueKind(IntEnum):
    """What a value is, as far as detectors care."""

    NUMBER = 0  # finite
    CATEGORY = 1
    MISSING = 2  # null, NaN, infinite
    MISFIT = 3  # neither number nor text


WATCHED = (ValueKind.NUMBER, ValueKind.CATEGORY)  # the kinds that have rows, by index
UNDECIDED = 255  # kind of a series that has seen nothing but missing values
NO_ROW = -1
KINDS = len(ValueKind)

# columns of SeriesTable._known, after the counts by ValueKind as values arrived; a type fault counts as MISFIT
FIRST = KINDS  # in its subject's life, the number of the event of the first value ...
LAST = KINDS + 1  # ... and the highest such number
VALUE = KINDS + 2  # the first number or category, as bits; VARIED once another one came
KNOWN = KINDS + 3
VARIED = np.iinfo(np.int64).min  # the bits of -0.0, which is kept as 0.0


@dataclass(frozen=True, slots=True)
class SeriesFacts:
    """What is known of a series beside what detectors make of it."""

    kind: ValueKind | None  # None: nothing but missing and misfit values so far
    row: int  # among those of its kind; NO_ROW without a kind
    counts: tuple[int, ...]  # of values, by ValueKind
    first: int  # in its subject's life, the number of the event of the first value ...
    last: int  # ... and the highest such number
    is_constant: bool  # at least one value of its kind, and all of them the same


class Routed(NamedTuple):
    """Where each of `m` values goes."""

    row: I64  # [m] among those of the value's kind; NO_ROW: nowhere
    series: I64  # [m] UNSEEN: the table is full
    number: I64  # [m] in its series, counted from 0, whatever its kind; -1 without a series
    columns: I64  # [m] series of numbers that the value's subject has by then, this one included


class SeriesTable:
    """All series of a fold unit, with what has been counted of each. 100 to 190 bytes a series."""

    def __init__(self, series_max: int) -> None:
        self._ids = IdTable(series_max)
        self._kind = np.full(64, UNDECIDED, np.uint8)
        self._row = np.full(64, NO_ROW, np.int64)
        self._known = np.zeros((64, KNOWN), np.int64)
        self._series_of_row = np.empty((64, len(WATCHED)), np.int64)
        self._columns = np.zeros(64, np.int64)  # of numbers, by subject
        self.rows = np.zeros(len(WATCHED), np.int64)  # rows given out, by kind

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def limit(self) -> int:
        """How many series there is room for."""
        return self._ids.limit

    def route(self, subjects: I64, columns: NDArray[np.int32], kinds: U8, values: F64, life: I64) -> Routed:
        """Count each value and say where it goes.

        `life` is, of each value, the number of its event in its subject's life. The row is among those of the value's
        kind. It is `NO_ROW` for values without a series, and for those that are not of the kind of their series.
        """
        series = self._ids.lookup(subjects << 32 | columns)
        self._make_room()
        self._columns = longer(self._columns, int(subjects.max(initial=-1)) + 1, 0)
        routed = Routed(np.empty(len(series), np.int64), series, np.empty_like(series), np.empty_like(series))
        state = (self._kind, self._row, self._known, self._series_of_row, self.rows, self._columns)
        _route(state, subjects, kinds, (values + 0.0).view(np.int64), life, routed)
        return routed

    def find(self, subjects: I64, columns: NDArray[np.int32]) -> I64:
        """The series of each of these subjects and columns, or `UNSEEN`; none is given out."""
        return self._ids.find(subjects << 32 | columns)

    def of_subjects(self, subjects: Collection[int]) -> Iterator[tuple[int, int, SeriesFacts]]:
        """Subject, column and what is known of each series of these subjects, in order of first sight."""
        keys = self._ids.keys
        for series in np.flatnonzero(np.isin(keys >> 32, list(subjects))).tolist():
            key, known, kind = int(keys[series]), self._known[series].tolist(), int(self._kind[series])
            decided = None if kind == UNDECIDED else ValueKind(kind)
            constant = decided is not None and known[VALUE] != VARIED
            counts = tuple(known[:KINDS])
            facts = SeriesFacts(decided, int(self._row[series]), counts, known[FIRST], known[LAST], constant)
            yield key >> 32, key & 0xFFFFFFFF, facts

    def subject_and_column(self, row: int, kind: ValueKind = ValueKind.NUMBER) -> tuple[int, int]:
        """Whose row of this kind this is."""
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

    def first_of(self, series: int) -> int:
        """In its subject's life, the number of the event of the series' first value."""
        return int(self._known[series, FIRST])

    def count_of(self, series: int, kind: ValueKind) -> int:
        """How many values of this kind the series has had."""
        return int(self._known[series, kind])

    def count_of_row(self, row: int, kind: ValueKind = ValueKind.NUMBER) -> int:
        """How many values of its kind the series has had."""
        return int(self._known[self._series_of_row[row, kind], kind])

    def dump(self) -> dict[str, NDArray[Any]]:
        n = len(self)
        return {
            "keys": self._ids.keys,
            "kind": self._kind[:n].copy(),
            "row": self._row[:n].copy(),
            "known": self._known[:n].copy(),
        }

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._ids.load(arrays["keys"])
        self._make_room()
        n = len(self)
        self._kind[:n], self._row[:n], self._known[:n] = arrays["kind"], arrays["row"], arrays["known"]
        for kind in WATCHED:
            series = np.flatnonzero(self._kind[:n] == kind)
            self._series_of_row[self._row[series], kind] = series
            self.rows[kind] = len(series)
        subjects = self._ids.keys[self._kind[:n] == ValueKind.NUMBER] >> 32
        self._columns = np.bincount(subjects, minlength=64)

    def _make_room(self) -> None:
        size = len(self)
        self._kind = longer(self._kind, size, UNDECIDED)
        self._row = longer(self._row, size, NO_ROW)
        self._known = longer(self._known, size, 0)
        self._series_of_row = longer(self._series_of_row, size, 0)


@kernel
def _route(state: State, subjects: I64, kinds: U8, bits: I64, life: I64, routed: Routed) -> None:
    """Decide kinds at first sight, count, and look rows up; `given` counts the rows given out."""
    kind, row, known, series_of_row, given, columns = state
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
            row[s] = given[k]
            series_of_row[given[k], k] = s
            given[k] += 1
            columns[subjects[i]] += 1 - k
        if k <= 1 and kind[s] != k:
            k = np.uint8(3)
        routed.number[i] = known[s, 0] + known[s, 1] + known[s, 2] + known[s, 3]
        if routed.number[i] == 0:
            known[s, FIRST] = life[i]
        known[s, LAST] = max(known[s, LAST], life[i])
        if k <= 1:
            routed.row[i] = row[s]
            routed.columns[i] = columns[subjects[i]]
            if known[s, k] == 0:
                known[s, VALUE] = bits[i]
            elif known[s, VALUE] != bits[i]:
                known[s, VALUE] = VARIED
        known[s, k] += 1
