"""The fleet as published: which alerts fire, which incidents are open, and what waits for whom.

Incidents, requests and decisions come first, then the alerts: so an alert that has ended is not kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

import msgspec

from retrain.messages.alert import Alert, AlertKind, AlertState
from retrain.messages.decision import Decision
from retrain.messages.ids import FLEET_PREFIX, SOURCE_PREFIX
from retrain.messages.incident import Incident, IncidentState
from retrain.messages.outcome import Outcome
from retrain.messages.patterns import matches
from retrain.messages.request import RetrainRequest
from retrain.messages.silence import Silence
from streamer.audit.requests import RequestLedger, RequestStatus
from streamer.audit.source import RawRecord
from streamer.audit.trail import decoded
from streamer.contracts.topics import OutputTopics
from streamer.eventlog.base import Records

ALERTS_MAX: Final = 20_000  # alerts that are listed; beyond, the oldest are left out
CLOSED_MAX: Final = 20_000  # closed incidents that are remembered, the newest
OPEN_MAX: Final = 150_000  # open incidents; more than the engine has models
DECIDED_MAX: Final = 200_000  # alerts whose decision is remembered, the newest
KINDS: Final = ("incident", "request", "decision")  # of the records for a `Fleet`
NOT_DECIDED: Final = "not_decided"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is listed. Patterns are those of `fnmatch`."""

    model: str = "*"
    column: str = "*"
    kind: str | None = None  # of the alerts
    since: datetime | timedelta | None = None  # event time, or a duration before the newest record
    ended: bool = False  # whether what has ended is listed as well


@dataclass(frozen=True, slots=True)
class AlertStatus:
    """One alert in its newest state."""

    alert: Alert
    is_active: bool  # it has fired, and neither it nor its incident has ended
    decision: str  # the last decision on it, by name; `NOT_DECIDED` without one
    incident_id: str  # "" for none


class Fleet:
    """The open incidents, requests and silences of the fleet, and the decisions on alerts."""

    def __init__(self, outputs: OutputTopics, records: Iterable[RawRecord]) -> None:
        """`records` are those of incidents, requests and decisions, each kind in the order of its topic.

        Raises `UsageError` for a record that this version can't read.
        """
        self.open: dict[str, Incident] = {}  # by id, the latest change last
        self.closed: dict[str, Incident] = {}
        self.silences: dict[str, Silence] = {}  # active ones
        self._ledger = RequestLedger(outputs)
        self._decided: dict[str, tuple[str, str]] = {}  # alert -> its incident, the last decision on it
        self._promoted: dict[str, datetime] = {}
        self._storms = set[str]()  # the names of storms that are open
        self.is_cut = False  # whether alerts were left out
        for kind, value in records:
            record = decoded(kind, value)
            if isinstance(record, Incident):
                self._incident(record)
            elif isinstance(record, Decision):
                self._decision(record)
            if isinstance(record, Incident | RetrainRequest | Decision):
                self._ledger.add(record)

    def requests(self, ended: bool = False) -> list[RequestStatus]:
        """The requests and held storms that are not over, or all, the latest change last."""
        return [one for one in self._ledger.statuses() if ended or not one.is_over]

    def incidents(self, wanted: Wanted) -> list[Incident]:
        """The incidents that are open, or all, in order of their opening."""
        found = [*self.open.values(), *(self.closed.values() if wanted.ended else ())]
        since = _since(wanted, max((one.last_alert_at for one in found), default=None))
        return sorted(
            (
                one
                for one in found
                if matches(one.model_id, wanted.model)
                and any(matches(shift.column, wanted.column) for shift in one.columns)
                and (since is None or one.last_alert_at >= since)
            ),
            key=lambda one: (one.opened_at, one.incident_id),
        )

    def alerts(self, records: Iterable[RawRecord], wanted: Wanted) -> list[AlertStatus]:
        """The alerts in `records` that have not ended, or all, in the order in which they fired."""
        kept, newest = dict[str, Alert](), None
        self._storms = {one.model_id for one in self.open.values() if one.model_id.startswith(FLEET_PREFIX)}
        for kind, value in records:
            alert = decoded(kind, value)
            if not isinstance(alert, Alert):
                continue
            newest = max(newest or alert.event_time, alert.event_time)
            kept.pop(alert.alert_id, None)
            if _fits(alert, wanted) and (wanted.ended or self._is_active(alert)):
                self.is_cut |= len(kept) == ALERTS_MAX
                _put(kept, alert.alert_id, alert, ALERTS_MAX)
        since = _since(wanted, newest)
        found = [self._status(one) for one in kept.values() if since is None or one.event_time >= since]
        return sorted(found, key=lambda one: (one.alert.at.event_time, one.alert.alert_id))

    def _incident(self, incident: Incident) -> None:
        name = incident.incident_id
        self.open.pop(name, None)
        self.closed.pop(name, None)
        if incident.state is IncidentState.OPEN:
            _put(self.open, name, incident, OPEN_MAX)
        else:
            _put(self.closed, name, incident, CLOSED_MAX)
        if incident.model_id.startswith(FLEET_PREFIX):
            return
        for shift in incident.columns:
            if shift.alert_id not in self._decided:
                _put(self._decided, shift.alert_id, (name, Outcome.ABSORBED.value), DECIDED_MAX)
        if incident.alert_id and incident.state is IncidentState.OPEN:
            self._decided.pop(incident.alert_id, None)
            _put(self._decided, incident.alert_id, (name, incident.decision.value), DECIDED_MAX)

    def _decision(self, decision: Decision) -> None:
        if decision.silence is not None:
            self.silences.pop(decision.request_id, None)
            if not decision.silence.is_over:
                self.silences[decision.request_id] = decision.silence
        elif decision.reason is Outcome.PROMOTED:
            self._promoted[decision.model_id] = decision.at

    def _status(self, alert: Alert) -> AlertStatus:
        name, decision = self._decided.get(alert.alert_id, ("", NOT_DECIDED))
        if alert.state is AlertState.RESOLVED and alert.resolution:
            decision = alert.resolution.value
        elif name not in self.open:
            decision = self._hold_of(alert) or decision
        return AlertStatus(alert, self._is_active(alert), decision, name)

    def _hold_of(self, alert: Alert) -> str:
        """The silence or storm that keeps an alert from its incident; "" for none."""
        if any(one.matcher.fits(alert) and one.since <= alert.event_time < one.until for one in self.silences.values()):
            return Outcome.SILENCED.value
        is_own = not alert.model_id.startswith(SOURCE_PREFIX)
        return Outcome.HELD_BY_STORM.value if is_own and FLEET_PREFIX + alert.column in self._storms else ""

    def _is_active(self, alert: Alert) -> bool:
        """Whether neither the alert nor its incident has ended. An alert without incident ends with its version.

        One that compares two versions is over at once.
        """
        if alert.state is AlertState.RESOLVED or alert.kind is AlertKind.BETTER_VERSION:
            return False
        name, _ = self._decided.get(alert.alert_id, ("", ""))
        if name:
            closed = self.closed.get(name)
            return name in self.open or (closed is not None and closed.reason is Outcome.JOINED_STORM)
        promoted_at = self._promoted.get(alert.model_id)
        return promoted_at is None or alert.at.event_time > promoted_at


def _fits(alert: Alert, wanted: Wanted) -> bool:
    is_kind = wanted.kind in (None, alert.kind.value)
    is_model = wanted.model == "*" or matches(alert.model_id, wanted.model)
    return is_kind and is_model and (wanted.column == "*" or matches(alert.column, wanted.column))


def _since(wanted: Wanted, newest: datetime | None) -> datetime | None:
    if isinstance(wanted.since, timedelta):
        return None if newest is None else newest - wanted.since
    return wanted.since


def _put(table: dict[str, T], name: str, value: T, most: int) -> None:
    table[name] = value
    if len(table) > most:
        del table[next(iter(table))]


SILENCES_HEAD: Final = ("state", "since", "until", "model", "column", "kind", "alerts", "silence", "by", "why")


def silences_in(stretches: Iterable[Records]) -> Sequence[Silence]:
    """The current silences in records of the decisions topic, in order of their beginning."""
    found: dict[str, Silence] = {}
    for records in stretches:
        for i in range(len(records)):
            decision = msgspec.json.decode(records.value_of(i) or b"", type=Decision)
            if decision.silence is not None:
                found[decision.request_id] = decision.silence
    return tuple(found.values())


def silence_row(silence: Silence) -> tuple[str, ...]:
    """The row of a silence in the list."""
    matcher = silence.matcher
    return (
        "over" if silence.is_over else "active",
        f"{silence.since:%Y-%m-%d %H:%M}",
        f"{silence.until:%Y-%m-%d %H:%M}",
        matcher.model,
        matcher.column,
        matcher.kind.value if matcher.kind else "*",
        f"{silence.alerts:,}",
        silence.silence_id,
        silence.actor,
        silence.comment.partition("\n")[0],
    )
