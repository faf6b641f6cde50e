"""A table of `limits` that is full and turns something away is one alert, however much is turned away after it.

It stands with the first record that brought what had no room, and on behalf of that record's model: that model's story
says why it is not watched as others are. What is turned away later is counted alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from detectors.arrays.types import I64
from detectors.series.id_table import UNSEEN
from detectors.series.table import SeriesTable
from retrain.messages.alert import Alert, AlertKind, AlertState, Place
from streamer.detect.alarm import alert_id
from streamer.detect.batch import BatchValues
from streamer.detect.lives import Lives
from streamer.detect.subjects import Subjects
from streamer.events import EventBatch, EventKind, Limit, Names, NameTable, Overflow, time_of
from streamer.runtime.order import Part

LIMITS: Final = "limits"  # the detector, and the section of the configuration
Told = tuple[int, Overflow, Place]  # what had no room, in which record: its place in the chunk, and in the log


class Cardinality:
    """Which tables of a fold unit have been full, and are told of."""

    def __init__(self, names: Names, topics: NameTable, subjects: Subjects, table: SeriesTable) -> None:
        self._names = names
        self._topics = topics
        self._subjects = subjects
        self._table = table
        self._told: dict[str, int] = {}  # limit -> how many there was room for when it was told

    def alerts(self, found: Sequence[Told]) -> list[tuple[int, Alert]]:
        """The alerts of a chunk, each with the place of its record."""
        told = []
        for place, away, at in sorted(found, key=lambda one: one[0]):
            if not self._is_told(away.limit):
                room = self._told[away.limit] = self._room(away.limit)
                told.append((place, _alert(away, at, room)))
        return told

    def of_names(self, parts: Sequence[Part], batches: Sequence[EventBatch]) -> list[Told]:
        """What the tables of names had no room for, as codecs tell."""
        found: list[Told] = []
        for part, batch in zip(parts, batches, strict=True):
            places = part.at[np.searchsorted(part.records.offset, [away.offset for away in batch.turned_away])]
            for at, away in zip(places.tolist(), batch.turned_away, strict=True):
                found.append((at, away, _place(batch.topic, batch.partition, away)))
        return found

    def of_watched(self, batch: EventBatch, rank: I64, place: I64, lives: Lives, arrivals: BatchValues) -> list[Told]:
        """Versions and series of a batch that had no room; its events come from these ranks, and stand there."""
        found = []
        if len(self._subjects.ids) >= self._subjects.ids.limit and not self._is_told(Limit.MODELS):
            is_one = batch.kind & (EventKind.PREDICTION | EventKind.SOURCE) != 0
            lost = np.flatnonzero(is_one & (lives.subject[:, 0] < 0))[:1]
            found += [(Limit.MODELS, event, self._topics.names[rank[event]]) for event in lost.tolist()]
        if len(self._table) >= self._table.limit and not self._is_told(Limit.SERIES):
            is_lost = (self._table.find(arrivals.subject, arrivals.column) == UNSEEN) & (arrivals.subject >= 0)
            lost = np.flatnonzero(is_lost)
            lost = lost[np.argsort(arrivals.event[lost], kind="stable")[:1]]
            columns = [self._subjects.column(int(column)) for column in arrivals.column[lost]]
            found += [(Limit.SERIES, *one) for one in zip(arrivals.event[lost].tolist(), columns, strict=True)]
        return [self._told_of(*one, batch, rank, place) for one in found]

    def dump(self) -> dict[str, int]:
        """What has been told, as JSON-able data."""
        return self._told.copy()

    def load(self, told: Mapping[str, int]) -> None:
        self._told = dict(told)

    def _is_told(self, limit: Limit) -> bool:
        return self._told.get(limit, 0) >= self._room(limit)

    def _told_of(self, limit: Limit, event: int, name: str, batch: EventBatch, rank: I64, place: I64) -> Told:
        version, topic = int(batch.version[event]), self._topics.names[rank[event]]
        away = Overflow(
            limit,
            name,
            self._names.models.names[batch.model[event]],
            self._names.versions.names[version] if version >= 0 else "",
            int(batch.offset[event]),
            int(batch.event_time_ms[event]),
        )
        return int(place[event]), away, _place(topic, batch.partition, away)

    def _room(self, limit: Limit) -> int:
        """How many the tables of this limit hold."""
        if limit is Limit.SERIES:
            return self._table.limit
        tables = {Limit.MODELS: self._names.models, Limit.COLUMNS: self._names.columns}
        return tables.get(limit, self._names.categories).limit


def _place(topic: str, partition: int, away: Overflow) -> Place:
    return Place(topic, partition, away.offset, time_of(away.event_time_ms))


def _alert(away: Overflow, at: Place, room: int) -> Alert:
    facts: dict[str, Any] = {
        "model_id": away.model,
        "model_version": away.version,
        "column": f"({away.limit})",
        "detector": LIMITS,
        "statistic": room + 1.0,
        "threshold": float(room),
        "effect": 1.0,
        "effect_unit": "names",
        "before": float(room),
        "after": room + 1.0,
        "n_reference": room,
        "n_current": 1,
        "kind": AlertKind.LIMIT,
        "category": away.name,
    }
    return Alert(alert_id=alert_id(facts, at), state=AlertState.FIRING, onset=at, at=at, **facts)
