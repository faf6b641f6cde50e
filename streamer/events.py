"""Events as columns, the output of the codecs and the input of the detect fold.

An event is a prediction (features, a prediction, or both), a later label, or a feature event of a `source`. An
`EventBatch` holds the events of one `Records` as arrays. Names are small integers into the bounded tables of `Names`,
so later stages handle no strings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import IntFlag, StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import F64, I32, I64

PREDICTION_COLUMN = 0  # ids of the two columns that every model may have
ERROR_COLUMN = 1
LAG_COLUMN = "label_lag_s"  # has an id where it is watched

NUMBER = -1  # EventBatch.category of a number (or of a missing value: number is NaN)
TEXT_NUMBER = -3  # and below, of a text that reads as `number`: -4 - d with d decimals, if these are few
MISFIT = -2  # EventBatch.category of a value that is neither number, text nor null (a list, an object)

OTHER_CATEGORY = 0  # stands for every text that the full table of categories rejects ...
OTHERS = "(other)"  # ... by this name


class EventKind(IntFlag):
    """The content of an event, as flags; a prediction may carry its label."""

    PREDICTION = 1
    LABEL = 2
    SOURCE = 4  # a feature event of a shared source, without a model


@dataclass(frozen=True, slots=True)
class EventBatch:
    """`n` events with `m` values: the values of event `i` are [start[i], start[i + 1])."""

    topic: str
    partition: int
    kind: NDArray[np.uint8]  # [n] EventKind
    model: I32  # [n] id in Names.models; a source-only event has its source's id there
    version: I32  # [n] id in Names.versions; -1 when the event names none
    event_time_ms: I64  # [n] since 1970
    offset: I64  # [n] of the event's record
    row: I32  # [n] place of the event in its record, from 0
    join_id: NDArray[np.uint64]  # [n] hash of (model, prediction_id); 0: none
    prediction: F64  # [n] NaN: none, or not a number; for names of classes see `codecs/class_labels.py`
    label: F64  # [n] the same
    start: I64  # [n + 1]
    column: I32  # [m] id in Names.columns
    number: F64  # [m] NaN: missing, or not a number; also of a text that reads as a number or boolean
    category: I32  # [m] id in Names.categories, or NUMBER, MISFIT, or TEXT_NUMBER and below
    dropped: int = 0  # values left out: the table of columns is full, or the name is too long
    turned_away: tuple[Overflow, ...] = ()  # the first name that each full table rejected
    strangers: UntrackedEvents | None = None  # events of rejected models; None: none was rejected

    def __len__(self) -> int:
        return len(self.kind)

    def only(self, keep: NDArray[np.bool_]) -> EventBatch:
        """The events where `keep` [n] is true, with their values."""
        width = np.diff(self.start)
        values = np.repeat(keep, width)
        changes = {name: getattr(self, name)[keep] for name in _OF_EVENT}
        changes |= {name: getattr(self, name)[values] for name in _OF_VALUE}
        return replace(self, start=np.concatenate([[0], np.cumsum(width[keep])]), **changes)

    def in_order(self, order: I64) -> EventBatch:
        """The events [n] in another order, with their values."""
        width = np.diff(self.start)[order]
        start = np.concatenate([[0], np.cumsum(width)])
        values = np.arange(start[-1]) + np.repeat(self.start[:-1][order] - start[:-1], width)
        changes = {name: getattr(self, name)[order] for name in _OF_EVENT}
        changes |= {name: getattr(self, name)[values] for name in _OF_VALUE}
        return replace(self, start=start, **changes)


_OF_EVENT = ("kind", "model", "version", "event_time_ms", "offset", "row", "join_id", "prediction", "label")
_OF_VALUE = ("column", "number", "category")


def joined(batches: Sequence[EventBatch]) -> EventBatch:
    """Consecutive batches of a topic-partition as one; of each limit the first overflow stays."""
    if len(batches) == 1:
        return batches[0]
    starts = np.cumsum([0, *(len(batch.number) for batch in batches)])
    start = [batch.start[:-1] + first for batch, first in zip(batches, starts, strict=False)]
    overflows: dict[Limit, Overflow] = {}
    for one in (overflow for batch in batches for overflow in batch.turned_away):
        overflows.setdefault(one.limit, one)
    lost = [batch.strangers for batch in batches if batch.strangers is not None]
    return EventBatch(
        batches[0].topic,
        batches[0].partition,
        start=np.concatenate([*start, starts[-1:]]),
        dropped=sum(batch.dropped for batch in batches),
        turned_away=tuple(overflows.values()),
        strangers=UntrackedEvents(*map(np.concatenate, zip(*lost, strict=True))) if lost else None,
        **{name: np.concatenate([getattr(batch, name) for batch in batches]) for name in (*_OF_EVENT, *_OF_VALUE)},
    )


@dataclass(slots=True)
class NameTable:
    """Maps strings to small integers, in order of first appearance, and back; holds at most `limit`."""

    limit: int
    names: list[str] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)

    def id_of(self, name: str) -> int:
        """The id of the name; a new name gets the next one, or -1 if the table is full."""
        known = self.ids.get(name)
        if known is not None:
            return known
        if len(self.names) >= self.limit:
            return -1
        self.ids[name] = len(self.names)
        self.names.append(name)
        return len(self.names) - 1

    def load(self, names: list[str]) -> None:
        """Replace the content by these names, with ids in this order."""
        self.names = list(names)
        self.ids = {name: i for i, name in enumerate(names)}

    def __len__(self) -> int:
        return len(self.names)


@dataclass(slots=True)
class Names:
    """The tables of one fold unit. Sources are models named `source:<name>`."""

    models: NameTable
    versions: NameTable
    columns: NameTable
    categories: NameTable
    classes: dict[int, str] | None = None  # names of classes among labels by their bits, where they are collected

    @classmethod
    def fresh(cls, models_max: int = 65_536, columns_max: int = 65_536, categories_max: int = 1_048_576) -> Names:
        names = cls(NameTable(models_max), NameTable(models_max), NameTable(columns_max), NameTable(categories_max))
        for reserved in ("prediction", "error"):
            names.columns.id_of(reserved)
        names.categories.id_of(OTHERS)
        return names


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_of(event_time_ms: int) -> datetime:
    """Event time in UTC, for outputs. `event_time_ms` is since 1970."""
    return EPOCH + timedelta(milliseconds=event_time_ms)


class Limit(StrEnum):
    """The settings of `limits` that bound a table, by name."""

    MODELS = "models_max"
    COLUMNS = "columns_max"
    CATEGORIES = "categories_max"
    SERIES = "series_max"


class UntrackedEvents(NamedTuple):
    """Events of rejected models or versions. They still advance event time."""

    key: NDArray[np.uint64]  # [n] hash of the model
    event_time_ms: NDArray[np.int64]  # [n]


class Overflow(NamedTuple):
    """A rejected name, with the record that carried it."""

    limit: Limit
    name: str  # of the model, version, column or category; of the topic where a model's versions on it are too many
    model: str  # or `source:<name>`
    version: str  # "" when events name none
    offset: int
    event_time_ms: int
