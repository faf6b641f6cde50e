"""The last request of every model: moved by control records, by alerts of its model, and by time.

    control record ─► known? ─► overdue? ─► may it be said now? ─► the request moves on
                        │          │               │                       └─► promoted: incident closed, watch begins
                 unknown_request  expired   why not (`refusal`)

Time is that of events: `EngineState.now` is the newest of any alert or mark, and what is overdue by it ends with the
next one. A control record's own time counts for its request alone, so that a wrong clock harms no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from retrain.engine.priority_queue import Ranking
from retrain.messages.action import Action, PublishDecision, answer
from retrain.messages.alert import Alert
from retrain.messages.control import Control, ControlKind
from retrain.messages.decision import Decision
from retrain.messages.lifecycle import MOVES, OPEN, RUNNING, RequestRecord, RequestState, Trigger, refusal
from retrain.messages.outcome import Outcome
from retrain.messages.request import RetrainRequest, later
from retrain.policy.case import RetrainCase
from retrain.policy.rules import is_worth_it
from retrain.policy.settings import RetrainSettings
from retrain.state.state import EngineState, ModelState, close

_BY_TIME = {True: (RequestState.EXPIRED, Outcome.EXPIRED), False: (RequestState.HELPED, Outcome.HELPED)}  # was it open?


class RequestTracker:
    """Holds nothing of its own but what can be found again from `state`: ids, and deadlines in order."""

    def __init__(self, settings: RetrainSettings, state: EngineState) -> None:
        self._settings = settings
        self._state = state
        lives = {name: model.last_request for name, model in state.models.items() if model.last_request}
        self._model_of = {life.request_id: name for name, life in lives.items()}
        self.running = sum(life.state in RUNNING for life in lives.values())  # requests with people or trainers
        self._deadlines = Ranking(self._current)

    def begin(self, model: ModelState, request: RetrainRequest, waiter: Trigger) -> None:
        """Keep a request that comes of this now, in place of the model's last one."""
        if last := model.last_request:
            del self._model_of[last.request_id]
        self._model_of[request.request_id] = request.model_id
        self._put(model, RequestRecord.begun(request, self._settings.wants_review(request.model_id), waiter, last))

    def forget(self, model: ModelState) -> list[Action]:
        """End the request of a model that is forgotten."""
        life = model.last_request
        if life is None:
            return []
        ended = [self.end(model, life, RequestState.EXPIRED, Outcome.MODEL_EVICTED)] if life.is_waiting else []
        del self._model_of[life.request_id]
        return ended

    def pass_time(self, now: datetime) -> list[Action]:
        """End what is overdue by the fleet's time, `now` included; in order of deadlines."""
        actions: list[Action] = []
        while (first := self._deadlines.first()) and first[0] <= now:
            self._deadlines.take()
            when, request_id = first
            model = self._state.models.get(self._model_of.get(request_id, ""))
            if model and (life := model.last_request) and life.is_waiting and life.answer_by == when:
                model.unhelpful = model.unhelpful if life.state in OPEN else 0
                actions.append(self.end(model, life, *_BY_TIME[life.state in OPEN], when))
        return actions

    def drifted(self, model: ModelState, alert: Alert) -> list[Action]:
        """The verdict on a promotion, if this alert, which fired after it, is a drift worth a retrain."""
        life = model.last_request
        if life is None or life.state is not RequestState.WATCHING:
            return []
        if not is_worth_it(RetrainCase.of(alert, model, model.now, self._settings)):
            return []
        model.unhelpful += 1
        return [self.end(model, life, RequestState.DID_NOT_HELP, Outcome.DRIFTED_AGAIN, alert.at.event_time)]

    def told(self, control: Control) -> list[Action]:
        """Do what a control record says, or say why not; the last action is the answer to it."""
        model_id = self._model_of.get(control.request_id, "")
        model = self._state.models.get(model_id)
        life = model.last_request if model else None
        if model is None or life is None:
            return [answer(control, Outcome.UNKNOWN_REQUEST)]
        ended = list[Action]()
        if life.state in OPEN and control.at >= life.answer_by:
            ended = [self.end(model, life, *_BY_TIME[True], control.at)]
            life = model.last_request or life
        refused = refusal(life, control, self._settings.distinct_actors)
        if refused:
            return [*ended, answer(control, refused, model_id, life)]
        return self._accept(model_id, model, life, control)

    def _accept(self, model_id: str, model: ModelState, life: RequestRecord, control: Control) -> list[Action]:
        _, state, reason = MOVES[control.kind]
        now = max(control.at, life.changed_at)
        wait_s = self._settings.watch_s if control.kind is ControlKind.PROMOTE else self._settings.expires_after_s
        life = replace(life, state=state, changed_at=now, answer_by=later(now, wait_s), trigger=None)
        actions = list[Action]()
        if control.kind is ControlKind.APPROVE:
            life = replace(life, approved_by=control.actor)
        elif control.kind is ControlKind.TRAINED:
            state = RequestState.AWAITING_REVIEW if life.review else state
            life = replace(life, state=state, reported_by=control.actor, challenger=control.model_version)
        elif control.kind is ControlKind.PROMOTE:
            life = replace(life, challenger=control.model_version or life.challenger, promoted_at=now)
            model.promote(life.challenger, now)
            actions = close(model, Outcome.PROMOTED)
        self._put(model, life)
        return [*actions, answer(control, reason, model_id, life)]

    def end(
        self, model: ModelState, life: RequestRecord, state: RequestState, reason: Outcome, at: datetime | None = None
    ) -> Action:
        """End a request without anybody's word."""
        life = replace(life, state=state, changed_at=max(at or life.changed_at, life.changed_at), trigger=None)
        self._put(model, life)
        return PublishDecision(Decision.by_itself(self._model_of[life.request_id], life, reason), reason)

    def _put(self, model: ModelState, life: RequestRecord) -> None:
        before = model.last_request
        self.running += (life.state in RUNNING) - (before is not None and before.state in RUNNING)
        model.last_request = life
        if life.is_waiting:
            self._deadlines.put(life.answer_by, life.request_id)

    def _current(self) -> Iterator[tuple[datetime, str]]:
        models = self._state.models.values()
        return ((life.answer_by, life.request_id) for m in models if (life := m.last_request) and life.is_waiting)
