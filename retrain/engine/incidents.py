"""Drift that is a model's own: it joins the model's incident, or waits for a storm, and may ask for a retrain."""

from __future__ import annotations

from dataclasses import dataclass

from retrain.engine.joining import incident_with
from retrain.engine.queue import Waiting
from retrain.messages.action import Action, Noted, PublishIncident
from retrain.messages.alert import Alert
from retrain.messages.outcome import Outcome
from retrain.policy.case import Question
from retrain.policy.rules import decide
from retrain.policy.settings import RetrainSettings
from retrain.state.state import EngineState, ModelState


@dataclass(frozen=True, slots=True)
class OwnDrift:
    """Holds nothing but `state`."""

    settings: RetrainSettings
    state: EngineState
    waiting: Waiting

    def hold(self, model: ModelState, alert: Alert) -> list[Action]:
        """Ask for nothing while a storm is held or dismissed; what is worth a retrain waits for a person's word."""
        decision = decide(Question.of(alert, model, model.now, self.settings))
        if decision is Outcome.REQUEST_MADE:
            decision = Outcome.HELD_BY_STORM
            if self.state.storms[alert.column].holds(alert.model_id):
                self.waiting.put(model, alert)
        return [*self.waiting.release()[0], Noted(alert.alert_id, decision)]

    def absorb(self, model: ModelState, alert: Alert, is_new: bool) -> list[Action]:
        """Open or update the model's incident, and ask for a retrain if the rules agree."""
        decision = decide(Question.of(alert, model, model.now, self.settings))
        if decision is Outcome.REQUEST_MADE:
            self.waiting.put(model, alert)
            decision = Outcome.WAITING_FOR_ROOM
        columns_max = self.settings.columns_max
        model.incident = incident_with(model, alert, decision, is_new=is_new, columns_max=columns_max)
        others, own = self.waiting.release(alert)
        if own:
            return others + own
        return [*others, PublishIncident(model.incident, model.incident.reason), Noted(alert.alert_id, decision)]
