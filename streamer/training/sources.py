"""Where the records of a training window come from: the broker, or recordings."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, Protocol

import numpy as np

from streamer.app.offline.recorded_tables import open_recordings
from streamer.config import Config
from streamer.errors import UsageError
from streamer.eventlog.base import Records
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.eventlog.kafka.reader import KafkaReader
from streamer.training.events import EventOrder, Span, Spot

POLL_S: Final = 0.2
WAITING_MAX: Final = 200_000  # events of one topic-partition that wait for others before its fetching stops

Spans = Mapping[Spot, Sequence[Span]]


class WindowSource(Protocol):
    """Reads stretches of topic-partitions, as often as needed."""

    def bounds(self, spot: Spot) -> tuple[int, int]:
        """The offsets [first, end) that are there. Raises `UsageError` where there is no such topic-partition."""
        ...

    def between(self, spot: Spot, start_ms: int, end_ms: int) -> tuple[int, int]:
        """The offsets [start, end) of the records with times from `start_ms` to `end_ms`."""
        ...

    def read(self, spans: Spans, order: EventOrder) -> Iterator[Records | Spot]:
        """The records of these spans, and each topic-partition once it is read."""
        ...


class BrokerSource:
    """The topics of a cluster. Raises `BrokerError` as `KafkaReader` does."""

    def __init__(self, connection: KafkaConnection, spots: Collection[Spot]) -> None:
        self._connection = connection
        self._reader = self._open(dict.fromkeys(spots, 0))
        self._known = {*self._reader.begins}

    def bounds(self, spot: Spot) -> tuple[int, int]:
        if spot not in self._known:
            raise UsageError(f"{spot[0]} has no partition {spot[1]}, which the request names: is this its cluster?")
        return self._reader.begins[spot], self._reader.ends[spot]

    def between(self, spot: Spot, start_ms: int, end_ms: int) -> tuple[int, int]:
        start, end = self._reader.offset_at(spot, start_ms), self._reader.offset_at(spot, end_ms + 1)
        return start, max(start, end)

    def read(self, spans: Spans, order: EventOrder) -> Iterator[Records | Spot]:
        reader = self._open({spot: min(one.start for one in of_spot) for spot, of_spot in spans.items()})
        left = {spot: max(one.end for one in of_spot) for spot, of_spot in spans.items()}
        held: set[Spot] = set()
        try:
            while left:
                for records in reader.poll(POLL_S):
                    spot = records.topic, records.partition
                    if spot in left and len(part := records.split(left[spot])[0]):
                        yield part
                for spot in [spot for spot, at in reader.positions().items() if at >= left.get(spot, at + 1)]:
                    del left[spot]
                    reader.hold(spot, True)
                    yield spot
                self._balance(reader, {*left}, held, order)
        finally:
            reader.close()

    def close(self) -> None:
        """Let the client go."""
        self._reader.close()

    def _balance(self, reader: KafkaReader, left: set[Spot], held: set[Spot], order: EventOrder) -> None:
        """Stop fetching what is far ahead of the others, unless all are."""
        full = {spot for spot in left if order.waiting(spot) >= WAITING_MAX}
        wanted = set[Spot]() if full == left else full
        for spot in (wanted ^ held) & left:
            reader.hold(spot, spot in wanted)
        held.clear()
        held |= wanted

    def _open(self, start: Mapping[Spot, int]) -> KafkaReader:
        topics = sorted({topic for topic, _ in start})
        return KafkaReader(self._connection, topics, start, only={*start})


class RecordingSource:
    """Recordings as files. The first look at them finds their offsets and times. Raises `UsageError`."""

    def __init__(self, paths: Sequence[str], topic: str | None, config: Config) -> None:
        self._paths, self._topic, self.config = list(paths), topic, config
        self._extent: dict[Spot, tuple[int, int]] = {}
        self._times: dict[Spot, list[tuple[int, int, int, int]]] = {}  # of each stretch: offsets [a, b), times [c, d]
        for records in self._records():
            if len(records):
                self._note((records.topic, records.partition), records)

    def bounds(self, spot: Spot) -> tuple[int, int]:
        if spot not in self._extent:
            there = ", ".join(sorted(f"{topic}[{partition}]" for topic, partition in self._extent)) or "nothing"
            raise UsageError(
                f"{', '.join(self._paths)}: holds no record of {spot[0]}[{spot[1]}], which the request names; it has "
                f"{there}. Name all recordings of these topics, and with --topic that of JSON lines"
            )
        return self._extent[spot]

    def between(self, spot: Spot, start_ms: int, end_ms: int) -> tuple[int, int]:
        known = [one for one in self._times.get(spot, []) if one[3] >= start_ms and one[2] <= end_ms]
        return (known[0][0], known[-1][1]) if known else (0, 0)

    def read(self, spans: Spans, order: EventOrder) -> Iterator[Records | Spot]:  # noqa: ARG002
        bounds = {
            spot: (min(one.start for one in of_spot), max(one.end for one in of_spot))
            for spot, of_spot in spans.items()
        }
        for records in self._records():
            start, end = bounds.get((records.topic, records.partition), (0, 0))
            part = records.split(start)[1].split(end)[0] if start < end else records.part(0, 0)
            if len(part):
                yield part
        yield from spans

    def _records(self) -> Iterator[Records]:
        """All records: those of a file in its order, the files one after the other."""
        files, self.config = open_recordings(self._paths, self._topic, self.config)
        try:
            for file in files:
                for chunk in file.chunks():
                    yield from chunk.split()
        finally:
            for file in files:
                file.close()

    def _note(self, spot: Spot, records: Records) -> None:
        first, end = int(records.offset[0]), int(records.offset[-1]) + 1
        known = self._extent.get(spot, (first, end))
        self._extent[spot] = min(known[0], first), max(known[1], end)
        stated = records.timestamp_ms[records.timestamp_ms >= 0]
        all_times = np.iinfo(np.int64)
        times = (int(stated.min()), int(stated.max())) if len(stated) else (all_times.min, all_times.max)
        self._times.setdefault(spot, []).append((first, end, *times))
