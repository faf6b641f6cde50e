"""Columns that events no longer carry: a feature that vanishes from them leaves no value behind to be judged.

So a column's absence is counted in the events of its subject. It is told after `events_min` events without the column,
and more where it comes rarely or in runs: `GAPS` times the mean gap between its values, twice the longest. A column
whose values come independently of each other, however rarely, is told in vain once in e^20 values. After it was told a
column is learnt anew when it is back, and the next time takes twice as many events, so that one that comes and goes is
told less and less.

A subject's columns are looked at with every `EVERY`-th of its events, which is what makes it cheap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.bounds import require_between
from detectors.arrays.growth import longer
from detectors.arrays.jit import kernel
from detectors.arrays.types import I64

VALUES_MIN: Final = 100  # of a column, before its absence says anything
GAPS: Final = 20
EVERY: Final = 64
DOUBLINGS_MAX: Final = 20
MANY: Final = 1 << 62

# columns of Absences._known
FIRST = 0  # in its subject's life, the number of the event of the first value of those that count ...
LAST = 1  # ... and of the last value
COUNT = 2  # values that count; 0 once the absence is told
LONGEST = 3  # gap between two of them
TOLD = 4  # how often
KNOWN = 5
NONE: Final = -1


@dataclass(frozen=True, slots=True)
class AbsenceSettings:
    """When it is told that a column is no longer there. ValueError when out of range.

    watch: look for it at all.
    events_min: events of a model without a column that it has had, 10 to 1e9.
    """

    watch: bool = True
    events_min: int = 100

    def __post_init__(self) -> None:
        require_between(self, events_min=(10, 1e9))


class Seen(NamedTuple):
    """Values of series, in order of events."""

    event: I64  # [m] index of the event, increasing
    series: I64  # [m]
    life: I64  # [m] number of the event in its subject's life


class Absent(NamedTuple):
    """Columns that are no longer there, `k` of them in order of events."""

    event: I64  # [k] index of the event that showed it
    series: I64  # [k] increasing within an event
    life: I64  # [k] number of that event in its subject's life
    allowed: I64  # [k] so many events without the column would have been nothing to tell of
    first: I64  # [k] the same of the first value that counts ...
    last: I64  # [k] ... and of the last
    values: I64  # [k] how many there were


FIELDS: Final = len(Absent._fields)


class Absences:
    """Which columns of all subjects are still there. 48 bytes a series, 8 a subject."""

    def __init__(self, settings: AbsenceSettings) -> None:
        self._settings = settings
        self._known = np.zeros((0, KNOWN), np.int64)
        self._older = np.zeros(0, np.int64)  # [series] the series of the same subject before this one, or NONE
        self._newest = np.zeros(0, np.int64)  # [subject] its newest series, or NONE
        self._count = 0

    def __len__(self) -> int:
        """How many series there are."""
        return self._count

    def meet(self, subjects: I64) -> None:
        """The next series belong to these subjects."""
        self._known = longer(self._known, self._count + len(subjects), 0)
        self._older = longer(self._older, self._count + len(subjects), NONE)
        self._newest = longer(self._newest, int(subjects.max(initial=-1)) + 1, NONE)
        _link(self._older, self._newest, subjects, self._count)
        self._count += len(subjects)

    def fold(self, seen: Seen, subject: I64, life: I64) -> Absent:
        """Fold the values of events, and the events: of each, the `w` subjects and numbers in their lives [n, w].

        Both are -1 where an event is of no subject's life. All series must have been met.
        """
        self._newest = longer(self._newest, int(subject.max(initial=-1)) + 1, NONE)
        found = _fold(self._known, self._older, self._newest, self._settings.events_min, seen, subject, life)
        order = np.lexsort((found[:, 1], found[:, 0]))
        return Absent(*found[order].T)

    def dump(self) -> dict[str, NDArray[Any]]:
        """The state; good until the next batch."""
        return {"known": self._known[: self._count]}

    def load(self, arrays: Mapping[str, NDArray[Any]], subjects: I64) -> None:
        """Become what was dumped, where the series that there are belong to these subjects."""
        known = arrays["known"]
        self.meet(subjects)
        self._known[: len(known)] = known


@kernel
def _link(older: I64, newest: I64, subjects: I64, first: int) -> None:
    for i in range(len(subjects)):
        older[first + i] = newest[subjects[i]]
        newest[subjects[i]] = first + i


@kernel
def _fold(
    known: I64, older: I64, newest: I64, events_min: int, seen: Seen, subject: I64, life: I64
) -> NDArray[np.int64]:
    """The absences that were found: [k, fields of Absent], those of one event in no order."""
    found, count, value = np.empty((4, FIELDS), np.int64), 0, 0
    for event in range(len(subject)):
        while value < len(seen.event) and seen.event[value] == event:
            _see(known, seen.series[value], seen.life[value])
            value += 1
        for i in range(subject.shape[1]):
            number = life[event, i]
            if number < 0 or number % EVERY != EVERY - 1:
                continue
            series = newest[subject[event, i]]
            while series != NONE:
                allowed = _allowed(known, series, events_min)
                if number - known[series, LAST] > allowed:
                    if count == len(found):
                        found = np.concatenate((found, np.empty_like(found)))
                    found[count, 0], found[count, 1], found[count, 2], found[count, 3] = event, series, number, allowed
                    _tell(known, series, found[count])
                    count += 1
                series = older[series]
    return found[:count]


@kernel
def _see(known: I64, series: int, life: int) -> None:
    """The series has a value in event `life` of its subject."""
    if known[series, COUNT] == 0:
        known[series, FIRST] = life
        known[series, LONGEST] = 0
    else:
        known[series, LONGEST] = max(known[series, LONGEST], life - known[series, LAST])
    known[series, LAST] = life
    known[series, COUNT] += 1


@kernel
def _allowed(known: I64, series: int, events_min: int) -> int:
    """How many events without the column are nothing to tell of."""
    if known[series, COUNT] < VALUES_MIN:
        return MANY
    mean = (known[series, LAST] - known[series, FIRST]) / (known[series, COUNT] - 1)
    return int(max(events_min << known[series, TOLD], GAPS * mean, 2 * known[series, LONGEST]))


@kernel
def _tell(known: I64, series: int, told: I64) -> None:
    """Write down what was usual; from here on the series is learnt anew."""
    told[4], told[5], told[6] = known[series, FIRST], known[series, LAST], known[series, COUNT]
    known[series, COUNT] = 0
    known[series, TOLD] = min(known[series, TOLD] + 1, DOUBLINGS_MAX)
