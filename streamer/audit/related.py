"""Which records of a trail belong together: to one id, what led to it and what came of it; to a model, its story."""

from __future__ import annotations

from collections.abc import Callable

from retrain.messages.alert import Alert
from retrain.messages.incident import Incident
from streamer.audit.explanation import Fates
from streamer.audit.trail import Record, Trail

Wanted = Callable[[Record], bool]


def chain_of(trail: Trail, name: str) -> Wanted:
    """Whether a record belongs to the alert, incident, request or silence of this id."""
    ends = _ends(trail)
    causes = {name, *(one.incident_id for one in trail.requests if one.request_id == name)}
    alerts = {alert for alert, by in ends if alert == name or by & causes}
    others = causes.union(*(by for alert, by in ends if alert in alerts))
    return _among(alerts, others | {one.request_id for one in trail.requests if one.incident_id in others})


def story_of(trail: Trail, model_id: str) -> Wanted:
    """Whether a record belongs to the story of a model: its own, the storms and silences its alerts fell into, and the
    incidents of sources that it was asked for because of.
    """
    asked = {one.incident_id for one in trail.requests if one.model_id == model_id}
    of_model = {one.alert_id for one in trail.alerts if one.model_id == model_id}
    shared = asked.union(*(by for alert, by in _ends(trail) if alert in of_model))
    is_shared = _among(set(), shared)
    return lambda record: record.model_id == model_id or is_shared(record)


def _ends(trail: Trail) -> list[tuple[str, set[str]]]:
    """The id of each alert, and of all that took it."""
    fates = Fates(trail)
    return [(alert.alert_id, {fate.by for fate in fates.of(alert) if fate.by}) for alert in trail.alerts]


def _among(alerts: set[str], others: set[str]) -> Wanted:
    def wanted(record: Record) -> bool:
        if isinstance(record, Alert):
            return record.alert_id in alerts
        return (record.incident_id if isinstance(record, Incident) else record.request_id) in others

    return wanted
