"""What became of a request, a silence, or what somebody said about one: the records of the topic `driftline.decisions`.

`docs/schemas/decision.v1.json` is generated from them. That a request was made is told by the request itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from retrain.messages.control import Control
from retrain.messages.lifecycle import RequestRecord, RequestState
from retrain.messages.outcome import Outcome
from retrain.messages.silence import Silence


@dataclass(frozen=True, slots=True)
class Decision:
    """One change of a request or silence, or the answer to a control record that changed nothing; see `reason`.

    The newest record of a request says how it stands now.
    """

    request_id: str  # the request or silence; the key of the record, whose newest value is the current state
    model_id: str  # its model; "" when the request is unknown; of a silence, the model whose alert was just suppressed
    state: RequestState | None  # state of the request after the decision; null when it is unknown, and for silences
    reason: Outcome  # the decision, or why a command was refused
    at: datetime  # event time of its cause; UTC
    answer_by: datetime | None  # event time at which the state ends without a command; null when it does not
    actor: str  # the author of the command; "" when time or an alert was the cause
    comment: str  # the comment of the command
    model_version: str  # version of the challenger; "" while there is none
    champion: dict[str, float]  # metrics of the champion, from the command
    challenger: dict[str, float]  # metrics of the challenger, from the command
    silence: Silence | None = None  # the silence after the decision; null when it is about a request

    @classmethod
    def by_itself(cls, model_id: str, life: RequestRecord, reason: Outcome) -> Decision:
        """What time or an alert has made of a request, which stands as `life` says."""
        return cls(
            request_id=life.request_id,
            model_id=model_id,
            state=life.state,
            reason=reason,
            at=life.changed_at,
            answer_by=None,
            actor="",
            comment="",
            model_version=life.challenger,
            champion={},
            challenger={},
        )

    @classmethod
    def of_silence(cls, silence: Silence, reason: Outcome, at: datetime, model_id: str) -> Decision:
        """What time or an alert of this model has made of a silence."""
        return cls(silence.silence_id, model_id, None, reason, at, None, "", "", "", {}, {}, silence)

    @classmethod
    def answer(
        cls, control: Control, reason: Outcome, model_id: str = "", life: RequestRecord | None = None
    ) -> Decision:
        """What a control record has done, or why it has done nothing, to a request that stands now as `life` says."""
        return cls(
            request_id=control.request_id,
            model_id=model_id,
            state=life.state if life else None,
            reason=reason,
            at=control.at,
            answer_by=life.answer_by if life and life.is_waiting else None,
            actor=control.actor,
            comment=control.comment,
            model_version=life.challenger if life else control.model_version,
            champion=control.champion,
            challenger=control.challenger,
        )
