"""Alerts: one column of one model changed.

These are the records of the topic `driftline.alerts`, as dataclasses; `docs/schemas/alert.v1.json` is generated from
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class AlertState(StrEnum):
    """The states of an alert: `firing`, then perhaps `ready`, then perhaps `resolved`, each once, under one id."""

    FIRING = "firing"
    READY = "ready"  # enough events of the new regime have arrived to retrain on; `ready_at` is set
    RESOLVED = "resolved"  # it has ended; `resolved_at` and `resolution` are set


class Resolution(StrEnum):
    """Why an alert ended."""

    BACK_TO_NORMAL = "back_to_normal"  # the values are again as they were before it
    SUPERSEDED = "superseded"  # the series drifted to another regime, which has an alert of its own
    SETTLED = "settled"  # the new regime lasted so long that it is the baseline; a return would be a new drift


class AlertKind(StrEnum):
    """What changed. Only drift becomes `ready`: faulty data are nothing to retrain on."""

    DRIFT = "drift"  # the distribution of the values changed
    MISSING = "missing"  # more values are null, NaN or infinite
    TYPE_FAULT = "type_fault"  # more values are text where numbers were, or the reverse, or neither
    OUT_OF_RANGE = "out_of_range"  # more values lie outside the range of the training reference
    ABSENT = "absent"  # events no longer carry the column
    SEGMENT_GAP = "segment_gap"  # a segment departs from the model's other segments by more than before
    LABEL_LAG = "label_lag"  # labels take another time to arrive than before
    SILENT = "silent"  # events or labels of the model stopped, while those of others continue
    EVENT_RATE = "event_rate"  # events arrive more or less often than before
    LABEL_RATE = "label_rate"  # fewer predictions get their label before the time-out
    UNSEEN = "unseen"  # more values are categories that the training reference does not hold
    LIMIT = "limit"  # a table of `limits` is full, and the model has a name that it rejects


@dataclass(frozen=True, slots=True)
class Place:
    """A point in an event topic: a record and its event time."""

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
    column: str  # "(events)" and "(labels)" for flows of a whole model; "(models_max)" and so on for a limit
    detector: str
    statistic: float
    threshold: float
    effect: float  # how much moved, in `effect_unit`
    effect_unit: str  # "ks_distance", "tv_distance", "sd", "rate" or "correlation"; for flows "s" or "per_hour"
    before: float  # location of the old regime, in the column's units; the share of `category` where one is named
    after: float  # the same of the new regime
    onset: Place  # first event of the new regime, as estimated
    at: Place  # the event at which the detector was certain
    n_reference: int
    n_current: int
    reference_digest: str = ""  # of the training reference; "" when the first events serve as one
    ready_at: Place | None = None  # the event with which there was enough to retrain on
    kind: AlertKind = AlertKind.DRIFT
    category: str = ""  # the category whose share moved most, "(unseen)" for new ones; "" for columns of numbers
    segment: str = ""  # the segment that changed, such as "depot=north"; "" for the whole model
    models: tuple[str, ...] = ()  # of a source: the first of the models known here to use it
    model_count: int = 0  # of a source: how many are known here to use it
    columns: tuple[str, ...] = ()  # of `joint`: the two whose dependence moved most; before and after: correlations
    resolved_at: Place | None = None  # the event with which it ended
    resolution: Resolution | None = None
    distance: float | None = None  # at its end, of the last values from those before the drift, 0 to 1 ...
    distance_max: float | None = None  # ... and of the drift at its height

    @property
    def event_time(self) -> datetime:
        """The event time of its state: where it ended, else where it became ready, else where it fired."""
        return (self.resolved_at or self.ready_at or self.at).event_time

    @property
    def direction(self) -> str:
        """`up`, `down`, or `shape` when the location stayed."""
        return "up" if self.after > self.before else "down" if self.after < self.before else "shape"
