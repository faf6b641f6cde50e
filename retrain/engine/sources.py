"""Sources: drift of what many models are given is one incident, of the source, which lists the models.

                       worth a retrain, few models
    alerts of a source ──────────────────────────► each model is asked for, if its own rules agree ◄─┐
                     │ worth a retrain, many models                                   a person approves
                     └───────────────────────────► held ─────────────────────────────────────────────┘
                                                     └─ a person rejects, or it is quiet ─► nothing is asked for

A request that comes of a source bears its incident and its stretch of its topic; times lead to the model's own events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from retrain.engine.incidents import incident_with, make_last
from retrain.engine.queue import RequestQueue
from retrain.engine.requests import RequestTracker
from retrain.messages.action import Action, NoAction, PublishDecision, PublishIncident, PublishRequest
from retrain.messages.alert import Alert
from retrain.messages.control import Control, ControlKind
from retrain.messages.decision import Decision
from retrain.messages.ids import SOURCE_PREFIX
from retrain.messages.lifecycle import RequestState
from retrain.messages.outcome import Outcome
from retrain.policy.case import RetrainCase
from retrain.policy.rules import decide
from retrain.policy.settings import RetrainSettings
from retrain.policy.source_settings import SourceSettings
from retrain.state.source import SourceState, Standing
from retrain.state.state import EngineState, ModelState, close

_STATES = {Standing.RELEASED: RequestState.APPROVED, Standing.DISMISSED: RequestState.REJECTED}


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources of the fleet. Holds nothing but `state`."""

    settings: RetrainSettings
    state: EngineState
    users: Users
    register: RequestTracker
    waiting: RequestQueue

    def drifted(self, source: ModelState, alert: Alert, is_new: bool) -> list[Action]:
        """Absorb an alert of a source in its incident, and ask for its models, or hold that, if it is worth it."""
        shared = self.users.of(alert)
        decision = decide(RetrainCase.of(alert, source, source.now, self.settings, users=len(shared.models)))
        incident = incident_with(source, alert, decision, is_new=is_new, columns_max=self.settings.columns_max)
        if incident.incident_id != shared.incident_id:
            shared.incident_id, shared.standing, shared.held = incident.incident_id, Standing.FREE, None
        source.incident = replace(incident, model_count=max(len(shared.models), 1), models=shared.first_models)
        actions: list[Action] = []
        if decision is Outcome.REQUEST_MADE:
            decision, actions = self._worth_it(shared, alert)
        decision, actions = _verdict(decision, actions + self.waiting.release()[0], shared, alert)
        is_held = shared.standing is Standing.HELD
        source.incident = replace(source.incident, decision=Outcome.HELD_FOR_SOURCE if is_held else decision)
        return [*actions, PublishIncident(source.incident, source.incident.reason), NoAction(alert.alert_id, decision)]

    def pass_time(self, now: datetime) -> list[Action]:
        """End what nobody has judged before it became quiet."""
        actions: list[Action] = []
        for source_id, shared in self.state.sources.items():
            source = self.state.models.get(source_id)
            incident = source.open_incident if source and shared.standing is Standing.HELD else None
            quiet_s = (now - incident.last_alert_at).total_seconds() if incident else 0.0
            if source and quiet_s > self.settings.incident_quiet_s:
                shared.standing, shared.held = Standing.FREE, None
                actions += close(source, Outcome.QUIET)
        return actions

    def told(self, control: Control) -> list[Action] | None:
        """Do what a person says of the incident of a source that is or was held; None if it is about none."""
        for source_id, shared in self.state.sources.items():
            model = self.state.models.get(source_id)
            is_meant = shared.incident_id == control.request_id and shared.standing is not Standing.FREE
            if is_meant and model is not None and model.open_incident is not None:
                return self._told(source_id, model, shared, control)
        return None

    def _told(self, source_id: str, source: ModelState, shared: SourceState, control: Control) -> list[Action]:
        target = {ControlKind.APPROVE: Standing.RELEASED, ControlKind.REJECT: Standing.DISMISSED}.get(control.kind)
        if target is None or shared.standing is not Standing.HELD:
            why = Outcome.NO_CHANGE if shared.standing is target else Outcome.TOO_LATE
            return [_answer(source_id, shared, control, why)]
        shared.standing, held, shared.held = target, shared.held, None
        reason = Outcome.SOURCE_RELEASED if target is Standing.RELEASED else Outcome.SOURCE_DISMISSED
        asked = self._ask(shared, held) if held and target is Standing.RELEASED else []
        if source.incident:
            source.incident = replace(source.incident, reason=reason, decision=reason)
            asked.append(PublishIncident(source.incident, reason))
        return [*asked, _answer(source_id, shared, control, reason)]

    def _worth_it(self, shared: SourceState, alert: Alert) -> tuple[Outcome, list[Action]]:
        """What becomes of an alert that is worth a retrain of the source's models."""
        if shared.standing is Standing.FREE and 0 < (self.settings.storm_models_min or 0) <= len(shared.models):
            shared.standing = Standing.HELD
        if shared.standing is Standing.HELD:
            shared.held = max(shared.held or alert, alert, key=lambda one: one.effect)
            return Outcome.HELD_FOR_SOURCE, []
        if shared.standing is Standing.DISMISSED:
            return Outcome.SOURCE_DISMISSED, []
        return Outcome.BUDGET_EXHAUSTED, self._ask(shared, alert)

    def _ask(self, shared: SourceState, alert: Alert) -> list[Action]:
        """Let each of the models wait with the alert, under its own name, that was not promoted since it fired."""
        actions, now = list[Action](), self.state.now or alert.event_time
        for model_id in shared.models:
            model = self.state.models.get(model_id) or ModelState.met("", now)
            if model.is_before_promotion(alert):
                continue
            actions += make_last(self.state, self.register, self.settings.models_max, model_id, model)
            own = replace(alert, model_id=model_id, model_version="", models=(), model_count=0)
            self.waiting.put(model, own, source=alert.model_id)
        return actions


def _verdict(
    decision: Outcome, actions: list[Action], shared: SourceState, alert: Alert
) -> tuple[Outcome, list[Action]]:
    """What came of an alert whose models were to be asked for; and the actions but for each model's own verdict."""
    of_models = [a.reason for a in actions if isinstance(a, NoAction) and a.alert_id == alert.alert_id]
    actions = [a for a in actions if not (isinstance(a, NoAction) and a.alert_id == alert.alert_id)]
    if decision is Outcome.BUDGET_EXHAUSTED:
        if any(isinstance(a, PublishRequest) and a.request.model_id in shared.models for a in actions):
            decision = Outcome.REQUEST_MADE
        elif of_models:
            decision = of_models[-1]
    return decision, actions


def _answer(source_id: str, shared: SourceState, control: Control, reason: Outcome) -> Action:
    state = _STATES.get(shared.standing, RequestState.REQUESTED)
    return PublishDecision(replace(Decision.answer(control, reason, source_id), state=state), reason)


SourcesByName = Mapping[str, SourceSettings]


@dataclass(frozen=True, slots=True)
class Users:
    """The models of each source that settings name. Holds nothing but `state`."""

    settings_of: SourcesByName
    state: EngineState
    models_max: int  # of one source

    def met(self, model_id: str) -> None:
        """Let sources know of a model that alerts, if it is not remembered already."""
        if model_id in self.state.models:
            return
        for source, shared in self.state.sources.items():
            of_source = self.settings_of.get(source.removeprefix(SOURCE_PREFIX))
            if of_source and of_source.uses(model_id):
                self._add(shared, [model_id])

    def of(self, alert: Alert) -> SourceState:
        """What is known of the alert's source; its models found anew where the settings are others than they were."""
        source = self.settings_of.get(alert.model_id.removeprefix(SOURCE_PREFIX))
        if source is None:
            return SourceState([])
        shared = self.state.sources.get(alert.model_id)
        if shared is None:
            shared = self.state.sources[alert.model_id] = SourceState([])
        if shared.patterns != source.models:
            shared.patterns, shared.models = list(source.models), {}
            self._add(shared, [*source.named(), *(name for name in self.state.models if source.uses(name))])
        self._add(shared, [name for name in alert.models if source.uses(name)])
        return shared

    def _add(self, shared: SourceState, names: Iterable[str]) -> None:
        for name in names:
            if len(shared.models) < self.models_max and not name.startswith(SOURCE_PREFIX):
                shared.models[name] = None
