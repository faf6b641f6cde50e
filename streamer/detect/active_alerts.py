"""The alerts that are not over, and whether another alarm on their series is news.

While an alert lives, an alarm of its series is none of its own where the values go back to what they were before all
alerts, or again to where the alert has them, or move further the same way without having stood still: one drift is one
alert, also a gradual one and one that comes and goes. Anything else is another drift, whose alert takes its place. An
alarm knows few values, so what seems to go back, or to come again, may be another drift still: the judge of the series
has the last word, once it has seen a whole window.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

import msgspec

from detectors.recovery.judge import RECOVERED
from retrain.messages.alert import Alert, AlertState, Place, Resolution
from streamer.detect.alarm import RowWatch, Verdict, Watched

GRADUAL = 2  # times `min_events_after_onset`: what begins this soon after the last alarm goes on with it


class Novelty(Enum):
    """Whether an alarm is a drift of its own."""

    NONE = auto()
    PERHAPS = auto()  # the judge will say
    IS = auto()


@dataclass(slots=True)
class Candidate:
    """An alarm that is perhaps another drift: the alert it would be."""

    alert: Alert
    onset: int  # number of the subject's event with which its regime began


@dataclass(slots=True)
class ActiveAlert:
    """An alert that is not over."""

    alert: Alert
    subject: int
    last: int  # number of the subject's event with which its series alarmed last
    usual: float  # location before the first of the alerts that took each other's place
    asked: Candidate | None = None


class ActiveAlerts:
    """At most one for each series and detector."""

    def __init__(self, min_events_after_onset: int) -> None:
        self._soon = GRADUAL * min_events_after_onset
        self._of: dict[Watched, dict[str, ActiveAlert]] = {}  # by row, then by detector

    def __len__(self) -> int:
        return sum(len(living) for living in self._of.values())

    def is_news(self, watch: RowWatch, detector: str, facts: Mapping[str, Any], onset: int, now: int) -> Novelty:
        """Whether an alarm with these facts, of event number `now` and with this onset, is a drift of its own."""
        living = self._of.get(watch.row, {})
        own = living.get(detector)
        if own is None:
            comes_back = any(_goes_back(one, facts) and _is_turned(one, facts) for one in living.values())
            return Novelty.NONE if comes_back else Novelty.IS
        goes_on = _is_same_way(own.alert, facts) and onset - own.last <= self._soon
        is_judged_now = own.last == now  # the judge has made an alert of this very event
        own.last = now
        if goes_on or is_judged_now:
            return Novelty.NONE
        if watch.returns or _goes_back(own, facts) or _goes_again(own.alert, facts):
            return Novelty.PERHAPS
        return Novelty.IS

    def ask(self, watch: RowWatch, asked: Candidate) -> None:
        """Keep an alarm that is perhaps another drift, until the judge has looked into it."""
        self._of[watch.row][asked.alert.detector].asked = asked

    def asked(self, row: Watched) -> list[ActiveAlert]:
        """The alerts of a row whose detectors have alarmed again."""
        return [live for live in self._of.get(row, {}).values() if live.asked]

    def begin(self, watch: RowWatch, alert: Alert, subject: int, now: int) -> Alert | None:
        """An alert begins to live; returns the one whose place it takes."""
        living = self._of.setdefault(watch.row, {})
        before = living.get(alert.detector)
        is_same = before is not None and before.alert.category == alert.category
        living[alert.detector] = ActiveAlert(alert, subject, now, before.usual if before and is_same else alert.before)
        return before.alert if before else None

    def became_ready(self, alert: Alert, row: int) -> None:
        """The alert of a row, whatever that takes, has become ready."""
        for takes in ("numbers", "categories"):
            live = self._of.get((takes, row), {}).get(alert.detector)
            if live and live.alert.alert_id == alert.alert_id:
                live.alert = alert

    def end(self, row: Watched) -> Iterator[ActiveAlert]:
        """The alerts of a row, which live no longer."""
        return iter(self._of.pop(row, {}).values())

    def dump(self) -> list[Any]:
        """As JSON-able data."""
        return [
            [*row, live.subject, live.last, live.usual, *(msgspec.to_builtins(one) for one in (live.alert, live.asked))]
            for row, living in sorted(self._of.items())
            for live in living.values()
        ]

    def load(self, dumped: list[Any]) -> None:
        self._of = {}
        for takes, row, subject, last, usual, said, asked in dumped:
            live = ActiveAlert(
                msgspec.convert(said, Alert), subject, last, usual, msgspec.convert(asked, Candidate | None)
            )
            self._of.setdefault((takes, row), {})[live.alert.detector] = live


def over(alert: Alert, at: Place, judged: Verdict | None) -> Alert:
    """The alert as it is told once it is over: `judged` says how, None that another one took its place."""
    if judged is None:
        return replace(alert, state=AlertState.RESOLVED, resolved_at=at, resolution=Resolution.SUPERSEDED)
    return replace(
        alert,
        state=AlertState.RESOLVED,
        resolved_at=at,
        resolution=Resolution.BACK_TO_NORMAL if judged.why == RECOVERED else Resolution.SETTLED,
        distance=judged.distance,
        distance_max=judged.distance_max,
    )


def _goes_back(live: ActiveAlert, facts: Mapping[str, Any]) -> bool:
    """Whether values are nearer to what is usual than halfway to where the alert has them."""
    is_same: bool = facts["category"] == live.alert.category
    return is_same and _is_near(facts["after"], live.usual, abs(live.alert.after - live.usual))


def _goes_again(alert: Alert, facts: Mapping[str, Any]) -> bool:
    """Whether values are again where the alert has them."""
    is_same: bool = facts["category"] == alert.category
    return is_same and _is_near(facts["after"], alert.after, abs(alert.after - alert.before))


def _is_turned(live: ActiveAlert, facts: Mapping[str, Any]) -> bool:
    """Whether the location goes the other way than the alert has gone; one that stays says nothing."""
    gone: float = facts["after"] - facts["before"]
    return gone * (live.alert.after - live.usual) < 0


def _is_same_way(alert: Alert, facts: Mapping[str, Any]) -> bool:
    gone: float = facts["after"] - facts["before"]
    is_same: bool = facts["category"] == alert.category
    return is_same and gone * (alert.after - alert.before) > 0


def _is_near(value: float, target: float, gone: float) -> bool:
    """Whether a value is nearer to the target than half of how far an alert has gone."""
    return abs(value - target) < gone / 2
