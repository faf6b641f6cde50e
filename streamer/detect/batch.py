"""One chunk of events as every monitor sees it: whose events they are, and all values that they and their labels bring.

events ─► subjects, sequence ─► values of events ┐
   └► label join ─► matches ──► errors and lags ─┴► values in order of events ─► series, rows of detectors

A segment is a subject beside its model, so its values stand behind those of whole models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import F64, I64, U8
from detectors.series.id_table import UNSEEN
from detectors.series.table import NO_ROW, TEXT_BOOLEAN, TEXT_NUMBER, WATCHED, Routed, SeriesTable, ValueKind
from streamer import events as codes
from streamer.detect.context import Context
from streamer.detect.intake import DecodedChunk
from streamer.detect.label_join import LabelJoin
from streamer.detect.label_matches import LabelMatches, LabelValues
from streamer.detect.settings import ARL0_LEAST, ARL0_MOST
from streamer.events import MISFIT, NUMBER, EventBatch
from streamer.logs import log_of
from streamer.runtime.fold import Tally

log = log_of("detect")

LOGGED_MAX: Final = 20  # columns; further ones are only counted
TAKES: Final = {ValueKind.NUMBER: "numbers", ValueKind.CATEGORY: "categories"}  # as banks call the kinds


@dataclass(frozen=True, slots=True)
class Batch:
    """`n` events of one partition number, in order, with all their values.

    Each event counts for `w` subjects: the whole model, and behind it the model's segment if any model has segments. A
    subject's events have sequence numbers from 0.
    """

    events: EventBatch
    topic: I64  # [n] rank of the event's topic in the canonical order
    subject: I64  # [n, w] -1: none
    sequence: I64  # [n, w] of the event, in its subject; -1: none
    labels: LabelMatches
    arrived: BatchValues
    values: RoutedValues
    by_kind: Mapping[ValueKind, KindValues]  # the values that detectors get, for each kind that they take
    of_clock: U8  # of those that are numbers, whether the column is a function of the clock, as `Calendar` states it
    asked: Mapping[str, F64]  # by detector with a span: values [m] of a series between false alarms, at each value

    @classmethod
    def of(cls, chunk: DecodedChunk, context: Context, labels: LabelJoin, tally: Tally) -> Self:
        """Count the events of a chunk, join their labels and route their values."""
        events, topic = chunk.events, chunk.topic
        segment = context.segments.of(events, tally) if context.segments else None
        subject = context.subjects.of(events, topic, segment)
        sequence = context.offsets.count(subject.ravel()).reshape(subject.shape)
        of_segment = np.hstack([subject[:, 1:], sequence[:, 1:]])
        whole = np.ascontiguousarray(subject[:, 0]), np.ascontiguousarray(sequence[:, 0])
        before, fates = labels.counts, labels.fates
        matches = labels.join(events, *whole, context.names.models.names, of_segment, chunk.clock_ms, topic)
        for outcome in ("matched", "unmatched"):
            tally["labels", outcome] += labels.counts[outcome] - before[outcome]
        tally.update({("label_fates", fate): n - fates[fate] for fate, n in labels.fates.items()})
        tally["labels_strange",] += len(matches.strange)
        arrived = BatchValues.of(events, *whole, of_segment, matches.values(context.lag_column))
        if context.segments:
            arrived = arrived.with_segments(context.segments.columns()[events.model])
        values = RoutedValues.of(arrived, context.series)
        context.references.round(values.routed, context.series, context.subjects.name_of)
        unwatched = len(arrived.subject) - len(values.event) + int(np.count_nonzero(values.routed.series == UNSEEN))
        tally["dropped",] += unwatched
        _count_values(values.routed, tally)
        _report_turned(values.routed.turned, context, tally)
        _report_nested(values.routed, context, tally)
        by_kind = values.by_kind()
        numbers = by_kind[ValueKind.NUMBER]
        of_clock = context.calendar.update(numbers.row, numbers.value, events.event_time_ms[numbers.event])
        asked = _asked(context, subject, events.event_time_ms, values)
        return cls(events, topic, subject, sequence, matches, arrived, values, by_kind, of_clock, asked)

    def multiple(self, detector: str, arl0: float, place: I64) -> F64 | None:
        """How many times `arl0` an alarm of the values at these places needs; None: once."""
        return self.asked[detector][place] / arl0 if detector in self.asked else None


class BatchValues(NamedTuple):
    """`m` values, in no order."""

    event: I64  # [m] index of the event that brings the value
    subject: I64  # [m]
    sequence: I64  # [m] number, in its subject, of the event that the value belongs to
    column: NDArray[np.int32]  # [m]
    number: F64  # [m] as in an EventBatch
    category: NDArray[np.int32]  # [m] as in an EventBatch
    segment: I64  # [m, 2] subject of the segment and number in it; [m, 0] without any segments

    @classmethod
    def of(cls, events: EventBatch, subject: I64, sequence: I64, segment: I64, brought: LabelValues) -> BatchValues:
        """The values of whole models: those of events, and those that labels bring."""
        of_event = np.repeat(np.arange(len(events)), np.diff(events.start))
        return cls(
            np.concatenate([of_event, brought.event]),
            np.concatenate([subject[of_event], brought.subject]),
            np.concatenate([sequence[of_event], brought.sequence]),
            np.concatenate([events.column, brought.column]),
            np.concatenate([events.number, brought.value]),
            np.concatenate([events.category, np.full(len(brought.event), NUMBER, np.int32)]),
            np.concatenate([segment[of_event], brought.segment]),
        )

    def with_segments(self, by: I64) -> BatchValues:
        """The same, and behind it the values of segments, without the column `by` [n] that defines them."""
        mine = np.flatnonzero((self.segment[:, 0] >= 0) & (self.column != by[self.event]))
        return BatchValues(
            np.concatenate([self.event, self.event[mine]]),
            np.concatenate([self.subject, self.segment[mine, 0]]),
            np.concatenate([self.sequence, self.segment[mine, 1]]),
            np.concatenate([self.column, self.column[mine]]),
            np.concatenate([self.number, self.number[mine]]),
            np.concatenate([self.category, self.category[mine]]),
            np.concatenate([self.segment, self.segment[mine]]),
        )


@dataclass(frozen=True, slots=True)
class RoutedValues:
    """All values of a batch that have a subject, in order of events; `m` of them."""

    routed: Routed  # [m]
    event: I64  # [m] index of the event
    sequence: I64  # [m] number of the event in its subject
    subject: I64  # [m]

    @classmethod
    def of(cls, values: BatchValues, series: SeriesTable) -> RoutedValues:
        """Count these values in the table of series, which says what each of them is and where it goes."""
        event, subject, sequence, column, number, category, _ = values
        take = np.argsort(event, kind="stable")  # so that new series get the same ids in any cut of the stream
        take = take[subject[take] >= 0]  # -1 once the table of subjects is full
        event, sequence, number, category = event[take], sequence[take], number[take], category[take]
        kind = kinds_of(number, category)
        if (kind == TEXT_NUMBER).any():
            category = np.where(kind == TEXT_NUMBER, codes.TEXT_NUMBER - 1 - category, category)
        subject = subject[take]
        routed = series.route(subject, column[take], kind, number, category, sequence)
        return cls(routed, event, sequence, subject)

    def by_kind(self) -> dict[ValueKind, KindValues]:
        """The values that detectors get, for each kind that they take."""
        return {kind: self._of_kind(kind) for kind in WATCHED}

    def _of_kind(self, kind: ValueKind) -> KindValues:
        routed = self.routed
        mine = np.flatnonzero((routed.kind == kind) & (routed.row >= 0))
        row, number, columns = routed.row[mine], routed.counted[mine], routed.columns[mine]
        return KindValues(row, number, routed.value[mine], self.event[mine], self.sequence[mine], mine, columns)


@dataclass(frozen=True, slots=True)
class KindValues:
    """The values of a batch that go to the detectors of one kind; `m` of them."""

    row: I64  # [m] bank row
    number: I64  # [m] of the value in its row, from 0; missing values do not count
    value: F64  # [m] the number, or the id of the category
    event: I64  # [m] index of the event
    sequence: I64  # [m] number, in its subject, of the event that the value belongs to
    place: I64  # [m] index among all values of the batch
    columns: I64  # [m] number of columns of numbers that the value's subject has by then


def _asked(context: Context, subject: I64, event_time_ms: I64, values: RoutedValues) -> dict[str, F64]:
    """What a false alarm in a span of time is in values, by the traffic of each value's subject."""
    spans = context.settings.false_alarm_spans
    if not spans:
        return {}
    traffic = context.traffic.follow(subject, event_time_ms, values.event, values.subject)
    return {name: np.clip(traffic * span, ARL0_LEAST, ARL0_MOST) for name, span in spans.items()}


VALUE_FATES: Final = {ValueKind.MISSING: "missing", ValueKind.MISFIT: "faulty"}  # others are watched


def _count_values(routed: Routed, tally: Tally) -> None:
    """Count what became of the values that have a series."""
    kinds = np.bincount(routed.kind[routed.series != UNSEEN], minlength=len(ValueKind))
    for kind in ValueKind:
        tally["value_fates", VALUE_FATES.get(kind, "watched")] += int(kinds[kind])


def _report_turned(turned: I64, context: Context, tally: Tally) -> None:
    """Count columns whose first values were taken for the other kind, and log the first of this process."""
    for series in turned.tolist():
        tally["retyped",] += 1
        if tally["retyped",] <= LOGGED_MAX:
            subject, column = context.series.key_of(series)
            model, version, name = context.subjects.name_of(subject, column)
            log.warning(
                "column %.60r of %.60r (version %.60r) holds %s after all: its first values were others. Its detectors "
                "begin again. `cast` or training data state the type from the first value on",
                name, model, version, TAKES[context.series.kind_of(series)],
            )  # fmt: skip


def _report_nested(routed: Routed, context: Context, tally: Tally) -> None:
    """Count columns that begin with an object or a list that no setting opens, and log the first of this process."""
    begun = np.flatnonzero((routed.kind == ValueKind.MISFIT) & (routed.number == 0) & (routed.row == NO_ROW))
    for series in routed.series[begun].tolist():
        subject, column = context.series.key_of(series)
        model, version, name = context.subjects.name_of(subject, column)
        tally["nested",] += 1
        if tally["nested",] <= LOGGED_MAX:
            log.warning(
                "column %.60r of %.60r (version %.60r) holds objects or lists that are not watched. fields.depth opens "
                "objects, and fields.lists names the items of lists, as in {%.60s: 0..15}",
                name, model, version, name,
            )  # fmt: skip


def kinds_of(number: F64, category: NDArray[np.int32]) -> NDArray[np.uint8]:
    """The kind of each value, as a table of series takes it; null, NaN and the infinities are all missing."""
    is_finite = np.isfinite(number)
    kinds = np.where(is_finite, np.uint8(ValueKind.NUMBER), np.uint8(ValueKind.MISSING))
    others = np.flatnonzero(category != NUMBER)
    if len(others):
        of, is_finite = category[others], is_finite[others]
        found = np.where(is_finite, np.uint8(TEXT_BOOLEAN), np.uint8(ValueKind.CATEGORY))
        found[of == MISFIT] = ValueKind.MISFIT
        found[of <= codes.TEXT_NUMBER] = TEXT_NUMBER
        kinds[others] = found
    return kinds


def later(rows: I64, at: I64) -> I64:
    """How many values of the same row follow each of the values `at`."""
    ours = np.flatnonzero(np.isin(rows, rows[at]))
    order = ours[np.argsort(rows[ours], kind="stable")]
    place = np.empty(len(rows), np.int64)
    place[order] = np.arange(len(order))
    return np.searchsorted(rows[order], rows[at], side="right") - 1 - place[at]
