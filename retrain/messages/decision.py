"""Changes of requests and silences, and answers to control records: the records of the topic `driftline.decisions`.

`docs/schemas/decision.v1.json` is generated from them. The making of a request is no decision; the request reports it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from retrain.messages.alert import Alert
from retrain.messages.control import Control
from retrain.messages.lifecycle import RequestRecord
from retrain.messages.outcome import Outcome
from retrain.messages.request import RequestState
from retrain.messages.silence import Silence


@dataclass(frozen=True, slots=True)
class Decision:
    """One change of a request or silence, or the answer to a control record that changed nothing; see `reason`.

    The newest record of a request holds its current state.
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
    champion: dict[str, float]  # metrics of the champion, from the command; of `compared` those of the test
    challenger: dict[str, float]  # metrics of the challenger, likewise
    silence: Silence | None = None  # the silence after the decision; null when it is about a request
    schema_version: Literal[1] = 1  # version of this schema

    @classmethod
    def automatic(cls, model_id: str, record: RequestRecord, reason: Outcome) -> Decision:
        """A change of a request by time or by an alert; `record` is the request after it."""
        return cls(
            request_id=record.request_id,
            model_id=model_id,
            state=record.state,
            reason=reason,
            at=record.changed_at,
            answer_by=None,
            actor="",
            comment="",
            model_version=record.challenger,
            champion={},
            challenger={},
        )

    @classmethod
    def compared(
        cls, alert: Alert, record: RequestRecord, champion: dict[str, float], challenger: dict[str, float]
    ) -> Decision:
        """What a test of two versions says of the challenger of a request, which stays as it is."""
        decision = cls.automatic(alert.model_id, record, Outcome.COMPARED)
        at = max(alert.event_time, record.changed_at)
        decision = replace(decision, at=at, answer_by=record.answer_by, comment=alert.summary)
        return replace(decision, champion=champion, challenger=challenger)

    @classmethod
    def of_silence(cls, silence: Silence, reason: Outcome, at: datetime, model_id: str) -> Decision:
        """A change of a silence by time, or by an alert of this model; `silence` is the one after it."""
        return cls(silence.silence_id, model_id, None, reason, at, None, "", "", "", {}, {}, silence)

    @classmethod
    def answer(
        cls, control: Control, reason: Outcome, model_id: str = "", record: RequestRecord | None = None
    ) -> Decision:
        """The answer to a control record; `record` is the request as it stands now, None if it is unknown."""
        return cls(
            request_id=control.request_id,
            model_id=model_id,
            state=record.state if record else None,
            reason=reason,
            at=control.at,
            answer_by=record.answer_by if record and record.has_deadline else None,
            actor=control.actor,
            comment=control.comment,
            model_version=record.challenger if record else control.model_version,
            champion=control.champion,
            challenger=control.challenger,
        )
