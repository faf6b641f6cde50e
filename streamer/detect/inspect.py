"""The columns of a model that a fold watches: detectors, reference, counts, and what keeps them from being watched.

All of it is read from the state, so it is as of the last record that was folded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from detectors.series.table import SeriesFacts, ValueKind
from streamer.detect.batch import TAKES
from streamer.detect.context import Context
from streamer.detect.fold import DetectFold
from streamer.detect.monitor import ColumnStatus
from streamer.detect.monitors.label_mismatch import NO_PREDICTIONS, OTHER_IDS
from streamer.events import PREDICTION_COLUMN, time_of

SILENT_EVENTS: Final = 100  # a column is silent after this many events of its model without it ...
SILENT_GAPS: Final = 20  # ... and this many times the mean gap between its values
# In the order in which they are shown; none: all is well.
STATES: Final = (
    "all_null",
    "nested",
    "unwatched",
    "starved",
    "learning",
    "constant",
    "scattered",
    "silent",
    "small_reference",
    "retyped",
    "calendar",
)


@dataclass(frozen=True, slots=True)
class WatchedColumn:
    """One column of one version of a model, or of a segment of it, on one partition of a topic."""

    unit: str
    topic: str
    model_version: str  # "" if events name none
    segment: str  # such as "depot=north"; "" for the whole
    column: str  # `joint`: the dependence of the columns that name the detector `joint`
    kind: str  # "numbers", "categories", "rows" of numbers, or "" if all values so far were missing
    detectors: tuple[str, ...]  # that get its values
    reference: str  # digest of the training reference; "" if the first values serve as one
    values: int  # of its kind
    missing: int  # null, NaN or infinite
    faults: int  # of another kind, or neither number nor text
    last_event_time: datetime  # of its last value, missing or not, to a few events
    states: tuple[str, ...]  # of `STATES`


@dataclass(frozen=True, slots=True)
class Fates:
    """What became of the values of a model, and of labels."""

    model_id: str
    values: Counter[str] = field(default_factory=Counter)  # watched, missing, faulty; dropped: those of all models
    labels: Counter[str] = field(default_factory=Counter)  # of all models, see `DetectFold.label_fates`
    waiting: Counter[str] = field(default_factory=Counter)  # labels of the model that wait for a prediction, by cause

    def add(self, fold: DetectFold, columns: Iterable[WatchedColumn]) -> None:
        """Add those of a unit; `columns` are the model's."""
        for one in columns:
            if one.kind in ("", *TAKES.values()):  # a column of events
                self.values.update(watched=one.values, missing=one.missing, faulty=one.faults)
        self.values.update(dropped=fold.dropped_values)
        self.labels.update(fold.label_fates)
        number = fold.context.names.models.ids.get(self.model_id, -1)
        n, is_here = fold.labels.waiting_by_model.get(number, (0, False))
        self.waiting[OTHER_IDS if is_here else NO_PREDICTIONS] += n


@dataclass(frozen=True, slots=True)
class WatchedModel:
    """One version of a model, or of `source:<name>`, on one partition of a topic."""

    unit: str
    topic: str
    model_id: str
    model_version: str  # "" if events name none
    events: int
    columns: int  # of the model as a whole; its segments have the same
    last_event_time: datetime


def models_of(unit: str, fold: DetectFold) -> Iterator[WatchedModel]:
    """The models of a fold, in order of first sight."""
    context = fold.context
    subjects = context.subjects
    found = [one for one in range(len(subjects.ids)) if not subjects.model_and_segment(one)[1]]
    columns = Counter(subject for subject, _, _ in context.series.of_subjects(found))
    for subject in found:
        model, version, _ = subjects.name_of(subject, PREDICTION_COLUMN)
        last = context.offsets.last(subject)
        topic, at = subjects.topic_of(subject), time_of(last.event_time_ms)
        yield WatchedModel(unit, topic, model, version, last.number + 1, columns[subject], at)


def events_of_pending(fold: DetectFold) -> Iterator[tuple[str, int]]:
    """The id of each alert that waits for data, with the events of the model since its onset."""
    for subject, (alert, due, *_) in fold.alerts.pending:
        missing = due - fold.context.offsets.last(subject).number
        yield alert.alert_id, alert.min_events_after_onset - missing


def nested_columns(fold: DetectFold) -> Iterator[tuple[str, str]]:
    """Model and column of each column that has held nothing but objects, lists and nulls, in order of first sight."""
    context = fold.context
    for subject, column, facts in context.series.of_subjects(list(range(len(context.subjects.ids)))):
        if facts.kind is None and facts.counts[ValueKind.MISFIT]:
            model, _, name = context.subjects.name_of(subject, column)
            yield model, name


def remedy_of_nested(column: str) -> str:
    """What to map instead of a column of objects or lists."""
    return f"fields.depth opens objects, and fields.lists names the items of lists, as in {{{column}: 0..15}}"


def columns_of(unit: str, fold: DetectFold, model: str) -> Iterator[WatchedColumn]:
    """The columns of a model, or of `source:<name>`, in order of first sight; behind them, what is no column."""
    context, subjects = fold.context, list(fold.context.subjects.of_model(model))
    statuses = [status for monitor in fold.monitors for status in monitor.describe(subjects)]
    of_column: dict[tuple[int, str], list[ColumnStatus]] = {}
    for status in statuses:
        if not status.kind:
            of_column.setdefault((status.subject, status.column), []).append(status)
    for subject, column, facts in context.series.of_subjects(subjects):
        found = of_column.get((subject, context.subjects.column(column)), ())
        yield _column(unit, context, subject, column, facts, found)
    yield from (_other(unit, context, status) for status in statuses if status.kind)


def _column(
    unit: str, context: Context, subject: int, column: int, facts: SeriesFacts, found: Sequence[ColumnStatus]
) -> WatchedColumn:
    _, version, name = context.subjects.name_of(subject, column)
    states = {
        *_states(facts, context.offsets.last(subject).number + 1),
        *(["calendar"] if facts.kind is ValueKind.NUMBER and context.calendar.is_of(facts.row) else []),
        *(state for one in found for state in one.states),
    }
    return WatchedColumn(
        unit=unit,
        topic=context.subjects.topic_of(subject),
        model_version=version,
        segment=context.subjects.model_and_segment(subject)[1],
        column=name,
        kind="" if facts.kind is None else TAKES[facts.kind],
        detectors=tuple(name for one in found for name in one.detectors),
        reference=next((one.reference for one in found if one.reference), ""),
        values=0 if facts.kind is None else facts.counts[facts.kind],
        missing=facts.counts[ValueKind.MISSING],
        faults=facts.counts[ValueKind.MISFIT],
        last_event_time=time_of(context.offsets.locate(subject, facts.last).event_time_ms),
        states=_in_order(states),
    )


def _other(unit: str, context: Context, status: ColumnStatus) -> WatchedColumn:
    """What a monitor watches of a subject that is no column of its events."""
    subject = status.subject
    _, version, _ = context.subjects.name_of(subject, PREDICTION_COLUMN)
    return WatchedColumn(
        unit=unit,
        topic=context.subjects.topic_of(subject),
        model_version=version,
        segment=context.subjects.model_and_segment(subject)[1],
        column=status.column,
        kind=status.kind,
        detectors=status.detectors,
        reference=status.reference,
        values=status.values,
        missing=0,
        faults=0,
        last_event_time=time_of(context.offsets.last(subject).event_time_ms),
        states=_in_order(status.states),
    )


def _states(facts: SeriesFacts, events: int) -> Iterator[str]:
    """What the counts of a column show, whose subject has had so many events."""
    if facts.kind is None:
        yield "nested" if facts.counts[ValueKind.MISFIT] else "all_null"
    if facts.is_constant:
        yield "constant"
    if facts.has_turned:
        yield "retyped"
    gap = (facts.last - facts.first + 1) / sum(facts.counts)
    if events - 1 - facts.last > max(SILENT_EVENTS, SILENT_GAPS * gap):
        yield "silent"


def _in_order(states: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(states, key=STATES.index))
