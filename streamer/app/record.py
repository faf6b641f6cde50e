"""Records topics to a Parquet file, and sends recordings into topics, at once or at their own pace."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from detectors.arrays.types import I64
from streamer.app.offline.record_filter import RecordFilter
from streamer.app.replay import POLL_S
from streamer.clock import Clock
from streamer.errors import BrokerError, UsageError
from streamer.eventlog.headers import decode_headers
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.eventlog.kafka.transfer import Copy, Transfer
from streamer.eventlog.recordings.chunk import Chunk
from streamer.eventlog.recordings.places import shown
from streamer.eventlog.recordings.recording import RecordingFolder, RecordingWriter, open_recording
from streamer.eventlog.time_merge import TimeMerge

if TYPE_CHECKING:
    from streamer.eventlog.kafka.reader import KafkaReader


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of topics is recorded."""

    start: Literal["earliest", "latest"] = "earliest"
    until_end: bool = False  # to the present end of the topics
    records_max: int | None = None


def record(
    connection: KafkaConnection,
    topics: Sequence[str],
    out: RecordingWriter | RecordingFolder,
    clock: Clock,
    *,
    extent: Extent,
    chosen: RecordFilter,
    stop: threading.Event,
    progress: Callable[[int, int | None], None],
) -> int:
    """Copy topics to a Parquet recording, in order of record time; returns the number of records.

    So a replay folds the topics in the order in which the service does, however fast each of them is read.
    Ends at `stop`, or where `extent` says. A folder goes on after the parts that it has. Raises `BrokerError` when
    Kafka can't be read or no longer has the records that follow, `UsageError` when a file can't be written.
    """
    from streamer.eventlog.kafka.reader import KafkaReader

    done = 0
    with ExitStack() as opened:
        opened.enter_context(out)
        reader = KafkaReader(connection, topics, out.ends or extent.start)
        opened.callback(reader.close)
        _check_ends(reader, out)
        out.ends.update({**reader.positions(), **out.ends})
        merge = TimeMerge(clock, reader.hold)
        total = extent.records_max or (reader.waiting if extent.until_end else None)
        ended = False
        while not (ended and not merge.records) and done != extent.records_max:
            ended = stop.is_set() or (extent.until_end and reader.at_end())
            for records in () if ended else reader.poll(0.01 if merge.records else POLL_S):
                merge.add(records)
            while done != extent.records_max and (taken := merge.take(() if ended else reader.lagging())) is not None:
                passed, kept = chosen.of(taken, None if extent.records_max is None else extent.records_max - done)
                out.ends.update(passed.ends())
                out.write_merged(kept)
                done += kept.n
            progress(done, total)
    return done


def _check_ends(reader: KafkaReader, out: RecordingWriter | RecordingFolder) -> None:
    """Refuse to go on after a recording whose topics are others now, or lost records in between."""
    for spot, end in out.ends.items():
        where = f"{spot[0]}[{spot[1]}]"
        if spot in reader.ends and end > reader.ends[spot]:
            raise BrokerError(
                f"{shown(out.path)} holds {where} up to offset {end}, but the topic ends at {reader.ends[spot]}: it "
                "was created again. Record into another folder."
            )
        if spot in reader.begins and end < reader.begins[spot]:
            raise BrokerError(
                f"{shown(out.path)} holds {where} up to offset {end}, but Kafka begins at {reader.begins[spot]}: it "
                "deleted the records in between. Record into another folder, or lengthen the retention of the topic."
            )


PORTION: Final = 5_000  # records whose delivery is checked together


class Pace:
    """When records are due that keep the gaps between their times, divided by `speed`; the first is due at once."""

    def __init__(self, speed: float, clock: Clock, stop: threading.Event) -> None:
        self._speed = speed
        self._clock = clock
        self._stop = stop
        self._first: tuple[float, int] | None = None  # when it was sent, and its record time

    def due(self, times_ms: I64) -> int:
        """Wait for the first of these records [n]; how many from it on are due by then. 0: `stop` was set."""
        if self._first is None:
            self._first = self._clock.monotonic_s(), int(times_ms[0])
        began_s, first_ms = self._first
        due_s = began_s + (times_ms - first_ms) / 1000 / self._speed
        while (wait_s := float(due_s[0]) - self._clock.monotonic_s()) > 0:
            if self._stop.wait(wait_s):
                return 0
        later = np.flatnonzero(due_s > self._clock.monotonic_s())
        return int(later[0]) if len(later) else len(times_ms)


def send(
    connection: KafkaConnection,
    recordings: Sequence[str],
    topic: str | None,
    *,
    pace: Pace | None,
    keeps_times: bool,
    stop: threading.Event,
    progress: Callable[[int, int | None], None],
) -> int:
    """Send recordings one after the other, each in its order; returns the number of records.

    `topic` takes all of them; None: each record goes to the topic that its recording names. Keys choose the partitions.
    `keeps_times` writes the recorded times, else Kafka gets the present one. Ends early at `stop`. Raises `UsageError`
    for a recording that can't be read or has no times for its pace, and `BrokerError` when Kafka lacks a topic, or it
    is not certain that all records are in it.
    """
    done = 0
    with ExitStack() as opened:
        transfer = Transfer(connection)
        opened.callback(transfer.close)
        for path in recordings:
            file = opened.enter_context(open_recording(path, topic))
            for chunk in file.chunks():
                transfer.require([topic] if topic else [name for name, _ in chunk.groups])
                for portion in _portions(chunk, pace, file.name):
                    if stop.is_set():
                        return done
                    transfer.write(_copies(portion, topic, keeps_times))
                    done += len(portion)
                    progress(done, file.rows if len(recordings) == 1 else None)
    return done


def _portions(chunk: Chunk, pace: Pace | None, name: str) -> Iterator[Chunk]:
    """The rows of a chunk, in portions that are due together."""
    if pace is not None and (chunk.timestamp_ms < 0).any():
        raise UsageError(f"{name} has records without a time, so its pace is unknown: send it without --speed")
    start = 0
    while start < len(chunk):
        end = min(start + PORTION, len(chunk))
        if pace is not None:
            n = pace.due(chunk.timestamp_ms[start:end])
            end = start + n if n else end
        yield chunk.take(slice(start, end))
        start = end


def _copies(rows: Chunk, topic: str | None, keeps_times: bool) -> list[Copy]:
    data = rows.data

    def of(start: int, end: int) -> bytes | None:
        return None if start < 0 else data[start:end].tobytes()

    return [
        Copy(
            topic or rows.groups[group][0],
            None,
            int(time_ms) if keeps_times and time_ms >= 0 else None,
            of(*key),
            of(*value),
            decode_headers(of(*headers)),
        )
        for group, time_ms, key, value, headers in zip(
            rows.group.tolist(),
            rows.timestamp_ms.tolist(),
            rows.key.tolist(),
            rows.value.tolist(),
            rows.headers.tolist(),
            strict=True,
        )
    ]
