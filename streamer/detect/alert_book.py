"""From alarms to alerts: one drift of one series is one alert, first `firing`, then `ready`, then `resolved`.

While an alert is pending, it absorbs further alarms of the same detector on the same series. It becomes ready exactly
at the event with which `min_events_after_onset` events have arrived since the onset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import msgspec
import numpy as np

from detectors.arrays.types import I64
from detectors.recovery.judge import NEW_SHIFT, RECOVERED, SETTLED
from detectors.series.offsets import OffsetMark, Offsets
from retrain.messages.alert import Alert, AlertKind, AlertState, Place
from streamer.detect.active_alerts import ActiveAlerts, Candidate, Novelty, resolve
from streamer.detect.alarm import Alarm, RowWatch, Series, Stretch, Verdict, alert_id
from streamer.detect.batch import TAKES
from streamer.detect.remap import Remap, Remaps
from streamer.detect.windows import Windows, WindowStart, last_of_sources
from streamer.events import time_of

Placed = tuple[int, Alert]  # an alert with the index of its event


class PendingAlert(NamedTuple):
    """An alert, and the event with which it becomes ready."""

    alert: Alert
    due: int  # sequence number in the alert's subject
    start: WindowStart | None = None  # None where no windows are wanted


class PendingAlerts:
    """Alerts that fired and wait for enough events of the new regime: at most one for each series and detector.

    They are held by subject, so a batch costs what its own subjects wait for, however many others wait.
    """

    def __init__(self) -> None:
        self._of: dict[int, dict[Series, PendingAlert]] = {}  # in the order in which they fired

    def __bool__(self) -> bool:
        return bool(self._of)

    def __contains__(self, subject: int) -> bool:
        return subject in self._of

    def of(self, subject: int) -> Mapping[Series, PendingAlert]:
        """The alerts of a subject that wait."""
        return self._of.get(subject, {})

    def __iter__(self) -> Iterator[tuple[int, PendingAlert]]:
        """Each alert that waits, with its subject."""
        return ((subject, one) for subject, waiting in self._of.items() for one in waiting.values())

    def add(self, subject: int, series: Series, one: PendingAlert) -> None:
        """Let an alert wait for event `due` of its subject."""
        self._of.setdefault(subject, {})[series] = one

    def remove(self, subject: int, series: Series) -> Alert:
        """Remove an alert; returns it."""
        waiting = self._of[subject]
        alert = waiting.pop(series).alert
        if not waiting:
            del self._of[subject]
        return alert

    def dump(self) -> list[Any]:
        """As JSON-able data."""
        return [
            [subject, *series, msgspec.to_builtins(alert), due, msgspec.to_builtins(start)]
            for subject, waiting in sorted(self._of.items())
            for series, (alert, due, start) in waiting.items()
        ]

    def load(self, dumped: list[Any]) -> None:
        """Restore what was dumped."""
        self._of = {}
        for subject, row, detector, alert, due, *start in dumped:
            begun = msgspec.convert(start[0] if start else None, WindowStart | None)
            self.add(subject, (row, detector), PendingAlert(msgspec.convert(alert, Alert), due, begun))

    @staticmethod
    def remap(dumped: list[Any], active: list[Any], remaps: Remaps, alarm_rows: Mapping[str, Remap]) -> list[Any]:
        """What was dumped, without the alerts of evicted subjects.

        alarm_rows: of the detectors that run. The row of another detector is that of its alert among the `active`
        ones. A row that no table knows, of a detector that was reset or stopped, stays.
        """
        rows = {takes: remaps.rows[kind] for kind, takes in TAKES.items()}
        of_alert = {alert["alert_id"]: rows[takes] for takes, *_, alert, _ in active}
        found = []
        for subject, row, detector, alert, due, dumped_start in dumped:
            if remaps.subjects.kept[subject]:
                of = alarm_rows.get(detector, of_alert.get(alert["alert_id"]))
                new = int(of.place[row]) if of is not None and row < len(of.place) else row
                start = msgspec.convert(dumped_start, WindowStart | None)
                begun = None if start is None else msgspec.to_builtins(start.remap(remaps.subjects))
                found.append([int(remaps.subjects.place[subject]), new, detector, alert, due, begun])
        return found


class _Run(NamedTuple):
    """The events of one subject in a stretch, whose sequence numbers are consecutive."""

    first: int  # sequence number of the first of them
    entries: I64  # indices, increasing

    def entry(self, sequence: int) -> int | None:
        """The index of the event with this sequence number, if it is in the stretch."""
        at = sequence - self.first
        return int(self.entries[at]) if 0 <= at < len(self.entries) else None


@dataclass(slots=True)
class _Update:
    """One stretch, with what is known of it while its alarms become alerts."""

    stretch: Stretch
    runs: Mapping[int, _Run]  # of the subjects that wait or alarm
    ready_at: dict[tuple[int, Series], int] = field(default_factory=dict)  # alerts that become ready here: where
    never: set[str] = field(default_factory=set)  # ids of alerts that resolve before they become ready
    marked: int = 0  # entries whose offsets are marked
    labelled: int = 0  # of the labels that came with the stretch, how many are stored
    starts: dict[str, tuple[int, int, WindowStart]] = field(default_factory=dict)  # alert -> subject, last event, start
    sources: dict[int, OffsetMark] = field(default_factory=dict)  # newest event of sources, early in the stretch

    def place(self, entry: int) -> Place:
        mark = OffsetMark(0, int(self.stretch.offset[entry]), int(self.stretch.event_time_ms[entry]))
        place = self.place_of(mark, self.stretch.topics[self.stretch.topic[entry]])
        return replace(place, row=int(self.stretch.row[entry]))

    def place_of(self, mark: OffsetMark, topic: str) -> Place:
        return Place(topic, self.stretch.partition, mark.offset, time_of(mark.event_time_ms))


class AlertBook:
    """The alerts of a fold unit that are pending or active."""

    def __init__(self, offsets: Offsets, min_events_after_onset: int, windows: Windows | None = None) -> None:
        """Without `windows`, alerts name none."""
        self._offsets = offsets
        self._windows = windows
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
        found = list(self._due(now))
        both: list[Alarm | Verdict] = [*verdicts, *alarms]
        for one in sorted(both, key=lambda one: one.event):  # stable: verdicts first
            self._mark(now, one.event + 1)
            found += self._judge(now, one) if isinstance(one, Verdict) else self._handle(now, one)
        self._mark(now, len(stretch.offset))
        for (subject, series), entry in now.ready_at.items():
            self._became_ready(subject, series, now.place(entry))
        found.sort(key=lambda placed: placed[0])  # stable: of one event, in the order above
        return [
            (entry // stretch.width, alert)
            for entry, alert in self._with_windows(now, found)
            if alert.state is not AlertState.READY or alert.alert_id not in now.never
        ]

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

    def _due(self, now: _Update) -> Iterator[Placed]:
        """The alerts that become ready within the stretch."""
        for subject, run in now.runs.items():
            for series, (alert, due, start) in self.pending.of(subject).items():
                entry = run.entry(due)
                if entry is not None:
                    now.ready_at[subject, series] = entry
                    self._begin_windows(now, alert, (subject, due, start))
                    yield entry, _as_ready(alert, now.place(entry))

    def _handle(self, now: _Update, alarm: Alarm) -> Iterator[Placed]:
        """The alerts of an alarm, unless it belongs to an alert that there is."""
        is_pending = alarm.series in self.pending.of(alarm.subject)
        ready_at = now.ready_at.get((alarm.subject, alarm.series), len(now.stretch.offset))
        novelty = self._novelty_of(alarm)
        if (is_pending and ready_at > alarm.event) or novelty is Novelty.NONE:
            return
        alert = self._alert(now, alarm)
        if novelty is Novelty.UNCERTAIN and alarm.watch:
            self.active.add_candidate(alarm.watch, Candidate(alert, alarm.onset))
            return
        yield from self._fire(now, alarm, alert)

    def _fire(self, now: _Update, alarm: Alarm, alert: Alert) -> Iterator[Placed]:
        """The alert of an alarm; the one that it supersedes; and that it is ready, if that is known by now."""
        subject, series = alarm.subject, alarm.series
        if (entry := now.ready_at.pop((subject, series), None)) is not None:
            self._became_ready(subject, series, now.place(entry))
        last = self._offsets.last(subject) if subject >= 0 else OffsetMark(0, 0, 0)
        if alarm.becomes_ready:
            n = last.number - alarm.onset
            alert = replace(alert, events_after_onset=n, min_events_after_onset=self._enough)
        yield alarm.event, alert
        if alarm.watch is None and not alarm.becomes_ready:
            return
        if alarm.watch and (before := self.active.add(alarm.watch, alert, subject, last.number)):
            yield alarm.event, resolve(before, alert.at, None)
        if not alarm.becomes_ready:
            return
        due = alarm.onset + self._enough
        start = self._windows.begin(alert, subject, alarm.onset, now.stretch, alarm.event) if self._windows else None
        self._begin_windows(now, alert, (subject, max(due, last.number), start))
        if due <= last.number:
            alert = _as_ready(alert, now.place_of(last, alarm.topic))
            self.active.became_ready(alert, series[0])
            yield alarm.event, alert
            return
        self.pending.add(subject, series, PendingAlert(alert, due, start))
        entry = now.runs[subject].entry(due) if subject in now.runs else None
        if entry is not None:
            now.ready_at[subject, series] = entry
            yield entry, _as_ready(alert, now.place(entry))

    def _alert(self, now: _Update, alarm: Alarm) -> Alert:
        at = now.place(alarm.event)
        began = alarm.began or self._offsets.locate(alarm.subject, alarm.onset)
        onset = now.place_of(began, alarm.topic)
        return Alert(alert_id=alert_id(alarm.facts, at), state=AlertState.FIRING, onset=onset, at=at, **alarm.facts)

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
            alert, entry = live.alert, now.ready_at.get((live.subject, series))
            if entry is not None and entry <= verdict.event:
                alert = _as_ready(alert, now.place(entry))
            elif series in self.pending.of(live.subject):
                now.ready_at.pop((live.subject, series), None)
                now.never.add(alert.alert_id)
                self.pending.remove(live.subject, series)
            yield verdict.event, resolve(alert, now.place(verdict.event), verdict)

    def _became_ready(self, subject: int, series: Series, at: Place) -> None:
        """A pending alert has become ready."""
        self.active.became_ready(_as_ready(self.pending.remove(subject, series), at), series[0])

    def _begin_windows(self, now: _Update, alert: Alert, begun: tuple[int, int, WindowStart | None]) -> None:
        """Store where the windows of an alert begin that may become ready in this stretch."""
        subject, end, start = begun
        if self._windows and start:
            now.starts[alert.alert_id] = subject, end, start
            now.sources = self._windows.newest(start) | now.sources

    def _with_windows(self, now: _Update, found: Sequence[Placed]) -> Iterator[Placed]:
        """The alerts in order of events; those that are ready name their windows, by the labels that came by then."""
        windows = self._windows
        for entry, alert in found:
            if windows and alert.state is AlertState.READY and alert.alert_id in now.starts:
                self._store_labels(now, windows, entry // now.stretch.width + 1)
                subject, end, start = now.starts[alert.alert_id]
                ends = last_of_sources(now.stretch, entry, now.sources)
                alert = windows.complete(alert, subject, start, end, ends)
            yield entry, alert
        if windows:
            self._store_labels(now, windows, len(now.stretch.offset))

    def _store_labels(self, now: _Update, windows: Windows, end: int) -> None:
        """Store where the labels lie that came with the events before `end` of the stretch."""
        now.labelled = windows.store_labels(now.stretch.labels, now.labelled, end)

    def _mark(self, now: _Update, end: int) -> None:
        stretch, part = now.stretch, slice(now.marked, end)
        of_part = (stretch.subject[part], stretch.sequence[part], stretch.offset[part], stretch.event_time_ms[part])
        self._offsets.record(*of_part)
        now.marked = end


def _alarm_of(candidate: Candidate, verdict: Verdict, subject: int) -> Alarm:
    """The alarm of a candidate, as if the event of the verdict had raised it."""
    alert, series = candidate.alert, (verdict.row[1], candidate.alert.detector)
    is_drift = alert.kind is AlertKind.DRIFT
    return Alarm(
        verdict.event, series, subject, alert.onset.topic, candidate.onset, {}, is_drift, RowWatch(verdict.row)
    )


def _as_ready(alert: Alert, at: Place) -> Alert:
    return replace(alert, state=AlertState.READY, ready_at=at)
