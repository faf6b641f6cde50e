"""Why a word about a request changes nothing."""

from __future__ import annotations

from retrain.messages.control import Control, ControlKind
from retrain.messages.lifecycle import MOVES, OPEN, RequestLife, RequestState
from retrain.messages.outcome import Outcome


def refusal(life: RequestLife, control: Control, distinct_actors: bool) -> Outcome | None:
    """Why this can't be said of a request that stands so; None if it can."""
    allowed, target, _ = MOVES[control.kind]
    if life.state in allowed:
        is_reviewed = control.kind is ControlKind.PROMOTE and life.state is RequestState.AWAITING_REVIEW
        knows_it = control.actor in {life.approved_by, life.reported_by}
        return Outcome.SAME_ACTOR if is_reviewed and knows_it and distinct_actors else None
    if life.state is target or (control.kind is ControlKind.TRAINED and life.state is RequestState.AWAITING_REVIEW):
        return Outcome.ALREADY_SO
    if life.state is RequestState.REQUESTED:
        return Outcome.NOT_APPROVED
    if control.kind is ControlKind.PROMOTE and life.state in OPEN:
        return Outcome.NOT_TRAINED
    return Outcome.TOO_LATE
