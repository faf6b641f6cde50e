"""Retrain requests: retrain this model, on exactly this data.

These are the records of the topic `driftline.retrain-requests`; `docs/schemas/retrain-request.v1.json` is generated
from them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Literal

from retrain.messages.alert import Alert
from retrain.messages.ids import derived_id
from retrain.messages.incident import Incident
from retrain.messages.shift import Shift, summary_of
from retrain.messages.value import record

SCHEMA_VERSION: Literal[1] = 1
_LAST = datetime.max.replace(tzinfo=UTC)


class Approval(StrEnum):
    """Whether a person must approve before the training pipeline starts."""

    REQUIRED = "required"
    NOT_REQUIRED = "not_required"


class RequestReason(StrEnum):
    """Why the model is to be retrained."""

    DRIFT = "drift"


class RequestState(StrEnum):
    """Where a request stands.

        requested ─ approve ─► approved ─ started ─► training ─ trained ─► trained, or awaiting_review
                                   └──────── failed ───┴─► failed                │
                                                                              promote
        From every state so far:                                                 ▼
            ─ reject ─► rejected                          helped ◄─ no drift ─ watching ─ drift ─► did_not_help
            ─ no answer by `answer_by` ─► expired
        From `requested` and `approved`, as long as no person has approved: ─ a storm, a fault ─► withdrawn

    A request starts as `requested` if a person must approve of the training, otherwise as `approved`. `started` may be
    left out. Where `reject` crosses another command, the request ends as `rejected` in either order, up to the
    promotion.
    """

    REQUESTED = "requested"  # waits for a person
    APPROVED = "approved"  # waits for the trainer
    TRAINING = "training"
    TRAINED = "trained"  # anyone may promote it
    AWAITING_REVIEW = "awaiting_review"  # a person who has reviewed it may promote it
    WATCHING = "watching"  # promoted; time shows whether it helped
    HELPED = "helped"
    DID_NOT_HELP = "did_not_help"
    REJECTED = "rejected"
    FAILED = "failed"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"  # its reason proved to be none


@record
class TrainingWindow:
    """A stretch of one topic-partition to train on.

    Offsets are exact: [start_offset, end_offset), like Kafka's own end offsets. Times are those of the first and the
    last event of the stretch, both inclusive, for stores without offsets. Late events in between may have times outside
    them.
    """

    topic: str  # topic of the events
    partition: int  # partition of the events
    start_offset: int  # offset of the first event of the new regime, inclusive
    end_offset: int  # exclusive: one beyond the event with which there was enough data to retrain
    start_time: datetime  # event time of the first event, inclusive; UTC
    end_time: datetime  # event time of the last event, inclusive; UTC, never before `start_time`


@record
class RetrainRequest:
    """One request to retrain one model. A repeat of the record has the same `request_id` and the same content."""

    # derived from the alert that triggered it; of [a-z0-9-], at most 63 characters: fit for a job name, a run id or an
    # idempotency key
    request_id: str
    model_id: str  # the model to retrain; the key of the record
    model_version: str  # the version that drifted; "" when events name none
    reason: RequestReason  # why the retrain is requested
    incident_id: str  # the incident that it belongs to
    evidence: tuple[Shift, ...]  # what moved, strongest first; the triggering alert last if not among the strongest
    training_window: tuple[TrainingWindow, ...]  # the data to train on: at least one stretch of an event topic
    requested_at: datetime  # event time of the alert that triggered it; UTC
    expires_at: datetime  # event time from which the request is no longer open, and another may follow; UTC
    approval: Approval  # whether a person must approve before the training pipeline starts
    schema_version: Literal[1]  # version of this schema
    summary: str = ""  # what moved, in one sentence

    @property
    def initial_state(self) -> RequestState:
        """The state in which the request starts."""
        return RequestState.APPROVED if self.approval is Approval.NOT_REQUIRED else RequestState.REQUESTED


def training_window_of(alert: Alert) -> TrainingWindow | None:
    """From onset to where the alert was ready; None unless these are two places of one topic-partition, in order."""
    start, end = alert.onset, alert.ready_at
    if end is None or end.offset < start.offset or (end.topic, end.partition) != (start.topic, start.partition):
        return None
    return TrainingWindow(
        topic=start.topic,
        partition=start.partition,
        start_offset=start.offset,
        end_offset=end.offset + 1,
        start_time=start.event_time,
        end_time=max(start.event_time, end.event_time),
    )


def request_for(
    alert: Alert, incident: Incident, window: TrainingWindow, now: datetime, expires_after_s: float, approval: Approval
) -> RetrainRequest:
    """The request that this alert, the latest of its incident, triggers at event time `now`."""
    trigger = Shift.of(alert)
    is_among = any(shift.alert_id == trigger.alert_id for shift in incident.columns)
    evidence = incident.columns if is_among else (*incident.columns, trigger)
    return RetrainRequest(
        request_id=derived_id("retrain", alert.model_id, alert.alert_id, name=alert.model_id),
        model_id=alert.model_id,
        model_version=incident.model_version,
        reason=RequestReason.DRIFT,
        incident_id=incident.incident_id,
        evidence=evidence,
        training_window=(window,),
        requested_at=now,
        expires_at=later(now, expires_after_s),
        approval=approval,
        schema_version=SCHEMA_VERSION,
        summary=summary_of(evidence),
    )


def later(moment: datetime, seconds: float) -> datetime:
    """The moment `seconds` later, or the last one of the calendar."""
    return _LAST if (_LAST - moment).total_seconds() < seconds else moment + timedelta(seconds=seconds)
