"""From alarms to alerts: one drift of one series is one alert, first `firing`, then `ready`.

While an alert waits for enough events of the new regime, further alarms of the same detector on the same series are
absorbed. `ready` follows at the very event with which `min_events_after_onset` events have come since the onset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.marks import Mark, Marks
from retrain.alert import Alert, AlertState, Place

I64 = NDArray[np.int64]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm with everything an alert says, but for the places in the log."""

    event: int  # index of the event, in the batch, that raised it
    series: tuple[int, str]  # bank row, detector
    subject: int
    onset: int  # number of the subject's event with which the new regime began
    facts: Mapping[str, Any]  # the fields of `Alert` that are known already


@dataclass(frozen=True, slots=True)
class Stretch:
    """The events of a batch as the alerts see them. `subject` is -1 for events that count for none (labels)."""

    topics: Sequence[str]
    topic: I64  # index into `topics`
    partition: int
    offset: I64
    event_time_ms: I64
    subject: I64
    number: I64


class AlertBook:
    """Alerts that wait to become ready: at most one for each series and detector."""

    def __init__(self, marks: Marks, min_events_after_onset: int) -> None:
        self._marks = marks
        self._enough = min_events_after_onset
        self._waiting: dict[tuple[int, str], tuple[Alert, int, int]] = {}  # alert, subject, number to wait for

    def fold(self, stretch: Stretch, topic_of_subject: list[str], alarms: list[Alarm]) -> list[tuple[int, Alert]]:
        """Mark the stretch, turn its alarms into alerts and tell which alerts became ready.

        `alarms` must be in event order. `topic_of_subject[i]` is the topic of alarm `i`'s subject. Returns the alerts
        in event order, each with the index of the event that gave it.
        """
        told: list[tuple[int, Alert]] = []
        ready_at: dict[tuple[int, str], int] = {}  # those that become ready within this stretch: at which event
        marked = 0
        for series, (alert, subject, due) in self._waiting.items():
            event = _event_of(stretch, subject, due)
            if event is not None:
                ready_at[series] = event
                told.append((event, _ready(alert, _place(stretch, event))))
        for alarm, topic in zip(alarms, topic_of_subject, strict=True):
            if alarm.series in self._waiting and ready_at.get(alarm.series, len(stretch.offset)) > alarm.event:
                continue
            marked = self._mark(stretch, marked, alarm.event + 1)
            told += self._fire(stretch, alarm, topic, ready_at)
        self._mark(stretch, marked, len(stretch.offset))
        for series in ready_at:
            del self._waiting[series]
        told.sort(key=lambda entry: entry[0])  # stable: within an event, as found above
        return told

    def dump(self) -> list[Any]:
        """The waiting alerts as JSON-able data."""
        return [[*series, msgspec.to_builtins(alert), *rest] for series, (alert, *rest) in self._waiting.items()]

    def load(self, dumped: list[Any]) -> None:
        self._waiting = {
            (row, detector): (msgspec.convert(alert, Alert), subject, due)
            for row, detector, alert, subject, due in dumped
        }

    def _fire(
        self, stretch: Stretch, alarm: Alarm, topic: str, ready_at: dict[tuple[int, str], int]
    ) -> Iterator[tuple[int, Alert]]:
        """The alert of an alarm; and that it is ready, where that is known within this stretch."""
        at = _place(stretch, alarm.event)
        now = self._marks.last(alarm.subject)
        onset = _place_of(self._marks.place(alarm.subject, alarm.onset), topic, stretch.partition)
        alert = Alert(alert_id=_alert_id(alarm, at), state=AlertState.FIRING, onset=onset, at=at, **alarm.facts)
        yield alarm.event, alert
        due = alarm.onset + self._enough
        ready_at.pop(alarm.series, None)
        self._waiting.pop(alarm.series, None)
        if due <= now.number:
            yield alarm.event, _ready(alert, _place_of(now, topic, stretch.partition))
            return
        self._waiting[alarm.series] = alert, alarm.subject, due
        event = _event_of(stretch, alarm.subject, due)
        if event is not None:
            ready_at[alarm.series] = event
            yield event, _ready(alert, _place(stretch, event))

    def _mark(self, stretch: Stretch, start: int, end: int) -> int:
        part = slice(start, end)
        self._marks.mark(stretch.subject[part], stretch.number[part], stretch.offset[part], stretch.event_time_ms[part])
        return end


def time_of(event_time_ms: int) -> datetime:
    """Event time as the outputs have it."""
    return EPOCH + timedelta(milliseconds=event_time_ms)


def _event_of(stretch: Stretch, subject: int, number: int) -> int | None:
    """The index of the subject's event of that number, if it is in the stretch."""
    found = np.flatnonzero((stretch.subject == subject) & (stretch.number == number))
    return int(found[0]) if len(found) else None


def _place(stretch: Stretch, event: int) -> Place:
    mark = Mark(0, int(stretch.offset[event]), int(stretch.event_time_ms[event]))
    return _place_of(mark, stretch.topics[stretch.topic[event]], stretch.partition)


def _place_of(mark: Mark, topic: str, partition: int) -> Place:
    return Place(topic, partition, mark.offset, time_of(mark.event_time_ms))


def _ready(alert: Alert, at: Place) -> Alert:
    return replace(alert, state=AlertState.READY, ready_at=at)


def _alert_id(alarm: Alarm, at: Place) -> str:
    """Derived from what it identifies, so that the same log gives the same id in every run."""
    what = (alarm.facts["model_id"], alarm.facts["model_version"], alarm.facts["column"], alarm.facts["detector"])
    where = (at.topic, str(at.partition), str(at.offset))
    return blake2b("\0".join(what + where).encode(), digest_size=12, person=b"driftline-alert").hexdigest()
