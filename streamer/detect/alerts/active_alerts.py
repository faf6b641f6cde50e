"""Active alerts, and whether a further alarm on their series is a new drift; and those that wait for data.

One drift is one alert, also if it is gradual or comes and goes. So an alarm on a series with an active alert belongs to
that alert in three cases: the values go back to where they were before all alerts, they go again to where the alert has
them, or they move on the same way without a pause. Any other alarm is a new drift, whose alert supersedes the first. An
alarm rests on few values, so the first two cases are uncertain: the judge of the series decides after a whole window.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, Final, NamedTuple

import msgspec

from detectors.recovery.judge import RECOVERED
from retrain.messages.alert import Alert, AlertState, Place, Resolution
from streamer.detect.alarm import Basis, RowWatch, Series, Verdict, Watched
from streamer.detect.alerts.windows import WindowStart
from streamer.detect.batch import TAKES
from streamer.detect.remap import Remap, Remaps

GRADUAL: Final = 2  # times `min_events_after_onset`: an onset this soon after the last alarm continues its drift


class Novelty(Enum):
    """Whether an alarm is a new drift."""

    NONE = auto()
    UNCERTAIN = auto()  # the judge will decide
    IS = auto()


class Moved(NamedTuple):
    """From where to where an alert's series moved, according to its detector: what its later alarms compare with."""

    before: float
    after: float
    category: str

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Moved:
        """The move of an alarm with these fields of `Alert`."""
        return cls(facts["before"], facts["after"], facts["category"])


@dataclass(slots=True)
class Candidate:
    """An alarm that may be a new drift: the alert it would be."""

    alert: Alert
    onset: int  # sequence number, in the subject, of the event with which its regime began
    moved: Moved
    basis: Basis | None = None


@dataclass(slots=True)
class ActiveAlert:
    """An alert that has not resolved."""

    alert: Alert
    subject: int
    last: int  # sequence number, in the subject, of the event with which its series alarmed last
    moved: Moved
    baseline: float  # location before the first of the alerts that superseded each other
    candidate: Candidate | None = None


class ActiveAlerts:
    """At most one for each series and detector."""

    def __init__(self, min_events_after_onset: int) -> None:
        self._soon = GRADUAL * min_events_after_onset
        self._of: dict[Watched, dict[str, ActiveAlert]] = {}  # by row, then by detector

    def __iter__(self) -> Iterator[ActiveAlert]:
        return (one for living in self._of.values() for one in living.values())

    def __len__(self) -> int:
        return sum(len(living) for living in self._of.values())

    def novelty_of(self, watch: RowWatch, detector: str, facts: Mapping[str, Any], onset: int, now: int) -> Novelty:
        """Whether an alarm with these facts, at sequence number `now` and with this onset, is a new drift."""
        living = self._of.get(watch.row, {})
        own = living.get(detector)
        if own is None:
            comes_back = any(_goes_back(one, facts) and _is_turned(one, facts) for one in living.values())
            return Novelty.NONE if comes_back else Novelty.IS
        goes_on = _is_same_way(own.moved, facts) and onset - own.last <= self._soon
        is_judged_now = own.last == now  # the judge has made an alert of this very event
        own.last = now
        if goes_on or is_judged_now:
            return Novelty.NONE
        if watch.returns or _goes_back(own, facts) or _goes_again(own.moved, facts):
            return Novelty.UNCERTAIN
        return Novelty.IS

    def add_candidate(self, watch: RowWatch, candidate: Candidate) -> None:
        """Keep an alarm that may be a new drift until the judge decides."""
        self._of[watch.row][candidate.alert.detector].candidate = candidate

    def with_candidates(self, row: Watched) -> list[ActiveAlert]:
        """The alerts of a row whose detectors have alarmed again."""
        return [live for live in self._of.get(row, {}).values() if live.candidate]

    def add(self, watch: RowWatch, alert: Alert, subject: int, now: int, moved: Moved) -> Alert | None:
        """Add an alert that fires; returns the one that it supersedes."""
        living = self._of.setdefault(watch.row, {})
        before = living.get(alert.detector)
        is_same = before is not None and before.moved.category == moved.category
        baseline = before.baseline if before and is_same else moved.before
        living[alert.detector] = ActiveAlert(alert, subject, now, moved, baseline)
        return before.alert if before else None

    def became_ready(self, alert: Alert, row: int) -> None:
        """Store that an alert of a row, of either kind of value, has become ready; its distribution is not kept."""
        for takes in TAKES.values():
            live = self._of.get((takes, row), {}).get(alert.detector)
            if live and live.alert.alert_id == alert.alert_id:
                live.alert = replace(alert, distribution=None)

    def remove(self, row: Watched) -> Iterator[ActiveAlert]:
        """Remove the alerts of a row; returns them."""
        return iter(self._of.pop(row, {}).values())

    def dump(self) -> list[Any]:
        """As JSON-able data."""
        return [
            [
                *row,
                live.subject,
                live.last,
                live.moved,
                live.baseline,
                *(msgspec.to_builtins(one) for one in (live.alert, live.candidate)),
            ]
            for row, living in sorted(self._of.items())
            for live in living.values()
        ]

    def load(self, dumped: list[Any]) -> None:
        """Restore what was dumped."""
        self._of = {}
        for takes, row, subject, last, moved, baseline, alert, asked in dumped:
            candidate = msgspec.convert(asked, Candidate | None)
            live = ActiveAlert(msgspec.convert(alert, Alert), subject, last, Moved(*moved), baseline, candidate)
            self._of.setdefault((takes, row), {})[live.alert.detector] = live

    @staticmethod
    def remap(dumped: list[Any], remaps: Remaps) -> list[Any]:
        """What was dumped, without the alerts of evicted subjects."""
        rows = {takes: remaps.rows[kind] for kind, takes in TAKES.items()}
        return [
            [takes, int(rows[takes].place[row]), int(remaps.subjects.place[subject]), *rest]
            for takes, row, subject, *rest in dumped
            if remaps.subjects.kept[subject]
        ]


def resolve(alert: Alert, at: Place, verdict: Verdict | None) -> Alert:
    """The alert as it is published when it resolves: by this verdict, or None if another alert supersedes it."""
    if verdict is None:
        return replace(alert, state=AlertState.RESOLVED, resolved_at=at, resolution=Resolution.SUPERSEDED)
    return replace(
        alert,
        state=AlertState.RESOLVED,
        resolved_at=at,
        resolution=Resolution.BACK_TO_NORMAL if verdict.outcome == RECOVERED else Resolution.SETTLED,
        distance=verdict.distance,
        distance_max=verdict.distance_max,
    )


def _goes_back(live: ActiveAlert, facts: Mapping[str, Any]) -> bool:
    """Whether values are nearer to the baseline than halfway to where the alert has them."""
    is_same: bool = facts["category"] == live.moved.category
    return is_same and _is_near(facts["after"], live.baseline, abs(live.moved.after - live.baseline))


def _goes_again(moved: Moved, facts: Mapping[str, Any]) -> bool:
    """Whether values are again where the alert has them."""
    is_same: bool = facts["category"] == moved.category
    return is_same and _is_near(facts["after"], moved.after, abs(moved.after - moved.before))


def _is_turned(live: ActiveAlert, facts: Mapping[str, Any]) -> bool:
    """Whether the location moves the other way than the alert's; False if it stays."""
    gone: float = facts["after"] - facts["before"]
    return gone * (live.moved.after - live.baseline) < 0


def _is_same_way(moved: Moved, facts: Mapping[str, Any]) -> bool:
    gone: float = facts["after"] - facts["before"]
    is_same: bool = facts["category"] == moved.category
    return is_same and gone * (moved.after - moved.before) > 0


def _is_near(value: float, target: float, gone: float) -> bool:
    """Whether a value is nearer to the target than half the way of an alert."""
    return abs(value - target) < gone / 2


class PendingAlert(NamedTuple):
    """An alert, and the event with which it becomes ready."""

    alert: Alert
    due: int  # sequence number in the alert's subject
    is_settled: bool = False  # whether the onset is not estimated again
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

    def add(self, subject: int, series: Series, pending: PendingAlert) -> None:
        """Let an alert wait."""
        self._of.setdefault(subject, {})[series] = pending

    def remove(self, subject: int, series: Series) -> None:
        """Remove an alert."""
        waiting = self._of[subject]
        del waiting[series]
        if not waiting:
            del self._of[subject]

    def dump(self) -> list[Any]:
        """As JSON-able data."""
        return [
            [subject, *series, msgspec.to_builtins(alert), due, is_settled, msgspec.to_builtins(start)]
            for subject, waiting in sorted(self._of.items())
            for series, (alert, due, is_settled, start) in waiting.items()
        ]

    def load(self, dumped: list[Any]) -> None:
        """Restore what was dumped."""
        self._of = {}
        for subject, row, detector, alert, due, is_settled, start in dumped:
            begun = msgspec.convert(start, WindowStart | None)
            self.add(subject, (row, detector), PendingAlert(msgspec.convert(alert, Alert), due, is_settled, begun))

    @staticmethod
    def remap(dumped: list[Any], active: list[Any], remaps: Remaps, alarm_rows: Mapping[str, Remap]) -> list[Any]:
        """What was dumped, without the alerts of evicted subjects.

        alarm_rows: of the detectors that run. The row of another detector is that of its alert among the `active`
        ones. A row that no table knows, of a detector that was reset or stopped, stays.
        """
        rows = {takes: remaps.rows[kind] for kind, takes in TAKES.items()}
        of_alert = {alert["alert_id"]: rows[takes] for takes, *_, alert, _ in active}
        found = []
        for subject, row, detector, alert, due, is_settled, dumped_start in dumped:
            if remaps.subjects.kept[subject]:
                of = alarm_rows.get(detector, of_alert.get(alert["alert_id"]))
                new = int(of.place[row]) if of is not None and row < len(of.place) else row
                start = msgspec.convert(dumped_start, WindowStart | None)
                begun = None if start is None else msgspec.to_builtins(start.remap(remaps.subjects))
                found.append([int(remaps.subjects.place[subject]), new, detector, alert, due, is_settled, begun])
        return found
