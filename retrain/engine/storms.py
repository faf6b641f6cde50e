"""Storms: one column that moves in many models at once has one cause, and it is hardly that all models went stale.

                      enough models in the window              a person approves
    alerts of a column ───────────────────────► held ─────────────────────────► released ──┐
                                                 │ │                                       │ quiet
                                                 │ └─ a person rejects ─► dismissed ───────┼──────► over
                                                 └─────────── quiet ───────────────────────┘

A storm is one incident, of `fleet:<column>`, however many models it has. While it is held or dismissed, alerts of its
column open no incidents of their own and ask for nothing; those that are worth a retrain wait until it is released.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from retrain.engine.withdrawals import Withdrawals
from retrain.messages.action import Action, PublishDecision
from retrain.messages.alert import Alert
from retrain.messages.control import Control, ControlKind
from retrain.messages.decision import Decision
from retrain.messages.ids import FLEET_PREFIX, SOURCE_PREFIX
from retrain.messages.incident import Incident, IncidentState
from retrain.messages.lifecycle import RequestState
from retrain.messages.outcome import Outcome
from retrain.messages.shift import Shift
from retrain.policy.settings import RetrainSettings
from retrain.state.state import EngineState
from retrain.state.storm import Storm, StormState, publish_storm


@dataclass(frozen=True, slots=True)
class Storms:
    """The storms of the fleet, at most one a column. Holds nothing but `state`."""

    settings: RetrainSettings
    state: EngineState
    withdrawals: Withdrawals

    def pass_time(self, now: datetime) -> list[Action]:
        """End the storms that have become quiet; what they held is dropped, as nobody wanted it."""
        actions: list[Action] = []
        quiet_s = self.settings.incident_quiet_s
        storms = self.state.storms.items()
        for column in [c for c, storm in storms if (now - storm.incident.last_alert_at).total_seconds() > quiet_s]:
            storm = self.state.storms.pop(column)
            if storm.state is StormState.HELD:
                self._drop(storm, column)
                actions.append(publish_storm(storm, Outcome.QUIET, IncidentState.CLOSED))
        return actions

    def join(self, alert: Alert, now: datetime) -> list[Action]:
        """Count an alert at the fleet's time `now`, unless it is a source's or too small for a retrain."""
        if alert.model_id.startswith(SOURCE_PREFIX) or alert.effect < self.settings.effect_min(alert.effect_unit):
            return []
        storm = self.state.storms.get(alert.column)
        if storm is None:
            return self._gather(alert, now)
        storm.join(alert.model_id, self.settings.models_max)
        storm.incident = replace(
            storm.incident,
            last_alert_at=now,
            alerts=storm.incident.alerts + 1,
            columns=max(storm.incident.columns, (Shift.of(alert),), key=lambda moves: moves[0].strength),
        )
        if storm.state is StormState.HELD and len(storm.models) >= 2 * storm.incident.model_count:
            return [publish_storm(storm, Outcome.STORM_UPDATED)]
        return []

    def told(self, control: Control) -> tuple[list[Action], list[str]] | None:
        """What a person says of a storm, and the models that wait no longer for them; None if it is about none."""
        for column, storm in self.state.storms.items():
            if storm.incident.incident_id == control.request_id:
                return self._told(column, storm, control)
        return None

    def _told(self, column: str, storm: Storm, control: Control) -> tuple[list[Action], list[str]]:
        target = {ControlKind.APPROVE: StormState.RELEASED, ControlKind.REJECT: StormState.DISMISSED}.get(control.kind)
        if target is None or storm.state is not StormState.HELD:
            refused = Outcome.NO_CHANGE if storm.state is target else Outcome.TOO_LATE
            return [_answer(storm, control, refused)], []
        storm.state = target
        freed = list[str]()
        if target is StormState.RELEASED:
            freed = [name for name in storm.models if self.state.waits_with(name, column)]
        else:
            self._drop(storm, column)
        reason = Outcome.STORM_RELEASED if target is StormState.RELEASED else Outcome.STORM_DISMISSED
        return [publish_storm(storm, reason, IncidentState.CLOSED), _answer(storm, control, reason)], freed

    def _gather(self, alert: Alert, now: datetime) -> list[Action]:
        """Remember the alert, and open a storm if enough models have alerted within the window."""
        least, columns = self.settings.storm_models_min, self.state.columns
        if least is None:
            return []
        recent = columns.pop(alert.column, {})
        if len(columns) >= self.settings.storm_columns_max:
            del columns[next(iter(columns))]
        columns[alert.column] = recent
        recent.pop(alert.model_id, None)
        recent[alert.model_id] = now
        horizon = now - timedelta(seconds=self.settings.storm_window_s)
        while recent[first := next(iter(recent))] < horizon:
            del recent[first]
        return self._open(alert, now) if len(recent) >= least else []

    def _open(self, alert: Alert, now: datetime) -> list[Action]:
        waiting = [name for name in self.state.models if self.state.waits_with(name, alert.column)]
        models = dict.fromkeys([*self.state.columns.pop(alert.column), *waiting])
        fleet = replace(alert, model_id=FLEET_PREFIX + alert.column)
        incident = Incident.opened(fleet, "", now, Outcome.HELD_BY_STORM)
        storm = Storm(replace(incident, alerts=len(models)), models)
        self.state.storms[alert.column] = storm
        actions = [publish_storm(storm, Outcome.STORM_OPENED)]
        for name in models:
            actions += self.withdrawals.join_storm(name, alert.column)
        return actions

    def _drop(self, storm: Storm, column: str) -> None:
        for name in storm.models:
            if self.state.waits_with(name, column):
                self.state.models[name].waiting = None


def _answer(storm: Storm, control: Control, reason: Outcome) -> Action:
    state = {StormState.RELEASED: RequestState.APPROVED, StormState.DISMISSED: RequestState.REJECTED}.get(
        storm.state, RequestState.REQUESTED
    )
    decision = replace(Decision.answer(control, reason, storm.incident.model_id), state=state)
    return PublishDecision(decision, reason)
