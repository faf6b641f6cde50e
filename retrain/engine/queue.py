"""Models that are worth a retrain and wait until the budget has room, the most urgent first."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Final

from retrain.engine.priority_queue import Ranking
from retrain.engine.requests import RequestTracker
from retrain.engine.withdrawals import renewed
from retrain.messages.action import Action, NoAction, PublishIncident, PublishRequest
from retrain.messages.alert import Alert
from retrain.messages.incident import Incident
from retrain.messages.lifecycle import Trigger
from retrain.messages.outcome import Outcome
from retrain.messages.request import RetrainRequest, TrainingWindow, later, request_for, training_window_of
from retrain.messages.shift import strength_of
from retrain.messages.silence import SuppressedAlert
from retrain.policy.case import RetrainCase
from retrain.policy.model_rules import ERROR
from retrain.policy.rules import decide
from retrain.policy.settings import RetrainSettings
from retrain.state.state import EngineState, ModelState


class RequestQueue:
    """Holds nothing of its own but what can be found again from `state`: who waits, in order."""

    def __init__(self, settings: RetrainSettings, state: EngineState, register: RequestTracker) -> None:
        self._settings = settings
        self._state = state
        self._register = register
        self._budget = Budget(settings, state)
        self._ranking = Ranking(self._current)

    def put(self, model: ModelState, alert: Alert, source: str = "") -> None:
        """Let a model wait with this alert, unless it waits with a more urgent one; those of storms come last.

        `source` is where the alert came from, if it is not the model's own.
        """
        waiter = Trigger(alert, source)
        if model.waiting is None or self._rank(waiter) <= self._rank(model.waiting):
            model.waiting = waiter
            self._ranking.put(urgency(alert), alert.model_id)

    def again(self, model: ModelState, kept: SuppressedAlert) -> list[Action]:
        """Let a model wait again with what a silence has kept back, and make the requests that there is room for."""
        self.put(model, kept.alert, kept.source)
        return self.release()[0]

    def free(self, model_ids: Iterable[str]) -> None:
        """Let models take their place again whose storm is released."""
        for model_id in model_ids:
            if (model := self._state.models.get(model_id)) and model.waiting:
                self._ranking.put(urgency(model.waiting.alert), model_id)

    def release(self, own: Alert | None = None) -> tuple[list[Action], list[Action]]:
        """Make the requests that there is room for: what is to be done about others, and about the model of `own`.

        `own` is the alert at hand, whose request bears its model's time; others bear the fleet's.
        """
        others: list[Action] = []
        ours: list[Action] = []
        for model, waiter in self._next():
            is_own = own is not None and waiter.alert.model_id == own.model_id
            now = model.now if is_own else max(self._state.now or model.now, model.now)
            *before, last = self._ask(model, waiter, now, own if is_own else None)
            if is_own and isinstance(last, PublishRequest):
                ours = [*before, last]
            else:
                others += [*before, last]
        return others, ours

    def _next(self) -> Iterator[tuple[ModelState, Trigger]]:
        """Whom there is room for; what a storm holds takes its place again when it is released."""
        while (first := self._ranking.first()) and self._budget.has_room(self._register.running):
            self._ranking.take()
            rank, model_id = first
            model = self._state.models.get(model_id)
            waiter = model.waiting if model else None
            if model and waiter and urgency(waiter.alert) == rank and self._state.may_ask(waiter):
                yield model, waiter

    def _ask(self, model: ModelState, waiter: Trigger, now: datetime, own: Alert | None) -> list[Action]:
        """The request of a model that waits, and its incident; `own` is the alert at hand, if it is of this model."""
        alert, source = waiter.alert, self._state.models.get(waiter.source)
        if waiter.source and not source:
            model.waiting = None
            return [NoAction(alert.alert_id, Outcome.MODEL_EVICTED)]
        # On the alert at hand the rules have agreed just now.
        is_agreed, window = alert is own, training_window_of(alert)
        decision = (
            Outcome.REQUEST_MADE if is_agreed else decide(RetrainCase.of(alert, model, now, self._settings, source))
        )
        model.waiting = None
        if decision is not Outcome.REQUEST_MADE or window is None:
            return [NoAction(alert.alert_id, decision)]
        if source:
            return self._ask_for(source, model, waiter, window, now)
        # What a storm held may have no incident of its own yet.
        incident = model.incident_for(is_new=False) or Incident.opened(alert, model.versions.newest, now, decision)
        request = self._begin(model, waiter, incident, window, now)
        reason = incident.reason if own else Outcome.REQUEST_MADE
        model.incident = replace(incident, request_id=request.request_id, decision=decision, reason=reason)
        return [PublishIncident(model.incident, reason), PublishRequest(request)]

    def _ask_for(
        self, source: ModelState, model: ModelState, waiter: Trigger, window: TrainingWindow, now: datetime
    ) -> list[Action]:
        """The request of a model that uses a source which has moved: the incident is the source's."""
        incident = source.incident or Incident.opened(waiter.alert, "", now, Outcome.REQUEST_MADE)
        incident = replace(incident, model_version=model.versions.newest)
        request = self._begin(model, waiter, incident, window, now)
        if source.incident:
            source.incident = replace(source.incident, request_id=request.request_id)
        return [PublishRequest(request)]

    def _begin(
        self, model: ModelState, waiter: Trigger, incident: Incident, window: TrainingWindow, now: datetime
    ) -> RetrainRequest:
        approval = self._settings.approval_of_training(waiter.alert.model_id)
        request = request_for(waiter.alert, incident, window, now, self._settings.expires_after_s, approval)
        request = renewed(request, model.last_request)
        self._register.begin(model, request, waiter)
        self._budget.spend()
        return request

    def _current(self) -> Iterator[tuple[Urgency, str]]:
        return (
            (urgency(model.waiting.alert), model_id)
            for model_id, model in self._state.models.items()
            if model.waiting and self._state.may_ask(model.waiting)
        )

    def _rank(self, waiter: Trigger) -> tuple[bool, Urgency]:
        return not self._state.may_ask(waiter), urgency(waiter.alert)


Urgency = tuple[bool, float, float]


def urgency(alert: Alert) -> Urgency:
    """The less, the more urgent: errors go before all else, then what moved most, then what is used most.

    Use is the events a second of the new regime until the detector was sure.
    """
    seconds = (alert.at.event_time - alert.onset.event_time).total_seconds()
    return alert.column != ERROR, -strength_of(alert.effect, alert.effect_unit), -alert.n_current / max(seconds, 1.0)


HOUR_S: Final = 3600.0


class Budget:
    """Counts by the fleet's time. At most `requests_per_hour_max` requests fall into any hour of it."""

    def __init__(self, settings: RetrainSettings, state: EngineState) -> None:
        self._settings = settings
        self._state = state

    def has_room(self, running: int) -> bool:
        """Whether one more may be made now, with so many on the way."""
        per_hour, at_once = self._settings.requests_per_hour_max, self._settings.running_max
        if at_once is not None and running >= at_once:
            return False
        made, now = self._state.made, self._state.now
        if per_hour is None or now is None:
            return True
        del made[: bisect_right(made, now, key=lambda at: later(at, HOUR_S))]
        return len(made) < per_hour

    def spend(self) -> None:
        """One is made now."""
        if self._settings.requests_per_hour_max is not None and self._state.now is not None:
            self._state.made.append(self._state.now)
