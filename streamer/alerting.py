"""From alarms to alerts: one drift of one series is one alert, first `firing`, then `ready`.

While an alert waits for enough events of the new regime, further alarms of the same detector on the same series are
absorbed. `ready` follows at the very event with which `min_events_after_onset` events have come since the onset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.marks import Mark, Marks
from retrain.alert import Alert, AlertKind, AlertState, Place

I64 = NDArray[np.int64]
Series = tuple[int, str]  # bank row, detector
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm with everything an alert says, but for the places in the log."""

    event: int  # index of the event, in the batch, that raised it
    series: Series
    subject: int
    topic: str  # the subject's
    onset: int  # number of the subject's event with which the new regime began
    facts: Mapping[str, Any]  # the fields of `Alert` that are known already
    becomes_ready: bool = True  # whether there is something to retrain on once there are events enough
    began: Mark | None = None  # where the new regime began, if that is known; then `subject` and `onset` say nothing


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


class _Run(NamedTuple):
    """The events of one subject in a stretch: their numbers follow one another."""

    first: int  # number of the first of them
    events: I64  # indices, increasing

    def event(self, number: int) -> int | None:
        """The index of the event of that number, if it is in the stretch."""
        at = number - self.first
        return int(self.events[at]) if 0 <= at < len(self.events) else None


class AlertBook:
    """Alerts that wait to become ready: at most one for each series and detector."""

    def __init__(self, marks: Marks, min_events_after_onset: int) -> None:
        self._marks = marks
        self._enough = min_events_after_onset
        # By subject, so that a stretch costs what its own subjects wait for, however many others wait: the alert, and
        # the number of the event it waits for; in the order in which they fired.
        self._waiting: dict[int, dict[Series, tuple[Alert, int]]] = {}

    def fold(self, stretch: Stretch, alarms: list[Alarm]) -> list[tuple[int, Alert]]:
        """Mark the stretch, turn its alarms into alerts and tell which alerts became ready.

        `alarms` must be in event order. Returns the alerts in event order, each with the index of the event that gave
        it.
        """
        runs = self._runs(stretch, alarms) if self._waiting or alarms else {}
        told: list[tuple[int, Alert]] = []
        ready_at: dict[tuple[int, Series], int] = {}  # those that become ready within this stretch: at which event
        marked = 0
        for subject, run in runs.items():
            for series, (alert, due) in self._waiting.get(subject, {}).items():
                event = run.event(due)
                if event is not None:
                    ready_at[subject, series] = event
                    told.append((event, _ready(alert, _place(stretch, event))))
        for alarm in alarms:
            is_waiting = alarm.series in self._waiting.get(alarm.subject, {})
            if is_waiting and ready_at.get((alarm.subject, alarm.series), len(stretch.offset)) > alarm.event:
                continue
            marked = self._mark(stretch, marked, alarm.event + 1)
            told += self._fire(stretch, alarm, runs, ready_at)
        self._mark(stretch, marked, len(stretch.offset))
        for subject, series in ready_at:
            self._forget(subject, series)
        told.sort(key=lambda entry: entry[0])  # stable: within an event, as found above
        return told

    def dump(self) -> list[Any]:
        """The waiting alerts as JSON-able data."""
        return [
            [subject, *series, msgspec.to_builtins(alert), due]
            for subject, waiting in sorted(self._waiting.items())
            for series, (alert, due) in waiting.items()
        ]

    def load(self, dumped: list[Any]) -> None:
        self._waiting = {}
        for subject, row, detector, alert, due in dumped:
            self._waiting.setdefault(subject, {})[row, detector] = msgspec.convert(alert, Alert), due

    def _fire(
        self,
        stretch: Stretch,
        alarm: Alarm,
        runs: Mapping[int, _Run],
        ready_at: dict[tuple[int, Series], int],
    ) -> Iterator[tuple[int, Alert]]:
        """The alert of an alarm; and that it is ready, where that is known within this stretch."""
        at = _place(stretch, alarm.event)
        began = alarm.began or self._marks.place(alarm.subject, alarm.onset)
        onset = _place_of(began, alarm.topic, stretch.partition)
        alert = Alert(alert_id=alert_id(alarm.facts, at), state=AlertState.FIRING, onset=onset, at=at, **alarm.facts)
        yield alarm.event, alert
        if not alarm.becomes_ready:
            return
        now = self._marks.last(alarm.subject)
        due = alarm.onset + self._enough
        if ready_at.pop((alarm.subject, alarm.series), None) is not None:
            self._forget(alarm.subject, alarm.series)
        if due <= now.number:
            yield alarm.event, _ready(alert, _place_of(now, alarm.topic, stretch.partition))
            return
        self._waiting.setdefault(alarm.subject, {})[alarm.series] = alert, due
        event = runs[alarm.subject].event(due) if alarm.subject in runs else None
        if event is not None:
            ready_at[alarm.subject, alarm.series] = event
            yield event, _ready(alert, _place(stretch, event))

    def _runs(self, stretch: Stretch, alarms: list[Alarm]) -> dict[int, _Run]:
        """The events of each subject that waits or is alarmed."""
        alarmed = {alarm.subject for alarm in alarms}
        order = np.argsort(stretch.subject, kind="stable")
        subjects, starts, counts = np.unique(stretch.subject[order], return_index=True, return_counts=True)
        first = stretch.number[order[starts]]
        return {
            subject: _Run(number, order[start:end])
            for subject, number, start, end in zip(
                subjects.tolist(), first.tolist(), starts.tolist(), (starts + counts).tolist(), strict=True
            )
            if subject in self._waiting or subject in alarmed
        }

    def _forget(self, subject: int, series: Series) -> None:
        waiting = self._waiting[subject]
        del waiting[series]
        if not waiting:
            del self._waiting[subject]

    def _mark(self, stretch: Stretch, start: int, end: int) -> int:
        part = slice(start, end)
        self._marks.mark(stretch.subject[part], stretch.number[part], stretch.offset[part], stretch.event_time_ms[part])
        return end


def time_of(event_time_ms: int) -> datetime:
    """Event time as the outputs have it."""
    return EPOCH + timedelta(milliseconds=event_time_ms)


def _place(stretch: Stretch, event: int) -> Place:
    mark = Mark(0, int(stretch.offset[event]), int(stretch.event_time_ms[event]))
    return _place_of(mark, stretch.topics[stretch.topic[event]], stretch.partition)


def _place_of(mark: Mark, topic: str, partition: int) -> Place:
    return Place(topic, partition, mark.offset, time_of(mark.event_time_ms))


def _ready(alert: Alert, at: Place) -> Alert:
    return replace(alert, state=AlertState.READY, ready_at=at)


def alert_id(facts: Mapping[str, Any], at: Place) -> str:
    """Derived from what it identifies, so that the same log gives the same id in every run."""
    what: tuple[str, ...] = (facts["model_id"], facts["model_version"], facts["column"], facts["detector"])
    where: tuple[str, ...] = (at.topic, str(at.partition), str(at.offset))
    if facts.get("kind", AlertKind.DRIFT) != AlertKind.DRIFT:
        what = (*what, facts["kind"])
    if facts.get("segment"):
        what = (*what, f"segment:{facts['segment']}")  # no kind or topic has a colon
    return blake2b("\0".join(what + where).encode(), digest_size=12, person=b"driftline-alert").hexdigest()
