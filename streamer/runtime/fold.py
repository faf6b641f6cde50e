"""The interface of a fold, as the loop uses it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from streamer.eventlog.base import Output, Records
from streamer.runtime.snapshot import Snapshot

Spot = tuple[str, int]  # topic and partition
Tally = Counter[tuple[str, ...]]


class Fold(Protocol):
    """A state that records change, one epoch a `step`, and that gives outputs."""

    tally: Tally  # counts since the start of this process, for metrics; not part of the state

    @property
    def newest_event_time_ms(self) -> int:
        """The event time that the fold has reached, in ms since 1970; -1: nothing yet."""
        ...

    @property
    def models(self) -> int: ...

    @property
    def series(self) -> int: ...

    def gauges(self) -> Mapping[str, int]:
        """Sizes of the state by name, for metrics; the sizes of several folds add up."""
        ...

    def step(self, stretch: Sequence[Records]) -> list[Output]: ...

    def to_dead_letter(self, records: Records, i: int) -> Output:
        """Record `i` as a dead letter instead of folding it: a poison record, or the stand-in for a closed batch."""
        ...

    def dump(self) -> Snapshot: ...

    def load(self, snapshot: Snapshot) -> None: ...
