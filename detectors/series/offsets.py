"""The offset index: from "n events ago" to an offset and an event time.

Detectors count in events of a series; a retrain request names offsets. For each subject, every 16th event is recorded
as a mark (offset, time). Marks thin out with age: level `l` keeps the last 16 marks whose number is a multiple of 2^l.
So an event of any age up to two million events lies between two marks that are no further apart than an eighth of its
age. Its offset and time are interpolated linearly between them.

Counting and recording are separate: a whole stretch is counted at once, but recorded only up to the event that is
being located. So the answer never depends on what follows in the same stretch.

`PartnerRanges` does the same for records of other topics that join events of a subject.

`Traffic` is the traffic of each subject: events a second, measured by event time.

A rate of false alarms in time, such as one a month, becomes one in values by the traffic of the subject. That is the
mean over its last four weeks, or over all its time so far, the hour that is not over included. Each event counts before
its own values are judged, so the measure depends on the order of events alone, and never on how they are cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.growth import ensure_length
from detectors.arrays.jit import kernel
from detectors.arrays.types import F64, I64, Bools
from detectors.series.id_table import IdTable

EVERY = 16  # events between two marks
KEPT = 16  # marks a level
LEVELS = 14
PARTNER_KEPT: Final = 8  # blocks a level
PARTNER_LEVELS: Final = 7
TOPIC_BITS: Final = 8
TOPIC_MASK: Final = (1 << TOPIC_BITS) - 1

HOUR_MS: Final = 3_600_000
HOURS_MAX: Final = 4 * 7 * 24.0  # over which traffic is averaged; older events fade

# columns of the state
MARK_MS = 0  # event time of the last mark: the first event, then whole hours behind it
HOURS = 1  # between the first event and the mark, at most HOURS_MAX
EVENTS = 2  # in these hours, and since the mark
FIELDS = 3


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

    def floor(self, subject: int, number: int) -> OffsetMark:
        """The newest recorded mark, or the newest event, that is not after event `number`; else the oldest mark.

        It is exact: between it and any later event, the numbers count the events.
        """
        last = self.last(subject)
        if number >= last.number:
            return last
        newest = last.number // EVERY
        level = _finest_level(number // EVERY, newest)
        oldest_kept = (newest >> level) - KEPT + 1
        return self._mark_at(subject, level, max((number // EVERY) >> level, oldest_kept))

    def floor_time(self, subject: int, event_time_ms: int) -> OffsetMark:
        """The newest recorded mark, or the newest event, that is not later than this time; else the oldest mark."""
        last = self.last(subject)
        if last.event_time_ms <= event_time_ms:
            return last
        newest, mark = last.number // EVERY, last
        for level in range(LEVELS):
            top = newest >> level
            for position in range(top, max(top - KEPT, -1), -1):
                mark = self._mark_at(subject, level, position)
                if mark.event_time_ms <= event_time_ms:
                    return mark
        return mark

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


class PartnerRange(NamedTuple):
    """The records that joined a stretch of a subject's events: offsets and event times, all inclusive."""

    first: int
    last: int
    start_ms: int
    end_ms: int


class PartnerRanges:
    """Where the records lie that joined events of a subject from another topic, such as labels.

    A block of level `l` covers 16 * 4^l events; each level keeps the last 8 blocks. So a request for any of
    the last 500,000 events covers all their partners, and those of at most half as many events before them. Partners of
    events that are older than all blocks are left out. 2.2 KB a subject and topic.
    """

    def __init__(self, limit: int) -> None:
        """Hold at most `limit` pairs of a subject and a topic; further ones are left out."""
        self._ids = IdTable(limit)
        self._newest = np.zeros(0, np.int64)  # number of the newest event with a partner
        self._blocks = np.zeros((0, PARTNER_LEVELS, PARTNER_KEPT, 5), np.int64)  # number of the block, PartnerRange

    def record(self, subjects: I64, topics: I64, numbers: I64, offsets: I64, event_time_ms: I64) -> None:
        """Store the partners [n] of these events, by subject and number, from these topics (0 to 255)."""
        rows = self._ids.add(subjects << TOPIC_BITS | topics)
        self._newest = ensure_length(self._newest, len(self._ids), -1)
        self._blocks = ensure_length(self._blocks, len(self._ids), -1)
        _record_partners(self._blocks, self._newest, rows, numbers, offsets, event_time_ms)

    def find(self, subject: int, topic: int, first: int, last: int) -> PartnerRange | None:
        """The partners of the subject's events `first` to `last` from a topic; None without any."""
        row = int(self._ids.find(np.array([subject << TOPIC_BITS | topic]))[0])
        if row < 0 or first > last:
            return None
        newest, level = int(self._newest[row]), 0
        while level + 1 < PARTNER_LEVELS and (newest // _size(level)) - (first // _size(level)) >= PARTNER_KEPT:
            level += 1
        blocks, size = self._blocks[row, level], _size(level)
        mine = blocks[(blocks[:, 0] >= first // size) & (blocks[:, 0] <= last // size)]
        if not len(mine):
            return None
        low, high = mine.min(axis=0), mine.max(axis=0)
        return PartnerRange(int(low[1]), int(high[2]), int(low[3]), int(high[4]))

    def dump(self) -> dict[str, NDArray[Any]]:
        """A copy of the state."""
        n = len(self._ids)
        return {"keys": self._ids.keys, "newest": self._newest[:n].copy(), "blocks": self._blocks[:n].copy()}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `dump`."""
        self._ids.limit = max(self._ids.limit, len(arrays["keys"]))
        self._ids.load(arrays["keys"])
        self._newest, self._blocks = arrays["newest"].copy(), arrays["blocks"].copy()

    @staticmethod
    def remap(arrays: Mapping[str, NDArray[Any]], kept: Bools, new: I64) -> dict[str, NDArray[Any]]:
        """What was dumped, without the subjects where `kept` is false; `new` are the new ids of all subjects."""
        subject = arrays["keys"] >> TOPIC_BITS
        mine = kept[subject]
        keys = new[subject] << TOPIC_BITS | arrays["keys"] & TOPIC_MASK
        return {"keys": keys[mine], "newest": arrays["newest"][mine], "blocks": arrays["blocks"][mine]}


def _size(level: int) -> int:
    """How many events a block of a level covers."""
    return EVERY << (2 * level)


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


@kernel
def _record_partners(blocks: I64, newest: I64, rows: I64, numbers: I64, offsets: I64, times: I64) -> None:
    for i in range(len(rows)):
        r = rows[i]
        if r < 0:
            continue
        newest[r] = max(newest[r], numbers[i])
        for level in range(blocks.shape[1]):
            block = numbers[i] // (EVERY << (2 * level))
            one = blocks[r, level, block % blocks.shape[2]]
            if one[0] > block:
                continue
            if one[0] < block:
                one[0], one[1], one[2], one[3], one[4] = block, offsets[i], offsets[i], times[i], times[i]
                continue
            one[1], one[2] = min(one[1], offsets[i]), max(one[2], offsets[i])
            one[3], one[4] = min(one[3], times[i]), max(one[4], times[i])


class Traffic:
    """The traffic of all subjects. 24 bytes a subject."""

    def __init__(self) -> None:
        self._state = np.zeros((0, FIELDS))

    def follow(self, subjects: I64, event_time_ms: I64, event: I64, asked: I64) -> F64:
        """Count events, and return the traffic of some subjects at some of them, in events a second.

        subjects: [n, w] those that event `i` counts for; -1: none. event_time_ms: [n].
        event: [m] index of an event, increasing. asked: [m] a subject; its traffic includes that event.
        """
        needed = max(int(subjects.max(initial=-1)), int(asked.max(initial=-1))) + 1
        self._state = ensure_length(self._state, needed, 0.0)
        found = np.empty(len(event))
        _follow(self._state, subjects, event_time_ms, event, asked, found)
        return found

    def dump(self, subjects: int) -> dict[str, NDArray[Any]]:
        """A copy of the state of the first `subjects` subjects."""
        return {"state": ensure_length(self._state, subjects, 0.0)[:subjects].copy()}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `dump`; nothing is known yet where nothing was dumped."""
        if "state" in arrays:
            self._state = arrays["state"].copy()


@kernel
def _follow(state: F64, subjects: I64, times: I64, event: I64, asked: I64, found: F64) -> None:
    k = 0
    for i in range(len(times)):
        for j in range(subjects.shape[1]):
            if subjects[i, j] >= 0:
                _count_at(state, subjects[i, j], float(times[i]))
        while k < len(event) and event[k] == i:
            one = asked[k]
            found[k] = state[one, EVENTS] / max(state[one, HOURS], 1.0) / 3600.0
            k += 1


@kernel
def _count_at(state: F64, one: int, time_ms: float) -> None:
    """Count an event; at a mark, move on to the hour that holds it, and let older events fade."""
    if state[one, EVENTS] == 0.0:
        state[one, MARK_MS] = time_ms
    hours = np.floor((time_ms - state[one, MARK_MS]) / HOUR_MS)
    if hours >= 1.0:
        state[one, MARK_MS] += hours * HOUR_MS
        state[one, HOURS] += hours
        if state[one, HOURS] > HOURS_MAX:
            state[one, EVENTS] *= HOURS_MAX / state[one, HOURS]
            state[one, HOURS] = HOURS_MAX
    state[one, EVENTS] += 1.0
