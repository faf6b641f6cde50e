"""Repeated predictions: retries, and producers that are stuck. Each counts once within a bounded window.

An event repeats another one of its topic, model and version if both have the same values and the same prediction id.
Without an id, both have the same time, and a number with a fraction: whole numbers and categories may coincide by
chance. A label without a prediction is none; the label join knows which label was first.

A producer that sends nothing but repeats is stuck, and one alert of the kind `repeated` reports it. Some producers
repeat their last event until there is a new one, so a run of repeats must also be much longer than those before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.growth import ensure_length
from detectors.arrays.jit import kernel
from detectors.arrays.types import I64, Bools
from detectors.series.id_ring import EMPTY, IdRing, append, find, home, leave_oldest
from retrain.messages.alert import Alert, AlertKind, AlertState, Place, alert_id
from retrain.messages.summary import sentence_of
from streamer.events import NUMBER, EventBatch, Names, time_of

WIDTH: Final = 3  # of an entry, of which nothing but the id is used
REPEATS: Final = "repeats"  # the detector
COLUMN: Final = "(events)"
RUN_MIN: Final = 100  # repeats of a model in a row, without an event between them that is new ...
RUN_FACTOR: Final = 4  # ... and so many times the longest run before, that raise an alert
_RUN, _LONGEST, _TOPIC, _OFFSET, _ROW, _TIME, _FIELDS = range(7)  # of a model; the place is that of its first repeat
_NEVER: Final = -(1 << 62)
_COLUMN: Final = 0x2545F4914F6CDD1D  # odd numbers, so that sums of different values hardly meet
_CATEGORY: Final = 0x1B873593CC9E2D51


class Repeats:
    """The predictions of the last `window` events, by hash. 60 to 120 bytes each."""

    def __init__(self, window: int) -> None:
        """`window` 0: repeats count like all others."""
        self.runs = Runs()
        self._window = window
        self._seen = IdRing(WIDTH)

    def of(self, events: EventBatch, topic: I64) -> Bools:
        """A mask of the events [n] that repeat an earlier one; `topic` is the rank of the topic of each."""
        found = np.zeros(len(events), bool)
        if not self._window:
            return found
        self._seen.make_room(len(events))
        whose = (events.kind, events.model, events.version, topic, events.join_id, events.event_time_ms)
        values = (events.start, events.column, events.number, events.number.view(np.int64), events.category)
        _flag(self._seen.state, whose, values, events.label.view(np.int64), self._window, found)
        return found

    def dump(self) -> dict[str, NDArray[Any]]:
        """The hashes, oldest first, and the runs."""
        return self._seen.dump() | self.runs.dump()

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restore what was dumped."""
        self._seen.load(arrays)
        self.runs.load(arrays)

    def remap(self, kept: Bools) -> dict[str, NDArray[Any]]:
        """What `dump` gives, with the runs of the models that are kept."""
        return self._seen.dump() | self.runs.kept(kept)


class Runs:
    """Repeats of each model that came in a row."""

    def __init__(self) -> None:
        self._of = np.zeros((64, _FIELDS), np.int64)  # [model]

    def alerts(
        self, events: EventBatch, repeated: Bools, topics: Sequence[str], topic: I64, names: Names
    ) -> list[tuple[int, Alert]]:
        """Count events [n] of which these are `repeated`; the alerts of runs that are too long, each with its event."""
        self._of = ensure_length(self._of, len(names.models), 0)
        found = np.zeros(len(events), bool)
        place = events.kind, events.model, topic, events.offset, events.row, events.event_time_ms
        begun = _count(self._of, place, repeated, found)
        return [
            (event, _alert(events, event, names, topics, int(topic[event]), run))
            for event, run in zip(np.flatnonzero(found).tolist(), begun.tolist(), strict=True)
        ]

    def dump(self) -> dict[str, NDArray[Any]]:
        """The runs by model."""
        return {"runs": self._of}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restore what was dumped."""
        self._of = arrays["runs"].copy()

    def kept(self, models: Bools) -> dict[str, NDArray[Any]]:
        """What `dump` gives, of these models."""
        return {"runs": ensure_length(self._of, len(models), 0)[: len(models)][models]}


def _alert(events: EventBatch, event: int, names: Names, topics: Sequence[str], topic: int, run: list[int]) -> Alert:
    """The alert of an event's model, with the state `run` of its run."""
    version, when = int(events.version[event]), time_of(int(events.event_time_ms[event]))
    facts: dict[str, Any] = {
        "model_id": names.models.names[events.model[event]],
        "model_version": names.versions.names[version] if version >= 0 else "",
        "column": COLUMN,
        "detector": REPEATS,
        "statistic": float(run[_RUN]),
        "threshold": float(run[_RUN]),
        "effect": 1.0,
        "effect_unit": "rate",
        "before": float(run[_LONGEST]),
        "after": float(run[_RUN]),
        "n_reference": run[_LONGEST],
        "n_current": run[_RUN],
        "kind": AlertKind.REPEATED,
    }
    onset = Place(topics[run[_TOPIC]], events.partition, run[_OFFSET], time_of(run[_TIME]), run[_ROW])
    at = Place(topics[topic], events.partition, int(events.offset[event]), when, int(events.row[event]))
    alert = Alert(alert_id=alert_id(facts, at), state=AlertState.FIRING, onset=onset, at=at, **facts)
    return replace(alert, summary=sentence_of(alert))


@kernel
def _count(runs: I64, events: Any, repeated: Bools, found: Bools) -> I64:
    """Flag events with which a run becomes too long; returns the runs [flagged, fields] at that time."""
    kind, model, topic, offset, row, time_ms = events
    begun = np.zeros((0, _FIELDS), np.int64)
    for i in range(len(kind)):
        if kind[i] == 2:
            continue
        run = runs[model[i]]
        if not repeated[i]:
            run[_LONGEST], run[_RUN] = max(run[_LONGEST], run[_RUN]), 0
            continue
        if run[_RUN] == 0:
            run[_TOPIC], run[_OFFSET], run[_ROW], run[_TIME] = topic[i], offset[i], row[i], time_ms[i]
        run[_RUN] += 1
        if run[_RUN] == max(RUN_MIN, RUN_FACTOR * run[_LONGEST]):
            found[i] = True
            begun = np.concatenate((begun, run.copy().reshape((1, _FIELDS))))
    return begun


@kernel
def _mix(h: np.uint64, x: int) -> np.uint64:
    """One step of SplitMix64 (Steele et al. 2014)."""
    z = h * np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(x)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    return z ^ (z >> np.uint64(27))


@kernel
def _flag(seen: Any, whose: Any, values: Any, labels: I64, window: int, found: Bools) -> None:
    kind, model, version, topic, join_id, time_ms = whose
    start, column, number, bits, category = values
    hashed, ids, _, _, _, _ = seen
    alone = np.zeros(2, np.int64)
    for i in range(len(kind)):
        if kind[i] == 2:
            continue
        has_fraction = join_id[i] != 0
        key = _mix(_mix(_mix(join_id[i], model[i]), version[i] << 8 | topic[i]), labels[i])
        for j in range(start[i], start[i + 1]):
            key = _mix(key, bits[j] + column[j] * _COLUMN + category[j] * _CATEGORY)
            has_fraction = has_fraction or (category[j] == NUMBER and number[j] - np.floor(number[j]) > 0)
        if not has_fraction:
            continue
        if join_id[i] == 0:
            key = _mix(key, time_ms[i])
        key = max(key, np.uint64(1))
        if hashed[find(hashed, ids, key, home(hashed, key))] != EMPTY:
            found[i] = True
            continue
        leave_oldest(seen, _NEVER, window, EMPTY, alone)
        append(seen, find(hashed, ids, key, home(hashed, key)), key)
