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

from retrain.action import Action, close
from retrain.alert import Alert
from retrain.faults import is_faulty, tell_fault
from retrain.ids import derived_id
from retrain.lifecycle import RequestLife, RequestState
from retrain.outcome import Outcome
from retrain.register import Register
from retrain.request import RetrainRequest
from retrain.settings import RetrainSettings
from retrain.state import EngineState, ModelState

_UNANSWERED = frozenset({RequestState.REQUESTED, RequestState.APPROVED})


class Withdrawals:
    """Holds nothing of its own."""

    def __init__(self, settings: RetrainSettings, state: EngineState, register: Register) -> None:
        self._settings = settings
        self._state = state
        self._register = register

    def told(self, model: ModelState, alert: Alert) -> list[Action]:
        """Remember a fault of the data that an alert tells of, and withdraw a recent request that was made of it."""
        if not tell_fault(model.faults, alert, model.now, self._settings):
            return []
        if shared := self._state.sources.get(alert.model_id):
            return self._review_source(model, shared.models)
        life = model.last_request
        return self.review(model) if life and self._is_recent(life, model.now) else []

    def join_storm(self, model_id: str, column: str) -> list[Action]:
        """Withdraw what was asked for one of the first models of a storm, and close its incident of that column."""
        model = self._state.models.get(model_id)
        if model is None:
            return []
        actions, own = self.review(model), model.open_incident
        if own and (actions or own.request_id is None) and {move.column for move in own.columns} == {column}:
            actions += close(model, Outcome.JOINED_STORM)
        return actions

    def review(self, model: ModelState) -> list[Action]:
        """Withdraw the model's request if nothing that moved is a reason for it any more."""
        life = model.last_request
        if life is None or life.trigger is None or not _may_end(life):
            return []
        moved = {move.column for move in model.incident.columns} if model.incident else set[str]()
        if not all(self._is_no_reason(model, column) for column in moved | {life.trigger.column}):
            return []
        is_fault = is_faulty(model.faults, life.trigger.column, model.now, self._settings)
        if not is_fault:
            model.waiting = life.trigger
        reason = Outcome.WITHDRAWN_BY_DATA_FAULT if is_fault else Outcome.WITHDRAWN_BY_STORM
        return [self._withdraw(model, life, reason, model.now)]

    def _review_source(self, source: ModelState, model_ids: Iterable[str]) -> list[Action]:
        """Withdraw what was asked for the models of a source if all that moved in it is faulty."""
        moves, now = source.incident.columns if source.incident else (), source.now
        if not all(is_faulty(source.faults, move.column, now, self._settings) for move in moves):
            return []
        actions, of_it = list[Action](), {move.alert_id for move in moves}
        for model in filter(None, map(self._state.models.get, model_ids)):
            life = model.last_request
            if not (life and life.trigger and _may_end(life)) or life.trigger.alert_id not in of_it:
                continue
            if self._is_recent(life, now):
                actions.append(self._withdraw(model, life, Outcome.WITHDRAWN_BY_DATA_FAULT, now))
        return actions

    def _withdraw(self, model: ModelState, life: RequestLife, reason: Outcome, now: datetime) -> Action:
        return self._register.end(model, life, RequestState.WITHDRAWN, reason, now)

    def _is_recent(self, life: RequestLife, now: datetime) -> bool:
        return (now - life.requested_at).total_seconds() < self._settings.inhibit_s

    def _is_no_reason(self, model: ModelState, column: str) -> bool:
        return not self._state.is_calm(column) or is_faulty(model.faults, column, model.now, self._settings)


def _may_end(life: RequestLife) -> bool:
    """Whether nobody has said anything of the request yet."""
    return life.state in _UNANSWERED and not life.approved_by


def renewed(request: RetrainRequest, last: RequestLife | None) -> RetrainRequest:
    """The request, under an id of its own if the model's last one was withdrawn: it may be of the same alert."""
    if last is None or last.state is not RequestState.WITHDRAWN:
        return request
    request_id = derived_id("retrain", request.request_id, last.request_id, name=request.model_id)
    return replace(request, request_id=request_id)
