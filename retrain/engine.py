"""Alerts in, actions out: the core of the decide fold.

    alert ─► seen before? ─► older version? ─► incident: open, absorb, close ─► the rules of `policy` ─► request
                 │                 │                     │                              │                   │
              duplicate      older_version        PublishIncident              Noted(why not)        PublishRequest

`Engine.handle` is the only method that changes state. There is no clock: time is the alert's event time, and for each
model it never runs backwards (its running maximum), so a late alert can neither shorten a cooldown nor end an incident.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from retrain.alert import Alert, AlertState
from retrain.incident import Incident
from retrain.outcome import Outcome
from retrain.policy import Question, RetrainSettings, decide
from retrain.request import OpenRequest, RetrainRequest, request_for
from retrain.state import EngineState, ModelState
from retrain.versions import Order


@dataclass(frozen=True, slots=True)
class PublishIncident:
    """Publish the incident as it is now."""

    incident: Incident
    reason: Outcome


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """Ask for a retrain."""

    request: RetrainRequest
    reason: Outcome = Outcome.REQUEST_MADE


@dataclass(frozen=True, slots=True)
class Noted:
    """No request came of this alert, and this is why. Nothing to publish."""

    alert_id: str
    reason: Outcome


Action = PublishIncident | PublishRequest | Noted


class Engine:
    """Folds alerts into incidents and retrain requests. Deterministic; holds nothing but its settings and `state`."""

    def __init__(self, settings: RetrainSettings, state: EngineState | None = None) -> None:
        """Go on from `state`, or from nothing."""
        self.settings = settings
        self.state = state or EngineState()

    def handle(self, record: Alert) -> list[Action]:
        """Fold one alert. Returns what to do, in order: incidents to publish, then one `PublishRequest` or `Noted`.

        Times of the alert must be aware of their zone; its numbers finite.
        """
        event_time = _event_time_of(record)
        model = self.state.models.get(record.model_id) or ModelState.met(record.model_version, event_time)
        if model.has_seen(record):
            return [Noted(record.alert_id, Outcome.DUPLICATE)]
        superseded = model.versions.newest
        order = model.versions.take(record.model_version, event_time)
        if order is Order.OLDER:
            return [Noted(record.alert_id, Outcome.OLDER_VERSION)]
        actions = self._make_last(record.model_id, model)
        model.now = max(model.now, event_time)
        if order is Order.NEWER:
            model.forget_version(superseded)
            actions += _close(model, Outcome.NEW_VERSION)
        elif self._is_quiet(model, record):
            actions += _close(model, Outcome.QUIET)
        return actions + self._absorb(model, record)

    def _make_last(self, model_id: str, model: ModelState) -> list[Action]:
        """Make this model the one that alerted last; forget the one that alerted longest ago when there is no room."""
        models, actions = self.state.models, list[Action]()
        if models.pop(model_id, None) is None and len(models) >= self.settings.models_max:
            actions = _close(models.pop(next(iter(models))), Outcome.MODEL_EVICTED)
        models[model_id] = model
        return actions

    def _is_quiet(self, model: ModelState, alert: Alert) -> bool:
        """Whether the open incident was over before this alert came."""
        incident = model.open_incident
        # An alert that becomes ready belongs where it fired, however long that took.
        if incident is None or alert.state is AlertState.READY:
            return False
        if model.last_request is not None and model.last_request.is_open(model.now):
            return False
        return (model.now - incident.last_alert_at).total_seconds() > self.settings.incident_quiet_s

    def _absorb(self, model: ModelState, alert: Alert) -> list[Action]:
        """Open or update the model's incident, and ask for a retrain if the rules agree."""
        question = Question(alert, model.now, model.last_request, self.settings)
        decision = decide(question)
        incident = self._incident_with(model, alert, decision)
        verdict: Action = Noted(alert.alert_id, decision)
        if decision is Outcome.REQUEST_MADE and question.window:
            settings = self.settings
            request = request_for(
                alert, incident, question.window, model.now, settings.expires_after_s, settings.approval
            )
            model.last_request = OpenRequest.of(request)
            incident = replace(incident, request_id=request.request_id)
            verdict = PublishRequest(request)
        model.incident = incident
        return [PublishIncident(incident, incident.reason), verdict]

    def _incident_with(self, model: ModelState, alert: Alert, decision: Outcome) -> Incident:
        is_new, version, incident = model.see(alert), model.versions.newest, model.open_incident
        if incident is None:
            return Incident.opened(alert, version, model.now, decision)
        columns_max = self.settings.columns_max
        return incident.absorb(alert, version, model.now, decision, is_new=is_new, columns_max=columns_max)


def _close(model: ModelState, reason: Outcome) -> list[Action]:
    incident = model.open_incident
    if incident is None:
        return []
    model.incident = incident.closed(reason)
    return [PublishIncident(model.incident, reason)]


def _event_time_of(alert: Alert) -> datetime:
    """When the alert took place: where it became ready, else where it fired."""
    return (alert.ready_at or alert.at).event_time
