"""Commands of a person about what is held: a storm, or the incident of a source."""

from __future__ import annotations

from dataclasses import replace

from retrain.messages.action import Action, PublishDecision
from retrain.messages.control import Control, ControlKind
from retrain.messages.decision import Decision
from retrain.messages.outcome import Outcome
from retrain.messages.request import RequestState
from retrain.state.hold import Hold

_TARGETS = {ControlKind.APPROVE: Hold.RELEASED, ControlKind.REJECT: Hold.DISMISSED}
_STATES = {Hold.RELEASED: RequestState.APPROVED, Hold.DISMISSED: RequestState.REJECTED}


def decide(hold: Hold, control: Control) -> Hold | Outcome:
    """Where the command leads, released or dismissed; or why it changes nothing."""
    target = _TARGETS.get(control.kind)
    if target is not None and hold is Hold.HELD:
        return target
    return Outcome.NO_CHANGE if hold is target else Outcome.TOO_LATE


def answer(hold: Hold, control: Control, reason: Outcome, model_id: str) -> Action:
    """The answer to the command; `hold` is the state after it, `model_id` that of the storm or source."""
    decision = Decision.answer(control, reason, model_id)
    return PublishDecision(replace(decision, state=_STATES.get(hold, RequestState.REQUESTED)), reason)
