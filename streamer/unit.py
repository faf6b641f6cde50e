"""One fold with what it has buffered and how far it has come: the part of the loop that knows about epochs.

A unit folds whole epochs. While it has a *script* (epochs that an earlier process committed), it cuts where the script
says, so that it becomes exactly what that process was; afterwards it cuts when the loop asks it to. A live cut runs
through all topics at one time of the log: while one topic is behind, what others hold of later times waits for it, so
that labels meet their predictions also when a service catches up.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamer.epochs import digest
from streamer.logs.base import Epoch, Output, Past, Records

I64 = NDArray[np.int64]
Tally = Counter[tuple[str, ...]]


class Fold(Protocol):
    """What both folds look like from outside; `step` gets one epoch."""

    tally: Tally  # what has been folded since this process started, for metrics; not part of the state
    newest_event_time_ms: int  # -1: nothing yet

    @property
    def models(self) -> int: ...

    def step(self, stretch: Sequence[Records]) -> list[Output]: ...

    def dump(self) -> bytes: ...

    def load(self, data: bytes) -> None: ...


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
    number: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    script: deque[Epoch] = field(default_factory=deque)
    committed: int = 0
    buffer: dict[tuple[str, int], list[Records]] = field(default_factory=dict)
    refolded: Tally = field(default_factory=Counter)  # what of the fold's tally came of outputs published before

    def follow(self, past: Past) -> None:
        """Fold this past again before anything else."""
        self.script = deque(past.epochs)
        self.committed = past.committed

    def add(self, records: Records) -> None:
        self.buffer.setdefault((records.topic, records.partition), []).append(records)

    def buffered(self, of: tuple[str, int] | None = None) -> int:
        """Records waiting to be folded: of one topic-partition, or of all."""
        stretches = self.buffer.values() if of is None else [self.buffer.get(of, [])]
        return sum(len(records) for stretch in stretches for records in stretch)

    def silent(self, behind: Collection[tuple[str, int]]) -> list[tuple[str, int]]:
        """Those of which nothing is buffered; an empty stretch says nothing about the time its topic has reached."""
        return [of for of in behind if not self.buffered(of)]

    def position(self, of: tuple[str, int]) -> int:
        """Up to which offset a topic-partition is buffered or folded."""
        stretch = self.buffer.get(of)
        return stretch[-1].next_offset if stretch else self.ends.get(of[0], 0)

    def ahead(self, of: tuple[str, int]) -> bool:
        """Whether this topic-partition is buffered beyond what the next epoch of the script needs."""
        return not self.script or self.position(of) >= self.script[0].ends.get(of[0], 0)

    def next_scripted(self) -> Folded | None:
        """Fold the script's next epoch, if all of it is buffered."""
        if not self.script:
            return None
        epoch = self.script[0]
        here = {of[0]: of for of in self.buffer}
        for topic, end in epoch.ends.items():
            if end > self.ends.get(topic, 0) and (topic not in here or self.position(here[topic]) < end):
                return None
        self.script.popleft()
        publish = epoch.number > self.committed
        before = self.fold.tally.copy()
        outputs = self.fold.step(self._take(epoch))
        if not publish:
            self.refolded += self.fold.tally - before
        return Folded(epoch, outputs, publish, digest(outputs) != epoch.digest)

    def next_live(self, behind: Collection[tuple[str, int]]) -> Folded | None:
        """Fold what is buffered as one epoch, if there is anything and the script is done.

        `behind` are the unit's topic-partitions of which the log holds more; nothing is folded that is later than what
        is buffered of each of them.
        """
        if self.script or not self.buffer or self.silent(behind):
            return None
        times = {of: _running_max(stretch) for of, stretch in self.buffer.items()}
        horizon = min((int(times[of][-1]) for of in behind), default=-1)
        ends = self.ends | {of[0]: _end(self.buffer[of], times[of], horizon) for of in self.buffer}
        cut = Epoch(self.name, self.number + 1, ends)
        outputs = self.fold.step(self._take(cut))
        return Folded(Epoch(self.name, cut.number, ends, len(outputs), digest(outputs)), outputs)

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


def _end(stretch: Sequence[Records], times: I64, horizon: int) -> int:
    """The offset behind the last record that is not later than the horizon (-1: none is)."""
    n = len(times) if horizon < 0 else int(np.searchsorted(times, horizon, side="right"))
    if n == len(times):
        return stretch[-1].next_offset
    return int(np.concatenate([records.offset for records in stretch])[n])
