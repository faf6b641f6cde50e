"""Drift that is a model's own: it joins the model's incident, or waits for a storm, and may trigger a retrain."""

from __future__ import annotations

from dataclasses import dataclass, replace

from retrain.engine.queue import RequestQueue
from retrain.messages.action import Action, NoAction, PublishIncident
from retrain.messages.alert import Alert
from retrain.messages.incident import Incident
from retrain.messages.outcome import Outcome
from retrain.policy.case import RetrainCase
from retrain.policy.rules import decide
from retrain.policy.settings import RetrainSettings
from retrain.state.state import EngineState, ModelState


@dataclass(frozen=True, slots=True)
class Incidents:
    """The incidents of models. All state is in `state`."""

    settings: RetrainSettings
    state: EngineState
    queue: RequestQueue

    def hold(self, model: ModelState, alert: Alert) -> list[Action]:
        """Request nothing, as a storm is held or dismissed; what is worth a retrain waits for a person."""
        decision = decide(RetrainCase.of(alert, model, model.now, self.settings))
        if decision is Outcome.REQUEST_MADE:
            decision = Outcome.HELD_BY_STORM
            if self.state.storms[alert.column].holds(alert.model_id):
                self.queue.push(model, alert)
        return [*self.queue.make_requests(), NoAction(alert.alert_id, decision)]

    def absorb(self, model: ModelState, alert: Alert, is_new: bool) -> list[Action]:
        """Open or update the model's incident, and request a retrain if the rules agree."""
        has_recurred = is_new and model.recur(alert, self.settings.recurrence_s)
        decision = decide(RetrainCase.of(alert, model, model.now, self.settings))
        if decision is Outcome.REQUEST_MADE:
            self.queue.push(model, alert)
            decision = Outcome.BUDGET_EXHAUSTED
        model.incident = incident_with(model, alert, decision, is_new, self.settings.columns_max)
        if has_recurred:
            model.incident = replace(model.incident, reason=Outcome.RECURRED)
        others, own = self.queue.make_requests_with(alert)
        if any(isinstance(action, PublishIncident) for action in own):
            return others + own
        # A request because of a source bears the source's incident; the model's own has changed nonetheless.
        published = PublishIncident(model.incident, model.incident.reason)
        return [*others, published, *(own or [NoAction(alert.alert_id, decision)])]


def incident_with(model: ModelState, alert: Alert, decision: Outcome, is_new: bool, columns_max: int) -> Incident:
    """The model's incident with this alert and the decision on it; a new one if none is open."""
    incident, version = model.incident_for(is_new), model.versions.newest
    if incident is None:
        return Incident.opened(alert, version, model.now, decision)
    return incident.absorb(alert, version, model.now, decision, is_new=is_new, columns_max=columns_max)
