"""The interface of codecs, which decode bytes into columns.

A record holds one event, or several rows of them. A codec never raises on a record. A record is taken whole or not at
all: with one unreadable row it becomes a dead letter, with a reason from the closed set below, and the records around
it decode as if it did not exist.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

import numpy as np

from detectors.arrays.types import I64, Bools
from streamer.eventlog.base import Records
from streamer.eventlog.headers import ROWS_HEADER
from streamer.events import EventBatch, Names

# What codecs log once: a topic, or the topic, a time and the topic.
SKIPPED: Final = (
    "topic %s: records with a key and no value are tombstones, and are skipped; topics.%s.tombstones: dead_letter "
    "keeps them"
)
NO_ZONE: Final = (
    "topic %s: event_time is %.60r, which has no time zone, and is taken for UTC, or for the nearest zone in which it "
    "is not ahead of its record. If it is local time, set topics.%s.time_zone, as in Europe/Paris"
)
_ROWS: Final = re.compile(rb"(\d{1,9}(-\d{1,9})?(,|$))+")


class Reason(StrEnum):
    """The reason of a dead letter, as in its header and in metric labels."""

    NULL_VALUE = "null_value"  # a tombstone
    TOO_LARGE = "too_large"  # longer than the codec's `value_bytes_max`
    TOO_DEEP = "too_deep"  # nested deeper than the limit of the parser
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    NOT_AVRO = "not_avro"
    NOT_PROTOBUF = "not_protobuf"
    NOT_ARROW = "not_arrow"
    NOT_CSV = "not_csv"
    OTHER_FORMAT = "other_format"  # another format or framing than the setting `format` names
    NOT_AN_OBJECT = "not_an_object"  # valid JSON, but neither an object nor a list of objects
    MISSING_MODEL = "missing_model"  # neither model_id nor source
    WRONG_TYPE = "wrong_type"  # a mapped field has an invalid type, e.g. features that are a list
    MISSING_PREDICTION_ID = "missing_prediction_id"  # a label without a prediction to join
    NOTHING_TO_WATCH = "nothing_to_watch"  # no feature, no prediction, no label
    BAD_EVENT_TIME = "bad_event_time"  # unreadable, before 1970 or after 9999
    TIME_TOO_FAR_AHEAD = "time_too_far_ahead"  # later than the time of the record by more than `skew_max_s`
    TOO_MANY_COLUMNS = "too_many_columns"  # one event with more values than `values_max`
    TOO_MANY_MODELS = "too_many_models"  # the table of models or versions is full
    TOO_MANY_ROWS = "too_many_rows"  # a record with more events than `rows_max`
    BATCH_TOO_LARGE = "batch_too_large"  # one dead letter for all records of a batch that is not opened
    POISON_RECORD = "poison_record"  # the record ends the process each time it is folded


# What to do about dead letters of a reason.
REMEDIES: Final[Mapping[str, str]] = {
    Reason.NULL_VALUE: "records without a value are tombstones of compacted topics; tombstones: skip leaves them out",
    Reason.TIME_TOO_FAR_AHEAD: "correct the clocks of producers; skew_max_s allows times ahead of their records",
    Reason.TOO_LARGE: "raise value_bytes_max of the topic",
    Reason.TOO_MANY_ROWS: "raise rows_max of the topic",
    Reason.TOO_MANY_COLUMNS: "raise values_max of the topic, or map fewer features",
    Reason.TOO_MANY_MODELS: "map model_id to what names the model, or raise limits.models_max",
    Reason.MISSING_PREDICTION_ID: "map prediction_id of the labels to the id of their prediction",
    Reason.NOTHING_TO_WATCH: "compare the paths of features and prediction with the records",
}


@dataclass(frozen=True, slots=True)
class PairSettings:
    """How inputs and outputs that come in two records are joined. Raises ValueError for a value out of range.

    timeout_s: longest wait for the other half, in event time; then a half goes on alone. Up to 7 days.
    open_max: halves of a partition that wait at once; the oldest go on alone. 1 to 1,000,000.
    """

    timeout_s: float = 300.0
    open_max: int = 100_000

    def __post_init__(self) -> None:
        if not 0 < self.timeout_s <= 7 * 86_400:
            raise ValueError(f"timeout_s must be above 0 and at most 7 days, not {self.timeout_s}")
        if not 1 <= self.open_max <= 1_000_000:
            raise ValueError(f"open_max must be 1 to 1,000,000, not {self.open_max}")


@dataclass(slots=True)
class DeadLetters:
    """The unreadable records of a stretch, in order: index into the Records, reason, and a detail for people."""

    index: list[int] = field(default_factory=list)
    reason: list[Reason] = field(default_factory=list)
    detail: list[str] = field(default_factory=list)

    def add(self, index: int, reason: Reason, detail: str) -> None:
        self.index.append(index)
        self.reason.append(reason)
        self.detail.append(detail)

    def extend(self, other: DeadLetters, first: int) -> None:
        """Add those of a stretch that begins at index `first`."""
        self.index += [first + i for i in other.index]
        self.reason += other.reason
        self.detail += other.detail

    def __len__(self) -> int:
        return len(self.index)


class Codec(Protocol):
    """Decodes one input format."""

    def decode(self, records: Records, names: Names) -> tuple[EventBatch, DeadLetters]:
        """Decode a stretch. Names get ids in record order, so any cut of the stretch gives the same ids."""
        ...


def eventless(records: Records, batch: EventBatch, dead: DeadLetters) -> int:
    """How many records gave neither an event nor a dead letter. Events of one record stand together."""
    with_events = int(np.count_nonzero(np.diff(batch.offset))) + 1 if len(batch) else 0
    return len(records) - with_events - len(set(dead.index))


def own_rows(records: Records, batch: EventBatch) -> EventBatch:
    """The events of a stretch without those that another copy of their record holds, as `driftline rekey` writes it."""
    several = np.unique(batch.offset[batch.row > 0])
    if not len(several):
        return batch
    index = np.searchsorted(records.offset, several)
    keep = np.ones(len(batch), np.bool_)
    for i in index[records.headers[index, 0] >= 0].tolist():
        for name, text in records.headers_with(ROWS_HEADER, i):
            if name == ROWS_HEADER and _ROWS.fullmatch(text or b""):
                of_record = slice(*np.searchsorted(batch.offset, [records.offset[i], records.offset[i] + 1]))
                keep[of_record] = _named_by(text or b"", batch.row[of_record].astype(np.int64))
    return batch if keep.all() else batch.only(keep)


def _named_by(text: bytes, row: I64) -> Bools:
    """Which rows [n] a text such as 0-3,7 names."""
    found = np.zeros(len(row), np.bool_)
    for span in text.split(b","):
        first, _, last = span.partition(b"-")
        found |= (row >= int(first or 0)) & (row <= int(last or first or 0))
    return found


def rows_text(row: I64) -> bytes:
    """Increasing rows [n > 0] as text, as in 0-3,7."""
    starts = np.flatnonzero(np.diff(row, prepend=-2) > 1)
    ends = np.append(starts[1:], len(row)) - 1
    spans = zip(row[starts].tolist(), row[ends].tolist(), strict=True)
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans).encode()
