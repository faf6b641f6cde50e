"""A log of recordings: replays files through the same port as a live log, into a memory log.

Several recordings are merged by (running maximum of timestamp_ms within the file, file, row): record time decides
between files, but never turns the order within one. Every poll gives the next `epoch_records` of the merged order, so
what a poll returns depends on the data alone, never on how the files were read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import I64
from streamer.errors import UsageError
from streamer.eventlog.base import Epoch, History, Note, Output, Records, Start
from streamer.eventlog.memory import MemoryLog
from streamer.eventlog.recordings.chunk import Chunk, Group, join
from streamer.eventlog.recordings.recording import CHUNK_ROWS, Recording

EPOCH_RECORDS = 8192
CHUNK_ROWS_MIN = 1024  # of one file, however many share `chunk_rows`
WAITING_MAX = 1_000_000  # side inputs ahead of their time, at most

Stretch = tuple[Chunk, list[Records]]  # rows, and the side inputs that follow their outputs


@dataclass(frozen=True, slots=True)
class ReadProgress:
    """How far a replay has come: `done` of `total` (None: not known) in `unit`, "records" or "bytes"."""

    delivered: int  # records, those of the subscribed topics alone
    done: int
    total: int | None
    unit: str


class RecordedLog:
    """A `Log` over recordings; commits go to `outputs`, and its subscribed topics are read back from there.

    `subscribe` names the topics to deliver (None: all). Topics that `outputs` subscribes to are outputs of a replay,
    so what recordings hold of them is passed over. Records of the topics `aside` are delivered with what comes of the
    records before them (see `Aside`), so that a fold of both has them in order. `chunk_rows` bounds the rows in memory,
    over all files together, down to `CHUNK_ROWS_MIN` for each.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        outputs: MemoryLog,
        subscribe: Iterable[str] | None = None,
        chunk_rows: int = CHUNK_ROWS,
        epoch_records: int = EPOCH_RECORDS,
        aside: Collection[str] = (),
    ) -> None:
        self._recordings = recordings
        self._outputs = outputs
        self._subscribed = None if subscribe is None else frozenset(subscribe)
        self._epoch_records = epoch_records
        rows_max = max(chunk_rows // max(len(recordings), 1), min(chunk_rows, CHUNK_ROWS_MIN))
        self._ids: dict[Group, int] = {}
        self._aside = Aside(aside)
        self._feeds = [_Feed(r.chunks(rows_max), self._ids, self._wanted, self._aside) for r in recordings]
        self._reached: dict[Group, int] = {}
        self._held: set[Group] = set()
        self._delivered = 0
        self._stretches: deque[Stretch] = deque()  # in the merged order, not delivered yet
        self._side_input: list[Records] = []  # side inputs, to be delivered with the outputs of the last rows

    def _wanted(self, topic: str) -> bool:
        return (self._subscribed is None or topic in self._subscribed) and topic not in self._outputs.subscribed

    def assignment(self) -> Collection[str] | None:
        return self._outputs.assignment()

    def past(self, unit: str, since: Epoch | None = None) -> History | None:
        return self._outputs.past(unit, since)

    def resume(self, unit: str, ends: Mapping[str, int], topic_ids: Mapping[str, str]) -> Start:
        return self._outputs.resume(unit, ends, topic_ids)

    def skip(self, unit: str, ends: Mapping[str, int]) -> Start:
        return self._outputs.skip(unit, ends)

    def note(self, unit: str, notes: Sequence[Note]) -> None:
        self._outputs.note(unit, notes)

    def poll(self, timeout_s: float = 0.0) -> list[Records]:
        """The next records of the merged order, and the outputs that commits have appended since the last poll.

        While any recorded partition is held, recordings wait: continuing without it would change their order.
        """
        read_back = self._outputs.poll(timeout_s)
        if self._held:
            return read_back
        rows, side_input = self._next_stretch()
        stretches = rows.split() + self._side_input
        self._side_input = side_input
        if len(self._feeds) > 1:
            for records in stretches:
                self._check_apart(records)
        self._delivered += sum(map(len, stretches))
        return stretches + read_back

    def _next_stretch(self) -> Stretch:
        if not self._stretches:
            parts = _next_rows(self._feeds, self._epoch_records)
            if not parts:
                return Chunk.none(), self._aside.rest()
            rows = join([part.rows for part in parts], list(self._ids))
            time = np.concatenate([part.time for part in parts])
            if len({part.rank for part in parts}) > 1:
                order = np.argsort(time, kind="stable")
                rows, time = rows.take(order), time[order]
            self._stretches.extend(self._aside.stretches(rows, time))
        return self._stretches.popleft()

    def _check_apart(self, records: Records) -> None:
        """Raises UsageError where two recordings of one partition overlap."""
        place = records.topic, records.partition
        before = np.concatenate([[self._reached.get(place, -1)], records.offset[:-1]])
        wrong = np.flatnonzero(records.offset <= before)
        if len(wrong):
            i = wrong[0]
            names = [r.name for r, feed in zip(self._recordings, self._feeds, strict=True) if place in feed.groups]
            raise UsageError(
                f"The recordings {' and '.join(names)} overlap: offset {records.offset[i]} of {place[0]}[{place[1]}] "
                f"comes after {before[i]}. Give each record once; lines of plain events are numbered from 0 in every "
                "file, so give such files a topic each, or put them together in one."
            )
        self._reached[place] = int(records.offset[-1])

    def clear_attempts(self, units: Mapping[str, int]) -> None:
        self._outputs.clear_attempts(units)

    def commit(self, outputs: Sequence[Output], epochs: Sequence[Epoch]) -> list[Epoch]:
        return self._outputs.commit(outputs, epochs)

    def hold(self, topic: str, partition: int, held: bool) -> None:
        if topic in self._outputs.subscribed:
            self._outputs.hold(topic, partition, held)
        else:
            (self._held.add if held else self._held.discard)((topic, partition))

    def lagging(self) -> tuple[()]:
        """None: the records of a poll are in one order already."""
        return ()

    def exhausted(self) -> bool:
        waiting = any(feed.fill() for feed in self._feeds) or self._stretches or self._side_input or self._aside
        return not waiting and self._outputs.drained()

    def progress(self) -> ReadProgress:
        """The progress of the replay, in records if all recordings know their number, else in bytes."""
        rows = [r.rows for r in self._recordings]
        sizes = [r.size_bytes for r in self._recordings]
        if None not in rows:
            waiting = sum(len(feed.rows) for feed in self._feeds)
            done = sum(r.rows_read for r in self._recordings) - waiting
            return ReadProgress(self._delivered, done, sum(n for n in rows if n is not None), "records")
        total = sum(n for n in sizes if n is not None) if None not in sizes else None
        return ReadProgress(self._delivered, sum(r.bytes_read() for r in self._recordings), total, "bytes")

    def close(self) -> None:
        for recording in self._recordings:
            recording.close()
        self._outputs.close()


@dataclass(frozen=True, slots=True)
class _Part:
    """Consecutive rows of one file, and their place in the merged order."""

    rank: int
    rows: Chunk
    time: I64  # [n] running maximum of timestamp_ms


class _Feed:
    """One file in the merge: the rows of its current chunk that are not delivered yet."""

    def __init__(
        self, chunks: Iterator[Chunk], ids: dict[Group, int], wanted: Callable[[str], bool], aside: Aside
    ) -> None:
        self._chunks = chunks
        self._ids = ids  # shared by all feeds, so that their rows can be joined
        self._wanted = wanted
        self._aside = aside
        self.groups: set[Group] = set()
        self.rows = Chunk.none()
        self.time = np.empty(0, np.int64)
        self._latest = -1

    def fill(self) -> bool:
        """Load rows if there are none; False at the end of the file."""
        while not len(self.rows):
            chunk = next(self._chunks, None)
            if chunk is None:
                self.rows = Chunk.none()
                return False
            self._load(chunk)
        return True

    def _load(self, chunk: Chunk) -> None:
        keep = np.array([self._wanted(topic) for topic, _ in chunk.groups], bool)
        if not keep.all():
            chunk = chunk.take(keep[chunk.group])
        ids = np.array([self._ids.setdefault(group, len(self._ids)) for group in chunk.groups], np.int64)
        self.groups.update(group for group, kept in zip(chunk.groups, keep, strict=True) if kept)
        self.rows = replace(chunk, group=ids[chunk.group])
        own = np.where(self._aside.among(chunk), -1, chunk.timestamp_ms)  # side inputs do not date the other rows
        self.time = np.maximum.accumulate(np.maximum(own, self._latest))
        self._latest = int(self.time[-1]) if len(self.time) else self._latest

    def take(self, rank: int, n: int) -> _Part:
        """The next `n` rows, which must be loaded."""
        part = _Part(rank, self.rows.take(slice(0, n)), self.time[:n])
        self.rows, self.time = self.rows.take(slice(n, None)), self.time[n:]
        return part


def _next_rows(feeds: Sequence[_Feed], need: int) -> list[_Part]:
    """The next `need` rows of the merged order (fewer at the end), as parts in order of file and row."""
    parts: list[_Part] = []
    while need:
        live = [rank for rank, feed in enumerate(feeds) if feed.fill()]
        if not live:
            break
        for rank, n in zip(live, _shares([feeds[rank].time for rank in live], need), strict=True):
            if n:
                parts.append(feeds[rank].take(rank, n))
                need -= n
    return sorted(parts, key=lambda part: part.rank)


def _shares(times: Sequence[I64], need: int) -> list[int]:
    """Number of rows of each file that are certainly among the next `need` of the merged order; at least one in all.

    `times` are the loaded rows of each file, ascending. Later rows of a file are not loaded, so no row after the last
    loaded one is certain.
    """
    if len(times) == 1:
        return [min(need, len(times[0]))]
    # Rows later than the end of any file's window are not needed, or not certain.
    horizon = min(int(time[:need][-1]) for time in times)
    windows = [time[: min(need, int(np.searchsorted(time, horizon, side="right")))] for time in times]
    owner = np.repeat(np.arange(len(times)), [len(window) for window in windows])
    owner = owner[np.argsort(np.concatenate(windows), kind="stable")]
    certain = need
    for i, (time, window) in enumerate(zip(times, windows, strict=True)):
        if len(window) == len(time):
            certain = min(certain, int(np.flatnonzero(owner == i)[-1]) + 1)
    return [int(n) for n in np.bincount(owner[:certain], minlength=len(times))]


class Aside:
    """Side inputs: records, such as commands of people, that follow the outputs of other records.

    The record time places a side input: after the outputs of all records up to that time, and before those of later
    ones. Its place in the recording does not matter, if it is not after that time. So side inputs are taken out of the
    merged order, which is cut where they belong.
    """

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = frozenset(topics)
        self._waiting: deque[tuple[int, Records]] = deque()  # in order of time
        self._latest = -1

    def __len__(self) -> int:
        return len(self._waiting)

    def among(self, rows: Chunk) -> NDArray[np.bool_]:
        """[n] Whether each row is of these topics."""
        return np.array([topic in self._topics for topic, _ in rows.groups], bool)[rows.group]

    def stretches(self, rows: Chunk, time: I64) -> Iterator[Stretch]:
        """The next rows in pieces. `time` [n] is ascending: the time that is reached at each row.

        Raises `UsageError` when more than `WAITING_MAX` records wait for their time.
        """
        aside = self.among(rows)
        if aside.any():
            self._put(rows.take(aside))
            rows, time = rows.take(~aside), time[~aside]
        start = 0
        while self._waiting:
            end = int(np.searchsorted(time, self._waiting[0][0], side="right"))
            if end == len(time):
                break
            yield rows.take(slice(start, end)), self._due(int(time[end]))
            start = end
        yield rows.take(slice(start, None)), []

    def rest(self) -> list[Records]:
        """The records that still wait at the end of the recordings."""
        rest = [records for _, records in self._waiting]
        self._waiting.clear()
        return rest

    def _put(self, rows: Chunk) -> None:
        for records in rows.split():
            for i in range(len(records)):
                self._latest = max(self._latest, int(records.timestamp_ms[i]))
                self._waiting.append((self._latest, records.part(i, i + 1)))
        if len(self._waiting) > WAITING_MAX:
            names = ", ".join(sorted(self._topics))
            raise UsageError(f"more than {WAITING_MAX:,} records of {names} wait for their time: replay fewer files")

    def _due(self, reached: int) -> list[Records]:
        due = []
        while self._waiting and self._waiting[0][0] < reached:
            due.append(self._waiting.popleft()[1])
        return due
