"""In whose lives events count: each in its model's as a whole, and in its segment's where it has one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from detectors.arrays.types import I64
from detectors.series.offsets import Offsets
from retrain.messages.alert import Alert
from streamer.detect.alarm import Alarm, Stretch, Verdict
from streamer.detect.alert_book import AlertBook
from streamer.detect.segments import Segments
from streamer.detect.subjects import Subjects
from streamer.events import EventBatch


@dataclass(frozen=True, slots=True)
class Lives:
    """Of `n` events, the `w` lives in which each counts: the whole's, and the segment's where there are any at all."""

    subject: I64  # [n, w] -1: none
    number: I64  # [n, w] of the event in the subject's life; -1: none

    @classmethod
    def of(
        cls, batch: EventBatch, rank: I64, subjects: Subjects, marks: Offsets, segments: Segments,
        tally: Counter[tuple[str, ...]],
    ) -> Lives:  # fmt: skip
        """Those of a batch whose events come from the topics of these ranks; each is counted."""
        segment = segments.of(batch, tally) if segments else None
        subject = subjects.of(batch, rank, segment)
        return cls(subject, marks.count(subject.ravel()).reshape(subject.shape))

    @property
    def whole(self) -> tuple[I64, I64]:
        """Subject and number [n] of the models as wholes."""
        return np.ascontiguousarray(self.subject[:, 0]), np.ascontiguousarray(self.number[:, 0])

    @property
    def segment(self) -> I64:
        """Subject and number [n, 2] of the segments; [n, 0] where there are none at all."""
        return np.hstack([self.subject[:, 1:], self.number[:, 1:]])

    def last_of(self, alarms: list[Alarm]) -> list[Alarm]:
        """The alarms with the place of their event's last life among all lives."""
        width = self.subject.shape[1]
        return alarms if width == 1 else [replace(a, event=a.event * width + width - 1) for a in alarms]

    def fold(
        self, book: AlertBook, alarms: list[Alarm], judged: list[Verdict], batch: EventBatch, topics: Sequence[str],
        rank: I64,
    ) -> list[tuple[int, Alert]]:  # fmt: skip
        """The alerts of alarms that `last_of` has given, and of what was judged, each with the index of its event."""
        width = self.subject.shape[1]
        each = (rank, batch.offset, batch.event_time_ms)
        ranks, offsets, times = each if width == 1 else (np.repeat(one, width) for one in each)
        stretch = Stretch(topics, ranks, batch.partition, offsets, times, self.subject.ravel(), self.number.ravel())
        found = [one._replace(event=one.event * width + width - 1) for one in judged]
        return [(place // width, alert) for place, alert in book.fold(stretch, alarms, found)]
