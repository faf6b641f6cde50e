"""How requests stand, and which storms are held, read from what decide has published."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from retrain.messages.decision import Decision
from retrain.messages.ids import FLEET_PREFIX, SOURCE_PREFIX
from retrain.messages.incident import Incident, IncidentState
from retrain.messages.lifecycle import OPEN, REFUSALS
from retrain.messages.outcome import Outcome
from retrain.messages.request import RequestState, RetrainRequest
from streamer.contracts.topics import OutputTopics
from streamer.eventlog.base import Records


@dataclass(frozen=True, slots=True)
class RequestStatus:
    """One request, or held storm, as it stands."""

    request_id: str  # of a storm: the id of its incident
    model_id: str
    state: RequestState
    since: datetime
    answer_by: datetime | None  # when the state ends by itself
    reason: Outcome  # of the last change
    actor: str  # who made it; "" for time and alerts
    comment: str

    @property
    def is_over(self) -> bool:
        return self.state not in OPEN and self.state is not RequestState.WATCHING


class RequestLedger:
    """Takes records of these topics, in any order of topics, and tells how things stand."""

    def __init__(self, topics: OutputTopics) -> None:
        self._topics = topics
        self._made: dict[str, RequestStatus] = {}
        self._changed: dict[str, RequestStatus] = {}
        self._storms: dict[str, RequestStatus] = {}

    def read(self, stretches: Iterable[Records]) -> None:
        """Take these records. Raises `msgspec.MsgspecError` for one that Driftline has not written."""
        for records in stretches:
            for i in range(len(records)):
                value = records.value_of(i) or b""
                if records.topic == self._topics.requests:
                    request = msgspec.json.decode(value, type=RetrainRequest)
                    self._made.setdefault(request.request_id, _made(request))
                elif records.topic == self._topics.incidents:
                    self._incident(msgspec.json.decode(value, type=Incident))
                else:
                    self._change(msgspec.json.decode(value, type=Decision))

    def standings(self) -> Sequence[RequestStatus]:
        """All requests and held storms that the topics hold, the one that changed last at the end."""
        return sorted((self._made | self._changed | self._storms).values(), key=lambda one: (one.since, one.request_id))

    def _incident(self, incident: Incident) -> None:
        """A storm that is held, or a source, waits for a person like a request; closed, it is over."""
        self._storms.pop(incident.incident_id, None)
        is_held = incident.model_id.startswith(FLEET_PREFIX) or incident.decision is Outcome.HELD_FOR_SOURCE
        is_over = incident.state is IncidentState.CLOSED
        if is_held and not is_over:
            self._storms[incident.incident_id] = RequestStatus(
                request_id=incident.incident_id,
                model_id=incident.model_id,
                state=RequestState.REQUESTED,
                since=incident.opened_at,
                answer_by=None,
                reason=incident.reason,
                actor="",
                comment=f"{incident.model_count:,} models",
            )

    def _change(self, decision: Decision) -> None:
        is_of_incident = decision.model_id.startswith((FLEET_PREFIX, SOURCE_PREFIX))
        if decision.state is None or decision.reason in REFUSALS or is_of_incident:
            return
        self._changed[decision.request_id] = RequestStatus(
            request_id=decision.request_id,
            model_id=decision.model_id,
            state=decision.state,
            since=decision.at,
            answer_by=decision.answer_by,
            reason=decision.reason,
            actor=decision.actor,
            comment=decision.comment,
        )


def _made(request: RetrainRequest) -> RequestStatus:
    return RequestStatus(
        request_id=request.request_id,
        model_id=request.model_id,
        state=request.initial_state,
        since=request.requested_at,
        answer_by=request.expires_at,
        reason=Outcome.REQUEST_MADE,
        actor="",
        comment="",
    )
