"""The life of a request, from the question to whether the answer helped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from retrain.control import Control, ControlKind
from retrain.outcome import Outcome
from retrain.request import Approval, RetrainRequest


class RequestState(StrEnum):
    """Where a request stands.

        requested ─ approve ─► approved ─ started ─► training ─ trained ─► trained, or awaiting_review
                                   └──────── failed ───┴─► failed                │
                                                                              promote
        From every state so far:                                                 ▼
            ─ reject ─► rejected                          helped ◄─ no drift ─ watching ─ drift ─► did_not_help
            ─ nothing is said by `answer_by` ─► expired

    A request is born `requested` or, where nobody has to approve of training, `approved`. `started` may be left out.
    Where `reject` crosses with another word, the request ends as `rejected` whichever came first, up to the promotion.
    """

    REQUESTED = "requested"  # waits for a person
    APPROVED = "approved"  # waits for the trainer
    TRAINING = "training"
    TRAINED = "trained"  # may be promoted by anyone
    AWAITING_REVIEW = "awaiting_review"  # may be promoted by a person who has looked at it
    WATCHING = "watching"  # promoted; it shows whether that helped
    HELPED = "helped"
    DID_NOT_HELP = "did_not_help"
    REJECTED = "rejected"
    FAILED = "failed"
    EXPIRED = "expired"


_S, _K = RequestState, ControlKind

RUNNING = frozenset({_S.REQUESTED, _S.APPROVED, _S.TRAINING})  # a trainer is at work, or may be soon
OPEN = frozenset({_S.REQUESTED, _S.APPROVED, _S.TRAINING, _S.TRAINED, _S.AWAITING_REVIEW})

# Kind -> the states in which it may be said, the state it leads to, and the name of that.
MOVES: Mapping[ControlKind, tuple[frozenset[RequestState], RequestState, Outcome]] = MappingProxyType(
    {
        _K.APPROVE: (frozenset({_S.REQUESTED}), _S.APPROVED, Outcome.APPROVED),
        _K.REJECT: (OPEN, _S.REJECTED, Outcome.REJECTED),
        _K.STARTED: (frozenset({_S.APPROVED}), _S.TRAINING, Outcome.TRAINING),
        _K.TRAINED: (frozenset({_S.APPROVED, _S.TRAINING}), _S.TRAINED, Outcome.TRAINED),
        _K.FAILED: (frozenset({_S.APPROVED, _S.TRAINING}), _S.FAILED, Outcome.FAILED),
        _K.PROMOTE: (frozenset({_S.TRAINED, _S.AWAITING_REVIEW}), _S.WATCHING, Outcome.PROMOTED),
    }
)


REFUSALS = frozenset(
    {
        Outcome.UNKNOWN_REQUEST,
        Outcome.ALREADY_SO,
        Outcome.NOT_APPROVED,
        Outcome.NOT_TRAINED,
        Outcome.TOO_LATE,
        Outcome.SAME_ACTOR,
        Outcome.UNKNOWN_SILENCE,
        Outcome.TOO_MANY_SILENCES,
    }
)  # the answers to control records that change nothing


@dataclass(frozen=True, slots=True)
class RequestLife:
    """A model's last request, as it stands."""

    request_id: str
    requested_at: datetime
    state: RequestState
    changed_at: datetime  # never runs backwards
    answer_by: datetime  # when the state ends by itself, if it is one that does
    review: bool  # whether a person has to look at the challenger before it is promoted
    approved_by: str = ""
    reported_by: str = ""  # who told that it is trained
    challenger: str = ""  # its version
    promoted_at: datetime | None = None

    @classmethod
    def begun(cls, request: RetrainRequest, review: bool) -> RequestLife:
        """The life of a request that is being made."""
        is_free = request.approval is Approval.NOT_REQUIRED
        return cls(
            request_id=request.request_id,
            requested_at=request.requested_at,
            state=RequestState.APPROVED if is_free else RequestState.REQUESTED,
            changed_at=request.requested_at,
            answer_by=request.expires_at,
            review=review,
        )

    @property
    def is_waiting(self) -> bool:
        """Whether time alone can change it."""
        return self.state in OPEN or self.state is RequestState.WATCHING

    def is_open(self, now: datetime) -> bool:
        """Whether, by its model's own time, an answer may still come.

        Time passes for the whole fleet, and a model may lag behind: until it has come as far, an expired request holds.
        """
        return (self.state in OPEN or self.state is RequestState.EXPIRED) and now < self.answer_by


def refusal(life: RequestLife, control: Control, distinct_actors: bool) -> Outcome | None:
    """Why this can't be said of a request that stands so; None if it can."""
    allowed, target, _ = MOVES[control.kind]
    if life.state in allowed:
        is_reviewed = control.kind is _K.PROMOTE and life.state is _S.AWAITING_REVIEW
        knows_it = control.actor in {life.approved_by, life.reported_by}
        return Outcome.SAME_ACTOR if is_reviewed and knows_it and distinct_actors else None
    if life.state is target or (control.kind is _K.TRAINED and life.state is _S.AWAITING_REVIEW):
        return Outcome.ALREADY_SO
    if life.state is _S.REQUESTED:
        return Outcome.NOT_APPROVED
    if control.kind is _K.PROMOTE and life.state in OPEN:
        return Outcome.NOT_TRAINED
    return Outcome.TOO_LATE
