"""The core of the decide fold: alerts, control records and watermarks in, actions out.

    alert ─► duplicate? ─► older version? ─► incident: open, absorb, close ─► the rules of `policy` ─► queue
                 │                │                     │                              │                 │
             NoAction          NoAction          PublishIncident             NoAction(why not)    PublishRequest,
                                                                                                when the budget has room
    control record ─► the handler that knows its id ─► PublishDecision
    watermark ──────► what is due ends; models that wait get their requests where the budget has room

`Engine.handle` is the only method that changes state. There is no clock: time is the event time of alerts and
watermarks. The time of a model is the running maximum of its alerts, so a late alert neither shortens a cooldown nor
ends an incident.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Protocol

from retrain.engine.incidents import Incidents
from retrain.engine.queue import RequestQueue
from retrain.engine.requests import RequestTracker
from retrain.engine.silences import Silences
from retrain.engine.sources import Sources, SourcesByName, SourceUsers
from retrain.engine.storms import Storms
from retrain.engine.withdrawals import Withdrawals
from retrain.messages.action import Action, NoAction, PublishIncident, answer
from retrain.messages.alert import Alert, AlertKind, AlertState, Resolution
from retrain.messages.control import OF_PEOPLE, Control
from retrain.messages.ids import SOURCE_PREFIX
from retrain.messages.outcome import Outcome
from retrain.messages.watermark import Watermark
from retrain.policy.inhibition import add_fault
from retrain.policy.settings import RetrainSettings
from retrain.state.hold import Hold
from retrain.state.state import EngineState, ModelState
from retrain.state.versions import Order

_REASONS = {resolution: Outcome(resolution.value) for resolution in Resolution}


class Handler(Protocol):
    """One part of the engine that commands and time change."""

    def handle_control(self, control: Control) -> list[Action] | None:
        """Carry out a command. Returns actions, the answer to it last; None if it is about nothing of this part."""
        ...

    def advance_time(self, now: datetime) -> list[Action]:
        """End what is due at the fleet's time `now`, which never runs backwards."""
        ...


class Engine:
    """Folds alerts, control records and watermarks. Deterministic; all it knows is in its settings and `state`."""

    def __init__(
        self, settings: RetrainSettings, state: EngineState | None = None, sources: SourcesByName | None = None
    ) -> None:
        """Continue from `state`, or start empty; `sources` names the models that use each source."""
        self.settings = settings
        self.state = state or EngineState()
        self._requests = RequestTracker(settings, self.state)
        self._queue = RequestQueue(settings, self.state, self._requests)
        self._withdrawals = Withdrawals(settings, self.state, self._requests)
        self._silences = Silences(settings, self.state)
        self._storms = Storms(settings, self.state, self._queue, self._withdrawals)
        self._users = SourceUsers(sources or {}, self.state, settings.models_max)
        self._sources = Sources(settings, self.state, self._users, self._requests, self._queue)
        self._incidents = Incidents(settings, self.state, self._queue)
        self._resolver = Resolver(self.state, self._queue, self._silences)
        # Commands reach one of them by their ids, in any order; time reaches them in this one.
        self._handlers: tuple[Handler, ...] = (self._silences, self._requests, self._storms, self._sources)

    def handle(self, record: Alert | Control | Watermark) -> list[Action]:
        """Fold one record. Returns what to do, in order; the last action is the answer to the record.

        The answer is a `PublishRequest` or `NoAction` for an alert, and a `PublishDecision` for a control record; a
        watermark has none. Times must have a time zone; numbers must be finite.
        """
        if isinstance(record, Alert):
            return self._handle_alert(record)
        if isinstance(record, Watermark):
            return self._handle_watermark(record)
        return self._handle_control(record)

    def _handle_alert(self, alert: Alert) -> list[Action]:
        event_time = alert.event_time
        if alert.kind is AlertKind.BETTER_VERSION:
            return [*self._advance_time(event_time), *self._requests.compare(alert)]
        model = self.state.models.get(alert.model_id) or ModelState.first_seen(alert.model_version, event_time)
        if model.is_duplicate(alert):
            return [NoAction(alert.alert_id, Outcome.DUPLICATE)]
        if model.is_before_promotion(alert):
            return [NoAction(alert.alert_id, Outcome.BEFORE_PROMOTION)]
        superseded = model.versions.newest
        order = model.versions.add(alert.model_version, event_time)
        if order is Order.OLDER:
            return [NoAction(alert.alert_id, Outcome.OLDER_VERSION)]
        actions = self._advance_time(event_time)
        self._users.first_seen(alert.model_id)
        actions += self._requests.touch(alert.model_id, model)
        model.now = max(model.now, event_time)
        if order is Order.NEWER:
            model.forget_version(superseded)
            actions += model.close(Outcome.NEW_VERSION)
        elif model.is_quiet(alert, self.settings.incident_quiet_s):
            actions += model.close(Outcome.QUIET)
        return actions + self._judge(model, alert, model.record(alert))

    def _handle_control(self, control: Control) -> list[Action]:
        if control.kind in OF_PEOPLE and not self.settings.accepts(control.proof):
            return [self._requests.refuse(control, Outcome.ACTOR_NOT_PROVEN)]
        answers = (handler.handle_control(control) for handler in self._handlers)
        actions = next((actions for actions in answers if actions is not None), None)
        if actions is None:
            actions = [answer(control, Outcome.UNKNOWN_REQUEST)]
        return [*self._queue.make_requests(), *self._judge_freed(), *actions]

    def _handle_watermark(self, mark: Watermark) -> list[Action]:
        if self.state.now is not None and mark.at <= self.state.now:
            return []  # late: others have advanced the time already
        return [*self._advance_time(mark.at), *self._queue.make_requests()]

    def _advance_time(self, event_time: datetime) -> list[Action]:
        """Advance the fleet's time, and end what is due by it. Silences, which are first, are reported last."""
        now = self.state.now = max(self.state.now or event_time, event_time)
        silences, *others = [handler.advance_time(now) for handler in self._handlers]
        return [*chain.from_iterable(others), *silences, *self._judge_freed()]

    def _judge(self, model: ModelState, alert: Alert, is_new: bool) -> list[Action]:
        """Treat an alert that counts as what it is: ended, silenced, of a source, of a storm, or its model's own."""
        if alert.state is AlertState.RESOLVED:
            return self._resolver.resolve(model, alert)
        is_fault = add_fault(model.faults, alert, model.now, self.settings)
        if suppressed := self._silences.suppress(alert, is_new):
            return self._queue.make_requests() + suppressed
        actions = self._withdrawals.report_fault(model, alert) if is_fault else []
        if alert.model_id.startswith(SOURCE_PREFIX):
            return actions + self._sources.absorb(model, alert, is_new)
        actions += self._storms.join(alert, self.state.now or model.now)
        if not self.state.has_no_storm(alert.column):
            return actions + self._incidents.hold(model, alert)
        return actions + self._requests.judge_promotion(model, alert) + self._incidents.absorb(model, alert, is_new)

    def _judge_freed(self) -> list[Action]:
        """Judge the alerts that silences have freed, as if they came now; models wait again for those of a source."""
        actions = list[Action]()
        for model, suppressed in self._silences.take_freed():
            alert = suppressed.alert
            if self.state.models.get(alert.model_id) is not model:
                actions.append(NoAction(alert.alert_id, Outcome.MODEL_EVICTED))  # by one of the alerts before it
            elif suppressed.source:
                actions += self._queue.requeue(model, suppressed)
            else:
                actions += self._judge(model, alert, suppressed.is_new)
        return actions


@dataclass(frozen=True, slots=True)
class Resolver:
    """Ends alerts, and what depends on them: without active alerts, a model needs no incident and no retrain.

    resolved ─► active? ─► superseded: another alert of the series is active instead
                  │  └───► settled: the series has no baseline to return to; the incident ends like others
                  │
                  └─► back to normal ─► the last one of its column? ─► the model leaves the storm ─► the storm ends
                                   └──► the last one of its model?  ─► what waits is withdrawn, the incident closes

    A settled alert stays active until its incident closes. All state is in `state`.
    """

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
