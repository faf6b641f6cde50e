"""A unit: one fold with its buffer and its position, folded epoch by epoch.

A unit first replays the epochs of its *replay plan*, which an earlier process committed. It cuts where they were cut,
so it reaches exactly the state of that process. Afterwards it cuts live, when the loop is due. A live cut runs through
all topics at one time of the log: while one topic lags, later records of the others wait. So labels meet their
predictions also while a service catches up.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import I64
from streamer.eventlog.base import Epoch, History, Output, Records
from streamer.eventlog.record_times import LEAD, increases, placing_times
from streamer.eventlog.units import digest
from streamer.runtime.epoch_size import EpochSize
from streamer.runtime.fold import Fold, Spot, Tally
from streamer.runtime.poison import PoisonIsolation

EPOCH_BYTES_MAX = 64 << 20  # of a live epoch's records in memory, by their mean size


@dataclass(frozen=True, slots=True)
class EpochSpan:
    """The records of an epoch: how many, and the times that place them."""

    records: int
    size_bytes: int  # in memory
    topics: frozenset[str]
    first_ms: int  # the earliest of its topics' first records
    last_ms: int  # the latest of their last ones
    is_ordered: bool  # whether each topic states increasing times, so that they place its records

    @classmethod
    def of(cls, parts: Sequence[Records]) -> EpochSpan:
        """Of stretches, each topic's in order of offsets."""
        parts = [records for records in parts if len(records)]
        topics = frozenset(records.topic for records in parts)
        times = [np.concatenate([r.timestamp_ms for r in parts if r.topic == topic]) for topic in sorted(topics)]
        return cls(
            sum(map(len, parts)),
            sum(records.size_bytes for records in parts),
            topics,
            min((int(one[0]) for one in times), default=-1),
            max((int(one[-1]) for one in times), default=-1),
            all(one[0] >= 0 and increases(one) for one in times),
        )

    def with_later(self, later: EpochSpan) -> EpochSpan | None:
        """Both as one; None if one epoch of all these records may order them otherwise, or would be too large."""
        is_ordered = self.is_ordered and later.is_ordered and (not later.topics or self.last_ms <= later.first_ms)
        topics, size_bytes = self.topics | later.topics, self.size_bytes + later.size_bytes
        is_apart = not later.topics or self.last_ms < later.first_ms
        if size_bytes > EPOCH_BYTES_MAX or (len(topics) > 1 and not (is_ordered and is_apart)):
            return None
        last_ms = max(self.last_ms, later.last_ms)
        return EpochSpan(self.records + later.records, size_bytes, topics, self.first_ms, last_ms, is_ordered)


@dataclass(slots=True)
class Folded:
    """A folded epoch and its outputs."""

    epoch: Epoch
    outputs: list[Output]
    span: EpochSpan | None = None  # of a live epoch
    publish: bool = True  # false in a replay of epochs whose outputs are in the log already
    differs: bool = False  # whether a replay gave other outputs than were published

    @property
    def records(self) -> int:
        """Of a live epoch; 0 of a replayed one."""
        return self.span.records if self.span else 0

    @property
    def is_open(self) -> bool:
        """Whether nothing came of a live epoch yet, so that it need not be committed at once."""
        return self.span is not None and not self.outputs


@dataclass(slots=True)
class Unit:
    """A fold, its buffer and its position in the log."""

    name: str
    fold: Fold
    settings: str = ""  # fingerprint of the fold's settings
    number: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    last: Epoch | None = None  # the newest epoch in the log, with its offset there
    starts: dict[str, int] = field(default_factory=dict)  # topic -> offset of the first record that the unit read
    topic_ids: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)  # fingerprint -> settings in its history
    replay_plan: deque[Epoch] = field(default_factory=deque)
    committed: int = 0
    isolation: PoisonIsolation = field(default_factory=PoisonIsolation)
    suspect_kills: bool | None = None  # the result of the trial of its suspect; None: not tried yet
    size: EpochSize = field(default_factory=EpochSize)
    buffer: dict[Spot, list[Records]] = field(default_factory=dict)
    buffered_bytes: int = 0  # in memory
    refolded: Tally = field(
        default_factory=Counter
    )  # the part of the fold's tally that was published before this process
    newest_record_ms: dict[str, int] = field(default_factory=dict)  # topic -> newest record time that was folded

    def replay(self, past: History) -> None:
        """Plan to replay this history before anything else."""
        self.replay_plan = deque(past.epochs)
        self.committed = past.committed
        self.last = past.epochs[-1] if past.epochs else self.last
        self.starts = past.starts | self.starts
        self.topic_ids = past.topic_ids | self.topic_ids
        self.texts |= past.settings
        self.isolation = PoisonIsolation.after(past.attempts)
        self.size = EpochSize(past.records_max)

    def add(self, records: Records) -> None:
        self.buffer.setdefault((records.topic, records.partition), []).append(records)
        self.buffered_bytes += records.size_bytes

    def buffered(self, of: Spot | None = None) -> int:
        """Number of records that wait to be folded, of one topic-partition or of all."""
        stretches = self.buffer.values() if of is None else [self.buffer.get(of, [])]
        return sum(len(records) for stretch in stretches for records in stretch)

    def silent(self, lagging: Collection[Spot]) -> list[Spot]:
        """The topic-partitions of which no record is buffered; an empty stretch does not date its topic."""
        return [of for of in lagging if not self.buffered(of)]

    def position(self, of: Spot) -> int:
        """The offset up to which a topic-partition is buffered or folded."""
        stretch = self.buffer.get(of)
        return stretch[-1].next_offset if stretch else self.ends.get(of[0], self.starts.get(of[0], 0))

    def positions(self) -> dict[str, int]:
        """The same of every topic that the unit has read: where reading continues."""
        return self.starts | self.ends | {of[0]: self.position(of) for of in self.buffer}

    def ahead(self, of: Spot) -> bool:
        """Whether this topic-partition is buffered beyond the next epoch of the replay plan."""
        return not self.replay_plan or self.position(of) >= self.replay_plan[0].ends.get(of[0], 0)

    def next_replayed(self) -> Folded | None:
        """Replay the next epoch of the plan, if all its records are buffered."""
        if not self.replay_plan:
            return None
        epoch = self.replay_plan[0]
        if not self._has_all_up_to(epoch.ends):
            return None
        self.replay_plan.popleft()
        publish = epoch.number > self.committed
        before = self.fold.tally.copy()
        outputs = self._fold(epoch)
        if not publish:
            self.refolded += self.fold.tally - before
        differs = digest(outputs) != epoch.digest
        self.fold.tally["diverged",] += differs
        return Folded(epoch, outputs, publish=publish, differs=differs)

    def next_cut(self, lagging: Collection[Spot], records_max: int | None = None) -> Epoch | None:
        """The end of the next live epoch, if there is anything to fold and the replay is done.

        `lagging` are the unit's topic-partitions with more records in the log. No record is folded that is later than
        what is buffered of each of them. An epoch of at most `records_max` records, and about `EPOCH_BYTES_MAX`,
        takes the earliest ones.
        """
        if self.replay_plan or not self.buffer or self.silent(lagging):
            return None
        stated = {of: np.concatenate([one.timestamp_ms for one in stretch]) for of, stretch in self.buffer.items()}
        times = dict(zip(stated, placing_times(list(stated.values())), strict=True))
        horizon = min((_horizon(stated[of], times[of]) for of in lagging), default=-1)
        counts = {of: _count(times[of], horizon) for of in self.buffer}
        if self.buffered_bytes > EPOCH_BYTES_MAX:
            affordable = max(self.buffered() * EPOCH_BYTES_MAX // self.buffered_bytes, 1)
            records_max = min(records_max or affordable, affordable)
        if records_max is not None and sum(counts.values()) > records_max:
            counts = _earliest({of: times[of][:n] for of, n in counts.items()}, records_max)
        ends = self.ends | {of[0]: _end(self.buffer[of], n) for of, n in counts.items()}
        return Epoch(self.name, self.number + 1, ends, settings=self.settings)

    def cut_at(self, ends: Mapping[str, int]) -> Epoch | None:
        """The next live epoch up to `ends`, if the replay is done and all its records are buffered."""
        if self.replay_plan or not self._has_all_up_to(ends):
            return None
        return Epoch(self.name, self.number + 1, dict(ends), settings=self.settings)

    def records_in(self, cut: Epoch) -> dict[Spot, int]:
        """Number of buffered records of each topic-partition in an epoch."""
        return {of: sum(map(len, self._parts_in(cut, of))) for of in self.buffer}

    def first_in(self, cut: Epoch) -> dict[str, list[int]]:
        """The offset of the first record in an epoch, by topic. Of an epoch of one record, that record."""
        counts = self.records_in(cut)
        return {of[0]: [_first_offset(self.buffer[of])] for of, n in counts.items() if n}

    def fold_live(self, cut: Epoch) -> Folded:
        """Fold an epoch that `next_cut` or `cut_at` returned."""
        span = self._span(cut)
        outputs = self._fold(cut)
        return Folded(replace(cut, outputs=len(outputs), digest=digest(outputs)), outputs, span)

    def continue_live(self, folded: Folded, cut: Epoch) -> Folded | None:
        """Fold what `next_cut` returned as the rest of an open epoch that is not in the log yet.

        None, with nothing folded, if a replay of both as one epoch may give other outputs.
        """
        if not folded.is_open or folded.span is None or not self.fold.joins_epochs:
            return None
        if (span := folded.span.with_later(self._span(cut))) is None:
            return None
        outputs = self._fold(replace(cut, number=folded.epoch.number))
        epoch = replace(folded.epoch, ends=cut.ends, outputs=len(outputs), digest=digest(outputs))
        return Folded(epoch, outputs, span)

    def _span(self, cut: Epoch) -> EpochSpan:
        return EpochSpan.of([records for of in self.buffer for records in self._parts_in(cut, of)])

    def _parts_in(self, cut: Epoch, of: Spot) -> list[Records]:
        """The buffered stretches of a topic-partition up to the end of an epoch."""
        return [records.split(cut.ends.get(of[0], 0))[0] for records in self.buffer[of]]

    def _has_all_up_to(self, ends: Mapping[str, int]) -> bool:
        here = {of[0]: of for of in self.buffer}
        return all(
            end <= self.ends.get(topic, 0) or (topic in here and self.position(here[topic]) >= end)
            for topic, end in ends.items()
        )

    def _fold(self, epoch: Epoch) -> list[Output]:
        if epoch.references:
            self.fold.refer(epoch.references)
        letters: list[Output] = []
        stretch = []
        for records in self._take(epoch):
            aside = np.isin(records.offset, [*epoch.set_aside.get(records.topic, ()), *records.oversize])
            letters += [self.fold.to_dead_letter(records, i) for i in np.flatnonzero(aside).tolist()]
            stretch += [records] if not aside.any() else _without(records, aside)
        return letters + self.fold.step(stretch)

    def _take(self, epoch: Epoch) -> list[Records]:
        """Take the epoch's records out of the buffer."""
        taken: list[Records] = []
        for of, stretch in list(self.buffer.items()):
            end = epoch.ends.get(of[0], 0)
            kept: list[Records] = []
            for records in stretch:
                before, after = records.split(end)
                if len(before):
                    taken.append(before)
                    newest_ms = int(before.timestamp_ms.max())
                    self.newest_record_ms[of[0]] = max(self.newest_record_ms.get(of[0], -1), newest_ms)
                if after.next_offset > end or len(after):
                    kept.append(after)
            if kept:
                self.buffer[of] = kept
            else:
                del self.buffer[of]
        self.buffered_bytes = sum(records.size_bytes for stretch in self.buffer.values() for records in stretch)
        self.number = epoch.number
        self.ends = dict(epoch.ends)
        return taken


def _horizon(stated: I64, times: I64) -> int:
    """The newest time of a topic; where stated times don't increase, the newest that enough later records confirm."""
    return int(times[-1] if increases(stated) else times[-1 - min(len(times) // 2, LEAD)])


def _count(times: I64, horizon: int) -> int:
    """Number of records up to the horizon; -1: no horizon."""
    return len(times) if horizon < 0 else int(np.searchsorted(times, horizon, side="right"))


def _earliest(times: Mapping[Spot, I64], records_max: int) -> dict[Spot, int]:
    """Number of records of each topic-partition among the `records_max` earliest."""
    owner = np.repeat(np.arange(len(times)), [len(one) for one in times.values()])
    order = np.argsort(np.concatenate(list(times.values())), kind="stable")
    counts = np.bincount(owner[order[:records_max]], minlength=len(times))
    return dict(zip(times, counts.tolist(), strict=True))


def _end(stretch: Sequence[Records], n: int) -> int:
    """The offset behind the first `n` records of a stretch."""
    offsets = np.concatenate([records.offset for records in stretch])
    return stretch[-1].next_offset if n == len(offsets) else int(offsets[n])


def _first_offset(stretch: Sequence[Records]) -> int:
    return next(int(records.offset[0]) for records in stretch if len(records))


def _without(records: Records, aside: NDArray[np.bool_]) -> list[Records]:
    """The runs of records between those set aside."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], aside, [True]]).astype(np.int8)))
    return [records.part(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
