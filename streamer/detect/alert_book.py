"""From alarms to alerts: one drift of one series is one alert, first `firing`, then `ready`, then `resolved`.

While an alert waits for enough events of the new regime, further alarms of the same detector on the same series are
absorbed. `ready` follows at the very event with which `min_events_after_onset` events have come since the onset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import msgspec
import numpy as np

from detectors.arrays.types import I64
from detectors.recovery.judge import NEW_SHIFT, RECOVERED, SETTLED
from detectors.series.offsets import OffsetMark, Offsets
from retrain.messages.alert import Alert, AlertKind, AlertState, Place
from streamer.detect.active_alerts import ActiveAlerts, Candidate, Novelty, over
from streamer.detect.alarm import Alarm, RowWatch, Series, Stretch, Verdict, alert_id
from streamer.events import time_of


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

    def __init__(self, marks: Offsets, min_events_after_onset: int) -> None:
        self._marks = marks
        self._enough = min_events_after_onset
        # By subject, so that a stretch costs what its own subjects wait for, however many others wait: the alert, and
        # the number of the event it waits for; in the order in which they fired.
        self._waiting: dict[int, dict[Series, tuple[Alert, int]]] = {}
        self.live = ActiveAlerts(min_events_after_onset)

    def fold(self, stretch: Stretch, alarms: list[Alarm], judged: Sequence[Verdict] = ()) -> list[tuple[int, Alert]]:
        """Mark the stretch, turn its alarms into alerts and tell which alerts became ready, and which are over.

        `alarms` and `judged` must be in event order. Returns the alerts in event order, each with the index of the
        event that gave it.
        """
        concerned = {alarm.subject for alarm in alarms}
        concerned |= {live.subject for one in judged for live in self.live.asked(one.row)}
        runs = self._runs(stretch, concerned) if self._waiting or concerned else {}
        told: list[tuple[int, Alert]] = []
        ready_at: dict[tuple[int, Series], int] = {}  # those that become ready within this stretch: at which event
        marked = 0
        for subject, run in runs.items():
            for series, (alert, due) in self._waiting.get(subject, {}).items():
                event = run.event(due)
                if event is not None:
                    ready_at[subject, series] = event
                    told.append((event, _ready(alert, _place(stretch, event))))
        never: set[str] = set()  # alerts that are over before they become ready
        both: list[Alarm | Verdict] = [*judged, *alarms]
        for alarm in sorted(both, key=lambda one: one.event):  # stable: first what was judged
            marked = self._mark(stretch, marked, alarm.event + 1)
            if isinstance(alarm, Verdict):
                told += self._judged(stretch, alarm, runs, ready_at, never)
                continue
            is_waiting = alarm.series in self._waiting.get(alarm.subject, {})
            is_waiting &= ready_at.get((alarm.subject, alarm.series), len(stretch.offset)) > alarm.event
            news = self._news(alarm)
            if is_waiting or news is Novelty.NONE:
                continue
            alert = self._alert(stretch, alarm)
            if news is Novelty.PERHAPS and alarm.watch:
                self.live.ask(alarm.watch, Candidate(alert, alarm.onset))
                continue
            told += self._fire(stretch, alarm, alert, runs, ready_at)
        self._mark(stretch, marked, len(stretch.offset))
        for waited, event in ready_at.items():
            self._waited(*waited, _place(stretch, event))
        told.sort(key=lambda entry: entry[0])  # stable: within an event, as found above
        return [one for one in told if one[1].state is not AlertState.READY or one[1].alert_id not in never]

    def dump(self) -> dict[str, list[Any]]:
        """The alerts that wait, and those that live, as JSON-able data."""
        waiting = [
            [subject, *series, msgspec.to_builtins(alert), due]
            for subject, waiting in sorted(self._waiting.items())
            for series, (alert, due) in waiting.items()
        ]
        return {"waiting": waiting, "live": self.live.dump()}

    def load(self, dumped: Mapping[str, list[Any]]) -> None:
        self._waiting = {}
        self.live.load(dumped["live"])
        for subject, row, detector, alert, due in dumped["waiting"]:
            self._waiting.setdefault(subject, {})[row, detector] = msgspec.convert(alert, Alert), due

    def _fire(
        self,
        stretch: Stretch,
        alarm: Alarm,
        alert: Alert,
        runs: Mapping[int, _Run],
        ready_at: dict[tuple[int, Series], int],
    ) -> Iterator[tuple[int, Alert]]:
        """The alert of an alarm; and that it is ready, where that is known within this stretch."""
        at = alert.at
        if (event := ready_at.pop((alarm.subject, alarm.series), None)) is not None:
            self._waited(alarm.subject, alarm.series, _place(stretch, event))
        yield alarm.event, alert
        if alarm.watch is None and not alarm.becomes_ready:
            return
        now = self._marks.last(alarm.subject)
        if alarm.watch and (before := self.live.begin(alarm.watch, alert, alarm.subject, now.number)):
            yield alarm.event, over(before, at, None)
        if not alarm.becomes_ready:
            return
        due = alarm.onset + self._enough
        if due <= now.number:
            alert = _ready(alert, _place_of(now, alarm.topic, stretch.partition))
            self.live.became_ready(alert, alarm.series[0])
            yield alarm.event, alert
            return
        self._waiting.setdefault(alarm.subject, {})[alarm.series] = alert, due
        event = runs[alarm.subject].event(due) if alarm.subject in runs else None
        if event is not None:
            ready_at[alarm.subject, alarm.series] = event
            yield event, _ready(alert, _place(stretch, event))

    def _alert(self, stretch: Stretch, alarm: Alarm) -> Alert:
        at = _place(stretch, alarm.event)
        began = alarm.began or self._marks.locate(alarm.subject, alarm.onset)
        onset = _place_of(began, alarm.topic, stretch.partition)
        return Alert(alert_id=alert_id(alarm.facts, at), state=AlertState.FIRING, onset=onset, at=at, **alarm.facts)

    def _news(self, alarm: Alarm) -> Novelty:
        """Whether the alarm tells of another drift than those that alerts live for."""
        if alarm.watch is None:
            return Novelty.IS
        now = self._marks.last(alarm.subject).number
        return self.live.is_news(alarm.watch, alarm.series[1], alarm.facts, alarm.onset, now)

    def _judged(
        self,
        stretch: Stretch,
        judged: Verdict,
        runs: Mapping[int, _Run],
        ready_at: dict[tuple[int, Series], int],
        never: set[str],
    ) -> Iterator[tuple[int, Alert]]:
        """What comes of a judgement: the alerts of the row are over, or alarms of theirs are other drifts, or not."""
        if judged.why in (RECOVERED, SETTLED):
            yield from self._end(stretch, judged, ready_at, never)
            return
        for live in self.live.asked(judged.row):
            asked, live.asked = live.asked, None
            if asked and judged.why == NEW_SHIFT:
                alarm = alarm_of(asked, judged, live.subject)
                at = _place(stretch, judged.event)
                alert = replace(asked.alert, at=at, alert_id=alert_id(asdict(asked.alert), at))
                yield from self._fire(stretch, alarm, alert, runs, ready_at)

    def _end(
        self, stretch: Stretch, ended: Verdict, ready_at: dict[tuple[int, Series], int], never: set[str]
    ) -> Iterator[tuple[int, Alert]]:
        """The alerts of a row are over; what has not become ready by then never does."""
        for live in self.live.end(ended.row):
            series = ended.row[1], live.alert.detector
            alert, event = live.alert, ready_at.get((live.subject, series))
            if event is not None and event <= ended.event:
                alert = _ready(alert, _place(stretch, event))
            elif series in self._waiting.get(live.subject, {}):
                ready_at.pop((live.subject, series), None)
                never.add(alert.alert_id)
                self._forget(live.subject, series)
            yield ended.event, over(alert, _place(stretch, ended.event), ended)

    def _runs(self, stretch: Stretch, concerned: set[int]) -> dict[int, _Run]:
        """The events of each subject that waits or is concerned by what is told."""
        order = np.argsort(stretch.subject, kind="stable")
        subjects, starts, counts = np.unique(stretch.subject[order], return_index=True, return_counts=True)
        first = stretch.number[order[starts]]
        return {
            subject: _Run(number, order[start:end])
            for subject, number, start, end in zip(
                subjects.tolist(), first.tolist(), starts.tolist(), (starts + counts).tolist(), strict=True
            )
            if subject in self._waiting or subject in concerned
        }

    def _waited(self, subject: int, series: Series, ready_at: Place) -> None:
        """An alert has become ready, and waits no longer."""
        self.live.became_ready(_ready(self._waiting[subject][series][0], ready_at), series[0])
        self._forget(subject, series)

    def _forget(self, subject: int, series: Series) -> None:
        waiting = self._waiting[subject]
        del waiting[series]
        if not waiting:
            del self._waiting[subject]

    def _mark(self, stretch: Stretch, start: int, end: int) -> int:
        part = slice(start, end)
        self._marks.record(
            stretch.subject[part], stretch.number[part], stretch.offset[part], stretch.event_time_ms[part]
        )
        return end


def alarm_of(asked: Candidate, judged: Verdict, subject: int) -> Alarm:
    """The alarm that was looked into, as if it came of the event that showed it."""
    alert, series = asked.alert, (judged.row[1], asked.alert.detector)
    is_drift = alert.kind is AlertKind.DRIFT
    return Alarm(judged.event, series, subject, alert.onset.topic, asked.onset, {}, is_drift, RowWatch(judged.row))


def _place(stretch: Stretch, event: int) -> Place:
    mark = OffsetMark(0, int(stretch.offset[event]), int(stretch.event_time_ms[event]))
    return _place_of(mark, stretch.topics[stretch.topic[event]], stretch.partition)


def _place_of(mark: OffsetMark, topic: str, partition: int) -> Place:
    return Place(topic, partition, mark.offset, time_of(mark.event_time_ms))


def _ready(alert: Alert, at: Place) -> Alert:
    return replace(alert, state=AlertState.READY, ready_at=at)
