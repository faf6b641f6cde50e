"""From alarms to alerts: one drift of one series is one alert, first `firing`, then `ready`, then `resolved`.

While an alert is pending, it absorbs further alarms of the same detector on the same series. It becomes ready exactly
at the event with which `min_events_after_onset` events have arrived since the onset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from heapq import heappop, heappush
from typing import Any, NamedTuple

import numpy as np

from detectors.arrays.types import I64
from detectors.recovery.judge import NEW_SHIFT, RECOVERED, SETTLED
from detectors.series.offsets import OffsetMark, Offsets
from retrain.messages.alert import Alert, AlertKind, AlertState, Place, alert_id
from retrain.messages.summary import sentence_of
from streamer.detect.alarm import (
    Alarm,
    AlarmEvidence,
    Remeasured,
    Remeasures,
    RowWatch,
    Series,
    Stretch,
    Verdict,
)
from streamer.detect.alerts.active_alerts import (
    ActiveAlerts,
    Candidate,
    Moved,
    Novelty,
    PendingAlert,
    PendingAlerts,
    resolve,
)
from streamer.detect.alerts.windows import Windows, WindowStart
from streamer.detect.remap import Remap, Remaps
from streamer.events import time_of

Placed = tuple[int, Alert]  # an alert with the index of its event


class _Run(NamedTuple):
    """The events of one subject in a stretch, whose sequence numbers are consecutive."""

    first: int  # sequence number of the first of them
    entries: I64  # indices, increasing

    def entry(self, sequence: int) -> int | None:
        """The index of the event with this sequence number, if it is in the stretch."""
        at = sequence - self.first
        return int(self.entries[at]) if 0 <= at < len(self.entries) else None


class _Due(NamedTuple):
    """An alert that becomes ready within a stretch, unless it is resolved or superseded before."""

    entry: int
    subject: int
    series: Series
    due: int


@dataclass(slots=True)
class _Update:
    """One stretch, with what is known of it while its alarms become alerts."""

    stretch: Stretch
    runs: Mapping[int, _Run]  # of the subjects that wait or alarm
    due: list[_Due] = field(default_factory=list)  # a heap: alerts that become ready here
    marked: int = 0  # entries whose offsets are marked
    labelled: int = 0  # of the labels that came with the stretch, how many are stored

    def place(self, entry: int) -> Place:
        mark = OffsetMark(0, int(self.stretch.offset[entry]), int(self.stretch.event_time_ms[entry]))
        place = self.place_of(mark, self.stretch.topics[self.stretch.topic[entry]])
        return replace(place, row=int(self.stretch.row[entry]))

    def place_of(self, mark: OffsetMark, topic: str) -> Place:
        return Place(topic, self.stretch.partition, mark.offset, time_of(mark.event_time_ms))


class AlertBook:
    """The alerts of a fold unit that are pending or active."""

    def __init__(
        self,
        offsets: Offsets,
        min_events_after_onset: int,
        evidence: Mapping[str, Remeasures] | None = None,
        windows: Windows | None = None,
    ) -> None:
        """evidence: by detector, what measures its alerts again. Without `windows`, alerts name none."""
        self._offsets = offsets
        self._windows = windows
        self._evidence = evidence or {}
        self._enough = min_events_after_onset
        self.pending = PendingAlerts()
        self.active = ActiveAlerts(min_events_after_onset)

    def update(self, stretch: Stretch, alarms: Sequence[Alarm], verdicts: Sequence[Verdict] = ()) -> list[Placed]:
        """Mark the offsets of a stretch; returns the alerts that fire, become ready or resolve, in order of events.

        Alarms and verdicts must be in order of events.
        """
        if stretch.width > 1:  # an alarm belongs to the last entry of its event
            alarms = [replace(one, event=stretch.last_entry(one.event)) for one in alarms]
            verdicts = [one._replace(event=stretch.last_entry(one.event)) for one in verdicts]
        now = _Update(stretch, self._runs(stretch, alarms, verdicts))
        for subject in now.runs:
            for series, pending in self.pending.of(subject).items():
                self._schedule(now, subject, series, pending.due)
        found: list[Placed] = []
        both: list[Alarm | Verdict] = [*verdicts, *alarms]
        for one in sorted(both, key=lambda one: one.event):  # stable: verdicts first
            found += self._ready_until(now, one.event)
            self._mark(now, one.event + 1)
            found += self._judge(now, one) if isinstance(one, Verdict) else self._handle(now, one)
        found += self._ready_until(now, len(stretch.offset))
        self._mark(now, len(stretch.offset))
        return [(entry // stretch.width, alert) for entry, alert in found]

    def dump(self) -> dict[str, list[Any]]:
        """The alerts that are pending, and those that are active, as JSON-able data."""
        return {"waiting": self.pending.dump(), "live": self.active.dump()}

    def load(self, dumped: Mapping[str, list[Any]]) -> None:
        """Restore what was dumped."""
        self.active.load(dumped["live"])
        self.pending.load(dumped["waiting"])

    @staticmethod
    def remap(dumped: Mapping[str, list[Any]], remaps: Remaps, alarm_rows: Mapping[str, Remap]) -> dict[str, list[Any]]:
        """What was dumped, without the alerts of evicted subjects; `alarm_rows`: see `Monitor`."""
        waiting = PendingAlerts.remap(dumped["waiting"], dumped["live"], remaps, alarm_rows)
        return {"waiting": waiting, "live": ActiveAlerts.remap(dumped["live"], remaps)}

    def _runs(self, stretch: Stretch, alarms: Sequence[Alarm], verdicts: Sequence[Verdict]) -> dict[int, _Run]:
        """The events of each subject that waits, or that alarms and verdicts are about."""
        concerned = {alarm.subject for alarm in alarms}
        concerned |= {live.subject for one in verdicts for live in self.active.with_candidates(one.row)}
        if not (self.pending or concerned):
            return {}
        order = np.argsort(stretch.subject, kind="stable")
        subjects, starts, counts = np.unique(stretch.subject[order], return_index=True, return_counts=True)
        first = stretch.sequence[order[starts]]
        return {
            subject: _Run(sequence, order[start:end])
            for subject, sequence, start, end in zip(
                subjects.tolist(), first.tolist(), starts.tolist(), (starts + counts).tolist(), strict=True
            )
            if subject in self.pending or subject in concerned
        }

    def _schedule(self, now: _Update, subject: int, series: Series, due: int) -> None:
        """Let an alert become ready at event `due` of its subject, if that is in the stretch."""
        entry = now.runs[subject].entry(due) if subject in now.runs else None
        if entry is not None:
            heappush(now.due, _Due(entry, subject, series, due))

    def _ready_until(self, now: _Update, entry: int) -> Iterator[Placed]:
        """The alerts that become ready up to an entry, in order."""
        while now.due and now.due[0].entry <= entry:
            one = self._next_due(now)
            pending = self.pending.of(one.subject).get(one.series)
            if pending is not None and pending.due == one.due:
                self._mark(now, one.entry + 1)
                yield from self._become_ready(now, one, pending)

    def _next_due(self, now: _Update) -> _Due:
        """Remove the alert that becomes ready next: of several at one entry, the one that fired first."""
        same = [heappop(now.due)]
        while now.due and now.due[0].entry == same[0].entry:
            same.append(heappop(now.due))
        fired = {series: place for place, series in enumerate(self.pending.of(same[0].subject))}
        same.sort(key=lambda one: fired.get(one.series, 0))
        for one in same[1:]:
            heappush(now.due, one)
        return same[0]

    def _become_ready(self, now: _Update, one: _Due, pending: PendingAlert) -> Iterator[Placed]:
        """The alert with the numbers of all values since its onset; nothing yet if the onset proves to be later."""
        found = self._measured(now, one.series, pending.alert, one.entry, is_settled=pending.is_settled)
        onset = one.due - pending.alert.min_events_after_onset
        if found and found.onset > onset and not pending.is_settled:
            place = now.place_of(self._offsets.locate(one.subject, found.onset), pending.alert.onset.topic)
            due = found.onset + pending.alert.min_events_after_onset
            self._evidence[one.series[1]].settle(one.series, found.value)
            later = replace(pending.alert, onset=place)
            start = self._begin_windows(now, later, one.subject, found.onset, one.entry)
            self.pending.add(one.subject, one.series, PendingAlert(later, due, True, start))
            self._schedule(now, one.subject, one.series, due)
            return
        alert, start = pending.alert, pending.start
        if found and found.onset < onset:
            place = now.place_of(self._offsets.locate(one.subject, found.onset), alert.onset.topic)
            alert = replace(alert, onset=place)
            start = self._begin_windows(now, alert, one.subject, found.onset, one.entry)
        alert = self._became_ready(one.subject, one.series, alert, found, now.place(one.entry))
        yield one.entry, self._with_windows(alert, one.subject, start, one.due)

    def _measured(
        self, now: _Update, series: Series, alert: Alert, entry: int, *, is_settled: bool
    ) -> Remeasured | None:
        evidence = self._evidence.get(series[1])
        if evidence is None:
            return None
        return evidence.measure(series, alert, entry // now.stretch.width, is_settled=is_settled)

    def _became_ready(self, subject: int, series: Series, alert: Alert, found: Remeasured | None, at: Place) -> Alert:
        """The alert as it is published once it is ready; it waits no longer."""
        alert = replace(alert, state=AlertState.READY, ready_at=at)
        if found is not None:
            alert = replace(alert, **found.facts)
            alert = replace(alert, summary=sentence_of(alert, found.change()))
        self._drop(subject, series)
        self.active.became_ready(alert, series[0])
        return alert

    def _begin_windows(self, now: _Update, alert: Alert, subject: int, onset: int, entry: int) -> WindowStart | None:
        """Where the windows of an alert begin, by the events up to an entry."""
        return self._windows.begin(alert, subject, onset, now.stretch, entry) if self._windows else None

    def _with_windows(self, alert: Alert, subject: int, start: WindowStart | None, end: int) -> Alert:
        """An alert that has become ready with event `end` of its subject, with what to train on."""
        windows = self._windows
        return windows.complete(alert, subject, start, end, windows.newest(start)) if windows and start else alert

    def _drop(self, subject: int, series: Series) -> None:
        """Let an alert wait no longer."""
        self.pending.remove(subject, series)
        if series[1] in self._evidence:
            self._evidence[series[1]].end(series)

    def _handle(self, now: _Update, alarm: Alarm) -> Iterator[Placed]:
        """The alerts of an alarm, unless it belongs to an alert that there is."""
        is_pending = alarm.series in self.pending.of(alarm.subject)
        novelty = self._novelty_of(alarm)
        if is_pending or novelty is Novelty.NONE:
            return
        alert, onset = self._alert(now, alarm), _onset_of(alarm)
        if novelty is Novelty.UNCERTAIN and alarm.watch:
            basis = alarm.evidence.basis if alarm.evidence else None
            self.active.add_candidate(alarm.watch, Candidate(alert, onset, Moved.of(alarm.facts), basis))
            return
        yield from self._fire(now, alarm, alert)

    def _fire(self, now: _Update, alarm: Alarm, alert: Alert) -> Iterator[Placed]:
        """The alert of an alarm; the one that it supersedes; and that it is ready, if that is known by now."""
        subject, series, onset = alarm.subject, alarm.series, _onset_of(alarm)
        last = self._offsets.last(subject) if subject >= 0 else OffsetMark(0, 0, 0)
        if alarm.becomes_ready:
            n = last.number - onset
            alert = replace(alert, events_after_onset=n, min_events_after_onset=self._enough)
        yield alarm.event, alert
        if alarm.watch:
            before = self.active.add(alarm.watch, alert, subject, last.number, Moved.of(alarm.facts))
            if before:
                yield alarm.event, resolve(before, alert.at, None)
        if not alarm.becomes_ready:
            return
        if series in self.pending.of(subject):
            self._drop(subject, series)
        if alarm.evidence and series[1] in self._evidence:
            self._evidence[series[1]].begin(series, alarm.evidence.basis, alarm.event // now.stretch.width)
        due = onset + self._enough
        start = self._begin_windows(now, alert, subject, onset, alarm.event)
        self.pending.add(subject, series, PendingAlert(alert, due, start=start))
        if due > last.number:
            self._schedule(now, subject, series, due)
            return
        found = self._measured(now, series, alert, alarm.event, is_settled=True)
        alert = self._became_ready(subject, series, alert, found, now.place_of(last, alarm.topic))
        yield alarm.event, self._with_windows(alert, subject, start, last.number)

    def _alert(self, now: _Update, alarm: Alarm) -> Alert:
        at = now.place(alarm.event)
        began = alarm.began or self._offsets.locate(alarm.subject, _onset_of(alarm))
        onset = now.place_of(began, alarm.topic)
        facts = {**alarm.facts, **(alarm.evidence.facts if alarm.evidence else {})}
        alert = Alert(alert_id=alert_id(alarm.facts, at), state=AlertState.FIRING, onset=onset, at=at, **facts)
        return replace(alert, summary=sentence_of(alert, alarm.evidence.change() if alarm.evidence else ""))

    def _novelty_of(self, alarm: Alarm) -> Novelty:
        if alarm.watch is None:
            return Novelty.IS
        now = self._offsets.last(alarm.subject).number
        return self.active.novelty_of(alarm.watch, alarm.series[1], alarm.facts, alarm.onset, now)

    def _judge(self, now: _Update, verdict: Verdict) -> Iterator[Placed]:
        """The alerts that a verdict gives: those of its row resolve, or their candidates fire, or nothing happens."""
        if verdict.outcome in (RECOVERED, SETTLED):
            yield from self._resolve(now, verdict)
            return
        for live in self.active.with_candidates(verdict.row):
            candidate, live.candidate = live.candidate, None
            if candidate and verdict.outcome == NEW_SHIFT:
                alarm, at = _alarm_of(candidate, verdict, live.subject), now.place(verdict.event)
                alert = replace(candidate.alert, at=at, alert_id=alert_id(asdict(candidate.alert), at))
                yield from self._fire(now, alarm, alert)

    def _resolve(self, now: _Update, verdict: Verdict) -> Iterator[Placed]:
        """Resolve the alerts of a row; those that are pending then never become ready."""
        for live in self.active.remove(verdict.row):
            series = verdict.row[1], live.alert.detector
            if series in self.pending.of(live.subject):
                self._drop(live.subject, series)
            yield verdict.event, resolve(live.alert, now.place(verdict.event), verdict)

    def _mark(self, now: _Update, end: int) -> None:
        """Mark the offsets of the entries up to `end`, and store where the labels lie that came with them."""
        if end <= now.marked:
            return
        stretch, part = now.stretch, slice(now.marked, end)
        of_part = (stretch.subject[part], stretch.sequence[part], stretch.offset[part], stretch.event_time_ms[part])
        self._offsets.record(*of_part)
        if self._windows:
            now.labelled = self._windows.store_labels(stretch.labels, now.labelled, (end - 1) // stretch.width + 1)
        now.marked = end


def _onset_of(alarm: Alarm) -> int:
    """The sequence number of the onset: as measured, else as the detector has it."""
    return alarm.evidence.onset if alarm.evidence else alarm.onset


def _alarm_of(candidate: Candidate, verdict: Verdict, subject: int) -> Alarm:
    """The alarm of a candidate, as if the event of the verdict had raised it."""
    alert, series = candidate.alert, (verdict.row[1], candidate.alert.detector)
    evidence = candidate.basis and AlarmEvidence({}, str, candidate.onset, candidate.basis)
    return Alarm(
        verdict.event,
        series,
        subject,
        alert.onset.topic,
        candidate.onset,
        candidate.moved._asdict(),
        becomes_ready=alert.kind is AlertKind.DRIFT,
        watch=RowWatch(verdict.row),
        evidence=evidence,
    )
