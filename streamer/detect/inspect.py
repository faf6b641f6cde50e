"""What a fold watches of a model: each column, with which detectors, against what, and whether it can be at all.

All of it is read off the state, so it is as of the last record that was folded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from detectors.base import Bank
from detectors.reference import CategoryReference, Reference
from detectors.series.table import SeriesFacts, ValueKind
from streamer.detect.fold import DetectFold
from streamer.detect.monitors.detector_set import reference_size
from streamer.detect.monitors.joint import JOINT
from streamer.events import PREDICTION_COLUMN, time_of

SILENT_EVENTS: Final = 100  # a column is silent when its model has had this many events without it ...
SILENT_GAPS: Final = 20  # ... and this many times what it usually takes from one value to the next
SMALL_REFERENCE: Final = 500  # numbers; against fewer a drift by less than 0.1 may never be seen


@dataclass(frozen=True, slots=True)
class WatchedColumn:
    """One column of one version of a model, or of a segment of it, on one partition of a topic."""

    unit: str
    topic: str
    model_version: str  # "" where events name none
    segment: str  # such as "depot=north"; "" for the whole
    column: str  # `joint`: how those that name the detector `joint` depend on each other
    kind: str  # "numbers", "categories", "rows" of numbers, or "" while nothing but missing values has come
    detectors: tuple[str, ...]  # those that get its values
    reference: str  # digest of the training reference; "" when the first values serve as one
    values: int  # of its kind
    missing: int  # null, NaN or infinite
    faults: int  # of another kind, or neither number nor text
    last_event_time: datetime  # of its last value, missing or not, to a few events
    states: tuple[str, ...]  # of those in `_states`; none: all is well


def columns_of(unit: str, fold: DetectFold, model: str) -> Iterator[WatchedColumn]:
    """The columns of a model, or of `source:<name>`, in order of first sight."""
    panels = {panel.kind: panel for panel in fold.panels}
    for subject, column, facts in fold.table.of_subjects(list(fold.subjects.of_model(model))):
        key = fold.subjects.name_of(subject, column)
        panel = None if facts.kind is None else panels[facts.kind]
        banks = {} if panel is None else panel.watching(facts.row)
        reference = None if facts.kind is None else fold.trained.of(facts.kind, key)
        events = fold.marks.last(subject).number + 1
        yield WatchedColumn(
            unit=unit,
            topic=fold.subjects.topic_of(subject),
            model_version=key[1],
            segment=fold.subjects.model_and_segment(subject)[1],
            column=key[2],
            kind="" if panel is None else panel.takes,
            detectors=_detectors(fold, banks, facts),
            reference=reference.digest if reference and _takes_reference(banks) else "",
            values=0 if facts.kind is None else facts.counts[facts.kind],
            missing=facts.counts[ValueKind.MISSING],
            faults=facts.counts[ValueKind.MISFIT],
            last_event_time=time_of(fold.marks.locate(subject, facts.last).event_time_ms),
            states=tuple(_states(facts, banks, events, reference)),
        )
    for subject in fold.subjects.of_model(model):
        yield from _joint(unit, fold, subject)


def _joint(unit: str, fold: DetectFold, subject: int) -> Iterator[WatchedColumn]:
    """How the columns of a subject depend on each other, where that is watched."""
    rows = fold.joint.rows_of(subject)
    if rows is not None:
        _, version, _ = fold.subjects.name_of(subject, PREDICTION_COLUMN)
        time = time_of(fold.marks.last(subject).event_time_ms)
        states = ("starved",) if rows.learning else ()
        topic = fold.subjects.topic_of(subject)
        segment = fold.subjects.model_and_segment(subject)[1]
        yield WatchedColumn(unit, topic, version, segment, JOINT, "rows", (JOINT,), "", rows.seen, 0, 0, time, states)


def _detectors(fold: DetectFold, banks: Mapping[str, Bank], facts: SeriesFacts) -> tuple[str, ...]:
    """Those that get the column's values, by itself or with others."""
    is_joint = facts.kind is ValueKind.NUMBER and fold.joint.watches(facts.row)
    return (*banks, JOINT) if is_joint else tuple(banks)


def _takes_reference(banks: Mapping[str, Bank]) -> bool:
    return any(one.takes_reference for one in banks.values())


def _states(
    facts: SeriesFacts, banks: Mapping[str, Bank], events: int, reference: Reference | CategoryReference | None
) -> Iterator[str]:
    """What stands in the way of watching this column, whose subject has had so many events."""
    if facts.kind is None:
        yield "all_null"
    elif not banks:
        yield "unwatched"
    elif facts.counts[facts.kind] < max(_needed(one, reference is not None) for one in banks.values()):
        yield "starved"
    elif any(_learns(one, facts.row) for one in banks.values()):
        yield "learning"
    if facts.is_constant:
        yield "constant"
    gap = (facts.last - facts.first + 1) / sum(facts.counts)
    if events - 1 - facts.last > max(SILENT_EVENTS, SILENT_GAPS * gap):
        yield "silent"
    if _takes_reference(banks) and isinstance(reference, Reference) and reference.n_seen < SMALL_REFERENCE:
        yield "small_reference"


def _needed(bank: Any, has_reference: bool) -> int:
    """How many values a detector needs before its first decision, where it or its settings tell."""
    window = int(getattr(getattr(bank, "settings", None), "window", 0))
    if has_reference and bank.takes_reference:
        return window
    return window + int(getattr(bank, "learnt_from", reference_size(bank)))


def _learns(bank: Any, row: int) -> bool:
    """Whether a detector raises no alarm at present, as it learns what is usual; False where it doesn't tell."""
    learning = getattr(bank, "learning", None)
    return learning is not None and bool(learning(slice(row, row + 1))[0])
