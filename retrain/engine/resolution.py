"""How alerts end, and with them what came of them: what is all back to normal needs no incident and no retrain.

resolved ─► firing? ─► superseded: another alert of the series fires instead
│  └──► settled: nobody waits for the way back any more; the incident ends as others do
│
└─► back to normal ─► the last one of its column? ─► the model leaves the storm ─► the storm ends
└─► the last one of its model?  ─► what waits is withdrawn, the incident closes
"""

from __future__ import annotations

from retrain.engine.queue import RequestQueue
from retrain.engine.silences import let_go, let_go_of_source
from retrain.messages.action import Action, NoAction, PublishIncident
from retrain.messages.alert import Alert, Resolution
from retrain.messages.outcome import Outcome
from retrain.state.source import Standing
from retrain.state.state import EngineState, ModelState, close
from retrain.state.storm import StormState

_REASON = {resolution: Outcome(resolution.value) for resolution in Resolution}


class Firing:
    """Holds nothing of its own; `state` does."""

    def __init__(self, state: EngineState, waiting: RequestQueue) -> None:
        self._state = state
        self._waiting = waiting

    def end(self, model: ModelState, alert: Alert) -> list[Action]:
        """What comes of an alert's end; the last action is the answer to it."""
        if alert.resolution is None or alert.alert_id not in model.firing:
            return [*self._waiting.release()[0], NoAction(alert.alert_id, Outcome.NOT_FIRING)]
        let_go(self._state.silenced, alert)
        actions = list[Action]()
        if alert.resolution is not Resolution.SETTLED:
            del model.firing[alert.alert_id]
        if alert.resolution is Resolution.BACK_TO_NORMAL:
            actions = self._back(model, alert)
        return [*actions, *self._waiting.release()[0], NoAction(alert.alert_id, _REASON[alert.resolution])]

    def _back(self, model: ModelState, alert: Alert) -> list[Action]:
        actions = list[Action]()
        if not model.firing:
            actions = [*self._withdraw(model, ""), *self._release_source(alert.model_id)]
            actions += close(model, Outcome.BACK_TO_NORMAL)
        if alert.column not in model.firing.values():
            actions += self._leave_storm(model, alert.model_id, alert.column)
        return actions

    def _withdraw(self, model: ModelState, source: str) -> list[Action]:
        """Ask no more for what a model waits for because of this source, or of itself."""
        waiter = model.waiting
        if waiter is None or waiter.source != source:
            return []
        model.waiting = None
        return [NoAction(waiter.alert.alert_id, Outcome.WITHDRAWN)]

    def _release_source(self, source: str) -> list[Action]:
        """What a source held for a person, and what its models wait for because of it, is asked for no more."""
        shared = self._state.sources.get(source)
        if shared is None:
            return []
        if shared.standing is Standing.HELD:
            shared.standing, shared.held = Standing.FREE, None
        users = (self._state.models.get(name) for name in shared.models)
        freed = [action for user in users if user for action in self._withdraw(user, source)]
        return freed + let_go_of_source(self._state.silenced, source)

    def _leave_storm(self, model: ModelState, model_id: str, column: str) -> list[Action]:
        """Count a model no longer whose column is back to normal, and ask nothing for it; the last ends the storm."""
        storm = self._state.storms.get(column)
        if storm is None:
            return []
        is_held = storm.holds(model_id) and self._state.waits_with(model_id, column)
        actions = self._withdraw(model, "") if is_held else []
        storm.models.pop(model_id, None)
        if storm.models:
            return actions
        del self._state.storms[column]
        incident = storm.incident.closed(Outcome.BACK_TO_NORMAL)
        return [*actions, *([PublishIncident(incident, incident.reason)] if storm.state is StormState.HELD else [])]
