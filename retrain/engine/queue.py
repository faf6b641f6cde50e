"""The queue of models that are worth a retrain and wait for the fleet's budget, the most urgent first."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Final

from retrain.engine.priority_queue import PriorityQueue
from retrain.engine.requests import RequestTracker
from retrain.messages.action import Action, NoAction, PublishIncident, PublishRequest
from retrain.messages.alert import Alert
from retrain.messages.ids import derived_id
from retrain.messages.incident import Incident
from retrain.messages.lifecycle import RequestRecord, Trigger
from retrain.messages.outcome import Outcome
from retrain.messages.request import (
    RequestState,
    RetrainRequest,
    later,
    request_for,
    training_window_of,
    with_windows,
)
from retrain.messages.shift import strength_of
from retrain.messages.silence import SuppressedAlert
from retrain.policy.case import RetrainCase
from retrain.policy.model_rules import ERROR
from retrain.policy.rules import decide
from retrain.policy.settings import RetrainSettings
from retrain.state.state import EngineState, ModelState

HOUR_S: Final = 3600.0

Urgency = tuple[bool, float, float]


def urgency(alert: Alert) -> Urgency:
    """The rank of an alert in the queue, the most urgent least: errors, then the largest shift, then the largest use.

    Use is the values a second of the new regime, as far as it was measured.
    """
    seconds = ((alert.ready_at or alert.at).event_time - alert.onset.event_time).total_seconds()
    return alert.column != ERROR, -strength_of(alert.effect, alert.effect_unit), -alert.n_current / max(seconds, 1.0)


class Budget:
    """The limit on requests: at most `requests_per_hour_max` in any hour of the fleet's time, `running_max` at once."""

    def __init__(self, settings: RetrainSettings, state: EngineState) -> None:
        self._settings = settings
        self._state = state

    def has_room(self, running: int) -> bool:
        """Whether it allows one more request now, beside so many that are running."""
        per_hour, at_once = self._settings.requests_per_hour_max, self._settings.running_max
        if at_once is not None and running >= at_once:
            return False
        made, now = self._state.made, self._state.now
        if per_hour is None or now is None:
            return True
        del made[: bisect_right(made, now, key=lambda at: later(at, HOUR_S))]
        return len(made) < per_hour

    def spend(self) -> None:
        """Count one request, made now."""
        if self._settings.requests_per_hour_max is not None and self._state.now is not None:
            self._state.made.append(self._state.now)


class RequestQueue:
    """The models that wait, in order, and the making of their requests. The order can be rebuilt from `state`."""

    def __init__(self, settings: RetrainSettings, state: EngineState, requests: RequestTracker) -> None:
        self._settings = settings
        self._state = state
        self._requests = requests
        self._budget = Budget(settings, state)
        self._queue = PriorityQueue(self._current)

    def push(self, model: ModelState, alert: Alert, source: str = "") -> None:
        """Let a model wait with this alert, unless it waits with a more urgent one. Alerts held by a storm come last.

        `source` is where the alert came from, if it is not the model's own.
        """
        trigger = Trigger(alert, source)
        if model.waiting is None or self._rank(trigger) <= self._rank(model.waiting):
            model.waiting = trigger
            self._queue.push(urgency(alert), alert.model_id)

    def requeue(self, model: ModelState, suppressed: SuppressedAlert) -> list[Action]:
        """Let a model wait again with an alert that a silence kept back, and make the requests that have room."""
        self.push(model, suppressed.alert, suppressed.source)
        return self.make_requests()

    def restore(self, model_ids: Iterable[str]) -> None:
        """Give models that wait their places back, after the release of their storm."""
        for model_id in model_ids:
            if (model := self._state.models.get(model_id)) and model.waiting:
                self._queue.push(urgency(model.waiting.alert), model_id)

    def make_requests(self) -> list[Action]:
        """Make the requests that the budget has room for, at the fleet's time."""
        return self.make_requests_with(None)[0]

    def make_requests_with(self, own: Alert | None) -> tuple[list[Action], list[Action]]:
        """Make the requests that the budget has room for: actions about others, and those about the model of `own`.

        `own` is the alert at hand. Its request bears its model's time; others bear the fleet's.
        """
        others: list[Action] = []
        ours: list[Action] = []
        for model, trigger in self._next():
            is_own = own is not None and trigger.alert.model_id == own.model_id
            now = model.now if is_own else max(self._state.now or model.now, model.now)
            *before, last = self._make(model, trigger, now, own if is_own else None)
            if is_own and isinstance(last, PublishRequest):
                ours = [*before, last]
            else:
                others += [*before, last]
        return others, ours

    def _next(self) -> Iterator[tuple[ModelState, Trigger]]:
        """The models that there is room for. A model that a storm holds loses its place until `restore`."""
        while (first := self._queue.first()) and self._budget.has_room(self._requests.running):
            self._queue.pop()
            rank, model_id = first
            model = self._state.models.get(model_id)
            trigger = model.waiting if model else None
            if model and trigger and urgency(trigger.alert) == rank and self._state.may_request(trigger):
                yield model, trigger

    def _make(self, model: ModelState, trigger: Trigger, now: datetime, own: Alert | None) -> list[Action]:
        """The request of a model that waits, and its incident; `own` is the alert at hand, if it is of this model."""
        alert, source = trigger.alert, self._state.models.get(trigger.source)
        model.waiting = None
        if trigger.source and not source:
            return [NoAction(alert.alert_id, Outcome.MODEL_EVICTED)]
        decision = Outcome.REQUEST_MADE
        if alert is not own:  # the rules have just agreed on the alert at hand
            decision = decide(RetrainCase.of(alert, model, now, self._settings, source))
        if decision is not Outcome.REQUEST_MADE or not training_window_of(alert):
            return [NoAction(alert.alert_id, decision)]
        if source:
            return self._make_for_source(source, model, trigger, now)
        # A model that a storm held may have no incident of its own yet.
        incident = model.incident_for(is_new=False) or Incident.opened(alert, model.versions.newest, now, decision)
        request = self._begin(model, trigger, incident, now)
        reason = incident.reason if own else Outcome.REQUEST_MADE
        alert_id = own.alert_id if own else alert.alert_id
        incident = replace(incident, request_id=request.request_id, decision=decision, alert_id=alert_id)
        model.incident = replace(incident, reason=reason)
        return [PublishIncident(model.incident, reason), PublishRequest(request)]

    def _make_for_source(self, source: ModelState, model: ModelState, trigger: Trigger, now: datetime) -> list[Action]:
        """The request of a model that uses a source which drifted: the incident is the source's."""
        incident = source.incident or Incident.opened(trigger.alert, "", now, Outcome.REQUEST_MADE)
        incident = replace(incident, model_version=model.versions.newest)
        request = self._begin(model, trigger, incident, now)
        if source.incident:
            source.incident = replace(source.incident, request_id=request.request_id)
        return [PublishRequest(request)]

    def _begin(self, model: ModelState, trigger: Trigger, incident: Incident, now: datetime) -> RetrainRequest:
        approval = self._settings.approval_of_training(trigger.alert.model_id)
        request = request_for(trigger.alert, incident, now, self._settings.expires_after_s, approval)
        found_in = self._state.models.get(trigger.source, model)
        request = with_windows(request, trigger.alert, found_in.ready)
        request = _renewed(request, model.last_request)
        self._requests.begin(model, request, trigger)
        self._budget.spend()
        return request

    def _current(self) -> Iterator[tuple[Urgency, str]]:
        return (
            (urgency(model.waiting.alert), model_id)
            for model_id, model in self._state.models.items()
            if model.waiting and self._state.may_request(model.waiting)
        )

    def _rank(self, trigger: Trigger) -> tuple[bool, Urgency]:
        return not self._state.may_request(trigger), urgency(trigger.alert)


def _renewed(request: RetrainRequest, last: RequestRecord | None) -> RetrainRequest:
    """The request, with another id if the model's last one was withdrawn: both may come of the same alert."""
    if last is None or last.state is not RequestState.WITHDRAWN:
        return request
    request_id = derived_id("retrain", request.request_id, last.request_id, name=request.model_id)
    return replace(request, request_id=request_id)
