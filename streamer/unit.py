"""One fold with what it has buffered and how far it has come: the part of the loop that knows about epochs.

A unit folds whole epochs. While it has a *script* (epochs that an earlier process committed), it cuts where the script
says, so that it becomes exactly what that process was; afterwards it cuts wherever the loop asks it to.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from streamer.epochs import digest
from streamer.logs.base import Epoch, Output, Past, Records


class Fold(Protocol):
    """What both folds look like from outside; `step` gets one epoch."""

    tally: Counter[tuple[str, ...]]  # what has been folded since this process started, for metrics; not part of the state
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
        here = {topic: of for of in self.buffer for topic in [of[0]]}
        for topic, end in epoch.ends.items():
            if end > self.ends.get(topic, 0) and (topic not in here or self.position(here[topic]) < end):
                return None
        self.script.popleft()
        outputs = self.fold.step(self._take(epoch))
        return Folded(epoch, outputs, epoch.number > self.committed, digest(outputs) != epoch.digest)

    def next_live(self) -> Folded | None:
        """Fold everything buffered as one epoch, if there is anything and the script is done."""
        if self.script or not self.buffer:
            return None
        ends = self.ends | {topic: stretch[-1].next_offset for (topic, _), stretch in self.buffer.items()}
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
