"""Alerts: one column of one model changed.

These are the records of the topic `driftline.alerts`, as dataclasses; `docs/schemas/alert.v1.json` is generated from
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Literal

from retrain.messages.distribution import Distribution


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
    LABEL_MISMATCH = "label_mismatch"  # labels come, and hardly any joins a prediction: `category` names the cause
    REPEATED = "repeated"  # all events of the model repeat earlier ones, so its producer is stuck
    UNSEEN = "unseen"  # more values are categories that the training reference does not hold
    BETTER_VERSION = "better_version"  # of two versions that predict the same events, one has the smaller errors
    LIMIT = "limit"  # a table of `limits` is full, and the model has a name that it rejects


@dataclass(frozen=True, slots=True)
class Place:
    """A point in an event topic: an event of a record, and its time."""

    topic: str  # topic of the record
    partition: int  # partition of the record
    offset: int  # offset of the record
    event_time: datetime  # when the event happened, according to the event; RFC 3339, UTC
    row: int = 0  # which event of the record, from 0; absent: 0

    @property
    def position(self) -> tuple[int, int]:
        """Orders the events of a topic-partition."""
        return self.offset, self.row


class WindowRole(StrEnum):
    """What a trainer reads in a window."""

    PREDICTIONS = "predictions"  # the model's events: features and predictions, and labels that came along
    LABELS = "labels"  # labels that came on their own and joined predictions; `prediction_id` says which
    SOURCE = "source"  # events of a feature source that the model uses


@dataclass(frozen=True, slots=True)
class TrainingWindow:
    """A stretch of one topic-partition to train on.

    Offsets are exact: [start_offset, end_offset), like Kafka's own end offsets. Times are those of the first and the
    last event of the stretch, both inclusive, for stores without offsets. Late events in between may have times outside
    them. A stretch holds events of other models too, so filter by model_id.
    """

    topic: str  # topic of the events
    partition: int  # partition of the events
    start_offset: int  # offset of the first event, inclusive
    end_offset: int  # exclusive: one beyond the last event
    start_time: datetime  # event time of the first event, inclusive; UTC
    end_time: datetime  # event time of the last event, inclusive; UTC, never before `start_time`
    role: WindowRole = WindowRole.PREDICTIONS  # what a trainer reads in it
    # events of the model's version, or of the segment, in a window of predictions; 0: not counted
    events: int = 0


@dataclass(frozen=True, slots=True)
class Alert:
    """A detector's alarm on one column of one model, or of one `source` that models share."""

    alert_id: str  # derived from the series and the place of detection; all states of an alert share it
    state: AlertState  # `firing`, then `ready` and `resolved` if it gets that far
    model_id: str  # the model; `source:<name>` for a feature source that models share
    model_version: str  # the version that made the predictions; "" when events name none
    # the feature that moved; `prediction` and `error` are the model's output and its error, `joint` is the dependence
    # between columns, `(events)` and `(labels)` are the delivery of a model's data; `(models_max)`, `(columns_max)`,
    # `(categories_max)` and `(series_max)` are limits that were reached
    column: str
    detector: str  # the detector that raised the alarm
    statistic: float  # the test statistic at the alarm
    threshold: float  # the value that the statistic had to reach
    # effect size, in `effect_unit`; never negative, and the distances are at most 1; measured again at `ready`, as are
    # `before`, `after`, `onset`, `n_reference` and `n_current`
    effect: float
    # `ks_distance` (Kolmogorov-Smirnov distance), `tv_distance` (total variation distance, of categories), `rate`
    # (difference of rates), `correlation` (difference of correlations, 0 to 2), `sd` (standard deviations of the old
    # regime) or `rank_biserial` (how much more often a value of the segment is larger than one of another segment than
    # smaller); `s` of `silent` alerts, `per_hour` of `event_rate` alerts, `names` of `limit` alerts, `share` of
    # `better_version` alerts (by which the mean error is smaller)
    effect_unit: str
    # location of the old regime, in the column's units; the share of `category`, or the rate of faults; of `silent` the
    # mean gap between events in s, of `event_rate` events an hour, of `label_rate` shares, of `repeated` the most
    # events in a row; of `better_version` the mean error of the other version
    before: float
    # location of the new regime, in the column's units; the share of `category`, or the rate of faults; of `silent` the
    # gap so far in s, of `event_rate` events an hour, of `label_rate` shares, of `repeated` events in a row;
    # of `better_version` the mean error of `model_version`
    after: float
    onset: Place  # first event of the new regime, as estimated
    at: Place  # the event that raised the alarm
    n_reference: int  # values that stand for the old regime
    n_current: int  # values that stand for the new regime: those since the onset that the numbers rest on
    reference_digest: str = ""  # digest of the training reference; "" when the first events served as baseline
    ready_at: Place | None = None  # the event with which there was enough data to retrain; null while `firing`
    kind: AlertKind = AlertKind.DRIFT  # what has changed; `drift` alone becomes `ready`
    # the category whose share moved most, `(unseen)` for categories that the reference lacks; "" for numbers; of
    # `limit` the rejected name, where there is one; of `label_mismatch` the cause: `no_predictions` of these models on
    # the partition, or `other_ids`; of `better_version` the other version
    category: str = ""
    segment: str = ""  # the segment of the model that moved, such as `depot=north`; "" for the model as a whole
    # of a source: the models that use it, according to the settings or this partition, at most a hundred; else empty
    models: tuple[str, ...] = ()
    model_count: int = 0  # of a source: how many models use it; else 0
    # of `joint`: the two columns whose dependence moved most, with the correlation of their ranks as `before` and
    # `after`; `|name|` is the distance of the values of a column from its middle
    columns: tuple[str, ...] = ()
    resolved_at: Place | None = None  # the event that ended the alert; null before
    resolution: Resolution | None = None  # why the alert ended; null before
    # distance of the last values from those before the drift, 0 to 1, when the alert ended; null where not measured
    distance: float | None = None
    distance_max: float | None = None  # the same distance at the height of the drift
    # events of the model, or of the segment, since the onset when the alert fired; 0 if it never becomes ready
    events_after_onset: int = 0
    min_events_after_onset: int = 0  # events since the onset with which it becomes ready; 0 if it never does
    effect_se: float | None = None  # standard error of `effect`, in its unit; null where not measured
    # `after` - `before` in standard deviations of the old regime; null where not measured, or all its values are equal
    shift_sd: float | None = None
    distribution: Distribution | None = None  # of the old and the new regime, at `ready`; null in other states
    summary: str = ""  # what changed, in one sentence; "" where not measured
    # of `ready`: what to train on, from the onset to `ready_at`, on this partition number: predictions, labels that
    # joined them by then, and events of the model's sources; absent in other states
    windows: tuple[TrainingWindow, ...] = ()
    # of `ready`: the same of the events before `windows`, `retrain.history_events` of them; absent without any
    history: tuple[TrainingWindow, ...] = ()
    schema_version: Literal[1] = 1  # version of this schema

    @property
    def event_time(self) -> datetime:
        """The event time of its state: where it ended, else where it became ready, else where it fired."""
        return (self.resolved_at or self.ready_at or self.at).event_time

    @property
    def direction(self) -> str:
        """`up`, `down`, or `shape` when the location stayed."""
        return "up" if self.after > self.before else "down" if self.after < self.before else "shape"


def alert_id(facts: Mapping[str, Any], at: Place) -> str:
    """Derived from what it identifies, so that the same log gives the same id in every run."""
    what: tuple[str, ...] = (facts["model_id"], facts["model_version"], facts["column"], facts["detector"])
    where: tuple[str, ...] = (at.topic, str(at.partition), str(at.offset))
    if at.row:
        where = (*where, str(at.row))
    if facts.get("kind", AlertKind.DRIFT) != AlertKind.DRIFT:
        what = (*what, facts["kind"])
    if facts.get("kind") == AlertKind.BETTER_VERSION:
        what = (*what, f"other:{facts['category']}")  # one event may decide on several pairs
    if facts.get("segment"):
        what = (*what, f"segment:{facts['segment']}")  # no kind or topic has a colon
    return blake2b("\0".join(what + where).encode(), digest_size=12, person=b"driftline-alert").hexdigest()
