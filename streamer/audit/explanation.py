"""The outcomes of an alert: the silence, storm or incident that took it, and the reason for a request or for none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from retrain.messages.alert import Alert
from retrain.messages.decision import Decision
from retrain.messages.ids import FLEET_PREFIX, SOURCE_PREFIX
from retrain.messages.incident import Incident, IncidentState
from retrain.messages.outcome import DESCRIPTIONS, Outcome
from streamer.audit.trail import Trail

BY_REQUESTS: Final = frozenset({Outcome.REQUEST_OPEN, Outcome.COOLING_DOWN, Outcome.BACKING_OFF})
SILENCE_OVER: Final = frozenset({Outcome.SILENCE_ENDED, Outcome.SILENCE_EXPIRED})
NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class AlertOutcome:
    """One decision on an alert."""

    decision: Outcome | None  # None: no record shows one
    by: str  # the id of the silence, storm, incident or request behind it; "" for none
    text: str  # the reason for people, with its numbers


class AlertOutcomes:
    """The decisions on the alerts of a trail, derived from its records."""

    def __init__(self, trail: Trail) -> None:
        self._trail = trail
        self._joined: dict[str, list[Incident]] = defaultdict(list)  # alert -> the records that name it
        for incident in trail.incidents:
            for move in incident.columns:
                self._joined[move.alert_id].append(incident)
        ends = {one.request_id: one.at for one in trail.decisions if one.reason in SILENCE_OVER}
        began = [one for one in trail.decisions if one.reason is Outcome.SILENCE_BEGAN]
        self._silences = [(one, ends.get(one.request_id, NEVER)) for one in began]
        self._storms = list(_storms(trail))

    def of(self, alert: Alert) -> list[AlertOutcome]:
        """The decisions on an alert in one of its states, in order; at least one."""
        return list(self._on_record(alert)) or [self._ignored(alert)]

    def _on_record(self, alert: Alert) -> Iterator[AlertOutcome]:
        for began, ended in self._silences:
            if began.silence and began.silence.matcher.fits(alert) and began.at <= alert.event_time < ended:
                text = f"{DESCRIPTIONS[Outcome.SILENCED]}: by {began.actor}, until {clock(began.silence.until)}"
                yield AlertOutcome(Outcome.SILENCED, began.request_id, text)
        for storm, ended in self._storms:
            is_its = storm.model_id == FLEET_PREFIX + alert.column and not alert.model_id.startswith(SOURCE_PREFIX)
            if is_its and storm.opened_at <= alert.event_time <= ended:
                yield AlertOutcome(Outcome.HELD_BY_STORM, storm.incident_id, DESCRIPTIONS[Outcome.HELD_BY_STORM])
        for incident in self._joined[alert.alert_id]:
            is_own = incident.model_id == alert.model_id and incident.last_alert_at >= alert.event_time
            if is_own and incident.state is IncidentState.OPEN:
                yield AlertOutcome(incident.decision, incident.incident_id, self._reason_of(alert, incident.decision))
                return

    def _ignored(self, alert: Alert) -> AlertOutcome:
        for one in self._trail.decisions:
            is_own = one.model_id == alert.model_id and one.reason is Outcome.PROMOTED
            if is_own and alert.at.event_time <= one.at:
                text = f"{DESCRIPTIONS[Outcome.BEFORE_PROMOTION]}: promoted {clock(one.at)}"
                return AlertOutcome(Outcome.BEFORE_PROMOTION, one.request_id, text)
        return AlertOutcome(None, "", "a duplicate, of an older version, or not decided yet")

    def _reason_of(self, alert: Alert, decision: Outcome) -> str:
        text = DESCRIPTIONS.get(decision, "")
        if decision is Outcome.EFFECT_TOO_SMALL:
            return f"{text}: {number(alert.effect)} {alert.effect_unit}"
        if decision not in BY_REQUESTS:
            return text
        own = [one for one in self._trail.requests if one.model_id == alert.model_id]
        last = [one for one in own if one.requested_at <= alert.event_time][-1:]
        return "".join([text, *(f": {one.request_id}, made {clock(one.requested_at)}" for one in last)])


def _storms(trail: Trail) -> Iterator[tuple[Incident, datetime]]:
    """Each storm, and the end of its hold."""
    decided = {one.request_id: one for one in trail.decisions if one.model_id.startswith(FLEET_PREFIX)}
    last = {one.incident_id: one for one in trail.incidents if one.model_id.startswith(FLEET_PREFIX)}
    for storm in last.values():
        decision: Decision | None = decided.get(storm.incident_id)
        released = decision.at if decision and storm.reason is Outcome.STORM_RELEASED else storm.last_alert_at
        yield storm, released if storm.state is IncidentState.CLOSED else NEVER


def clock(at: datetime) -> str:
    """A time in UTC, to the minute."""
    return f"{at:%Y-%m-%d %H:%M}"


def number(value: float) -> str:
    """A number with four digits."""
    return f"{value:,.4g}"


def many(n: int, noun: str) -> str:
    """A count with its noun."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
