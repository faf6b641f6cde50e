"""The outcomes of an alert: the silence, storm or incident that took it, and the reason for a request or for none.

Each record of an incident names the alert that its decision is about. Outcomes that publish nothing of their own
(a repeated record, an older version, an alert before a promotion) follow from the records that caused them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from retrain.messages.alert import Alert, AlertKind, AlertState
from retrain.messages.decision import Decision
from retrain.messages.ids import FLEET_PREFIX, SOURCE_PREFIX
from retrain.messages.incident import Incident, IncidentState
from retrain.messages.outcome import DESCRIPTIONS, Outcome
from retrain.policy.settings import RetrainSettings
from retrain.state.dedup import SeriesMark, series_of
from retrain.state.versions import Order, Versions
from streamer.audit.reasons import EventCounts, Reasons, clock, many, weaker_than
from streamer.audit.trail import Record, Trail

SILENCE_OVER: Final = frozenset({Outcome.SILENCE_ENDED, Outcome.SILENCE_EXPIRED})
ANSWERS: Final = frozenset(
    {Outcome.INCIDENT_OPENED, Outcome.ABSORBED, Outcome.RECURRED}
)  # reasons of the records that answer an alert
NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class AlertOutcome:
    """One decision on an alert."""

    decision: Outcome | None  # None: not decided yet, or its record is no longer kept
    by: str  # the id of the silence, storm, incident or request behind it; "" for none
    text: str  # the reason for people, with its numbers


class AlertOutcomes:
    """The decisions on the alerts of a trail, derived from its records."""

    def __init__(self, trail: Trail, settings: RetrainSettings | None = None, events: EventCounts = dict) -> None:
        """`settings` are those of the decide fold, None if they are unknown; `events`: see `Reasons`."""
        self._trail = trail
        self._reasons = Reasons(trail, settings, events)
        self._holds = _Holds(trail)
        self._incidents = _Decided(trail)
        self._ignored = IgnoredAlerts(trail)
        self._of = _by_record(self._in_order())

    def of(self, alert: Alert) -> list[AlertOutcome]:
        """The decisions on an alert of the trail in one of its states, in order; at least one."""
        return self._of[id(alert)]

    def _in_order(self) -> Iterator[tuple[Alert, list[AlertOutcome]]]:
        """The outcomes of all alerts, in the order of their topic."""
        for alert in self._trail.alerts:
            if alert.kind is AlertKind.BETTER_VERSION:
                yield alert, [self._compared(alert)]
                continue
            ignored = self._ignored.handle(alert)
            if ignored is Outcome.DUPLICATE:
                yield alert, [AlertOutcome(Outcome.DUPLICATE, "", "a record before it holds the same")]
            elif alert.state is AlertState.RESOLVED and alert.resolution:
                by = self._incidents.of_alert(alert.alert_id)
                yield alert, [AlertOutcome(Outcome(alert.resolution), by, self._reasons.of_end(alert))]
            else:
                held = list(self._holds.of(alert))
                records = self._incidents.take(alert, is_held=bool(held))
                outcomes = [*held, *(self._of_record(alert, one) for one in records)]
                yield alert, outcomes or [self._without_record(alert, ignored)]

    def _compared(self, alert: Alert) -> AlertOutcome:
        """That it joined the review of a request, or led to nothing."""
        whose = (one for one in self._trail.decisions if one.model_id == alert.model_id)
        by = next((one.request_id for one in whose if (one.reason, one.comment) == _join_of(alert)), "")
        return AlertOutcome(Outcome.COMPARED, by, DESCRIPTIONS[Outcome.COMPARED] if not by else "it joins the review")

    def _of_record(self, alert: Alert, incident: Incident) -> AlertOutcome:
        parts = [self._reasons.of(alert, incident.decision), weaker_than(alert, incident)]
        return AlertOutcome(incident.decision, incident.incident_id, "; ".join(filter(None, parts)))

    def _without_record(self, alert: Alert, ignored: Outcome | None) -> AlertOutcome:
        """The outcome of an alert that no record names, from the records of others."""
        if incident := self._incidents.holding(alert):
            parts = ["it joined the incident, which keeps no decision on it", weaker_than(alert, incident)]
            return AlertOutcome(Outcome.ABSORBED, incident.incident_id, "; ".join(filter(None, parts)))
        for one in self._ignored.promotions.get(alert.model_id, ()):
            if alert.at.event_time <= one.at:
                text = f"{DESCRIPTIONS[Outcome.BEFORE_PROMOTION]}: promoted {clock(one.at)}"
                return AlertOutcome(Outcome.BEFORE_PROMOTION, one.request_id, text)
        if ignored:
            text = f"{DESCRIPTIONS[Outcome.OLDER_VERSION]}: this alert is of {alert.model_version}"
            return AlertOutcome(ignored, "", text)
        return AlertOutcome(None, "", "no record on it is published yet")


class _Holds:
    """The silences and storms that keep alerts from their incidents."""

    def __init__(self, trail: Trail) -> None:
        ends = {one.request_id: one.at for one in trail.decisions if one.reason in SILENCE_OVER}
        began = [one for one in trail.decisions if one.reason is Outcome.SILENCE_BEGAN]
        self._silences = [(one, ends.get(one.request_id, NEVER)) for one in began]
        self._storms = list(_storms(trail))

    def of(self, alert: Alert) -> Iterator[AlertOutcome]:
        """The holds that an alert met."""
        for began, ended in self._silences:
            if began.silence and began.silence.matcher.fits(alert) and began.at <= alert.event_time < ended:
                text = f"{DESCRIPTIONS[Outcome.SILENCED]}: by {began.actor}, until {clock(began.silence.until)}"
                yield AlertOutcome(Outcome.SILENCED, began.request_id, text)
        for storm, ended in self._storms:
            is_its = storm.model_id == FLEET_PREFIX + alert.column and not alert.model_id.startswith(SOURCE_PREFIX)
            if is_its and storm.opened_at <= alert.event_time <= ended:
                text = f"{DESCRIPTIONS[Outcome.HELD_BY_STORM]}: {many(storm.model_count, 'model')}"
                yield AlertOutcome(Outcome.HELD_BY_STORM, storm.incident_id, text)


class _Decided:
    """The records of incidents, by the alert that each is about."""

    def __init__(self, trail: Trail) -> None:
        self._named: dict[str, list[Incident]] = defaultdict(list)  # alert -> records with a decision on it
        self._newest: dict[str, dict[str, Incident]] = defaultdict(dict)  # model -> its incidents
        self._known: dict[str, set[str]] = defaultdict(set)  # incident -> alerts that its records name
        self._ready = {one.alert_id for one in trail.alerts if one.state is AlertState.READY}
        for one in trail.incidents:
            self._newest[one.model_id][one.incident_id] = one
            # Records of earlier versions do not name the alert; it is one of those that they show.
            about = [one.alert_id] if one.alert_id else [shift.alert_id for shift in one.columns]
            self._known[one.incident_id].update(about)
            if one.state is IncidentState.OPEN:
                for alert_id in about:
                    self._named[alert_id].append(one)
        self._taken: dict[str, int] = defaultdict(int)  # alert -> records about its earlier states

    def of_alert(self, alert_id: str) -> str:
        """The id of the incident of an alert; "" if there is none."""
        records = self._named.get(alert_id)
        return records[-1].incident_id if records else ""

    def take(self, alert: Alert, is_held: bool) -> list[Incident]:
        """The records with a decision on this state of an alert: the answer to it, then changes such as a request.

        They are not given to its next state, except those of an alert that a silence or storm held.
        """
        own, found = self._named.get(alert.alert_id, []), list[Incident]()
        has_more = alert.state is AlertState.READY or alert.alert_id not in self._ready
        for i in range(self._taken[alert.alert_id], len(own)):
            one = own[i]
            if found and (one.reason in ANSWERS or not one.alert_id or not (has_more or is_held)):
                break
            if not found and not _may_answer(alert, one, is_held):
                continue
            if not found or found[-1].decision is not one.decision:
                found.append(one)
            if not is_held and one.alert_id:
                self._taken[alert.alert_id] = i + 1
        return found

    def holding(self, alert: Alert) -> Incident | None:
        """The incident that took an alert, although none of its kept records is about it."""
        for one in self._newest.get(alert.model_id, {}).values():
            is_within = one.opened_at <= alert.event_time <= one.last_alert_at
            if is_within and len(self._known[one.incident_id]) < one.alerts:
                return one
        return None


def _join_of(alert: Alert) -> tuple[Outcome, str]:
    """Reason and comment of the decision with which a comparison joins a review."""
    return Outcome.COMPARED, alert.summary


def _may_answer(alert: Alert, incident: Incident, is_held: bool) -> bool:
    """Whether the decision of a record may be the first one on an alert in this state."""
    if incident.model_id != alert.model_id:
        return False
    if is_held and incident.reason is Outcome.REQUEST_MADE:
        return True  # made at the end of the hold, when the model may have had no newer alert
    is_answer = incident.reason in ANSWERS or is_held or not incident.alert_id
    is_of_firing = incident.decision is Outcome.WAITING_FOR_DATA and alert.state is AlertState.READY
    return is_answer and not is_of_firing and incident.last_alert_at >= alert.event_time


def _by_record(found: Iterator[tuple[Alert, list[AlertOutcome]]]) -> dict[int, list[AlertOutcome]]:
    """Record -> its outcomes. Where a later alert of the model is decided, one without decision is not awaited."""
    decided, outcomes = set[str](), dict[int, list[AlertOutcome]]()
    for alert, own in reversed(list(found)):
        if own[0].decision is not None:
            decided.add(alert.model_id)
        elif alert.model_id in decided:
            own = [AlertOutcome(None, "", "its record is no longer kept")]
        outcomes[id(alert)] = own
    return outcomes


def _storms(trail: Trail) -> Iterator[tuple[Incident, datetime]]:
    """Each storm, and the end of its hold."""
    decided = {one.request_id: one for one in trail.decisions if one.model_id.startswith(FLEET_PREFIX)}
    last = {one.incident_id: one for one in trail.incidents if one.model_id.startswith(FLEET_PREFIX)}
    for storm in last.values():
        decision: Decision | None = decided.get(storm.incident_id)
        released = decision.at if decision and storm.reason is Outcome.STORM_RELEASED else storm.last_alert_at
        yield storm, released if storm.state is IncidentState.CLOSED else NEVER


class IgnoredAlerts:
    """Follows alerts in the order of their topic, as the decide fold does, by its own rules for repeats and versions.

    A promotion counts from its time on, as records do not hold the order of alerts and commands.
    """

    def __init__(self, trail: Trail) -> None:
        self.promotions = promotions_of(trail)
        self._versions: dict[str, Versions] = {}
        self._marks: dict[tuple[str, str], dict[str, SeriesMark]] = defaultdict(dict)  # of model and version, by series
        self._promoted: dict[str, int] = defaultdict(int)  # model -> promotions so far

    def handle(self, alert: Alert) -> Outcome | None:
        """`DUPLICATE` or `OLDER_VERSION`; None for an alert that counts. Call it once for each alert, in order."""
        versions = self._versions.setdefault(alert.model_id, Versions(alert.model_version, alert.event_time))
        self._promote(alert, versions)
        marks, series = self._marks[alert.model_id, alert.model_version], series_of(alert)
        if series in marks and marks[series].is_duplicate(alert):
            return Outcome.DUPLICATE
        superseded = versions.newest
        order = versions.add(alert.model_version, alert.event_time)
        if order is Order.OLDER:
            return Outcome.OLDER_VERSION
        if order is Order.NEWER:
            self._marks.pop((alert.model_id, superseded), None)
        self._marks[alert.model_id, alert.model_version].setdefault(series, SeriesMark()).record(alert)
        return None

    def _promote(self, alert: Alert, versions: Versions) -> None:
        for one in self.promotions.get(alert.model_id, ())[self._promoted[alert.model_id] :]:
            if one.at > alert.event_time:
                return
            self._promoted[alert.model_id] += 1
            superseded = versions.newest
            versions.promote(one.model_version, one.at)
            if versions.newest != superseded:
                self._marks.pop((alert.model_id, superseded), None)


def promotions_of(trail: Trail) -> dict[str, list[Decision]]:
    """Model -> its promotions, in order."""
    found: dict[str, list[Decision]] = defaultdict(list)
    for one in trail.decisions:
        if one.reason is Outcome.PROMOTED:
            found[one.model_id].append(one)
    return found


RecordFilter = Callable[[Record], bool]


def related_to(trail: Trail, name: str) -> RecordFilter:
    """Whether a record belongs to the alert, incident, request or silence of this id."""
    ends = _ends(trail)
    causes = {name, *(one.incident_id for one in trail.requests if one.request_id == name)}
    alerts = {alert for alert, by in ends if alert == name or by & causes}
    others = causes.union(*(by for alert, by in ends if alert in alerts))
    return _among(alerts, others | {one.request_id for one in trail.requests if one.incident_id in others})


def history_of(trail: Trail, model_id: str) -> RecordFilter:
    """Whether a record belongs to the history of a model.

    That is its own records, the storms and silences of its alerts, and the incidents of sources behind its requests.
    """
    of_requests = {one.incident_id for one in trail.requests if one.model_id == model_id}
    of_model = {one.alert_id for one in trail.alerts if one.model_id == model_id}
    shared = of_requests.union(*(by for alert, by in _ends(trail) if alert in of_model))
    is_shared = _among(set(), shared)
    return lambda record: record.model_id == model_id or is_shared(record)


def _ends(trail: Trail) -> list[tuple[str, set[str]]]:
    """The id of each alert, with the ids of its silence, storm, incident or request."""
    outcomes = AlertOutcomes(trail)
    return [(alert.alert_id, {one.by for one in outcomes.of(alert) if one.by}) for alert in trail.alerts]


def _among(alerts: set[str], others: set[str]) -> RecordFilter:
    def wanted(record: Record) -> bool:
        if isinstance(record, Alert):
            return record.alert_id in alerts
        return (record.incident_id if isinstance(record, Incident) else record.request_id) in others

    return wanted
