"""Retrain requests: retrain this model, on exactly this data.

These are the records of the topic `driftline.retrain-requests`; `docs/schemas/retrain-request.v1.json` is generated
from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, Literal

from retrain.messages.alert import Alert, Place, TrainingWindow
from retrain.messages.ids import derived_id
from retrain.messages.incident import Incident
from retrain.messages.shift import Shift, summary_of
from retrain.messages.value import record

SCHEMA_VERSION: Literal[1] = 1
PARTITIONS_MAX: Final = 64  # other partitions whose windows a request names
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
class TrainingReference:
    """The training data that the alert was measured against."""

    digest: str  # as in the alert
    url: str  # where the service reads it; "" if that is a file of the service's own machine


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
    # the data to train on, one stretch for each topic-partition: predictions, labels, sources; those of the triggering
    # alert first, then those of the same drift on other partitions
    training_window: tuple[TrainingWindow, ...]
    requested_at: datetime  # event time of the alert that triggered it; UTC
    expires_at: datetime  # event time from which the request is no longer open, and another may follow; UTC
    approval: Approval  # whether a person must approve before the training pipeline starts
    schema_version: Literal[1]  # version of this schema
    summary: str = ""  # what moved, in one sentence
    # the data before the drift, as many events as `retrain.history_events`, in the same form; empty without any
    history: tuple[TrainingWindow, ...] = ()
    # the training data of the column whose drift triggered the request; null if its first events were the baseline
    reference: TrainingReference | None = None

    @property
    def initial_state(self) -> RequestState:
        """The state in which the request starts."""
        return RequestState.APPROVED if self.approval is Approval.NOT_REQUIRED else RequestState.REQUESTED


def training_window_of(alert: Alert) -> tuple[TrainingWindow, ...]:
    """What to train on for this alert; empty without a stretch of its topic-partition in order.

    An alert of an earlier version names none: from onset to where it was ready.
    """
    start, end = alert.onset, alert.ready_at
    if end is None or end.offset < start.offset or (end.topic, end.partition) != (start.topic, start.partition):
        return ()
    end_time = max(start.event_time, end.event_time)
    derived = (start.topic, start.partition, start.offset, end.offset + 1, start.event_time, end_time)
    return alert.windows or (TrainingWindow(*derived),)


def windows_over(
    previous: Place | None, windows: Sequence[TrainingWindow], history: Sequence[TrainingWindow]
) -> tuple[tuple[TrainingWindow, ...], tuple[TrainingWindow, ...]]:
    """Windows that cover both states of a drift, from the onset before, and what is left of the history: none.

    Those of labels and sources begin where the history has them. They stay as they are if the onset before lies in
    another topic-partition than the first window, or behind its start.
    """
    first = windows[0]
    is_there = previous is not None and (previous.topic, previous.partition) == (first.topic, first.partition)
    if previous is None or not is_there or previous.offset >= first.start_offset:
        return tuple(windows), tuple(history)
    start_time = min(previous.event_time, first.start_time)
    earlier = {(one.topic, one.partition, one.role): one for one in history}
    others = (_joined(earlier.get((one.topic, one.partition, one.role)), one) for one in windows[1:])
    return (replace(first, start_offset=previous.offset, start_time=start_time, events=0), *others), ()


def _joined(earlier: TrainingWindow | None, window: TrainingWindow) -> TrainingWindow:
    if earlier is None:
        return window
    start = min(earlier.start_offset, window.start_offset)
    return replace(window, start_offset=start, start_time=min(earlier.start_time, window.start_time), events=0)


def request_for(
    alert: Alert, incident: Incident, now: datetime, expires_after_s: float, approval: Approval
) -> RetrainRequest:
    """The request that this alert, the latest of its incident, triggers at event time `now`."""
    trigger = Shift.of(alert)
    is_among = any(shift.alert_id == trigger.alert_id for shift in incident.columns)
    evidence = incident.columns if is_among else (*incident.columns, trigger)
    windows, history = training_window_of(alert), alert.history
    if alert.column in incident.recurring and windows:
        windows, history = windows_over(incident.previous_onset, windows, history)
    return RetrainRequest(
        request_id=derived_id("retrain", alert.model_id, alert.alert_id, name=alert.model_id),
        model_id=alert.model_id,
        model_version=incident.model_version,
        reason=RequestReason.DRIFT,
        incident_id=incident.incident_id,
        evidence=evidence,
        training_window=windows,
        requested_at=now,
        expires_at=later(now, expires_after_s),
        approval=approval,
        schema_version=SCHEMA_VERSION,
        summary=summary_of(evidence),
        history=history,
        reference=TrainingReference(alert.reference_digest, "") if alert.reference_digest else None,
    )


def with_windows(request: RetrainRequest, alert: Alert, ready: Mapping[str, Alert]) -> RetrainRequest:
    """The request of an alert, with the windows of the same drift on other topic-partitions.

    `ready` are the model's newest alerts that are ready, one for each series and topic-partition. Of another partition,
    the alert of the same column counts, the same detector first.
    """
    others: dict[tuple[str, int], Alert] = {}
    own = alert.onset.topic, alert.onset.partition
    for one in ready.values():
        where = one.onset.topic, one.onset.partition
        is_same = (one.column, one.segment) == (alert.column, alert.segment)
        if where != own and is_same and (where not in others or one.detector == alert.detector):
            others[where] = one
    ordered = [others[where] for where in sorted(others)][:PARTITIONS_MAX]
    windows = [window for one in ordered for window in training_window_of(one)]
    history = [window for one in ordered for window in one.history]
    return replace(
        request,
        training_window=(*request.training_window, *windows),
        history=(*request.history, *history),
    )


def later(moment: datetime, seconds: float) -> datetime:
    """The moment `seconds` later, or the last one of the calendar."""
    return _LAST if (_LAST - moment).total_seconds() < seconds else moment + timedelta(seconds=seconds)
