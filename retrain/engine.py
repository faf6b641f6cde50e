"""Alerts and control records in, actions out: the core of the decide fold.

    alert ─► seen before? ─► older version? ─► incident: open, absorb, close ─► the rules of `policy` ─► request
                 │                 │                     │                              │                   │
              duplicate      older_version        PublishIncident              Noted(why not)            `waiting`
    control record ─► `register` ─► PublishDecision                        room in the budget ─► PublishRequest

`Engine.handle` is the only method that changes state. There is no clock: time is the alert's event time, and for each
model it never runs backwards (its running maximum), so a late alert can neither shorten a cooldown nor end an incident.
"""

from __future__ import annotations

from datetime import datetime

from retrain.action import Action, Noted, PublishIncident, close
from retrain.alert import Alert, AlertState
from retrain.control import Control
from retrain.incident import Incident
from retrain.outcome import Outcome
from retrain.policy import Question, decide
from retrain.register import Register
from retrain.settings import RetrainSettings
from retrain.state import EngineState, ModelState
from retrain.versions import Order
from retrain.waiting import Waiting


class Engine:
    """Folds alerts and what is said of requests. Deterministic; all it knows is in its settings and `state`."""

    def __init__(self, settings: RetrainSettings, state: EngineState | None = None) -> None:
        """Go on from `state`, or from nothing."""
        self.settings = settings
        self.state = state or EngineState()
        self._register = Register(settings, self.state)
        self._waiting = Waiting(settings, self.state, self._register)

    def handle(self, record: Alert | Control) -> list[Action]:
        """Fold one record. Returns what to do, in order; the last action is the answer to the record.

        That is a `PublishRequest` or `Noted` for an alert, and a `PublishDecision` for a control record. Times must be
        aware of their zone; numbers finite.
        """
        if isinstance(record, Alert):
            return self._alerted(record)
        answer = self._register.told(record)
        return self._waiting.release()[0] + answer

    def _alerted(self, record: Alert) -> list[Action]:
        event_time = _event_time_of(record)
        model = self.state.models.get(record.model_id) or ModelState.met(record.model_version, event_time)
        if model.has_seen(record):
            return [Noted(record.alert_id, Outcome.DUPLICATE)]
        if model.is_before_promotion(record):
            return [Noted(record.alert_id, Outcome.BEFORE_PROMOTION)]
        superseded = model.versions.newest
        order = model.versions.take(record.model_version, event_time)
        if order is Order.OLDER:
            return [Noted(record.alert_id, Outcome.OLDER_VERSION)]
        actions = self._register.pass_time(event_time) + self._make_last(record.model_id, model)
        model.now = max(model.now, event_time)
        actions += self._register.drifted(model, record)
        if order is Order.NEWER:
            model.forget_version(superseded)
            actions += close(model, Outcome.NEW_VERSION)
        elif self._is_quiet(model, record):
            actions += close(model, Outcome.QUIET)
        return actions + self._absorb(model, record)

    def _make_last(self, model_id: str, model: ModelState) -> list[Action]:
        """Make this model the one that alerted last; forget the one that alerted longest ago when there is no room."""
        models, actions = self.state.models, list[Action]()
        if models.pop(model_id, None) is None and len(models) >= self.settings.models_max:
            forgotten = models.pop(next(iter(models)))
            actions = close(forgotten, Outcome.MODEL_EVICTED) + self._register.forget(forgotten)
        models[model_id] = model
        return actions

    def _is_quiet(self, model: ModelState, alert: Alert) -> bool:
        """Whether the open incident was over before this alert came."""
        incident = model.open_incident
        # An alert that becomes ready belongs where it fired, however long that took.
        if incident is None or alert.state is AlertState.READY:
            return False
        if model.waiting or (model.last_request is not None and model.last_request.is_open(model.now)):
            return False
        return (model.now - incident.last_alert_at).total_seconds() > self.settings.incident_quiet_s

    def _absorb(self, model: ModelState, alert: Alert) -> list[Action]:
        """Open or update the model's incident, and ask for a retrain if the rules agree."""
        decision = decide(Question(alert, model.now, model.last_request, self.settings, model.unhelpful))
        if decision is Outcome.REQUEST_MADE:
            self._waiting.put(model, alert)
            decision = Outcome.WAITING_FOR_ROOM
        model.incident = self._incident_with(model, alert, decision)
        others, own = self._waiting.release(alert)
        noted: list[Action] = [PublishIncident(model.incident, model.incident.reason), Noted(alert.alert_id, decision)]
        return others + (own or noted)

    def _incident_with(self, model: ModelState, alert: Alert, decision: Outcome) -> Incident:
        is_new, version, incident = model.see(alert), model.versions.newest, model.open_incident
        if incident is None:
            return Incident.opened(alert, version, model.now, decision)
        columns_max = self.settings.columns_max
        return incident.absorb(alert, version, model.now, decision, is_new=is_new, columns_max=columns_max)


def _event_time_of(alert: Alert) -> datetime:
    """When the alert took place: where it became ready, else where it fired."""
    return (alert.ready_at or alert.at).event_time
