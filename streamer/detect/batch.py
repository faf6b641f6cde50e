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

from detectors.arrays.types import F64, I64
from detectors.series.id_table import UNSEEN
from detectors.series.table import NO_ROW, WATCHED, Routed, SeriesTable, ValueKind
from streamer.detect.context import Context
from streamer.detect.intake import DecodedChunk
from streamer.detect.label_join import LabelJoin, LabelMatches, LabelValues
from streamer.events import MISFIT, NUMBER, EventBatch
from streamer.runtime.fold import Tally

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

    @classmethod
    def of(cls, chunk: DecodedChunk, context: Context, labels: LabelJoin, tally: Tally) -> Self:
        """Count the events of a chunk, join their labels and route their values."""
        events, topic = chunk.events, chunk.topic
        segment = context.segments.of(events, tally) if context.segments else None
        subject = context.subjects.of(events, topic, segment)
        sequence = context.offsets.count(subject.ravel()).reshape(subject.shape)
        of_segment = np.hstack([subject[:, 1:], sequence[:, 1:]])
        whole = np.ascontiguousarray(subject[:, 0]), np.ascontiguousarray(sequence[:, 0])
        before = labels.counts
        matches = labels.join(events, *whole, context.names.models.names, of_segment, chunk.clock_ms)
        for outcome in ("matched", "unmatched"):
            tally["labels", outcome] += labels.counts[outcome] - before[outcome]
        arrived = BatchValues.of(events, *whole, of_segment, matches.values(context.lag_column))
        if context.segments:
            arrived = arrived.with_segments(context.segments.columns()[events.model])
        values = RoutedValues.of(arrived, context.series)
        unwatched = len(arrived.subject) - len(values.event) + int(np.count_nonzero(values.routed.series == UNSEEN))
        tally["dropped",] += unwatched
        return cls(events, topic, subject, sequence, matches, arrived, values, values.by_kind())


class BatchValues(NamedTuple):
    """`m` values, in no order."""

    event: I64  # [m] index of the event that brings the value
    subject: I64  # [m]
    sequence: I64  # [m] number, in its subject, of the event that the value belongs to
    column: NDArray[np.int32]  # [m]
    number: F64  # [m] NaN: missing, or not a number
    category: NDArray[np.int32]  # [m] id of a category, or NUMBER, or MISFIT
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

    kind: NDArray[np.uint8]  # [m] ValueKind, as it arrived
    value: F64  # [m] the number, or the id of the category
    routed: Routed  # [m]
    event: I64  # [m] index of the event
    sequence: I64  # [m] number of the event in its subject

    @classmethod
    def of(cls, values: BatchValues, series: SeriesTable) -> RoutedValues:
        """Count these values in the table of series, which says where each of them goes."""
        event, subject, sequence, column, number, category, _ = values
        kind = kinds_of(number, category)
        take = np.argsort(event, kind="stable")  # so that new series get the same ids in any cut of the stream
        take = take[subject[take] >= 0]  # -1 once the table of subjects is full
        value = np.where(category >= 0, category, number)
        kind, event, sequence, value = kind[take], event[take], sequence[take], value[take]
        routed = series.route(subject[take], column[take], kind, value, sequence)
        return cls(kind, value, routed, event, sequence)

    def by_kind(self) -> dict[ValueKind, KindValues]:
        """The values that detectors get, for each kind that they take."""
        return {kind: self._of_kind(kind) for kind in WATCHED}

    def _of_kind(self, kind: ValueKind) -> KindValues:
        mine = np.flatnonzero((self.kind == kind) & (self.routed.row != NO_ROW))
        row, columns = self.routed.row[mine], self.routed.columns[mine]
        return KindValues(row, self.value[mine], self.event[mine], self.sequence[mine], mine, columns)


@dataclass(frozen=True, slots=True)
class KindValues:
    """The values of a batch that go to the detectors of one kind; `m` of them."""

    row: I64  # [m] bank row
    value: F64  # [m] the number, or the id of the category
    event: I64  # [m] index of the event
    sequence: I64  # [m] number, in its subject, of the event that the value belongs to
    place: I64  # [m] index among all values of the batch
    columns: I64  # [m] number of columns of numbers that the value's subject has by then


def kinds_of(number: F64, category: NDArray[np.int32]) -> NDArray[np.uint8]:
    """The kind of each value; null, NaN and the infinities are all missing."""
    kinds = np.full(len(number), ValueKind.CATEGORY, np.uint8)
    kinds[category == NUMBER] = ValueKind.NUMBER
    kinds[(category == NUMBER) & ~np.isfinite(number)] = ValueKind.MISSING
    kinds[category == MISFIT] = ValueKind.MISFIT
    return kinds


def later(rows: I64, at: I64) -> I64:
    """How many values of the same row follow each of the values `at`."""
    ours = np.flatnonzero(np.isin(rows, rows[at]))
    order = ours[np.argsort(rows[ours], kind="stable")]
    place = np.empty(len(rows), np.int64)
    place[order] = np.arange(len(order))
    return np.searchsorted(rows[order], rows[at], side="right") - 1 - place[at]
