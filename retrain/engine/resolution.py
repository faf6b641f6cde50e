"""The end of alerts, and of what they led to: without active alerts, a model needs no incident and no retrain.

    resolved ─► active? ─► superseded: another alert of the series is active instead
                  │  └───► settled: the series has no baseline to return to; the incident ends like others
                  │
                  └─► back to normal ─► the last one of its column? ─► the model leaves the storm ─► the storm ends
                                   └──► the last one of its model?  ─► what waits is withdrawn, the incident closes

A settled alert stays active until its incident closes.
"""

from __future__ import annotations

from dataclasses import dataclass

from retrain.engine.queue import RequestQueue
from retrain.engine.silences import Silences
from retrain.messages.action import Action, NoAction, PublishIncident
from retrain.messages.alert import Alert, Resolution
from retrain.messages.outcome import Outcome
from retrain.state.hold import Hold
from retrain.state.state import EngineState, ModelState

_REASONS = {resolution: Outcome(resolution.value) for resolution in Resolution}


@dataclass(frozen=True, slots=True)
class Resolver:
    """Ends alerts. All state is in `state`."""

    state: EngineState
    queue: RequestQueue
    silences: Silences

    def resolve(self, model: ModelState, alert: Alert) -> list[Action]:
        """End an alert, with all that depends on it; the last action is the answer to the alert."""
        if alert.resolution is None or alert.alert_id not in model.firing:
            return [*self.queue.make_requests(), NoAction(alert.alert_id, Outcome.NOT_FIRING)]
        self.silences.release(alert)
        actions = list[Action]()
        if alert.resolution is not Resolution.SETTLED:
            del model.firing[alert.alert_id]
        if alert.resolution is Resolution.BACK_TO_NORMAL:
            actions = self._recover(model, alert)
        return [*actions, *self.queue.make_requests(), NoAction(alert.alert_id, _REASONS[alert.resolution])]

    def _recover(self, model: ModelState, alert: Alert) -> list[Action]:
        actions = list[Action]()
        if not model.firing:
            actions = [*model.withdraw(), *self._recover_source(alert.model_id)]
            actions += model.close(Outcome.BACK_TO_NORMAL)
        if alert.column not in model.firing.values():
            actions += self._leave_storm(model, alert.model_id, alert.column)
        return actions

    def _recover_source(self, source_id: str) -> list[Action]:
        """Withdraw what a source holds for a person, and what its models wait for because of it."""
        source = self.state.sources.get(source_id)
        if source is None:
            return []
        if source.standing is Hold.HELD:
            source.reset()
        users = (self.state.models.get(name) for name in source.models)
        withdrawn = [action for user in users if user for action in user.withdraw(source_id)]
        return withdrawn + self.silences.release_source(source_id)

    def _leave_storm(self, model: ModelState, model_id: str, column: str) -> list[Action]:
        """Remove a model whose column is back to normal from its storm; the last one ends the storm."""
        storm = self.state.storms.get(column)
        if storm is None:
            return []
        is_held = storm.holds(model_id) and self.state.waits_with(model_id, column)
        actions = model.withdraw() if is_held else []
        storm.models.pop(model_id, None)
        if storm.models:
            return actions
        del self.state.storms[column]
        incident = storm.incident.closed(Outcome.BACK_TO_NORMAL)
        return [*actions, *([PublishIncident(incident, incident.reason)] if storm.state is Hold.HELD else [])]
