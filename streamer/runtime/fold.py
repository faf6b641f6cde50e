"""The interface of a fold, as the loop uses it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from detectors.arrays.types import F64, I64
from streamer.clock import StageTimes
from streamer.eventlog.base import Output, Records
from streamer.runtime.snapshot import Snapshot

Spot = tuple[str, int]  # topic and partition
Tally = Counter[tuple[str, ...]]
Gauges = Mapping[tuple[str, ...], float]  # as in a tally, what is measured comes first, then its labels


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a fold knows of its models [n], for metrics; counts of errors begin with the process."""

    names: Sequence[str]  # [n] models and sources, in order of first sight
    events: I64  # [n] on all topics, of all versions
    errors: I64  # [n] predictions whose error is known
    error_sum: F64  # [n] of these errors
    firing: I64  # [n] alerts that have not resolved
    effect: F64  # [n] the largest of these alerts, 0 to 1; 0 without one


class Fold(Protocol):
    """A state that records change, one epoch a `step`, and that gives outputs."""

    tally: Tally  # counts since the start of this process, for metrics; not part of the state
    stages: StageTimes  # the time of each stage, for metrics; not part of the state

    @property
    def newest_event_time_ms(self) -> int:
        """The event time that the fold has reached, in ms since 1970; -1: nothing yet."""
        ...

    @property
    def models(self) -> int: ...

    @property
    def series(self) -> int: ...

    def gauges(self) -> Gauges:
        """Sizes of the state, for metrics, at little cost; the sizes of several folds add up."""
        ...

    def census(self) -> Gauges:
        """What takes a pass over the state to count, for metrics. Ages are those at the fold's own event time."""
        ...

    def model_facts(self) -> ModelFacts | None:
        """Each model, for metrics; None if the fold has no events of models."""
        ...

    @property
    def joins_epochs(self) -> bool:
        """Whether two steps give the outputs and the state of one step, if their records are in the same order."""
        ...

    def step(self, stretch: Sequence[Records]) -> list[Output]: ...

    def new_references(self) -> Mapping[str, Mapping[str, str]]:
        """Digests of training references that have come for versions not seen yet: model -> version -> digest.

        A live epoch notes them, and loads them before its records.
        """
        ...

    def refer(self, references: Mapping[str, Mapping[str, str]]) -> None:
        """Load the references that an epoch notes. Raises `GapError` where they are gone."""
        ...

    def to_dead_letter(self, records: Records, i: int) -> Output:
        """Record `i` as a dead letter instead of folding it: a poison record, or the stand-in for a closed batch."""
        ...

    def dump(self) -> Snapshot: ...

    def load(self, snapshot: Snapshot) -> None: ...
