"""Completeness of data delivery: columns that events no longer carry.

A column that vanishes leaves no value to judge, so its absence is counted in the events of its subject. It is reported
after the greatest of three numbers of events without the column: `events_min`, `GAPS` times the mean gap between its
values, and twice its longest gap. A column whose values arrive independently, however rarely, is reported by mistake
once in e^20 values: that is the chance of a geometric gap 20 times its mean. When a reported column returns, its
baseline is learned again, and `events_min` doubles. So a column that comes and goes is reported less and less.

The columns of a subject are checked at every `EVERY`-th of its events, which bounds the cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.bounds import require_between
from detectors.arrays.growth import ensure_length
from detectors.arrays.jit import kernel
from detectors.arrays.types import I64

VALUES_MIN: Final = 100  # values of a column before its absence is judged
GAPS: Final = 20
EVERY: Final = 64  # events of a subject between two checks of its columns
DOUBLINGS_MAX: Final = 20
MANY: Final = 1 << 62

# columns of Absences._known
FIRST = 0  # sequence number, within the subject, of the event of the baseline's first value ...
LAST = 1  # ... and of its last value
COUNT = 2  # values of the baseline; 0 once the absence is reported
LONGEST = 3  # gap between two of them, in events
REPORTED = 4  # times that the absence was reported
KNOWN = 5
NONE: Final = -1


@dataclass(frozen=True, slots=True)
class AbsenceSettings:
    """Detection of missing columns. ValueError when a setting is out of range.

    watch: whether missing columns are detected.
    events_min: events of a model without one of its columns, at least, before it counts as missing; 10 to 1e9.
    """

    watch: bool = True
    events_min: int = 100

    def __post_init__(self) -> None:
        require_between(self, events_min=(10, 1e9))


class Seen(NamedTuple):
    """Values of series, in order of events."""

    event: I64  # [m] index of the event, increasing
    series: I64  # [m]
    sequence: I64  # [m] sequence number of the event within its subject


class Absent(NamedTuple):
    """Missing columns, `k` of them in order of events."""

    event: I64  # [k] index of the event at which the column was found missing
    series: I64  # [k] increasing within an event
    sequence: I64  # [k] sequence number of that event within its subject
    allowed: I64  # [k] events without the column up to which nothing is reported
    first: I64  # [k] sequence number of the event of the baseline's first value ...
    last: I64  # [k] ... and of its last
    values: I64  # [k] values of the baseline


FIELDS: Final = len(Absent._fields)


class Absences:
    """The presence of all columns of all subjects. 48 bytes a series, 8 a subject."""

    def __init__(self, settings: AbsenceSettings) -> None:
        self._settings = settings
        self._known = np.zeros((0, KNOWN), np.int64)
        self._older = np.zeros(0, np.int64)  # [series] the series of the same subject before this one, or NONE
        self._newest = np.zeros(0, np.int64)  # [subject] its newest series, or NONE
        self._count = 0

    def __len__(self) -> int:
        """How many series there are."""
        return self._count

    def add(self, subjects: I64) -> None:
        """Add a series for each of these subjects [r]; series are numbered without gaps."""
        self._known = ensure_length(self._known, self._count + len(subjects), 0)
        self._older = ensure_length(self._older, self._count + len(subjects), NONE)
        self._newest = ensure_length(self._newest, int(subjects.max(initial=-1)) + 1, NONE)
        _link(self._older, self._newest, subjects, self._count)
        self._count += len(subjects)

    def update(self, seen: Seen, subject: I64, sequence: I64) -> Absent:
        """Update with `n` events and their values; each event has `w` subjects and sequence numbers there [n, w].

        Both are -1 where an event belongs to no subject. All series must have been added.
        """
        self._newest = ensure_length(self._newest, int(subject.max(initial=-1)) + 1, NONE)
        found = _update(self._known, self._older, self._newest, self._settings.events_min, seen, subject, sequence)
        order = np.lexsort((found[:, 1], found[:, 0]))
        return Absent(*found[order].T)

    def dump(self) -> dict[str, NDArray[Any]]:
        """The state; valid until the next update."""
        return {"known": self._known[: self._count]}

    def load(self, arrays: Mapping[str, NDArray[Any]], subjects: I64) -> None:
        """The inverse of `dump`; the series belong to these subjects [r]."""
        known = arrays["known"]
        self.add(subjects)
        self._known[: len(known)] = known


@kernel
def _link(older: I64, newest: I64, subjects: I64, first: int) -> None:
    for i in range(len(subjects)):
        older[first + i] = newest[subjects[i]]
        newest[subjects[i]] = first + i


@kernel
def _update(
    known: I64, older: I64, newest: I64, events_min: int, seen: Seen, subject: I64, sequence: I64
) -> NDArray[np.int64]:
    """The missing columns [k, fields of Absent]; those of one event are in no order."""
    found, count, value = np.empty((4, FIELDS), np.int64), 0, 0
    for event in range(len(subject)):
        while value < len(seen.event) and seen.event[value] == event:
            _add_value(known, seen.series[value], seen.sequence[value])
            value += 1
        for i in range(subject.shape[1]):
            number = sequence[event, i]
            if number < 0 or number % EVERY != EVERY - 1:
                continue
            series = newest[subject[event, i]]
            while series != NONE:
                allowed = _allowed(known, series, events_min)
                if number - known[series, LAST] > allowed:
                    if count == len(found):
                        found = np.concatenate((found, np.empty_like(found)))
                    found[count, 0], found[count, 1], found[count, 2], found[count, 3] = event, series, number, allowed
                    _report(known, series, found[count])
                    count += 1
                series = older[series]
    return found[:count]


@kernel
def _add_value(known: I64, series: int, sequence: int) -> None:
    """Count a value of the series, in event `sequence` of its subject."""
    if known[series, COUNT] == 0:
        known[series, FIRST] = sequence
        known[series, LONGEST] = 0
    else:
        known[series, LONGEST] = max(known[series, LONGEST], sequence - known[series, LAST])
    known[series, LAST] = sequence
    known[series, COUNT] += 1


@kernel
def _allowed(known: I64, series: int, events_min: int) -> int:
    """How many events without the column are allowed."""
    if known[series, COUNT] < VALUES_MIN:
        return MANY
    mean = (known[series, LAST] - known[series, FIRST]) / (known[series, COUNT] - 1)
    return int(max(events_min << known[series, REPORTED], GAPS * mean, 2 * known[series, LONGEST]))


@kernel
def _report(known: I64, series: int, report: I64) -> None:
    """Copy the baseline into the report, and learn another from the next value on."""
    report[4], report[5], report[6] = known[series, FIRST], known[series, LAST], known[series, COUNT]
    known[series, COUNT] = 0
    known[series, REPORTED] = min(known[series, REPORTED] + 1, DOUBLINGS_MAX)
