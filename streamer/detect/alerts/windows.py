"""What to train on for an alert: the stretches of topics that hold its events, their labels and their sources.

    the alert fires ─► where its windows begin, by the marks of that moment ─► the alert becomes ready ─► windows

A window begins at a mark: the newest one that is not after the onset. So it holds every event since the onset, at most
an eighth of the onset's age of events before it, and their number is exact. The history begins and ends at marks too.
The windows are those of one partition number. A trainer finds sources on another one by time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Final, NamedTuple

import numpy as np

from detectors.series.offsets import OffsetMark, PartnerRange
from retrain.messages.alert import Alert, TrainingWindow, WindowRole
from retrain.messages.ids import SOURCE_PREFIX
from streamer.detect.alarm import Stretch
from streamer.detect.context import Context
from streamer.detect.label_matches import LabelMatches
from streamer.detect.remap import Remap
from streamer.events import time_of

SOURCES_MAX: Final = 20  # subjects of sources that an alert names, of those that its model uses
LABEL_TOPICS_MAX: Final = 20  # topics of labels that an alert names


class SourceStart(NamedTuple):
    """Where the windows of a source begin."""

    subject: int
    window: OffsetMark
    history: OffsetMark


class WindowStart(NamedTuple):
    """Where the windows of an alert begin."""

    window: OffsetMark
    history: OffsetMark  # the same mark without a history
    sources: tuple[SourceStart, ...] = ()

    def remap(self, subjects: Remap) -> WindowStart:
        """With the new ids of subjects, without the sources that are evicted."""
        kept = [one for one in self.sources if subjects.kept[one.subject]]
        return self._replace(sources=tuple(one._replace(subject=int(subjects.place[one.subject])) for one in kept))


class Windows:
    """Locates the windows of the alerts of a fold unit."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._sources = {SOURCE_PREFIX + name: one for name, one in context.settings.sources.items()}

    def newest(self, start: WindowStart) -> dict[int, OffsetMark]:
        """The newest recorded event of each source in a start."""
        return {one.subject: self._context.offsets.last(one.subject) for one in start.sources}

    def store_labels(self, labels: LabelMatches | None, start: int, end: int) -> int:
        """Store where the labels lie of the matches from `start` on whose events come before `end`; returns how many.

        Labels in the record of their prediction are left out, as its window holds them.
        """
        if labels is None:
            return 0
        stop = int(np.searchsorted(labels.event, end))
        part = slice(start, stop)
        who = [(labels.subject[part], labels.sequence[part])]
        if labels.segment.shape[1]:
            who.append((labels.segment[part, 0], labels.segment[part, 1]))
        # Match by match, so that how events are cut into batches never shows in the order of the subjects.
        subject, number = (np.column_stack(column).ravel() for column in zip(*who, strict=True))
        topic, offset, when = (
            np.repeat(column, len(who))
            for column in (labels.came[part, 1], labels.came[part, 0], labels.label_ms[part])
        )
        mine = (subject >= 0) & (topic >= 0)
        self._context.label_ranges.record(subject[mine], topic[mine], number[mine], offset[mine], when[mine])
        return stop

    def begin(self, alert: Alert, subject: int, onset: int, stretch: Stretch, event: int) -> WindowStart:
        """Where the windows of an alert begin that fires at `event` of a stretch, by the events recorded so far."""
        offsets = self._context.offsets
        window = offsets.floor(subject, onset)
        history = offsets.floor(subject, max(window.number - self._context.settings.history_events, 0))
        sources = (
            SourceStart(
                one, offsets.floor_time(one, window.event_time_ms), offsets.floor_time(one, history.event_time_ms)
            )
            for name, source in self._sources.items()
            if source.uses(alert.model_id)
            for one in self._subjects_of(name)
            if _has_begun(one, stretch, event)
        )
        return WindowStart(window, history, tuple(islice(sources, SOURCES_MAX)))

    def complete(
        self, alert: Alert, subject: int, start: WindowStart, end: int, source_ends: Mapping[int, OffsetMark]
    ) -> Alert:
        """The alert that is ready, with its windows; `end` is the number of the event with which it became ready."""
        if alert.ready_at is None or alert.ready_at.offset < start.window.offset:
            return alert
        role = WindowRole.SOURCE if alert.model_id.startswith(SOURCE_PREFIX) else WindowRole.PREDICTIONS
        events, stop = end - start.window.number + 1, alert.ready_at.offset + 1
        windows = [self._window(subject, role, alert, start.window, stop, events, alert.ready_at.event_time)]
        windows += self._labels(alert, subject, start.window.number, end)
        windows += [
            self._source(alert, one, one.window, source_ends[one.subject])
            for one in start.sources
            if one.subject in source_ends
        ]
        return replace(alert, windows=tuple(windows), history=tuple(self._history(alert, subject, start, role)))

    def _history(self, alert: Alert, subject: int, start: WindowStart, role: WindowRole) -> Iterator[TrainingWindow]:
        events = start.window.number - start.history.number
        if events <= 0:
            return
        end_time = time_of(start.window.event_time_ms)
        end = max(start.window.offset, start.history.offset + 1)  # the onset may lie in the same record
        yield self._window(subject, role, alert, start.history, end, events, end_time)
        yield from self._labels(alert, subject, start.history.number, start.window.number - 1)
        for one in start.sources:
            if one.history.number < one.window.number:
                yield self._source(alert, one, one.history, one.window)

    def _labels(self, alert: Alert, subject: int, first: int, last: int) -> Iterator[TrainingWindow]:
        """The stretches of labels that joined the subject's events `first` to `last`."""
        topics, partition, found = self._context.topics.names, alert.onset.partition, 0
        for rank, topic in enumerate(topics):
            range_ = self._context.label_ranges.find(subject, rank, first, last)
            if range_ is not None and found < LABEL_TOPICS_MAX:
                found += 1
                yield _labels_window(topic, partition, range_)

    def _source(self, alert: Alert, source: SourceStart, first: OffsetMark, last: OffsetMark) -> TrainingWindow:
        events, end = last.number - first.number + 1, last.offset + 1
        return self._window(source.subject, WindowRole.SOURCE, alert, first, end, events, time_of(last.event_time_ms))

    def _window(
        self,
        subject: int,
        role: WindowRole,
        alert: Alert,
        first: OffsetMark,
        end_offset: int,
        events: int,
        end_time: datetime,
    ) -> TrainingWindow:
        start_time = time_of(first.event_time_ms)
        return TrainingWindow(
            topic=self._context.subjects.topic_of(subject),
            partition=alert.onset.partition,
            start_offset=first.offset,
            end_offset=end_offset,
            start_time=start_time,
            end_time=max(start_time, end_time),
            role=role,
            events=events,
        )

    def _subjects_of(self, source: str) -> Iterator[int]:
        return self._context.subjects.whole_of_model(source)


def _has_begun(subject: int, stretch: Stretch, entry: int) -> bool:
    """Whether an event of the subject came before or at this entry."""
    mine = np.flatnonzero(stretch.subject == subject)
    return not len(mine) or int(mine[0]) <= entry or int(stretch.sequence[mine[0]]) > 0


def _labels_window(topic: str, partition: int, found: PartnerRange) -> TrainingWindow:
    start, end = time_of(found.start_ms), time_of(found.end_ms)
    return TrainingWindow(topic, partition, found.first, found.last + 1, start, end, WindowRole.LABELS)
