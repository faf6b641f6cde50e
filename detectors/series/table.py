"""The series table: from (subject, column) to a row of the detector banks.

A *subject* is one version of one model on one topic; the caller numbers subjects. A *series* is one column of a
subject. The first values decide the kind of the series: see `evidence.py`. A later value of the other kind is a type
fault: it is counted and kept from the detectors. Each kind numbers its own rows, because a bank takes values of one
kind. A series that turns out to be of the other kind gets a row there, and its first row is abandoned.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.growth import ensure_length
from detectors.arrays.jit import kernel
from detectors.arrays.types import F64, I64, U8
from detectors.series.decimals import NONE, decimal_id
from detectors.series.evidence import (
    ANY,
    EARLY,
    ENOUGH,
    EXPECTED,
    FACTS,
    FIRM,
    IS_MIXED,
    MIXED,
    NUMBERS,
    SEEN,
    SOME,
    TURNS,
    WHOLE,
    contradicts,
    count_evidence,
    is_of_categories,
)  # fmt: skip
from detectors.series.id_table import UNSEEN, IdTable

Expect = Callable[[int, int], int]  # what is expected of (subject, column), as `evidence.py` names it


class ValueKind(IntEnum):
    """The kind of a value, as detectors distinguish them."""

    NUMBER = 0  # finite
    CATEGORY = 1
    MISSING = 2  # null, NaN, infinite
    MISFIT = 3  # neither number nor text


TEXT_NUMBER = 4  # kind of a text that reads as a number, before its series decides what it is ...
TEXT_BOOLEAN = 5  # ... and of one that reads as a boolean
WATCHED = (ValueKind.NUMBER, ValueKind.CATEGORY)  # the kinds that have rows, by index
UNDECIDED = 255  # kind of a series whose values were all missing or misfit
NO_ROW = -1
UNSETTLED = -2  # row of a value of the other kind while the kind of its series is undecided: no fault yet
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
    has_turned: bool  # the first values were taken for the other kind


class Routed(NamedTuple):
    """The series and row of each of `m` values."""

    row: I64  # [m] among the rows of the value's kind; NO_ROW: none, or UNSETTLED
    series: I64  # [m] UNSEEN: the table is full
    number: I64  # [m] of the value in its series, of all kinds, from 0; -1 without a series
    counted: I64  # [m] of the value in its row, from 0; -1 without a row
    columns: I64  # [m] series of numbers of the value's subject at this value, this one included
    kind: U8  # [m] ValueKind, as its series takes it
    value: F64  # [m] the number, or the id of the category
    turned: I64  # the series that have turned out to be of the other kind


class SeriesTable:
    """All series of a fold unit with their counts. 110 to 200 bytes a series."""

    def __init__(self, series_max: int) -> None:
        self._ids = IdTable(series_max)
        self.expect: Expect | None = None  # of a new series; None: nothing is known of any
        self._evidence = np.zeros((64, FACTS), np.uint8)
        self._abandoned = np.empty((0, 3), np.int64)  # kind, row, series
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

    def route(
        self, subjects: I64, columns: NDArray[np.int32], kinds: U8, numbers: F64, categories: NDArray[np.int32],
        sequence: I64,
    ) -> Routed:  # fmt: skip
        """Count these values [m] and return the series and row of each.

        `kinds` are those of `ValueKind`, or `TEXT_NUMBER` and `TEXT_BOOLEAN`. A category of `TEXT_NUMBER` is the number
        of decimals of the text, -1 if it has no id. `sequence` [m] is the sequence number of each value's event within
        its subject. The row is `NO_ROW` for values without a series, and for those of another kind than their series.
        """
        known = len(self)
        series = self._ids.add(subjects << 32 | columns)
        self._grow()
        if self.expect is not None:
            for new in range(known, len(self)):
                self._evidence[new, EXPECTED] = self.expect(*self.key_of(new))
        self._columns = ensure_length(self._columns, int(subjects.max(initial=-1)) + 1, 0)
        m = len(series)
        row, number, counted, alike = np.empty((4, m), np.int64)
        kind, value, turned = np.empty(m, np.uint8), np.empty(m), np.empty((m, 3), np.int64)
        routed = Routed(row, series, number, counted, alike, kind, value, turned)
        state = (self._kind, self._row, self._known, self._series_of_row, self.rows, self._columns, self._evidence)
        turns = _route(state, (subjects, kinds, numbers, categories, sequence), routed)
        if turns:
            self._abandoned = np.concatenate([self._abandoned, routed.turned[:turns]])
        return routed._replace(turned=routed.turned[:turns, 2])

    def find(self, subjects: I64, columns: NDArray[np.int32]) -> I64:
        """The series [n] of each subject [n] and column [n], or `UNSEEN`; adds none."""
        return self._ids.find(subjects << 32 | columns)

    def of_subjects(self, subjects: Collection[int]) -> Iterator[tuple[int, int, SeriesFacts]]:
        """Subject, column and counts of each series of these subjects, in order of first sight."""
        keys = self._ids.keys
        for series in np.flatnonzero(np.isin(keys >> 32, list(subjects))).tolist():
            key, known, kind = int(keys[series]), self._known[series].tolist(), int(self._kind[series])
            decided = None if kind == UNDECIDED else ValueKind(kind)
            constant = decided is not None and known[decided] > 0 and known[VALUE] != VARIED
            counts, row, turned = tuple(known[:KINDS]), int(self._row[series]), bool(self._evidence[series, TURNS])
            facts = SeriesFacts(decided, row, counts, known[FIRST], known[LAST], constant, turned)
            yield key >> 32, key & 0xFFFFFFFF, facts

    def subject_and_column(self, row: int, kind: ValueKind = ValueKind.NUMBER) -> tuple[int, int]:
        """Subject and column of this row of this kind."""
        return self.key_of(self._series_of_row[row, kind])

    def keys(self, series: slice | I64) -> tuple[I64, I64]:
        """Subject and column of each of these series."""
        keys = self._ids.keys_of(series)
        return keys >> 32, keys & 0xFFFFFFFF

    def key_of(self, series: int) -> tuple[int, int]:
        """Subject and column of a series."""
        key = self._ids.key_of(series)
        return key >> 32, key & 0xFFFFFFFF

    def kind_of(self, series: int) -> ValueKind:
        """The kind of a series that has had a number or a category."""
        return ValueKind(int(self._kind[series]))

    def first_event_of(self, series: int) -> int:
        """Sequence number, within the subject, of the event of the series' first value."""
        return int(self._known[series, FIRST])

    def count_of(self, series: int, kind: ValueKind) -> int:
        """How many values of this kind the series has had."""
        return int(self._known[series, kind])

    def count_of_row(self, row: int, kind: ValueKind = ValueKind.NUMBER) -> int:
        """How many values of its kind the series of this row has had."""
        return int(self._known[self._series_of_row[row, kind], kind])

    def counts_of_rows(self, kind: ValueKind) -> I64:
        """How many values of a kind the series of each row [rows] has had; -1 of rows that are abandoned."""
        counts: I64 = self._known[self._series_of_row[: self.rows[kind], kind], kind]
        counts[self._abandoned[self._abandoned[:, 0] == kind, 1]] = -1
        return counts

    def dump(self) -> dict[str, NDArray[Any]]:
        """A copy of the state."""
        n = len(self)
        return {
            "keys": self._ids.keys,
            "kind": self._kind[:n].copy(),
            "row": self._row[:n].copy(),
            "known": self._known[:n].copy(),
            "evidence": self._evidence[:n].copy(),
            "abandoned": self._abandoned,
        }

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `dump`."""
        self._ids.load(arrays["keys"])
        self._grow()
        n = len(self)
        self._kind[:n], self._row[:n], self._known[:n] = arrays["kind"], arrays["row"], arrays["known"]
        self._evidence[:n], self._abandoned = arrays["evidence"], arrays["abandoned"]
        for kind in WATCHED:
            series = np.flatnonzero(self._kind[:n] == kind)
            left = self._abandoned[self._abandoned[:, 0] == kind]
            self.rows[kind] = len(series) + len(left)
            self._series_of_row = ensure_length(self._series_of_row, int(self.rows[kind]), 0)
            self._series_of_row[self._row[series], kind], self._series_of_row[left[:, 1], kind] = series, left[:, 2]
        self._columns = np.bincount(self._ids.keys[self._kind[:n] == ValueKind.NUMBER] >> 32, minlength=64)

    def _grow(self) -> None:
        size = len(self)
        self._kind = ensure_length(self._kind, size, UNDECIDED)
        self._row = ensure_length(self._row, size, NO_ROW)
        self._known = ensure_length(self._known, size, 0)
        self._evidence = ensure_length(self._evidence, size, 0)
        self._series_of_row = ensure_length(self._series_of_row, size + len(self._abandoned), 0)


@kernel
def _begin(state: Any, s: int, subject: int, k: int) -> None:
    """Give a series the next row of a kind."""
    kind, row, _, series_of_row, used, columns, _ = state
    kind[s] = k
    row[s] = used[k]
    series_of_row[used[k], k] = s
    used[k] += 1
    columns[subject] += 1 - k


@kernel
def _turn(state: Any, s: int, subject: int, k: int, turned: I64) -> None:
    """Make a series one of the other kind, `k`; what its detectors had is abandoned, and its values are misfits."""
    kind, row, known, _, _, columns, evidence = state
    turned[0], turned[1], turned[2] = kind[s], row[s], s
    columns[subject] -= 1 - kind[s]
    known[s, 3] += known[s, 0] + known[s, 1]
    known[s, 0], known[s, 1] = 0, 0
    evidence[s, TURNS] += 1
    _begin(state, s, subject, k)


@kernel
def _decide_expected(state: Any, s: int, subject: int, is_text: bool, number: float, turned: I64) -> int:
    """The same for a series of which something is expected."""
    kind, _, _, _, _, _, evidence = state
    expected = int(evidence[s, EXPECTED]) % FIRM
    if kind[s] == UNDECIDED:
        evidence[s, IS_MIXED] = 1 if expected == MIXED else 0
        _begin(state, s, subject, 0 if expected == NUMBERS else 1)
    if evidence[s, EXPECTED] != expected:
        evidence[s, SEEN] = ENOUGH
        return 0
    count_evidence(evidence, s, is_text, number)
    if evidence[s, SEEN] == ENOUGH and contradicts(evidence, s):
        _turn(state, s, subject, 1 - kind[s], turned)
        return 1
    return 0


@kernel
def _decide(state: Any, s: int, subject: int, k: int, number: float, turned: I64) -> int:
    """Take the evidence of one value of an undecided series; returns 1 if the series turned, else 0."""
    kind, _, _, _, _, _, evidence = state
    is_text = k == 1 or k == 5
    expected = evidence[s, EXPECTED]
    if expected != ANY:
        return _decide_expected(state, s, subject, is_text, number, turned)
    count_evidence(evidence, s, is_text, number)
    seen = evidence[s, SEEN]
    if seen == ENOUGH:
        evidence[s, IS_MIXED] = 1 if evidence[s, WHOLE] * SOME >= ENOUGH else 0
    if kind[s] == UNDECIDED:
        _begin(state, s, subject, 1 if is_text else 0)
    elif seen in (EARLY, ENOUGH):
        decided = 1 if is_of_categories(evidence, s) else 0
        if decided != kind[s]:
            _turn(state, s, subject, decided, turned)
            return 1
    return 0


@kernel
def _category(k: int, number: float, category: int, takes_whole: bool) -> float:
    """A value as the id of a category; `NONE` if it is a fault there."""
    if k == 1 or k == 5:
        return float(category)
    if k == 4:
        return max(decimal_id(number, category), 0.0)
    return decimal_id(number, 0) if takes_whole and number == np.rint(number) else NONE


@kernel
def _route(state: Any, values: Any, routed: Routed) -> int:
    """Decide kinds by the first values, count, and assign rows; returns how many series turned."""
    kind, row, known, _, _, columns, evidence = state
    subjects, kinds, numbers, categories, sequence = values
    bits = routed.value.view(np.int64)
    turns = 0
    for i in range(len(subjects)):
        s = routed.series[i]
        k = kinds[i]
        routed.row[i], routed.number[i], routed.counted[i], routed.columns[i] = NO_ROW, -1, -1, 1
        routed.kind[i], routed.value[i] = (k if k <= 3 else 5 - k), numbers[i] + 0.0  # a text may read as a number
        if s == UNSEEN:
            continue
        is_open = False
        if k != 2 and k != 3:
            seen = evidence[s, SEEN] + 1
            if seen <= ENOUGH:
                is_open = evidence[s, EXPECTED] == ANY
                if is_open and kind[s] != UNDECIDED and seen != EARLY and seen != ENOUGH:
                    count_evidence(evidence, s, k == 1 or k == 5, numbers[i])
                else:
                    turns += _decide(state, s, subjects[i], k, numbers[i], routed.turned[turns])
            if kind[s] == 0:
                k = 3 if k == 1 else 0
            else:
                routed.value[i] = _category(k, numbers[i], categories[i], is_open or evidence[s, IS_MIXED] == 1)
                k = 3 if routed.value[i] < 0 else 1
            routed.kind[i] = k
        routed.number[i] = known[s, 0] + known[s, 1] + known[s, 2] + known[s, 3]
        if routed.number[i] == 0:
            known[s, FIRST] = sequence[i]
        known[s, LAST] = max(known[s, LAST], sequence[i])
        known[s, k] += 1
        if k <= 1:
            routed.row[i], routed.counted[i] = row[s], known[s, k] - 1
            routed.columns[i] = columns[subjects[i]]
            if known[s, k] == 1:
                known[s, VALUE] = bits[i]
            elif known[s, VALUE] != bits[i]:
                known[s, VALUE] = VARIED
        elif is_open:
            routed.row[i] = UNSETTLED
    return turns
