"""The life of a request, from the question to whether the answer helped."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from retrain.messages.alert import Alert
from retrain.messages.control import Control, ControlKind
from retrain.messages.outcome import Outcome
from retrain.messages.request import Approval, RetrainRequest
from retrain.messages.value import record


class RequestState(StrEnum):
    """Where a request stands.

        requested ─ approve ─► approved ─ started ─► training ─ trained ─► trained, or awaiting_review
                                   └──────── failed ───┴─► failed                │
                                                                              promote
        From every state so far:                                                 ▼
            ─ reject ─► rejected                          helped ◄─ no drift ─ watching ─ drift ─► did_not_help
            ─ nothing is said by `answer_by` ─► expired
        From `requested` and `approved`, as long as no person has approved: ─ a storm, a fault ─► withdrawn

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
    WITHDRAWN = "withdrawn"  # what it was made of has turned out to be no reason


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
        Outcome.NO_CHANGE,
        Outcome.NOT_APPROVED,
        Outcome.NOT_TRAINED,
        Outcome.TOO_LATE,
        Outcome.SAME_ACTOR,
        Outcome.UNKNOWN_SILENCE,
        Outcome.TOO_MANY_SILENCES,
    }
)  # the answers to control records that change nothing


@record
class RequestRecord:
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
    promoted_before: datetime | None = None  # the same of the last request before that came so far
    trigger: Trigger | None = None  # what it was made of, as long as nobody has said anything: it may be withdrawn
    asked_before: datetime | None = None  # when the model was asked for before, which counts if this is withdrawn

    @classmethod
    def begun(
        cls, request: RetrainRequest, review: bool, trigger: Trigger, last: RequestRecord | None
    ) -> RequestRecord:
        """The life of a request that comes of this, after the model's `last` one."""
        is_free = request.approval is Approval.NOT_REQUIRED
        return cls(
            request_id=request.request_id,
            requested_at=request.requested_at,
            state=RequestState.APPROVED if is_free else RequestState.REQUESTED,
            changed_at=request.requested_at,
            answer_by=request.expires_at,
            review=review,
            trigger=trigger,
            asked_before=last.asked_at if last else None,
            promoted_before=last.promoted_last_at if last else None,
        )

    @property
    def asked_at(self) -> datetime | None:
        """When the model was last asked for, not counting what was withdrawn."""
        return self.asked_before if self.state is RequestState.WITHDRAWN else self.requested_at

    @property
    def promoted_last_at(self) -> datetime | None:
        """When a challenger was last promoted, of this request or one before."""
        return self.promoted_at or self.promoted_before

    @property
    def is_waiting(self) -> bool:
        """Whether time alone can change it."""
        return self.state in OPEN or self.state is RequestState.WATCHING

    def is_open(self, now: datetime) -> bool:
        """Whether, by its model's own time, an answer may still come.

        Time passes for the whole fleet, and a model may lag behind: until it has come as far, an expired request holds.
        """
        return (self.state in OPEN or self.state is RequestState.EXPIRED) and now < self.answer_by


@record
class Trigger:
    """An alert under the model's own name, and where it came from."""

    alert: Alert
    source: str = ""  # `source:<name>`; "" when the alert is the model's own


def refusal(life: RequestRecord, control: Control, distinct_actors: bool) -> Outcome | None:
    """Why this can't be said of a request that stands so; None if it can."""
    allowed, target, _ = MOVES[control.kind]
    if life.state in allowed:
        is_reviewed = control.kind is ControlKind.PROMOTE and life.state is RequestState.AWAITING_REVIEW
        knows_it = control.actor in {life.approved_by, life.reported_by}
        return Outcome.SAME_ACTOR if is_reviewed and knows_it and distinct_actors else None
    if life.state is target or (control.kind is ControlKind.TRAINED and life.state is RequestState.AWAITING_REVIEW):
        return Outcome.NO_CHANGE
    if life.state is RequestState.REQUESTED:
        return Outcome.NOT_APPROVED
    if control.kind is ControlKind.PROMOTE and life.state in OPEN:
        return Outcome.NOT_TRAINED
    return Outcome.TOO_LATE
