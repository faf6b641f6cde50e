"""What the decide fold is told: one column of one model has drifted.

These are the records of the topic `driftline.alerts`, as dataclasses; `docs/schemas/alert.v1.json` is generated from
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class AlertState(StrEnum):
    """How far an alert has come: `firing`, then perhaps `ready`, then perhaps `resolved`, each once, under one id."""

    FIRING = "firing"
    READY = "ready"  # enough events of the new regime have been seen to retrain on; `ready_at` is set
    RESOLVED = "resolved"  # it is over; `resolved_at` and `resolution` are set


class Resolution(StrEnum):
    """Why an alert is over."""

    BACK_TO_NORMAL = "back_to_normal"  # values are again what they were before it
    SUPERSEDED = "superseded"  # the series has drifted on to something else, which is an alert of its own
    SETTLED = "settled"  # the new regime has lasted so long that it is the usual: going back would be a new drift


class AlertKind(StrEnum):
    """What an alert tells of. Only drift becomes `ready`: what is wrong with the data is nothing to retrain on."""

    DRIFT = "drift"  # the values are not what they were
    MISSING = "missing"  # more of them are null, NaN or infinite
    TYPE_FAULT = "type_fault"  # more of them are text where numbers were, or the reverse, or neither
    OUT_OF_RANGE = "out_of_range"  # more of them lie outside of the range of the training reference
    ABSENT = "absent"  # events no longer carry the column at all
    SEGMENT_GAP = "segment_gap"  # a segment differs from the model's others by more than it did
    LABEL_LAG = "label_lag"  # labels take another time to come than they did
    SILENT = "silent"  # events, or labels, of the model have stopped coming, while others come
    EVENT_RATE = "event_rate"  # they come more or less often than they did
    LABEL_RATE = "label_rate"  # fewer of the predictions get their label before the time-out
    UNSEEN = "unseen"  # more of them are categories that the training reference does not have
    LIMIT = "limit"  # something of the model's had no room, as a table of `limits` is full


@dataclass(frozen=True, slots=True)
class Place:
    """A point in an event topic: the record, and when it happened."""

    topic: str
    partition: int
    offset: int
    event_time: datetime  # UTC


@dataclass(frozen=True, slots=True)
class Alert:
    """A detector's alarm on one column of one model, or of one `source` that models share."""

    alert_id: str
    state: AlertState
    model_id: str  # `source:<name>` for a feature source
    model_version: str  # "" when events name none
    column: str  # "(events)" and "(labels)" for what comes of a model as a whole; "(models_max)" and so on for a limit
    detector: str
    statistic: float
    threshold: float
    effect: float  # how much moved, in `effect_unit`
    effect_unit: str  # "ks_distance", "tv_distance", "sd", "rate" or "correlation"; of flows "s" or "per_hour"
    before: float  # location of the old regime, in the column's units; the share of `category` where one is named
    after: float  # the same of the new regime
    onset: Place  # first event of the new regime, as estimated
    at: Place  # the event at which the detector was sure
    n_reference: int
    n_current: int
    reference_digest: str = ""  # of the training reference; "" when the first events served as one
    ready_at: Place | None = None  # the event with which there was enough to retrain on
    kind: AlertKind = AlertKind.DRIFT
    category: str = ""  # the category whose share moved most, "(unseen)" for new ones; "" for columns of numbers
    segment: str = ""  # whose events these are, such as "depot=north"; "" for all of the model's
    models: tuple[str, ...] = ()  # of a source: those known here to use it that were seen first
    model_count: int = 0  # of a source: how many are known here to use it
    columns: tuple[str, ...] = ()  # of `joint`: the two whose dependence moved most; before and after: correlations
    resolved_at: Place | None = None  # the event with which it was over
    resolution: Resolution | None = None
    distance: float | None = None  # of the last values from those before the drift when it was over, 0 to 1 ...
    distance_max: float | None = None  # ... and of the drift at its height

    @property
    def event_time(self) -> datetime:
        """When it took place: where it was over, else where it became ready, else where it fired."""
        return (self.resolved_at or self.ready_at or self.at).event_time

    @property
    def direction(self) -> str:
        """`up`, `down`, or `shape` when the location stayed."""
        return "up" if self.after > self.before else "down" if self.after < self.before else "shape"
