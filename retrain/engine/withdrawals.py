"""Requests taken back before anybody has begun: what they were made of has turned out to be no reason.

    request made ─► its column is in a storm, or faulty, and so is all else that moved ─► withdrawn
                         │                                                                  └─ of a storm: waits with it
                         └─ approved by a person, or training: it stands

A storm is known as one when enough models have alerted, and a broken column by an alert that may come after that of its
drift. Whichever comes first, the outcome is the same: nothing is asked for on broken data.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from retrain.engine.requests import RequestTracker
from retrain.messages.action import Action
from retrain.messages.alert import Alert
from retrain.messages.ids import derived_id
from retrain.messages.lifecycle import RequestRecord, RequestState
from retrain.messages.outcome import Outcome
from retrain.messages.request import RetrainRequest
from retrain.messages.shift import Shift
from retrain.policy.case import RetrainCase
from retrain.policy.inhibition import is_faulty
from retrain.policy.settings import RetrainSettings
from retrain.state.state import EngineState, ModelState, close


class Withdrawals:
    """Holds nothing of its own."""

    def __init__(self, settings: RetrainSettings, state: EngineState, register: RequestTracker) -> None:
        self._settings = settings
        self._state = state
        self._register = register

    def told_of_fault(self, model: ModelState, alert: Alert) -> list[Action]:
        """Withdraw a recent request that was made of a column whose data are faulty, as this alert tells."""
        if shared := self._state.sources.get(alert.model_id):
            return self._review_source(model, shared.models)
        life = model.last_request
        if life is None or not self._is_recent(life, model.now, self._settings.inhibit_s):
            return []
        return self._review(model) if any(alert.column == move.column for move in _reasons(model)) else []

    def join_storm(self, model_id: str, column: str) -> list[Action]:
        """Withdraw what was asked for one of the first models of a storm, and close its incident of that column."""
        model = self._state.models.get(model_id)
        if model is None:
            return []
        life, window_s = model.last_request, self._settings.storm_window_s
        is_recent = life is not None and self._is_recent(life, model.now, window_s)  # the fleet may be far ahead of it
        actions, own = self._review(model) if is_recent else [], model.open_incident
        if own and (actions or own.request_id is None) and {move.column for move in own.columns} == {column}:
            actions += close(model, Outcome.JOINED_STORM)
        return actions

    def _review(self, model: ModelState) -> list[Action]:
        """Withdraw the model's request if nothing of its own that moved is a reason for it any more."""
        life, reasons = model.last_request, _reasons(model)
        if life is None or life.trigger is None or not reasons:
            return []
        standing = [move for move in reasons if not self._is_no_reason(model, move.column)]
        if RetrainCase.of(life.trigger.alert, model, model.now, self._settings).is_met_among(standing):
            return []
        column = life.trigger.alert.column
        # Where its own column stands, what had to move with it does not: a fault takes that back, a storm does not.
        told = {move.column for move in reasons} if column in {move.column for move in standing} else {column}
        if any(is_faulty(model.faults, name, model.now, self._settings) for name in told):
            return [self._withdraw(model, life, Outcome.WITHDRAWN_BY_DATA_FAULT, model.now)]
        if self._state.is_calm(column):
            return []
        storm = self._state.storms[column]
        storm.join(life.trigger.alert.model_id, self._settings.models_max)
        if storm.holds(life.trigger.alert.model_id):
            model.waiting = life.trigger
        return [self._withdraw(model, life, Outcome.WITHDRAWN_BY_STORM, model.now)]

    def _review_source(self, source: ModelState, model_ids: Iterable[str]) -> list[Action]:
        """Withdraw what was asked for the models of a source if all that moved in it is faulty."""
        moves, now = source.incident.columns if source.incident else (), source.now
        if not all(is_faulty(source.faults, move.column, now, self._settings) for move in moves):
            return []
        actions, of_it = list[Action](), {move.alert_id for move in moves}
        for model in filter(None, map(self._state.models.get, model_ids)):
            life = model.last_request
            if not (life and life.trigger) or life.trigger.alert.alert_id not in of_it:
                continue
            if self._is_recent(life, now, self._settings.inhibit_s):
                actions.append(self._withdraw(model, life, Outcome.WITHDRAWN_BY_DATA_FAULT, now))
        return actions

    def _withdraw(self, model: ModelState, life: RequestRecord, reason: Outcome, now: datetime) -> Action:
        return self._register.end(model, life, RequestState.WITHDRAWN, reason, now)

    def _is_recent(self, life: RequestRecord, now: datetime, within_s: float) -> bool:
        return (now - life.requested_at).total_seconds() < within_s

    def _is_no_reason(self, model: ModelState, column: str) -> bool:
        return not self._state.is_calm(column) or is_faulty(model.faults, column, model.now, self._settings)


def _reasons(model: ModelState) -> list[Shift]:
    """What moved of the model's own, which its request is about; nothing where it came of a source."""
    trigger = model.last_request.trigger if model.last_request else None
    if trigger is None or trigger.source:
        return []
    return [Shift.of(trigger.alert), *(model.incident.columns if model.incident else ())]


def renewed(request: RetrainRequest, last: RequestRecord | None) -> RetrainRequest:
    """The request, under an id of its own if the model's last one was withdrawn: it may be of the same alert."""
    if last is None or last.state is not RequestState.WITHDRAWN:
        return request
    request_id = derived_id("retrain", request.request_id, last.request_id, name=request.model_id)
    return replace(request, request_id=request_id)
