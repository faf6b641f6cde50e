"""Cardinality limits: the first overflow of a table of `limits` raises one alert; later ones are only counted.

The alert belongs to the record that brought the first name beyond the limit, and to that record's model, so that the
history of the model shows why it is not watched like others. This is no monitor: some of its records became no event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from detectors.arrays.types import I64
from detectors.series.id_table import UNSEEN
from retrain.messages.alert import Alert, AlertKind, AlertState, Place, alert_id
from retrain.messages.summary import sentence_of
from streamer.detect.batch import Batch
from streamer.detect.context import Context
from streamer.events import EventBatch, EventKind, Limit, Overflow, time_of
from streamer.runtime.order import Part

LIMITS: Final = "limits"  # the detector, and the section of the configuration
Found = tuple[int, Overflow, Place]  # an overflow and its record: place in the chunk, and in the log


class Cardinality:
    """The tables of a fold unit that have overflowed and have been reported."""

    def __init__(self, context: Context) -> None:
        self._names = context.names
        self._topics = context.topics
        self._subjects = context.subjects
        self._table = context.series
        self._reported: dict[str, int] = {}  # limit -> its value when it was reported

    def alerts(self, found: Sequence[Found]) -> list[tuple[int, Alert]]:
        """The alerts of a chunk, each with the place of its record."""
        alerts = []
        for place, away, at in sorted(found, key=lambda one: one[0]):
            if not self._is_reported(away.limit):
                size = self._reported[away.limit] = self._size(away.limit)
                alerts.append((place, _alert(away, at, size)))
        return alerts

    def of_names(self, parts: Sequence[Part], batches: Sequence[EventBatch]) -> list[Found]:
        """The overflows of the tables of names, which codecs report."""
        found: list[Found] = []
        for part, batch in zip(parts, batches, strict=True):
            places = part.at[np.searchsorted(part.records.offset, [away.offset for away in batch.turned_away])]
            for at, away in zip(places.tolist(), batch.turned_away, strict=True):
                found.append((at, away, _place(batch.topic, batch.partition, away)))
        return found

    def of_batch(self, batch: Batch, place: I64) -> list[Found]:
        """The first version and the first series of a batch beyond the limit; `place` of its events in the chunk."""
        events, arrived = batch.events, batch.arrived
        found = []
        if len(self._subjects.ids) >= self._subjects.ids.limit and not self._is_reported(Limit.MODELS):
            is_one = events.kind & (EventKind.PREDICTION | EventKind.SOURCE) != 0
            lost = np.flatnonzero(is_one & (batch.subject[:, 0] < 0))[:1]
            found += [(Limit.MODELS, event, self._topics.names[batch.topic[event]]) for event in lost.tolist()]
        if len(self._table) >= self._table.limit and not self._is_reported(Limit.SERIES):
            is_lost = (self._table.find(arrived.subject, arrived.column) == UNSEEN) & (arrived.subject >= 0)
            lost = np.flatnonzero(is_lost)
            lost = lost[np.argsort(arrived.event[lost], kind="stable")[:1]]
            columns = [self._subjects.column(int(column)) for column in arrived.column[lost]]
            found += [(Limit.SERIES, *one) for one in zip(arrived.event[lost].tolist(), columns, strict=True)]
        return [self._found(*one, batch, place) for one in found]

    def dump(self) -> dict[str, int]:
        """The limits that have been reported, as JSON-able data."""
        return self._reported.copy()

    def load(self, reported: Mapping[str, int]) -> None:
        """Restore what was dumped."""
        self._reported = dict(reported)

    @staticmethod
    def remap(reported: Mapping[str, int]) -> dict[str, int]:
        """What was dumped, without the limits of tables that an eviction has emptied in part."""
        return {limit: size for limit, size in reported.items() if limit not in {Limit.MODELS, Limit.SERIES}}

    def _is_reported(self, limit: Limit) -> bool:
        return self._reported.get(limit, 0) >= self._size(limit)

    def _found(self, limit: Limit, event: int, name: str, batch: Batch, place: I64) -> Found:
        events = batch.events
        version, topic = int(events.version[event]), self._topics.names[batch.topic[event]]
        away = Overflow(
            limit,
            name,
            self._names.models.names[events.model[event]],
            self._names.versions.names[version] if version >= 0 else "",
            int(events.offset[event]),
            int(events.event_time_ms[event]),
        )
        return int(place[event]), away, _place(topic, events.partition, away)

    def _size(self, limit: Limit) -> int:
        """How many names the tables of this limit hold at most."""
        if limit is Limit.SERIES:
            return self._table.limit
        tables = {Limit.MODELS: self._names.models, Limit.COLUMNS: self._names.columns}
        return tables.get(limit, self._names.categories).limit


def _place(topic: str, partition: int, away: Overflow) -> Place:
    return Place(topic, partition, away.offset, time_of(away.event_time_ms))


def _alert(away: Overflow, at: Place, size: int) -> Alert:
    facts: dict[str, Any] = {
        "model_id": away.model,
        "model_version": away.version,
        "column": f"({away.limit})",
        "detector": LIMITS,
        "statistic": size + 1.0,
        "threshold": float(size),
        "effect": 1.0,
        "effect_unit": "names",
        "before": float(size),
        "after": size + 1.0,
        "n_reference": size,
        "n_current": 1,
        "kind": AlertKind.LIMIT,
        "category": away.name,
    }
    alert = Alert(alert_id=alert_id(facts, at), state=AlertState.FIRING, onset=at, at=at, **facts)
    return replace(alert, summary=sentence_of(alert))
