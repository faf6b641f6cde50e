"""Drift that is a model's own: it joins the model's incident, or waits for a storm, and may ask for a retrain."""

from __future__ import annotations

from dataclasses import dataclass

from retrain.engine.queue import RequestQueue
from retrain.engine.requests import RequestTracker
from retrain.messages.action import Action, NoAction, PublishIncident
from retrain.messages.alert import Alert
from retrain.messages.incident import Incident
from retrain.messages.outcome import Outcome
from retrain.policy.case import RetrainCase
from retrain.policy.rules import decide
from retrain.policy.settings import RetrainSettings
from retrain.state.state import EngineState, ModelState, close


@dataclass(frozen=True, slots=True)
class OwnDrift:
    """Holds nothing but `state`."""

    settings: RetrainSettings
    state: EngineState
    waiting: RequestQueue

    def hold(self, model: ModelState, alert: Alert) -> list[Action]:
        """Ask for nothing while a storm is held or dismissed; what is worth a retrain waits for a person's word."""
        decision = decide(RetrainCase.of(alert, model, model.now, self.settings))
        if decision is Outcome.REQUEST_MADE:
            decision = Outcome.HELD_BY_STORM
            if self.state.storms[alert.column].holds(alert.model_id):
                self.waiting.put(model, alert)
        return [*self.waiting.release()[0], NoAction(alert.alert_id, decision)]

    def absorb(self, model: ModelState, alert: Alert, is_new: bool) -> list[Action]:
        """Open or update the model's incident, and ask for a retrain if the rules agree."""
        decision = decide(RetrainCase.of(alert, model, model.now, self.settings))
        if decision is Outcome.REQUEST_MADE:
            self.waiting.put(model, alert)
            decision = Outcome.BUDGET_EXHAUSTED
        columns_max = self.settings.columns_max
        model.incident = incident_with(model, alert, decision, is_new=is_new, columns_max=columns_max)
        others, own = self.waiting.release(alert)
        if own:
            return others + own
        return [*others, PublishIncident(model.incident, model.incident.reason), NoAction(alert.alert_id, decision)]


def incident_with(model: ModelState, alert: Alert, decision: Outcome, *, is_new: bool, columns_max: int) -> Incident:
    """The model's incident with this alert in it, of which this was decided; a new one if none is open."""
    incident, version = model.incident_for(is_new), model.versions.newest
    if incident is None:
        return Incident.opened(alert, version, model.now, decision)
    return incident.absorb(alert, version, model.now, decision, is_new=is_new, columns_max=columns_max)


def make_last(
    state: EngineState, register: RequestTracker, models_max: int, model_id: str, model: ModelState
) -> list[Action]:
    """Make this model the one heard of last; forget the one heard of longest ago when there is no room."""
    models = state.models
    actions: list[Action] = []
    if models.pop(model_id, None) is None and len(models) >= models_max:
        forgotten = models.pop(next(iter(models)))
        actions = close(forgotten, Outcome.MODEL_EVICTED) + register.forget(forgotten)
        forgotten.last_request = forgotten.waiting = None  # who is at it just now finds nothing left
    models[model_id] = model
    return actions
