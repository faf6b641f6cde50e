"""One fold with what it has buffered and how far it has come: the part of the loop that knows about epochs.

A unit folds whole epochs. While it has a *script* (epochs that an earlier process committed), it cuts where the script
says, so that it becomes exactly what that process was; afterwards it cuts when the loop asks it to. A live cut runs
through all topics at one time of the log: while one topic is behind, what others hold of later times waits for it, so
that labels meet their predictions also when a service catches up.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import I64
from streamer.eventlog.base import Epoch, History, Output, Records
from streamer.eventlog.units import digest
from streamer.runtime.fold import Fold, Spot, Tally
from streamer.runtime.poison import PoisonIsolation


@dataclass(slots=True)
class Folded:
    """An epoch that was folded, and what came of it."""

    epoch: Epoch
    outputs: list[Output]
    publish: bool = True  # false while a past is folded again whose outputs are in the log already
    differs: bool = False  # whether, folded again, it gave other outputs than it did the first time


@dataclass(slots=True)
class Unit:
    """A fold, its buffer and its place in the log."""

    name: str
    fold: Fold
    settings: str = ""  # fingerprint of those that the fold has
    number: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    last: Epoch | None = None  # the newest one that is known to be in the log, with its place there
    starts: dict[str, int] = field(default_factory=dict)  # topic -> offset of the first record it ever read
    topic_ids: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)  # fingerprint -> settings that its history knows
    script: deque[Epoch] = field(default_factory=deque)
    committed: int = 0
    caution: PoisonIsolation = field(default_factory=PoisonIsolation)
    buffer: dict[Spot, list[Records]] = field(default_factory=dict)
    refolded: Tally = field(default_factory=Counter)  # what of the fold's tally came of outputs published before

    def follow(self, past: History) -> None:
        """Fold this past again before anything else."""
        self.script = deque(past.epochs)
        self.committed = past.committed
        self.last = past.epochs[-1] if past.epochs else self.last
        self.starts = past.starts | self.starts
        self.topic_ids = past.topic_ids | self.topic_ids
        self.texts |= past.settings
        self.caution = PoisonIsolation.after(past.attempts)

    def add(self, records: Records) -> None:
        self.buffer.setdefault((records.topic, records.partition), []).append(records)

    def buffered(self, of: Spot | None = None) -> int:
        """Records waiting to be folded: of one topic-partition, or of all."""
        stretches = self.buffer.values() if of is None else [self.buffer.get(of, [])]
        return sum(len(records) for stretch in stretches for records in stretch)

    def silent(self, behind: Collection[Spot]) -> list[Spot]:
        """Those of which nothing is buffered; an empty stretch says nothing about the time its topic has reached."""
        return [of for of in behind if not self.buffered(of)]

    def position(self, of: Spot) -> int:
        """Up to which offset a topic-partition is buffered or folded."""
        stretch = self.buffer.get(of)
        return stretch[-1].next_offset if stretch else self.ends.get(of[0], self.starts.get(of[0], 0))

    def positions(self) -> dict[str, int]:
        """The same for every topic that was ever begun: where reading goes on."""
        return self.starts | self.ends | {of[0]: self.position(of) for of in self.buffer}

    def ahead(self, of: Spot) -> bool:
        """Whether this topic-partition is buffered beyond what the next epoch of the script needs."""
        return not self.script or self.position(of) >= self.script[0].ends.get(of[0], 0)

    def next_scripted(self) -> Folded | None:
        """Fold the script's next epoch, if all of it is buffered."""
        if not self.script:
            return None
        epoch = self.script[0]
        if not self._has_all_up_to(epoch.ends):
            return None
        self.script.popleft()
        publish = epoch.number > self.committed
        before = self.fold.tally.copy()
        outputs = self._fold(epoch)
        if not publish:
            self.refolded += self.fold.tally - before
        differs = digest(outputs) != epoch.digest
        self.fold.tally["diverged",] += differs
        return Folded(epoch, outputs, publish, differs)

    def next_cut(self, behind: Collection[Spot], records_max: int | None = None) -> Epoch | None:
        """Where the next live epoch would end, if there is anything to fold and the script is done.

        `behind` are the unit's topic-partitions of which the log holds more; nothing is folded that is later than what
        is buffered of each of them. An epoch of at most `records_max` records holds the earliest ones.
        """
        if self.script or not self.buffer or self.silent(behind):
            return None
        times = {of: _running_max(stretch) for of, stretch in self.buffer.items()}
        horizon = min((int(times[of][-1]) for of in behind), default=-1)
        counts = {of: _count(times[of], horizon) for of in self.buffer}
        if records_max is not None and sum(counts.values()) > records_max:
            counts = _earliest({of: times[of][:n] for of, n in counts.items()}, records_max)
        ends = self.ends | {of[0]: _end(self.buffer[of], n) for of, n in counts.items()}
        return Epoch(self.name, self.number + 1, ends, settings=self.settings)

    def cut_at(self, ends: Mapping[str, int]) -> Epoch | None:
        """The next live epoch, going up to these ends, once the script is done and all of it is buffered."""
        if self.script or not self._has_all_up_to(ends):
            return None
        return Epoch(self.name, self.number + 1, dict(ends), settings=self.settings)

    def records_in(self, cut: Epoch) -> dict[Spot, int]:
        """How many buffered records of each topic-partition an epoch covers."""
        counts = {}
        for of, stretch in self.buffer.items():
            parts = [records.split(cut.ends.get(of[0], 0))[0] for records in stretch]
            counts[of] = sum(map(len, parts))
        return counts

    def first_in(self, cut: Epoch) -> dict[str, list[int]]:
        """The offset of the first record that an epoch covers, by topic: of an epoch of one record, that record."""
        counts = self.records_in(cut)
        return {of[0]: [_first_offset(self.buffer[of])] for of, n in counts.items() if n}

    def fold_live(self, cut: Epoch) -> Folded:
        """Fold the epoch that `next_cut` gave."""
        outputs = self._fold(cut)
        return Folded(replace(cut, outputs=len(outputs), digest=digest(outputs)), outputs)

    def _has_all_up_to(self, ends: Mapping[str, int]) -> bool:
        here = {of[0]: of for of in self.buffer}
        return all(
            end <= self.ends.get(topic, 0) or (topic in here and self.position(here[topic]) >= end)
            for topic, end in ends.items()
        )

    def _fold(self, epoch: Epoch) -> list[Output]:
        letters: list[Output] = []
        stretch = []
        for records in self._take(epoch):
            aside = np.isin(records.offset, epoch.set_aside.get(records.topic, ()))
            letters += [self.fold.to_dead_letter(records, i) for i in np.flatnonzero(aside).tolist()]
            stretch += [records] if not aside.any() else _without(records, aside)
        return letters + self.fold.step(stretch)

    def _take(self, epoch: Epoch) -> list[Records]:
        """What the epoch covers, out of the buffer."""
        taken: list[Records] = []
        for of, stretch in list(self.buffer.items()):
            end = epoch.ends.get(of[0], 0)
            kept: list[Records] = []
            for records in stretch:
                before, after = records.split(end)
                if len(before):
                    taken.append(before)
                if after.next_offset > end or len(after):
                    kept.append(after)
            if kept:
                self.buffer[of] = kept
            else:
                del self.buffer[of]
        self.number = epoch.number
        self.ends = dict(epoch.ends)
        return taken


def _running_max(stretch: Sequence[Records]) -> I64:
    """The time that has been reached at each record."""
    return np.maximum.accumulate(np.concatenate([records.timestamp_ms for records in stretch]))


def _count(times: I64, horizon: int) -> int:
    """How many records are not later than the horizon (-1: none is)."""
    return len(times) if horizon < 0 else int(np.searchsorted(times, horizon, side="right"))


def _earliest(times: Mapping[Spot, I64], records_max: int) -> dict[Spot, int]:
    """How many records of each topic-partition are among the earliest."""
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
    """The runs of records between those that are set aside."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], aside, [True]]).astype(np.int8)))
    return [records.part(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
