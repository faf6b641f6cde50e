"""The status of requests and held storms, read from the records of the decide fold."""

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
    """One request or held storm, with its state."""

    request_id: str  # of a storm: the id of its incident
    model_id: str
    state: RequestState
    since: datetime
    answer_by: datetime | None  # event time at which the state ends without a command
    reason: Outcome  # for the last change
    actor: str  # the author of the last change; "" for time and alerts
    comment: str

    @property
    def is_over(self) -> bool:
        return self.state not in OPEN and self.state is not RequestState.WATCHING


class RequestLedger:
    """Collects records of the output topics, in any order of topics, into the status of each request."""

    def __init__(self, topics: OutputTopics) -> None:
        self._topics = topics
        self._made: dict[str, RequestStatus] = {}
        self._changed: dict[str, RequestStatus] = {}
        self._storms: dict[str, RequestStatus] = {}

    def read(self, stretches: Iterable[Records]) -> None:
        """Add these records. Raises `msgspec.MsgspecError` for one that Driftline has not written."""
        for records in stretches:
            for i in range(len(records)):
                value = records.value_of(i) or b""
                if records.topic == self._topics.requests:
                    self.add(msgspec.json.decode(value, type=RetrainRequest))
                elif records.topic == self._topics.incidents:
                    self.add(msgspec.json.decode(value, type=Incident))
                else:
                    self.add(msgspec.json.decode(value, type=Decision))

    def add(self, record: RetrainRequest | Incident | Decision) -> None:
        """Add one record."""
        if isinstance(record, RetrainRequest):
            self._made.setdefault(record.request_id, _made(record))
        elif isinstance(record, Incident):
            self._incident(record)
        else:
            self._change(record)

    def statuses(self) -> Sequence[RequestStatus]:
        """All requests and held storms of the topics, the latest change last."""
        return sorted((self._made | self._changed | self._storms).values(), key=lambda one: (one.since, one.request_id))

    def _incident(self, incident: Incident) -> None:
        """A held storm or source waits for a person, as a request does, until it is closed."""
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
        is_change = decision.reason not in (*REFUSALS, Outcome.COMPARED)
        if decision.state is None or not is_change or is_of_incident:
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
