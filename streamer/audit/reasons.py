"""The reason for each decision on an alert, as a sentence with its numbers."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar

from retrain.messages.alert import Alert, AlertState, Resolution
from retrain.messages.incident import Incident
from retrain.messages.outcome import DESCRIPTIONS, Outcome
from retrain.messages.request import RetrainRequest
from retrain.messages.shift import Shift
from retrain.policy.inhibition import FAULTS
from retrain.policy.settings import RetrainSettings
from streamer.audit.trail import Trail

EventCounts = Callable[[], Mapping[str, int]]  # alert -> events since its onset
T = TypeVar("T")

VERDICTS: Final = frozenset({Outcome.HELPED, Outcome.DRIFTED_AGAIN})  # on promotions


class Reasons:
    """The sentences about the decisions of a trail. Limits appear in them where the settings are known."""

    def __init__(self, trail: Trail, settings: RetrainSettings | None, events: EventCounts = dict) -> None:
        """`events` gives how many events the alerts that wait for data have by now; it is called at most once."""
        self._settings = settings
        self._faults = _by((one.model_id + "/" + one.column, one) for one in trail.alerts if one.kind in FAULTS)
        self._requests = _by((one.model_id, one) for one in trail.requests)
        self._verdicts = _by((one.model_id, one) for one in trail.decisions if one.reason in VERDICTS)
        self._waited = {one.alert_id for one in trail.alerts if one.state is not AlertState.FIRING}
        self._read_events = events
        self._events: Mapping[str, int] | None = None
        fired = (one for one in trail.alerts if one.state is AlertState.FIRING)
        self._fired = {(one.model_id, _series(one), one.at): one.alert_id for one in fired}
        self._numbers: Mapping[Outcome, Callable[[Alert], str]] = {
            Outcome.WAITING_FOR_DATA: self._events_so_far,
            Outcome.EFFECT_TOO_SMALL: self._effect,
            Outcome.FEATURE_UNIMPORTANT: self._importance,
            Outcome.NO_RULE_MET: self._rules,
            Outcome.WAITING_FOR_OTHERS: self._rules,
            Outcome.INHIBITED_BY_DATA_FAULT: self._fault,
            Outcome.REQUEST_OPEN: self._last_request,
            Outcome.COOLING_DOWN: self._cooldown,
            Outcome.BACKING_OFF: self._cooldown,
            Outcome.BUDGET_EXHAUSTED: self._budget,
        }

    def of(self, alert: Alert, decision: Outcome) -> str:
        """The sentence about one decision on an alert; "" if its name says all."""
        numbers = self._numbers[decision](alert) if decision in self._numbers else ""
        return ": ".join(part for part in (DESCRIPTIONS.get(decision, ""), numbers) if part)

    def of_end(self, alert: Alert) -> str:
        """The sentence about the end of a resolved alert."""
        if alert.resolution is Resolution.SUPERSEDED:
            by = alert.resolved_at and self._fired.get((alert.model_id, _series(alert), alert.resolved_at))
            return f"the column drifted further, which has an alert of its own{f': {by}' if by else ''}"
        if alert.resolution is Resolution.SETTLED:
            return "the new regime lasted, and is the baseline from now on"
        if alert.distance is None or alert.distance_max is None:
            return "the values are again as before"
        numbers = f"distance {number(alert.distance)}, at the height of the drift {number(alert.distance_max)}"
        return f"the values are again as before: {numbers}"

    def _events_so_far(self, alert: Alert) -> str:
        """The events that the alert has now and had when it fired, and when there are enough at the same rate."""
        n, least = alert.events_after_onset, alert.min_events_after_onset
        if not least:
            return ""
        found = f"{n:,} of {least:,} events when it fired"
        if alert.alert_id not in self._waited:
            if self._events is None:
                self._events = self._read_events()
            if (now := self._events.get(alert.alert_id)) is not None:
                found = f"{now:,} of {least:,} events at the last checkpoint"
        if n <= 0:
            return found
        missing_s = (alert.at.event_time - alert.onset.event_time).total_seconds() / n * max(least - n, 0)
        return f"{found}, enough about {later(alert.at.event_time, missing_s)} at the same rate"

    def _effect(self, alert: Alert) -> str:
        return f"{number(alert.effect)} {alert.effect_unit}{self._least(alert.effect_unit)}"

    def _least(self, unit: str) -> str:
        return f", retrain.{unit}_min is {number(self._settings.effect_min(unit))}" if self._settings else ""

    def _importance(self, alert: Alert) -> str:
        rules = self._settings.rules_for(alert.model_id) if self._settings else None
        if rules is None:
            return ""
        strength, weight = Shift.of(alert).strength, rules.importance_of(alert.column)
        return (
            f"{number(strength)} times {number(weight)} is {number(strength * weight)}, "
            f"strength_min is {number(rules.strength_min)}"
        )

    def _rules(self, alert: Alert) -> str:
        rules = self._settings.rules_for(alert.model_id) if self._settings else None
        return f"{alert.column} moved; its rules are {' or '.join(rules.when)}" if rules else ""

    def _fault(self, alert: Alert) -> str:
        faults = self._faults[alert.model_id + "/" + alert.column]
        fault = _last(faults, alert.event_time, lambda one: one.event_time)
        if fault is None:
            return ""
        until = f", until {later(fault.event_time, self._settings.inhibit_s)}" if self._settings else ""
        return f"{fault.kind}, {fault.alert_id}, since {clock(fault.event_time)}{until}"

    def _last_request(self, alert: Alert) -> str:
        last = self._request_before(alert)
        return f"{last.request_id}, made {clock(last.requested_at)}" if last else ""

    def _cooldown(self, alert: Alert) -> str:
        last = self._request_before(alert)
        if last is None:
            return ""
        until = ""
        if self._settings:
            wait_s = self._settings.cooldown_after(self._failed_before(alert))
            until = f", cooldown until {later(last.requested_at, wait_s)}"
        return f"{last.request_id}, made {clock(last.requested_at)}{until}"

    def _failed_before(self, alert: Alert) -> int:
        """How many promotions in a row did not help, before the alert."""
        failed = 0
        for one in self._verdicts[alert.model_id]:
            if one.at <= alert.event_time:
                failed = failed + 1 if one.reason is Outcome.DRIFTED_AGAIN else 0
        return failed

    def _budget(self, _alert: Alert) -> str:
        if self._settings is None:
            return ""
        limits = {
            "retrain.requests_per_hour_max": self._settings.requests_per_hour_max,
            "retrain.running_max": self._settings.running_max,
        }
        return ", ".join(f"{name} is {most}" for name, most in limits.items() if most is not None)

    def _request_before(self, alert: Alert) -> RetrainRequest | None:
        return _last(self._requests[alert.model_id], alert.event_time, lambda one: one.requested_at)


def weaker_than(alert: Alert, incident: Incident) -> str:
    """The stronger alert of the same series that an incident shows instead of this one; "" if it shows this one."""
    if alert.alert_id in {shift.alert_id for shift in incident.columns}:
        return ""
    for shift in incident.columns:
        if shift.series == _series(alert):
            return (
                f"weaker than alert {shift.alert_id} of the same column: "
                f"{number(alert.effect)} against {number(shift.effect)} {shift.effect_unit}"
            )
    return ""


def _by(found: Iterable[tuple[str, T]]) -> dict[str, list[T]]:
    groups: dict[str, list[T]] = defaultdict(list)
    for name, one in found:
        groups[name].append(one)
    return groups


def _last(found: Sequence[T], until: datetime, time_of: Callable[[T], datetime]) -> T | None:
    """The last record until a time, in records in order of their times."""
    n = bisect_right(found, until, key=time_of)
    return found[n - 1] if n else None


def _series(alert: Alert) -> tuple[str, str, str]:
    return Shift.of(alert).series


def later(at: datetime, seconds: float) -> str:
    """A time so many seconds later, as `clock` shows it."""
    try:
        return clock(at + timedelta(seconds=seconds))
    except OverflowError:
        return "after the year 9999"


def clock(at: datetime) -> str:
    """A time in UTC, to the minute."""
    return f"{at:%Y-%m-%d %H:%M}"


def number(value: float) -> str:
    """A number with four digits, or all of those before the point."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:,.4g}"


def many(n: int, noun: str) -> str:
    """A count with its noun."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
