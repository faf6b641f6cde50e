"""The last request of every model. Control records, alerts of the model, and time change it.

    control record ─► known? ─► overdue? ─► allowed in its state? ─► the request moves on
                        │          │               │                   └─► promoted: incident closed, watch begins
                 unknown_request  expired     why not (`refusal`)

Time is event time. `EngineState.now` is the newest time of any alert or watermark, and requests that are overdue by it
end with the next one. The time of a control record counts for its request alone, so a wrong clock harms no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from retrain.engine.priority_queue import PriorityQueue
from retrain.messages.action import Action, NoAction, PublishDecision, answer
from retrain.messages.alert import Alert
from retrain.messages.control import Control, ControlKind
from retrain.messages.decision import Decision
from retrain.messages.lifecycle import ENDINGS, MOVES, OPEN, REVIEWED, RUNNING, RequestRecord, Trigger, refusal
from retrain.messages.outcome import Outcome
from retrain.messages.request import RequestState, RetrainRequest, later
from retrain.policy.case import RetrainCase
from retrain.policy.paired import SHADOW_ERROR, SHADOW_EVIDENCE, SHADOW_PAIRS
from retrain.policy.rules import is_worth_it
from retrain.policy.settings import RetrainSettings
from retrain.state.state import EngineState, ModelState


class RequestTracker:
    """Ids and deadlines of requests, and how many are running. All of it can be rebuilt from `state`."""

    def __init__(self, settings: RetrainSettings, state: EngineState) -> None:
        self._settings = settings
        self._state = state
        records = {name: model.last_request for name, model in state.models.items() if model.last_request}
        self._model_of = {record.request_id: name for name, record in records.items()}
        self.running = sum(record.state in RUNNING for record in records.values())
        self._deadlines = PriorityQueue(self._current)

    def begin(self, model: ModelState, request: RetrainRequest, trigger: Trigger) -> None:
        """Keep a new request with this trigger, in place of the model's last one."""
        if last := model.last_request:
            del self._model_of[last.request_id]
        self._model_of[request.request_id] = request.model_id
        self._put(model, RequestRecord.begun(request, self._settings.wants_review(request.model_id), trigger, last))

    def touch(self, model_id: str, model: ModelState) -> list[Action]:
        """Make this model the one that alerted last. Evicts the one that alerted longest ago if there is no room."""
        models = self._state.models
        actions = list[Action]()
        if models.pop(model_id, None) is None and len(models) >= self._settings.models_max:
            actions = self._evict(models.pop(next(iter(models))))
        models[model_id] = model
        return actions

    def handle_control(self, control: Control) -> list[Action] | None:
        """See `retrain.engine.engine.Handler`: commands about the last request of a model."""
        model_id = self._model_of.get(control.request_id, "")
        model = self._state.models.get(model_id)
        record = model.last_request if model else None
        if model is None or record is None:
            return None
        ended = list[Action]()
        if record.state in OPEN and control.at >= record.answer_by:
            ended = [self.end(model, record, Outcome.EXPIRED, control.at)]
            record = model.last_request or record
        refused = refusal(record, control, self._settings.distinct_actors)
        is_reviewed = control.kind is ControlKind.PROMOTE and record.state is RequestState.AWAITING_REVIEW
        if refused is None and is_reviewed and not self._settings.accepts(control.proof):
            refused = Outcome.ACTOR_NOT_PROVEN
        if refused:
            return [*ended, answer(control, refused, model_id, record)]
        return self._accept(model_id, model, record, control)

    def refuse(self, control: Control, reason: Outcome) -> Action:
        """The answer to a command that changes nothing, about a request or anything else."""
        model_id = self._model_of.get(control.request_id, "")
        model = self._state.models.get(model_id)
        return answer(control, reason, model_id, model.last_request if model else None)

    def advance_time(self, now: datetime) -> list[Action]:
        """See `retrain.engine.engine.Handler`: expired requests and helpful promotions, in order of deadlines."""
        actions: list[Action] = []
        while (first := self._deadlines.first()) and first[0] <= now:
            self._deadlines.pop()
            when, request_id = first
            model = self._state.models.get(self._model_of.get(request_id, ""))
            record = model.last_request if model else None
            if not model or not record or not record.has_deadline or record.answer_by != when:
                continue
            reason = Outcome.EXPIRED if record.state in OPEN else Outcome.HELPED
            if reason is Outcome.HELPED:
                model.unhelpful = 0
            actions.append(self.end(model, record, reason, when))
        return actions

    def judge_promotion(self, model: ModelState, alert: Alert) -> list[Action]:
        """End the watch after a promotion if this alert, which fired after it, is drift that is worth a retrain."""
        record = model.last_request
        if record is None or record.state is not RequestState.WATCHING:
            return []
        if not is_worth_it(RetrainCase.of(alert, model, model.now, self._settings)):
            return []
        model.unhelpful += 1
        return [self.end(model, record, Outcome.DRIFTED_AGAIN, alert.at.event_time)]

    def compare(self, alert: Alert) -> list[Action]:
        """Let the test of two versions join the review of the request whose challenger is one of them."""
        model = self._state.models.get(alert.model_id)
        if model is None or (model.compared and model.compared.alert_id == alert.alert_id):
            return [NoAction(alert.alert_id, Outcome.COMPARED if model is None else Outcome.DUPLICATE)]
        model.compared, record = alert, model.last_request
        if record is None or record.state not in REVIEWED or not (metrics := shadow_metrics(alert, record)):
            return [NoAction(alert.alert_id, Outcome.COMPARED)]
        return [PublishDecision(Decision.compared(alert, record, *metrics), Outcome.COMPARED)]

    def end(self, model: ModelState, record: RequestRecord, reason: Outcome, at: datetime) -> Action:
        """End a request without a command, for one of the reasons of `ENDINGS`."""
        record = replace(record, state=ENDINGS[reason], changed_at=max(at, record.changed_at), trigger=None)
        self._put(model, record)
        return PublishDecision(Decision.automatic(self._model_of[record.request_id], record, reason), reason)

    def _accept(self, model_id: str, model: ModelState, record: RequestRecord, control: Control) -> list[Action]:
        _, state, reason = MOVES[control.kind]
        now = max(control.at, record.changed_at)
        wait_s = self._settings.watch_s if control.kind is ControlKind.PROMOTE else self._settings.expires_after_s
        record = replace(record, state=state, changed_at=now, answer_by=later(now, wait_s), trigger=None)
        actions = list[Action]()
        if control.kind is ControlKind.APPROVE:
            record = replace(record, approved_by=control.actor)
        elif control.kind is ControlKind.TRAINED:
            state = RequestState.AWAITING_REVIEW if record.review else state
            record = replace(record, state=state, reported_by=control.actor, challenger=control.model_version)
            control = _with_shadow(control, record, model.compared)
        elif control.kind is ControlKind.PROMOTE:
            record = replace(record, challenger=control.model_version or record.challenger, promoted_at=now)
            model.promote(record.challenger, now)
            actions = model.close(Outcome.PROMOTED)
        self._put(model, record)
        return [*actions, answer(control, reason, model_id, record)]

    def _evict(self, model: ModelState) -> list[Action]:
        actions = model.close(Outcome.MODEL_EVICTED)
        if record := model.last_request:
            if record.has_deadline:
                actions.append(self.end(model, record, Outcome.MODEL_EVICTED, record.changed_at))
            del self._model_of[record.request_id]
        model.last_request = model.waiting = None  # a caller that holds the model just now finds nothing left
        return actions

    def _put(self, model: ModelState, record: RequestRecord) -> None:
        before = model.last_request
        self.running += (record.state in RUNNING) - (before is not None and before.state in RUNNING)
        model.last_request = record
        if record.has_deadline:
            self._deadlines.push(record.answer_by, record.request_id)

    def _current(self) -> Iterator[tuple[datetime, str]]:
        records = (model.last_request for model in self._state.models.values())
        return ((record.answer_by, record.request_id) for record in records if record and record.has_deadline)


def shadow_metrics(alert: Alert, record: RequestRecord) -> tuple[dict[str, float], dict[str, float]] | None:
    """What a test of two versions says of champion and challenger of a request; None if it is about others."""
    is_better = alert.model_version == record.challenger
    champion = alert.category if is_better else alert.model_version
    if record.challenger not in (alert.category, alert.model_version) or record.model_version not in ("", champion):
        return None
    better = {SHADOW_ERROR: alert.after, SHADOW_EVIDENCE: alert.statistic, SHADOW_PAIRS: float(alert.n_current)}
    other = {SHADOW_ERROR: alert.before}
    return (other, better) if is_better else (better, other)


def _with_shadow(control: Control, record: RequestRecord, compared: Alert | None) -> Control:
    """The report of a trainer, with the metrics of a test that was over before it."""
    metrics = compared and shadow_metrics(compared, record)
    if not metrics:
        return control
    champion, challenger = metrics
    return replace(control, champion={**control.champion, **champion}, challenger={**control.challenger, **challenger})
