"""Sources: drift of a feature source is one incident, of the source, which lists the models that use it.

                       worth a retrain, few models
    alerts of a source ──────────────────────────► a request for each model whose own rules agree ◄──┐
                     │ worth a retrain, many models                                   a person approves
                     └───────────────────────────► held ─────────────────────────────────────────────┘
                                                     └─ a person rejects, or it is quiet ─► no requests

Such a request bears the incident of the source and a stretch of its topic. Times lead to the model's own events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from retrain.engine import holds
from retrain.engine.incidents import incident_with
from retrain.engine.queue import RequestQueue
from retrain.engine.requests import RequestTracker
from retrain.messages.action import Action, NoAction, PublishIncident, PublishRequest
from retrain.messages.alert import Alert
from retrain.messages.control import Control
from retrain.messages.ids import SOURCE_PREFIX
from retrain.messages.outcome import Outcome
from retrain.policy.case import RetrainCase
from retrain.policy.rules import decide
from retrain.policy.settings import RetrainSettings
from retrain.policy.source_settings import SourceSettings
from retrain.state.hold import Hold
from retrain.state.source import SourceState
from retrain.state.state import EngineState, ModelState

SourcesByName = Mapping[str, SourceSettings]


@dataclass(frozen=True, slots=True)
class SourceUsers:
    """The models that use each source of the settings. All state is in `state`."""

    settings_of: SourcesByName
    state: EngineState
    models_max: int  # of one source

    def first_seen(self, model_id: str) -> None:
        """Add a model that alerts to the sources that it uses, unless it is remembered already."""
        if model_id in self.state.models:
            return
        for source_id, source in self.state.sources.items():
            settings = self.settings_of.get(source_id.removeprefix(SOURCE_PREFIX))
            if settings and settings.uses(model_id):
                self._add(source, [model_id])

    def source_of(self, alert: Alert) -> SourceState:
        """The source of an alert, with the models that the alert names. Changed settings rebuild its models."""
        settings = self.settings_of.get(alert.model_id.removeprefix(SOURCE_PREFIX))
        if settings is None:
            return SourceState([])
        source = self.state.sources.setdefault(alert.model_id, SourceState([]))
        if source.patterns != settings.models:
            source.patterns, source.models = list(settings.models), {}
            self._add(source, [*settings.named(), *(name for name in self.state.models if settings.uses(name))])
        self._add(source, [name for name in alert.models if settings.uses(name)])
        return source

    def _add(self, source: SourceState, names: Iterable[str]) -> None:
        for name in names:
            if len(source.models) < self.models_max and not name.startswith(SOURCE_PREFIX):
                source.models[name] = None


@dataclass(frozen=True, slots=True)
class Sources:
    """The incidents of sources. All state is in `state`."""

    settings: RetrainSettings
    state: EngineState
    users: SourceUsers
    requests: RequestTracker
    queue: RequestQueue

    def handle_control(self, control: Control) -> list[Action] | None:
        """See `retrain.engine.engine.Handler`: commands about the open incident of a source that is or was held."""
        for source_id, source in self.state.sources.items():
            model = self.state.models.get(source_id)
            is_meant = source.incident_id == control.request_id and source.standing is not Hold.FREE
            if is_meant and model is not None and model.open_incident is not None:
                return self._decide(source_id, model, source, control)
        return None

    def advance_time(self, now: datetime) -> list[Action]:
        """See `retrain.engine.engine.Handler`: held incidents that became quiet close."""
        actions: list[Action] = []
        for source_id, source in self.state.sources.items():
            model = self.state.models.get(source_id)
            incident = model.open_incident if model and source.standing is Hold.HELD else None
            quiet_s = (now - incident.last_alert_at).total_seconds() if incident else 0.0
            if model and quiet_s > self.settings.incident_quiet_s:
                source.reset()
                actions += model.close(Outcome.QUIET)
        return actions

    def absorb(self, model: ModelState, alert: Alert, is_new: bool) -> list[Action]:
        """Open or update the incident of a source; if it is worth it, request retrains of its models, or hold them."""
        source = self.users.source_of(alert)
        decision = decide(RetrainCase.of(alert, model, model.now, self.settings, users=len(source.models)))
        incident = incident_with(model, alert, decision, is_new, self.settings.columns_max)
        if incident.incident_id != source.incident_id:
            source.incident_id = incident.incident_id
            source.reset()
        model.incident = replace(incident, model_count=max(len(source.models), 1), models=source.first_models)
        actions: list[Action] = []
        if decision is Outcome.REQUEST_MADE:
            decision, actions = self._push_or_hold(source, alert)
        decision, actions = _summary(decision, actions + self.queue.make_requests(), source, alert)
        is_held = source.standing is Hold.HELD
        model.incident = replace(model.incident, decision=Outcome.HELD_FOR_SOURCE if is_held else decision)
        return [*actions, PublishIncident(model.incident, model.incident.reason), NoAction(alert.alert_id, decision)]

    def _decide(self, source_id: str, model: ModelState, source: SourceState, control: Control) -> list[Action]:
        verdict = holds.decide(source.standing, control)
        if isinstance(verdict, Outcome):
            return [holds.answer(source.standing, control, verdict, source_id)]
        source.standing, held, source.held = verdict, source.held, None
        reason = Outcome.SOURCE_RELEASED if verdict is Hold.RELEASED else Outcome.SOURCE_DISMISSED
        actions = self._push(source, held) if held and verdict is Hold.RELEASED else []
        if model.incident:
            model.incident = replace(model.incident, reason=reason, decision=reason)
            actions.append(PublishIncident(model.incident, reason))
        return [*actions, holds.answer(verdict, control, reason, source_id)]

    def _push_or_hold(self, source: SourceState, alert: Alert) -> tuple[Outcome, list[Action]]:
        """What becomes of an alert that is worth a retrain of the source's models."""
        if source.standing is Hold.FREE and 0 < (self.settings.storm_models_min or 0) <= len(source.models):
            source.standing = Hold.HELD
        if source.standing is Hold.HELD:
            source.held = max(source.held or alert, alert, key=lambda one: one.effect)
            return Outcome.HELD_FOR_SOURCE, []
        if source.standing is Hold.DISMISSED:
            return Outcome.SOURCE_DISMISSED, []
        return Outcome.BUDGET_EXHAUSTED, self._push(source, alert)

    def _push(self, source: SourceState, alert: Alert) -> list[Action]:
        """Let each model wait with the alert, under its own name, unless it was promoted since the alert fired."""
        actions, now = list[Action](), self.state.now or alert.event_time
        for model_id in source.models:
            model = self.state.models.get(model_id) or ModelState.first_seen("", now)
            if model.is_before_promotion(alert):
                continue
            actions += self.requests.touch(model_id, model)
            own = replace(alert, model_id=model_id, model_version="", models=(), model_count=0)
            self.queue.push(model, own, source=alert.model_id)
        return actions


def _summary(
    decision: Outcome, actions: list[Action], source: SourceState, alert: Alert
) -> tuple[Outcome, list[Action]]:
    """One decision for an alert whose models wait, and the actions without each model's own decision on it."""
    own = [a.reason for a in actions if isinstance(a, NoAction) and a.alert_id == alert.alert_id]
    actions = [a for a in actions if not (isinstance(a, NoAction) and a.alert_id == alert.alert_id)]
    if decision is Outcome.BUDGET_EXHAUSTED:
        if any(isinstance(a, PublishRequest) and a.request.model_id in source.models for a in actions):
            decision = Outcome.REQUEST_MADE
        elif own:
            decision = own[-1]
    return decision, actions
