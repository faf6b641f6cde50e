"""The offset index: from "n events ago" to an offset and an event time.

Detectors count in events of a series; a retrain request names offsets. For each subject, every 16th event is recorded
as a mark (offset, time). Marks thin out with age: level `l` keeps the last 16 marks whose number is a multiple of 2^l.
So an event of any age up to two million events lies between two marks that are no further apart than an eighth of its
age. Its offset and time are interpolated linearly between them.

Counting and recording are separate: a whole stretch is counted at once, but recorded only up to the event that is
being located. So the answer never depends on what follows in the same stretch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.growth import ensure_length
from detectors.arrays.jit import kernel
from detectors.arrays.types import I64

EVERY = 16  # events between two marks
KEPT = 16  # marks a level
LEVELS = 14


class OffsetMark(NamedTuple):
    """One event of a subject: its sequence number (from 0), its offset and its event time."""

    number: int
    offset: int
    event_time_ms: int


class Offsets:
    """The marks of all subjects. 3.6 KB a subject."""

    def __init__(self) -> None:
        self._count = np.zeros(0, np.int64)
        self._ring = np.zeros((0, LEVELS, KEPT, 2), np.int64)  # offset, event_time_ms
        self._last = np.zeros((0, 3), np.int64)  # number, offset, event_time_ms of the newest recorded event

    def count(self, subjects: I64) -> I64:
        """Count one event for each of these subjects [n] (-1: none); returns sequence numbers [n] from 0, or -1."""
        self._grow(int(subjects.max(initial=-1)) + 1)
        numbers = np.empty(len(subjects), np.int64)
        _count(self._count, subjects, numbers)
        return numbers

    def record(self, subjects: I64, numbers: I64, offsets: I64, event_time_ms: I64) -> None:
        """Record offsets and event times of these counted events [n]. Each event is recorded once, and in order."""
        _record(self._ring, self._last, subjects, numbers, offsets, event_time_ms)

    def last(self, subject: int) -> OffsetMark:
        """The newest recorded event."""
        return OffsetMark(*(int(x) for x in self._last[subject]))

    def counts(self, subjects: int) -> I64:
        """Events of each of the first `subjects` subjects."""
        self._grow(subjects)
        return self._count[:subjects]

    def locate(self, subject: int, number: int) -> OffsetMark:
        """Event `number` (from 0) of the subject, interpolated between the marks around it.

        A number older than every mark gives the oldest mark; one past the newest event gives the newest.
        """
        last = self.last(subject)
        if number >= last.number:
            return last
        newest = last.number // EVERY
        level = _finest_level(number // EVERY, newest)
        before = (number // EVERY) >> level
        oldest_kept = (newest >> level) - KEPT + 1
        if before < oldest_kept:
            return self._mark_at(subject, level, oldest_kept)
        a = self._mark_at(subject, level, before)
        b = self._mark_at(subject, level, before + 1) if before + 1 <= newest >> level else last
        share, whole = number - a.number, b.number - a.number
        return OffsetMark(
            number,
            a.offset + (b.offset - a.offset) * share // whole,
            a.event_time_ms + (b.event_time_ms - a.event_time_ms) * share // whole,
        )

    def dump(self) -> dict[str, NDArray[Any]]:
        """A copy of the state."""
        n = np.count_nonzero(self._count)  # subjects are numbered without gaps, each from its first event on
        return {"count": self._count[:n].copy(), "ring": self._ring[:n].copy(), "last": self._last[:n].copy()}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `dump`."""
        self._count, self._ring, self._last = (arrays[k].copy() for k in ("count", "ring", "last"))

    def _mark_at(self, subject: int, level: int, position: int) -> OffsetMark:
        offset, time = self._ring[subject, level, position % KEPT]
        return OffsetMark((position << level) * EVERY, int(offset), int(time))

    def _grow(self, subjects: int) -> None:
        self._count, self._ring, self._last = (
            ensure_length(one, subjects, 0) for one in (self._count, self._ring, self._last)
        )


def _finest_level(mark: int, newest: int) -> int:
    """The finest level that still keeps this mark; the coarsest if none does."""
    for level in range(LEVELS - 1):
        if (newest >> level) - (mark >> level) < KEPT:
            return level
    return LEVELS - 1


@kernel
def _count(count: I64, subjects: I64, numbers: I64) -> None:
    for i in range(len(subjects)):
        s = subjects[i]
        if s < 0:
            numbers[i] = -1
        else:
            numbers[i] = count[s]
            count[s] += 1


@kernel
def _record(ring: I64, last: I64, subjects: I64, numbers: I64, offsets: I64, times: I64) -> None:
    for i in range(len(subjects)):
        s = subjects[i]
        if s < 0:
            continue
        last[s, 0] = numbers[i]
        last[s, 1] = offsets[i]
        last[s, 2] = times[i]
        if numbers[i] % EVERY == 0:
            mark = numbers[i] // EVERY
            for level in range(LEVELS):
                if mark % (1 << level) != 0:
                    break
                ring[s, level, (mark >> level) % KEPT, 0] = offsets[i]
                ring[s, level, (mark >> level) % KEPT, 1] = times[i]
