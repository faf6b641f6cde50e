"""A log in memory: for tests, for notebooks, and as the output side of a replay.

A `MemoryStore` holds the records and the committed epochs. A `MemoryLog` is one session on it, and the store outlives
its sessions: a crash drops a session, and a restart opens the next one on the same store.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from streamer.errors import GapError, UsageError
from streamer.eventlog.base import Epoch, History, Note, Output, Records, Start
from streamer.eventlog.headers import Headers
from streamer.eventlog.history import AttemptSurvived
from streamer.eventlog.units import partition_of

Row = tuple[int, int, bytes | None, bytes | None, Headers]  # offset, timestamp_ms, key, value, headers


@dataclass(slots=True)
class MemoryStore:
    """Topics with partitions and offsets, and the epochs of each unit."""

    records_max: int = 1_000_000  # held in one partition
    rows: dict[tuple[str, int], list[Row]] = field(default_factory=dict)
    start: dict[tuple[str, int], int] = field(default_factory=dict)  # offset of the first row held
    epochs: dict[str, list[Epoch]] = field(default_factory=dict)
    notes: dict[str, list[tuple[int, Note]]] = field(
        default_factory=dict
    )  # the number of the epoch before, and the note
    committed: dict[str, int] = field(default_factory=dict)  # unit -> number of its last epoch whose outputs are held
    input_ended: bool = False

    def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        timestamp_ms: int = -1,
        partition: int = 0,
    ) -> int:
        """Append a record as a producer would, and return its offset.

        Raises `UsageError` when the partition holds `records_max` already.
        """
        rows = self.rows.setdefault((topic, partition), [])
        if len(rows) >= self.records_max:
            raise UsageError(
                f"{topic}[{partition}] holds {len(rows)} records in memory, which is its bound. Forget what has been "
                "read, raise `records_max`, or use Kafka."
            )
        offset = self.end(topic, partition)
        rows.append((offset, timestamp_ms, key, value, headers))
        return offset

    def publish(self, outputs: Sequence[Output]) -> None:
        """Append outputs, each to partition 0 of its topic."""
        for output in outputs:
            self.append(output.topic, output.key, output.value, output.headers)

    def end(self, topic: str, partition: int = 0) -> int:
        """The offset of the partition's next record."""
        return self.start.get((topic, partition), 0) + len(self.rows.get((topic, partition), ()))

    def read(self, topic: str, partition: int = 0, start: int = 0, records_max: int | None = None) -> Records:
        """The records from offset `start` on, at most `records_max`."""
        first = max(start - self.start.get((topic, partition), 0), 0)
        last = None if records_max is None else first + records_max
        rows = self.rows.get((topic, partition), [])[first:last]
        return Records.build(topic, partition, rows, None if rows else self.end(topic, partition))

    def forget(self, topic: str, partition: int, before: int) -> None:
        """Drop the records before an offset, so that memory stays bounded."""
        dropped = before - self.start.get((topic, partition), 0)
        rows = self.rows.get((topic, partition), [])
        if not 0 <= dropped <= len(rows):
            raise ValueError(
                f"{topic}[{partition}] can't forget up to {before}: it ends at {self.end(topic, partition)}"
            )
        self.start[topic, partition] = before
        del rows[:dropped]

    def past(self, unit: str, since: int = 0) -> History:
        """The unit's history after epoch `since`."""
        past = History(since)
        notes = self.notes.get(unit, [])
        for number in range(since, len(self.epochs.get(unit, [])) + 1):
            if number > since:
                past.take(replace(self.epochs[unit][number - 1], at=number))
            for behind, note in notes:
                if behind == number:
                    past.take(note)
        past.committed = self.committed.get(unit, 0)
        return past

    def add_epoch(self, epoch: Epoch) -> None:
        """Add a unit's next epoch. The same epoch may come again until its outputs are held."""
        epochs = self.epochs.setdefault(epoch.unit, [])
        repeated = self.committed.get(epoch.unit, 0) < epoch.number <= len(epochs)
        if repeated and epochs[epoch.number - 1] == epoch:
            return
        if epoch.number != len(epochs) + 1:
            raise ValueError(f"{epoch.unit} commits epoch {epoch.number} after {len(epochs)}")
        epochs.append(epoch)


class MemoryLog:
    """One session on a `MemoryStore`: a `Log` that reads the topics it subscribes to, each from its first record."""

    def __init__(
        self, subscribe: Iterable[str] = (), store: MemoryStore | None = None, poll_records_max: int = 8192
    ) -> None:
        self.store = store or MemoryStore()
        self.subscribed = tuple(dict.fromkeys(subscribe))
        self._poll_records_max = poll_records_max  # of one partition
        self._position: dict[tuple[str, int], int] = {}
        self._held: set[tuple[str, int]] = set()
        self._unresumed = set(self.store.epochs)
        self._asked = False

    def end_input(self) -> None:
        """End the input: no producer appends again. Commits still append outputs, which are read."""
        self.store.input_ended = True

    def assignment(self) -> Collection[str] | None:
        """The units with a history; others come with their first records."""
        is_repeated, self._asked = self._asked, True
        return None if is_repeated or not self._unresumed else sorted(self._unresumed)

    def past(self, unit: str, since: Epoch | None = None) -> History | None:
        epochs = self.store.epochs.get(unit, [])
        if since is not None and (since.number > len(epochs) or epochs[since.number - 1] != since):
            return None
        return self.store.past(unit, since.number if since else 0)

    def resume(self, unit: str, ends: Mapping[str, int], topic_ids: Mapping[str, str]) -> Start:  # noqa: ARG002
        """See `Log`. Raises `GapError` when records were forgotten that are still needed."""
        epochs = self.store.epochs.get(unit, [])
        for topic, end in {**dict.fromkeys(epochs[-1].ends if epochs else (), 0), **ends}.items():
            place = topic, partition_of(unit)
            if end < self.store.start.get(place, 0):
                raise GapError(f"{topic}[{place[1]}] has forgotten the records before {self.store.start[place]}")
            self._position[place] = end
        self._unresumed.discard(unit)
        return Start(unit, {}, {})

    def skip(self, unit: str, ends: Mapping[str, int]) -> Start:
        starts = {topic: max(end, self.store.start.get((topic, partition_of(unit)), 0)) for topic, end in ends.items()}
        self.resume(unit, starts, {})
        return Start(unit, starts, {})

    def note(self, unit: str, notes: Sequence[Note]) -> None:
        behind = len(self.store.epochs.get(unit, []))
        self.store.notes.setdefault(unit, []).extend((behind, note) for note in notes)

    def poll(self, timeout_s: float = 0.0) -> list[Records]:  # noqa: ARG002 - waiting brings nothing
        """New records, in order of the subscribed topics and of partitions."""
        stretches: list[Records] = []
        if self._unresumed:
            return stretches
        for place in self._unread():
            records = self.store.read(*place, self._position.get(place, 0), self._poll_records_max)
            self._position[place] = records.next_offset
            stretches.append(records)
        return stretches

    def _unread(self) -> list[tuple[str, int]]:
        places = [p for topic in self.subscribed for p in sorted(self.store.rows) if p[0] == topic]
        return [p for p in places if p not in self._held and self._position.get(p, 0) < self.store.end(*p)]

    def clear_attempts(self, units: Mapping[str, int]) -> None:
        for unit, records in units.items():
            self.note(unit, [AttemptSurvived(unit, records)])

    def commit(self, outputs: Sequence[Output], epochs: Sequence[Epoch]) -> list[Epoch]:
        for epoch in epochs:
            self.store.add_epoch(epoch)
        self.store.publish(outputs)
        self.store.committed.update({epoch.unit: epoch.number for epoch in epochs})
        return [replace(epoch, at=epoch.number) for epoch in epochs]

    def hold(self, topic: str, partition: int, held: bool) -> None:
        (self._held.add if held else self._held.discard)((topic, partition))

    def lagging(self) -> list[tuple[str, int]]:
        return [
            place
            for place in self.store.rows
            if place[0] in self.subscribed and self._position.get(place, 0) < self.store.end(*place)
        ]

    def drained(self) -> bool:
        """Whether everything subscribed to has been polled, held partitions included."""
        return not self.lagging()

    def exhausted(self) -> bool:
        return self.store.input_ended and self.drained()

    def close(self) -> None:
        """Nothing to release: the store belongs to the caller."""
