"""Brokers as far as Driftline can tell: partitions, transactions, and a clock that moves when somebody waits.

What a transaction has written is decided at one moment, and becomes visible in each partition when its marker arrives
there, some time later. Up to the first transaction without a marker is as far as a reader of committed records sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from kafka.errors import InvalidProducerEpochError, ProducerFencedError

from streamer.clock import ManualClock

Spot = tuple[str, int]  # topic and partition
TRANSACTION_TIMEOUT_S = 40.0
MARKER_LAG_MAX_S = 10.0  # of brokers that have much to do; most of the time there is none
OFFSETS = ("__consumer_offsets", 0)


@dataclass(slots=True, eq=False)
class Transaction:
    """Records and offsets that become visible together or not at all."""

    began_s: float
    touched: list[Spot] = field(default_factory=list)
    offsets: dict[Spot, int] = field(default_factory=dict)
    kept: bool | None = None  # None: open
    markers: dict[Spot, float] = field(default_factory=dict)  # partition -> when its marker arrives there


@dataclass(frozen=True, slots=True)
class Entry:
    """A record, or a marker (without a value and `is_marker`), which takes an offset as well."""

    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    of: Transaction | None = None
    is_marker: bool = False


@dataclass(slots=True)
class Partition:
    """Entries by offset. Those before `begin` were deleted; they are kept for whoever checks."""

    begin: int = 0
    entries: list[Entry] = field(default_factory=list)
    open: dict[Transaction, int] = field(default_factory=dict)  # without a marker here -> offset of its first record

    @property
    def end(self) -> int:
        return len(self.entries)

    @property
    def stable_end(self) -> int:
        """Up to where a reader of committed records sees."""
        return min(self.open.values(), default=self.end)

    def append(self, entry: Entry) -> int:
        offset = self.end
        if entry.of is not None and not entry.is_marker:
            self.open.setdefault(entry.of, offset)
        self.entries.append(entry)
        return offset

    def visible(self, start: int) -> Iterator[tuple[int, Entry]]:
        """(offset, entry) of the committed records from `start` on."""
        for offset in range(start, self.stable_end):
            entry = self.entries[offset]
            if not entry.is_marker and (entry.of is None or entry.of.kept):
                yield offset, entry


@dataclass(slots=True)
class Writer:
    """What the cluster knows of a transactional id."""

    epoch: int = 0
    current: Transaction | None = None


class Cluster:
    """Topics, the offsets of one group, and transactions."""

    def __init__(self, random: Random, clock: ManualClock) -> None:
        self.random = random
        self.clock = clock
        self.partitions: dict[Spot, Partition] = {}
        self.counts: dict[str, int] = {}  # partitions of each topic
        self.offsets: dict[Spot, int] = {}
        self._writers: dict[str, Writer] = {}
        self._undecided: list[Transaction] = []  # open, or with markers on their way
        self.waited: Callable[[], None] = lambda: None  # called whenever time has passed

    def create(self, topic: str, partitions: int = 1) -> None:
        self.counts[topic] = partitions
        for partition in range(partitions):
            self.partitions[topic, partition] = Partition()

    def append(self, spot: Spot, key: bytes | None, value: bytes | None, timestamp_ms: int) -> int:
        """A record of somebody else's."""
        return self.partitions[spot].append(Entry(timestamp_ms, key, value))

    def now_ms(self) -> int:
        return int(self.clock.now_s() * 1000)

    def wait(self, seconds: float) -> None:
        """Time passes: markers arrive, and what was left open for too long is aborted."""
        self.clock.advance(seconds)
        now_s = self.clock.monotonic_s()
        for one in list(self._undecided):
            if one.kept is None and now_s - one.began_s > TRANSACTION_TIMEOUT_S:
                self._decide(one, False)
                for writer in self._writers.values():
                    if writer.current is one:
                        writer.epoch += 1
            self._arrive(one, now_s)
        self.waited()

    def init(self, transactional_id: str) -> int:
        """The new epoch of this id: whoever had the last one is fenced, and what that has begun is over."""
        writer = self._writers.setdefault(transactional_id, Writer())
        if writer.current is not None:
            if writer.current.kept is None:
                self._decide(writer.current, False)
            self._arrive(writer.current, None)
            writer.current = None
        writer.epoch += 1
        return writer.epoch

    def begun(self, transactional_id: str, epoch: int) -> Transaction:
        """The transaction of this writer that is open; a new one once all markers of its last one have arrived."""
        writer = self._of(transactional_id, epoch)
        if writer.current is None or writer.current.kept is not None:
            if writer.current is not None:
                self._arrive(writer.current, None)
            writer.current = Transaction(self.clock.monotonic_s())
            self._undecided.append(writer.current)
        return writer.current

    def write(self, one: Transaction, spot: Spot, entry: Entry) -> int:
        if spot not in one.touched:
            one.touched.append(spot)
        return self.partitions[spot].append(entry)

    def finish(self, transactional_id: str, epoch: int, kept: bool) -> None:
        """The writer ends its transaction. Raises what the broker answers to one that is fenced."""
        writer = self._of(transactional_id, epoch)
        if writer.current is not None and writer.current.kept is None:
            self._decide(writer.current, kept)
            self._arrive(writer.current, self.clock.monotonic_s())

    def pending(self, spot: Spot) -> bool:
        """Whether a transaction has something to say about the group's offset of this partition."""
        return any(spot in one.offsets for one in self._undecided)

    @property
    def quiet(self) -> bool:
        """Whether no transaction is open and all markers have arrived."""
        return not self._undecided

    def _of(self, transactional_id: str, epoch: int) -> Writer:
        writer = self._writers[transactional_id]
        if writer.epoch != epoch:
            raise self.random.choice([ProducerFencedError, InvalidProducerEpochError])()
        return writer

    def _decide(self, one: Transaction, kept: bool) -> None:
        one.kept = kept
        now_s = self.clock.monotonic_s()
        lag_s = MARKER_LAG_MAX_S * self.random.choice([0, 0, 1])
        for spot in [*one.touched, *([OFFSETS] if one.offsets else [])]:
            one.markers[spot] = now_s + lag_s * self.random.random()

    def _arrive(self, one: Transaction, now_s: float | None) -> None:
        """The markers that are due arrive; all of them if no time is given."""
        for spot, at_s in list(one.markers.items()):
            if now_s is not None and at_s > now_s:
                continue
            del one.markers[spot]
            if spot != OFFSETS:
                self._mark(one, spot)
            elif one.kept:
                self.offsets |= one.offsets
            if spot == OFFSETS:
                one.offsets = {}
        if one.kept is not None and not one.markers and one in self._undecided:
            self._undecided.remove(one)

    def _mark(self, one: Transaction, spot: Spot) -> None:
        partition = self.partitions[spot]
        partition.append(Entry(self.now_ms(), None, None, (), one, is_marker=True))
        partition.open.pop(one, None)
