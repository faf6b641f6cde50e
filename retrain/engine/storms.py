"""Storms: drift of one column in many models at once has one cause, and hardly all models went stale.

                      enough models in the window              a person approves
    alerts of a column ───────────────────────► held ─────────────────────────► released ──┐
                                                 │ │                                       │ quiet
                                                 │ └─ a person rejects ─► dismissed ───────┼──────► over
                                                 └─────────── quiet ───────────────────────┘

A storm is one incident, of `fleet:<column>`, for any number of models. While it is held or dismissed, alerts of its
column open no incidents of their own and trigger no requests. Those that are worth a retrain wait for its release.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from retrain.engine import holds
from retrain.engine.queue import RequestQueue
from retrain.engine.withdrawals import Withdrawals
from retrain.messages.action import Action
from retrain.messages.alert import Alert
from retrain.messages.control import Control
from retrain.messages.ids import FLEET_PREFIX, SOURCE_PREFIX
from retrain.messages.incident import Incident, IncidentState
from retrain.messages.outcome import Outcome
from retrain.messages.shift import Shift
from retrain.policy.settings import RetrainSettings
from retrain.state.hold import Hold
from retrain.state.state import EngineState
from retrain.state.storm import Storm


@dataclass(frozen=True, slots=True)
class Storms:
    """The storms of the fleet, at most one a column. All state is in `state`."""

    settings: RetrainSettings
    state: EngineState
    queue: RequestQueue
    withdrawals: Withdrawals

    def handle_control(self, control: Control) -> list[Action] | None:
        """See `retrain.engine.engine.Handler`: commands about a storm."""
        for column, storm in self.state.storms.items():
            if storm.incident.incident_id == control.request_id:
                return self._decide(column, storm, control)
        return None

    def advance_time(self, now: datetime) -> list[Action]:
        """See `retrain.engine.engine.Handler`: storms that became quiet end, and their models wait no longer."""
        actions: list[Action] = []
        quiet_s = self.settings.incident_quiet_s
        storms = self.state.storms.items()
        for column in [c for c, storm in storms if (now - storm.incident.last_alert_at).total_seconds() > quiet_s]:
            storm = self.state.storms.pop(column)
            if storm.state is Hold.HELD:
                self._drop(storm, column)
                actions.append(storm.publish(Outcome.QUIET, IncidentState.CLOSED))
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
            columns=_strongest(storm.incident.columns, Shift.of(alert)),
        )
        if storm.state is Hold.HELD and len(storm.models) >= 2 * storm.incident.model_count:
            return [storm.publish(Outcome.STORM_UPDATED)]
        return []

    def _decide(self, column: str, storm: Storm, control: Control) -> list[Action]:
        verdict = holds.decide(storm.state, control)
        if isinstance(verdict, Outcome):
            return [holds.answer(storm.state, control, verdict, storm.incident.model_id)]
        storm.state = verdict
        if verdict is Hold.RELEASED:
            self.queue.restore([name for name in storm.models if self.state.waits_with(name, column)])
        else:
            self._drop(storm, column)
        reason = Outcome.STORM_RELEASED if verdict is Hold.RELEASED else Outcome.STORM_DISMISSED
        published = storm.publish(reason, IncidentState.CLOSED)
        return [published, holds.answer(verdict, control, reason, storm.incident.model_id)]

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
        actions = [storm.publish(Outcome.STORM_OPENED)]
        for name in models:
            actions += self.withdrawals.join_storm(name, alert.column)
        return actions

    def _drop(self, storm: Storm, column: str) -> None:
        for name in storm.models:
            if self.state.waits_with(name, column):
                self.state.models[name].waiting = None


def _strongest(shifts: tuple[Shift, ...], shift: Shift) -> tuple[Shift, ...]:
    """The shift of a storm after one more; the newest numbers of an alert replace its earlier ones."""
    is_later = shifts[0].alert_id == shift.alert_id
    return (shift,) if is_later or shift.strength > shifts[0].strength else shifts
