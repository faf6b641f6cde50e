"""The life of a request: its record, the moves between its states, and why a move is refused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from retrain.messages.alert import Alert
from retrain.messages.control import Control, ControlKind
from retrain.messages.outcome import Outcome
from retrain.messages.request import RequestState, RetrainRequest
from retrain.messages.value import record

_S, _K = RequestState, ControlKind

RUNNING = frozenset({_S.REQUESTED, _S.APPROVED, _S.TRAINING})  # a trainer is at work, or may be soon
REVIEWED = frozenset({_S.TRAINED, _S.AWAITING_REVIEW})  # there is a challenger
OPEN = RUNNING | REVIEWED

# Kind of command -> the states that allow it, the state it leads to, and the outcome.
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

# Outcome -> the state in which a request ends without a command.
ENDINGS: Mapping[Outcome, RequestState] = MappingProxyType(
    {
        Outcome.EXPIRED: _S.EXPIRED,
        Outcome.MODEL_EVICTED: _S.EXPIRED,
        Outcome.HELPED: _S.HELPED,
        Outcome.DRIFTED_AGAIN: _S.DID_NOT_HELP,
        Outcome.WITHDRAWN_BY_STORM: _S.WITHDRAWN,
        Outcome.WITHDRAWN_BY_DATA_FAULT: _S.WITHDRAWN,
    }
)

# The answers to control records that change nothing.
REFUSALS = frozenset(
    {
        Outcome.UNKNOWN_REQUEST,
        Outcome.NO_CHANGE,
        Outcome.NOT_APPROVED,
        Outcome.NOT_TRAINED,
        Outcome.TOO_LATE,
        Outcome.SAME_VERSION,
        Outcome.SAME_ACTOR,
        Outcome.ACTOR_NOT_PROVEN,
        Outcome.UNKNOWN_SILENCE,
        Outcome.TOO_MANY_SILENCES,
    }
)


@record
class Trigger:
    """An alert under the model's own name, and where it came from."""

    alert: Alert
    source: str = ""  # `source:<name>`; "" when the alert is the model's own


@record
class RequestRecord:
    """A model's last request, as it stands. Times are event times."""

    request_id: str
    requested_at: datetime
    state: RequestState
    changed_at: datetime  # never runs backwards
    answer_by: datetime  # when the state ends without an answer, if it has a deadline
    review: bool  # whether a person must review the challenger before its promotion
    approved_by: str = ""
    reported_by: str = ""  # who reported it as trained
    challenger: str = ""  # its version
    promoted_at: datetime | None = None
    promoted_before: datetime | None = None  # the last promotion of an earlier request
    trigger: Trigger | None = None  # what led to it; None after any command, and then it is never withdrawn
    asked_before: datetime | None = None  # the request before it, which counts if this one is withdrawn
    model_version: str = ""  # that drifted; "" when versions have no names, and in states of earlier versions

    @classmethod
    def begun(
        cls, request: RetrainRequest, review: bool, trigger: Trigger, last: RequestRecord | None
    ) -> RequestRecord:
        """The record of a new request with this trigger, after the model's `last` one."""
        return cls(
            request_id=request.request_id,
            requested_at=request.requested_at,
            state=request.initial_state,
            changed_at=request.requested_at,
            answer_by=request.expires_at,
            review=review,
            trigger=trigger,
            model_version=request.model_version,
            asked_before=last.requested_last_at if last else None,
            promoted_before=last.promoted_last_at if last else None,
        )

    @property
    def requested_last_at(self) -> datetime | None:
        """When the last request of the model was made, without those that were withdrawn."""
        return self.asked_before if self.state is RequestState.WITHDRAWN else self.requested_at

    @property
    def promoted_last_at(self) -> datetime | None:
        """When a challenger was last promoted, of this request or an earlier one."""
        return self.promoted_at or self.promoted_before

    @property
    def has_deadline(self) -> bool:
        """Whether the state ends at `answer_by`."""
        return self.state in OPEN or self.state is RequestState.WATCHING

    def is_open(self, now: datetime) -> bool:
        """Whether, at the model's own time `now`, an answer may still come.

        The fleet's time expires a request, but a model may lag behind: until its time reaches `answer_by`, the expired
        request still counts as open for it.
        """
        return (self.state in OPEN or self.state is RequestState.EXPIRED) and now < self.answer_by


def refusal(record: RequestRecord, control: Control, distinct_actors: bool) -> Outcome | None:
    """Why the request refuses this command; None if it accepts it."""
    allowed, target, _ = MOVES[control.kind]
    if record.state in allowed:
        if control.kind is ControlKind.TRAINED and "" != control.model_version == record.model_version:
            return Outcome.SAME_VERSION
        is_reviewed = control.kind is ControlKind.PROMOTE and record.state is RequestState.AWAITING_REVIEW
        is_involved = control.actor in {record.approved_by, record.reported_by}
        return Outcome.SAME_ACTOR if is_reviewed and is_involved and distinct_actors else None
    if record.state is target or (control.kind is ControlKind.TRAINED and record.state is RequestState.AWAITING_REVIEW):
        return Outcome.NO_CHANGE
    if record.state is RequestState.REQUESTED:
        return Outcome.NOT_APPROVED
    if control.kind is ControlKind.PROMOTE and record.state in OPEN:
        return Outcome.NOT_TRAINED
    return Outcome.TOO_LATE
