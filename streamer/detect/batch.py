"""All values that a batch brings: what its events hold, and what its labels bring to light of earlier events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import F64, I64
from detectors.series.table import Routed, ValueKind
from streamer.detect.label_join import LabelValues
from streamer.detect.lives import Lives
from streamer.events import ERROR_COLUMN, MISFIT, NUMBER, PREDICTION_COLUMN, EventBatch


class BatchValues(NamedTuple):
    """`m` values, in no order."""

    event: I64  # [m] index of the event that brings the value
    subject: I64  # [m]
    life: I64  # [m] number, in its subject's life, of the event that the value tells about
    column: NDArray[np.int32]  # [m]
    number: F64  # [m] NaN: missing, or not a number
    category: NDArray[np.int32]  # [m] id of a category, or NUMBER, or MISFIT
    segment: I64  # [m, 2] subject of the segment and number in its life; [m, 0] where there are none at all

    @classmethod
    def of(cls, batch: EventBatch, lives: Lives, brought: LabelValues) -> BatchValues:
        """The values of the models as wholes."""
        subjects, numbers = lives.whole
        of_event = np.repeat(np.arange(len(batch)), np.diff(batch.start))
        return cls(
            np.concatenate([of_event, brought.event]),
            np.concatenate([subjects[of_event], brought.subject]),
            np.concatenate([numbers[of_event], brought.number]),
            np.concatenate([batch.column, brought.column]),
            np.concatenate([batch.number, brought.value]),
            np.concatenate([batch.category, np.full(len(brought.event), NUMBER, np.int32)]),
            np.concatenate([lives.segment[of_event], brought.segment]),
        )

    def with_segments(self, by: I64) -> BatchValues:
        """The same, and behind it the values of segments; but for the column that tells them apart, `by` [n] event."""
        mine = np.flatnonzero((self.segment[:, 0] >= 0) & (self.column != by[self.event]))
        return BatchValues(
            np.concatenate([self.event, self.event[mine]]),
            np.concatenate([self.subject, self.segment[mine, 0]]),
            np.concatenate([self.life, self.segment[mine, 1]]),
            np.concatenate([self.column, self.column[mine]]),
            np.concatenate([self.number, self.number[mine]]),
            np.concatenate([self.category, self.category[mine]]),
            np.concatenate([self.segment, self.segment[mine]]),
        )

    def compared(self) -> Compared:
        """Predictions and errors of segments, that are numbers, in order of events; told of the models as wholes."""
        is_one = (self.column == ERROR_COLUMN) | (self.column == PREDICTION_COLUMN)
        is_number = (self.category == NUMBER) & np.isfinite(self.number)
        segment, life = self.segment[:, 0], self.segment[:, 1]
        take = np.flatnonzero(is_one & is_number & (segment >= 0) & (self.subject != segment))
        take = take[np.argsort(self.event[take], kind="stable")]
        column = self.column[take].astype(np.int64)
        return Compared(self.event[take], self.subject[take], segment[take], life[take], column, self.number[take])


def kinds_of(number: F64, category: NDArray[np.int32]) -> NDArray[np.uint8]:
    """What each value is; null, NaN and the infinities are all missing."""
    kinds = np.full(len(number), ValueKind.CATEGORY, np.uint8)
    kinds[category == NUMBER] = ValueKind.NUMBER
    kinds[(category == NUMBER) & ~np.isfinite(number)] = ValueKind.MISSING
    kinds[category == MISFIT] = ValueKind.MISFIT
    return kinds


class Compared(NamedTuple):
    """Predictions and errors of segments; `m` of them, in order of events."""

    event: I64  # [m] index of the event
    subject: I64  # [m] the model's as a whole
    segment: I64  # [m] the subject of the segment
    number: I64  # [m] of the event, in the segment's life
    column: I64  # [m]
    value: F64  # [m] finite

    def only(self, keep: NDArray[np.bool_]) -> Compared:
        """The values where `keep` is true."""
        event, subject, segment, number, column, value = self
        return Compared(event[keep], subject[keep], segment[keep], number[keep], column[keep], value[keep])


@dataclass(frozen=True, slots=True)
class KindValues:
    """The values of a batch that go to the detectors of a panel; `m` of them."""

    row: I64  # [m] bank row
    value: F64  # [m] the number, or the id of the category
    event: I64  # [m] index of the event
    life: I64  # [m] number, in the subject's life, of the event that the value tells about
    place: I64  # [m] the value's place among all of the batch
    columns: I64  # [m] of numbers, that the value's subject has by then


TAKES = {ValueKind.NUMBER: "numbers", ValueKind.CATEGORY: "categories"}  # as banks call the kinds


def later(rows: I64, at: I64) -> I64:
    """How many values of the same row follow each of the values `at`."""
    ours = np.flatnonzero(np.isin(rows, rows[at]))
    order = ours[np.argsort(rows[ours], kind="stable")]
    place = np.empty(len(rows), np.int64)
    place[order] = np.arange(len(order))
    return np.searchsorted(rows[order], rows[at], side="right") - 1 - place[at]


@dataclass(frozen=True, slots=True)
class RoutedValues:
    """All values of a batch, in order of events; `m` of them."""

    kind: NDArray[np.uint8]  # [m] ValueKind, as it arrived
    routed: Routed  # [m]
    event: I64  # [m] index of the event
    life: I64  # [m] number of the event in its subject's life
