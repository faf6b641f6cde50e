"""Related records of a trail: the causes and effects of one id, or the history of a model."""

from __future__ import annotations

from collections.abc import Callable

from retrain.messages.alert import Alert
from retrain.messages.incident import Incident
from streamer.audit.explanation import AlertOutcomes
from streamer.audit.trail import Record, Trail

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
