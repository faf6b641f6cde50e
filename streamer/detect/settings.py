"""What the detect fold watches, with what, and within which bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from detectors.delivery.absence import AbsenceSettings
from detectors.delivery.flow import FlowSettings
from detectors.profile.bank import ProfileSettings
from retrain.policy.source_settings import SourceSettings
from streamer.clock import seconds_of
from streamer.codecs.base import Codec
from streamer.contracts.topics import OutputTopics
from streamer.detect.references.store import ReferenceStore
from streamer.detect.references.table import References


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what producers can make a fold unit remember.

    forget_after: models, and versions of them, of which nothing came for so long in event time are forgotten once a
        table is more than half full: a duration such as 90d; 0 or null: never. At least `labels.timeout_s`.
    """

    models_max: int = 65_536  # models, and versions
    columns_max: int = 65_536  # distinct column names over all models
    categories_max: int = 1_048_576  # distinct category texts over all columns
    series_max: int = 4_194_304  # columns of models
    repeats_max: int = 10_000  # predictions, per partition, within which a repeated one counts once; 0: repeats count
    forget_after: str | int | None = "90d"

    def __post_init__(self) -> None:
        # Two columns are ours. Above, models and versions must fit the key of a subject, the rest 32 bits.
        least_and_most = {
            "models_max": (1, 1 << 23), "columns_max": (2, 1 << 30), "categories_max": (1, 1 << 30),
            "series_max": (1, 1 << 30), "repeats_max": (0, 1 << 24),
        }  # fmt: skip
        for name, (least, most) in least_and_most.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be {least} to {most:,}, not {getattr(self, name)}")
        if isinstance(self.forget_after, str) and self.forget_after != "0":
            try:
                seconds_of(self.forget_after)
            except ValueError as problem:
                raise ValueError(f"forget_after must be a span of time: {problem}") from None
        elif self.forget_after not in {0, "0", None}:
            raise ValueError(f"forget_after must be like 90d, 0 or null, not {self.forget_after}")

    @property
    def forget_after_s(self) -> int:
        """In seconds; 0: never."""
        return seconds_of(self.forget_after) if isinstance(self.forget_after, str) and self.forget_after != "0" else 0


SEGMENTS_MAX: Final = 254  # of a model; with the one of all others, they fit a byte


@dataclass(frozen=True, slots=True)
class SegmentSettings:
    """Which column holds the segment of a model's events. Each segment is watched as the whole is, and beside it.

    by: a feature (or `segment`, where `fields.segment` of a topic maps it) that is text or a whole number.
    segments_max: segments of a model, those that are seen first; the events of all others are the segment `(other)`.
    gap_baseline: pairs of values from which the usual difference between a segment and the others is learned, for
        `segment_gap`; 0 takes segments to be equal at first, so that a lasting difference is reported too.
    gap_min: how much larger than usual a difference must be, as a rank-biserial correlation, 0 to less than 1.
    gap_arl0: pairs of values, on average, to a false alarm of one segment and column; 100 to 10^12.
    """

    by: str
    segments_max: int = 50
    gap_baseline: int = 500
    gap_min: float = 0.1
    gap_arl0: float = 1e6

    def __post_init__(self) -> None:
        """Raises `ValueError` with a sentence."""
        if not self.by:
            raise ValueError("by is empty, but must name the column that holds the segment.")
        if not 1 <= self.segments_max <= SEGMENTS_MAX:
            raise ValueError(f"segments_max is {self.segments_max}, but must be 1 to {SEGMENTS_MAX}.")
        if not (self.gap_baseline == 0 or 30 <= self.gap_baseline <= 1_000_000):
            raise ValueError(f"gap_baseline is {self.gap_baseline}, but must be 0, or 30 to 1,000,000.")
        if not 0 <= self.gap_min < 1:
            raise ValueError(f"gap_min is {self.gap_min}, but must be 0 to less than 1.")
        if not 100 <= self.gap_arl0 <= 1e12:
            raise ValueError(f"gap_arl0 is {self.gap_arl0:g}, but must be 100 to 1e12.")


TIMEOUT_MAX_S = 100 * 366 * 86_400.0


PROBABILITY_MIN: Final = 1e-15  # what is less counts as that, so that one certain mistake is not infinitely wrong


class ErrorKind(StrEnum):
    """How wrong a prediction was, by what the model predicts: a quantity (`absolute`, in its units, or `squared`), a
    class (`zero_one`: 1 if the label is another) or the probability of a label that is 0 or 1 (`log_loss`, in nats).
    """

    ABSOLUTE = "absolute"
    SQUARED = "squared"
    ZERO_ONE = "zero_one"  # classes may be texts, numbers or booleans
    LOG_LOSS = "log_loss"  # at most 34.6


class Corrections(StrEnum):
    """Which of several labels of a prediction counts."""

    FIRST = "first"
    LAST = "last"  # within the time-out


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """How long predictions wait for labels, and what is made of both.

    error: what an error is.
    errors: the same by pattern of models; the first match counts.
    corrections: which of several labels of a prediction counts. With `last`, errors come later: when the prediction has
        waited for `timeout_s`, and as long again or a day.
    watch_lag: watch how long labels take, as the column `label_lag_s`. Labels that come in batches look like drift to
        detectors, as the lags of a batch are not independent.
    watch_mismatch: raise a `label_mismatch` alert when labels come and (almost) none joins a prediction.
    repartition: topics of labels that are keyed or partitioned otherwise than the predictions. The service copies them
        to `outputs.labels`, with the model as key, and folds that topic. true: the second of two topics.
    """

    timeout_s: float = 7 * 86_400.0  # in event time
    open_max: int = 1_000_000  # predictions that wait at once, per partition; the oldest leave first
    early_max: int = (
        50_000  # labels that wait at once for predictions behind them, per partition; the oldest leave first
    )
    error: ErrorKind = ErrorKind.ABSOLUTE
    errors: Mapping[str, ErrorKind] = field(default_factory=dict)
    corrections: Corrections = Corrections.FIRST
    watch_lag: bool = False
    watch_mismatch: bool = True
    repartition: bool | list[str] = False

    def __post_init__(self) -> None:
        if not 0 < self.timeout_s <= TIMEOUT_MAX_S:
            raise ValueError(f"timeout_s must be above 0 and at most 100 years, not {self.timeout_s}")
        if not 1 <= self.open_max <= 1 << 28:
            raise ValueError(f"open_max must be 1 to {1 << 28}, not {self.open_max}")
        if not 1 <= self.early_max <= 1 << 28:
            raise ValueError(f"early_max must be 1 to {1 << 28}, not {self.early_max}")


class Cast(StrEnum):
    """What a column holds, whatever its first values look like."""

    NUMBER = "number"  # also numbers and booleans written as text
    CATEGORY = "category"  # also whole numbers


WatchSettings = Mapping[str, Mapping[str, Sequence[str]]]  # pattern of models -> pattern of columns -> detectors


ARL0_LEAST, ARL0_MOST = 1e3, 1e12  # events of a model between false alarms of a detector, where traffic is measured


TOPICS_MAX = 255  # event topics; their rank is one byte of a subject's key


@dataclass(frozen=True, slots=True)
class DetectSettings:
    """What a detect fold watches, and with what."""

    codecs: Mapping[str, Codec]  # by topic, in canonical order
    detectors: Mapping[str, Any]  # name in DETECTORS -> its settings, in the order of the alerts of one event
    min_events_after_onset: int = 500
    history_events: int = 500  # events before the onset that alerts name
    labels: LabelSettings = field(default_factory=LabelSettings)
    shadow_error_rate: float | None = 0.05  # of the comparison of versions; None: no comparison
    limits: Limits = field(default_factory=Limits)
    outputs: OutputTopics = field(default_factory=OutputTopics)
    references: References = field(default_factory=References)
    reference_store: ReferenceStore | None = None  # references of versions, loaded before a version is seen
    sources: Mapping[str, SourceSettings] = field(default_factory=dict)
    tells_time: bool = False  # whether marks of event time are among the outputs
    segments: Mapping[str, SegmentSettings] = field(default_factory=dict)  # by pattern of model names
    watch: WatchSettings = field(default_factory=dict)
    flows: FlowSettings = field(default_factory=FlowSettings)
    absence: AbsenceSettings = field(default_factory=AbsenceSettings)
    cast: Mapping[str, Cast] = field(default_factory=dict)  # by pattern of columns
    false_alarm_spans: Mapping[str, float] = field(
        default_factory=dict
    )  # seconds of a model's events between two false alarms of a detector; one that is missing keeps its `arl0`
    profiles: ProfileSettings = field(default_factory=lambda: ProfileSettings(publish=False))
