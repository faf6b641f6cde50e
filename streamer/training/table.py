"""Rows of a training table as Arrow: the types of its columns, its batches, and the cut of the hold-out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from detectors.arrays.types import F64, I64, Bools
from retrain.messages.patterns import first_match
from streamer.detect.settings import Cast, ErrorKind
from streamer.events import ERROR_COLUMN, NUMBER, PREDICTION_COLUMN, TEXT_NUMBER, EventBatch, Names
from streamer.training.events import are_classes, errors_of

OWN: Final = ("event_time", "model_id", "model_version", "segment", "prediction", "label", "label_time", "error")
HOLDOUT: Final = "holdout"  # the column that marks the rows of the hold-out
HISTORY: Final = "history"  # the column that marks rows from before the drift
TIME: Final = pa.timestamp("ms", tz="UTC")


@dataclass(slots=True)
class ColumnTypes:
    """What the columns of the rows hold, as far as they are read. A column with a text that is no number is text."""

    names: Names
    cast: Mapping[str, Cast] = field(default_factory=dict)
    seen: list[int] = field(default_factory=list)  # ids of columns, in order of first appearance
    texts: set[int] = field(default_factory=set)
    label_is_text: bool = False

    def add(self, batch: EventBatch, is_row: Bools, is_label: Bools) -> None:
        """Take in the values of the rows and labels of a batch."""
        of_row = np.repeat(is_row, np.diff(batch.start))
        column, category = batch.column[of_row], batch.category[of_row]
        new = np.setdiff1d(column, np.array(self.seen, np.int32))
        if len(new):
            first = [int(np.argmax(column == one)) for one in new]
            self.seen += [int(new[k]) for k in np.argsort(first)]
        self.texts |= {*np.unique(column[category >= 0]).tolist()}
        self.label_is_text = self.label_is_text or bool(are_classes(batch.label[is_label]).any())

    def is_text(self, column: int) -> bool:
        """Whether a column is text."""
        cast = first_match(self.cast, self.names.columns.names[column])
        return column in self.texts if cast is None else cast is Cast.CATEGORY

    def features(self) -> dict[int, str]:
        """The ids of the features, with their names in the table."""
        names = self.names.columns.names
        taken = {*OWN, HOLDOUT, HISTORY}
        wanted = [one for one in self.seen if one not in (PREDICTION_COLUMN, ERROR_COLUMN)]
        return {one: f"feature.{names[one]}" if names[one] in taken else names[one] for one in wanted}

    def schema(self, metadata: Mapping[str, str]) -> pa.Schema:
        """The schema of the table: what Driftline knows of an event, then its features."""
        prediction = pa.string() if self.is_text(PREDICTION_COLUMN) else pa.float64()
        own = [
            ("event_time", TIME), ("model_id", pa.string()), ("model_version", pa.string()), ("segment", pa.string()),
            ("prediction", prediction), ("label", pa.string() if self.label_is_text else pa.float64()),
            ("label_time", TIME), ("error", pa.float64()), (HISTORY, pa.bool_()), (HOLDOUT, pa.bool_()),
        ]  # fmt: skip
        features = [(name, pa.string() if self.is_text(one) else pa.float64()) for one, name in self.features().items()]
        return pa.schema(own + features, metadata=dict(metadata))


@dataclass(frozen=True, slots=True)
class RowWriter:
    """Makes record batches of rows."""

    types: ColumnTypes
    schema: pa.Schema
    error: ErrorKind
    segment_by: str | None  # the column that holds the segment
    holdout_from_ms: int  # event time from which rows are the hold-out

    def batch(self, events: EventBatch, label: F64, label_time_ms: I64, history: Bools) -> pa.RecordBatch:
        """The rows of these events [n], all of which are rows, with their labels."""
        types, values = self.types, _ColumnValues(events, self.types.names)
        features = {name: values.column(one, types.is_text(one)) for one, name in types.features().items()}
        by = types.names.columns.ids.get(self.segment_by or "", -1)
        none = pa.nulls(len(events), pa.string())
        versions = np.array([*types.names.versions.names, None], object)[events.version]
        columns = {
            "event_time": pa.array(events.event_time_ms, TIME),
            "model_id": pa.array(np.array(types.names.models.names, object)[events.model], pa.string()),
            "model_version": pa.array(versions, pa.string()),
            "segment": none if by < 0 else values.column(by, is_text=True),
            "prediction": values.column(PREDICTION_COLUMN, types.is_text(PREDICTION_COLUMN)),
            "label": self._labels(label),
            "label_time": pa.array(label_time_ms, TIME, mask=label_time_ms < 0),
            "error": _numbers(errors_of(self.error, events.prediction, label)),
            HISTORY: pa.array(history),
            HOLDOUT: pa.array(events.event_time_ms >= self.holdout_from_ms),
        }
        return pa.RecordBatch.from_arrays(
            [(columns | features)[name] for name in self.schema.names], schema=self.schema
        )

    def _labels(self, label: F64) -> pa.Array:
        if not self.types.label_is_text:
            return _numbers(label)
        known = self.types.names.classes or {}
        texts = [
            known.get(int(bits)) if is_class else None if np.isnan(number) else f"{number:g}"
            for bits, is_class, number in zip(label.view(np.uint64), are_classes(label), label, strict=True)
        ]
        return pa.array(texts, pa.string())


class _ColumnValues:
    """The values of events, by column."""

    def __init__(self, events: EventBatch, names: Names) -> None:
        self._n, self._names = len(events), names
        self._event = np.repeat(np.arange(self._n), np.diff(events.start))
        order = np.argsort(events.column, kind="stable")
        self._order, self._column = order, events.column[order]
        self._number, self._category = events.number, events.category

    def column(self, column: int, is_text: bool) -> pa.Array:
        """The value of each event [n]; null where it has none, or none of the type."""
        at = self._order[np.searchsorted(self._column, column) : np.searchsorted(self._column, column, "right")]
        number, category = self._number[at], self._category[at]
        if not is_text:
            found = np.full(self._n, np.nan)
            found[self._event[at]] = number
            return _numbers(found)
        texts = np.full(self._n, None, object)
        texts[self._event[at]] = [self._text(n, c) for n, c in zip(number.tolist(), category.tolist(), strict=True)]
        return pa.array(texts, pa.string())

    def _text(self, number: float, category: int) -> str | None:
        if category >= 0:
            return self._names.categories.names[category]
        if np.isnan(number):
            return None
        if category < TEXT_NUMBER:
            return f"{number:.{TEXT_NUMBER - 1 - category}f}"
        return f"{number:.0f}" if category == NUMBER and number == int(number) else f"{number:g}"


def _numbers(values: F64) -> pa.Array:
    return pa.array(values, pa.float64(), mask=np.isnan(values))


def holdout_from(times_ms: Sequence[I64], history: Sequence[Bools], share: float) -> int:
    """The event time from which on about this share of the rows that are no history lies."""
    times = np.sort(np.concatenate([t[~h] for t, h in zip(times_ms, history, strict=True)] or [np.empty(0, np.int64)]))
    first = int(len(times) * (1 - share))
    return int(times[first]) if share and first < len(times) else np.iinfo(np.int64).max


def parts(table: Any) -> tuple[Any, Any]:
    """The rows to train on, and the hold-out."""
    is_holdout = table[HOLDOUT]
    return table.filter(pc.invert(is_holdout)), table.filter(is_holdout)
