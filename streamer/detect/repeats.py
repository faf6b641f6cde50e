"""Repeated predictions: retries, and producers that are stuck. Each counts once within a bounded window.

An event repeats another one of its topic, model and version if both have the same values and the same prediction id.
Without an id, both have the same time, and a number with a fraction: whole numbers and categories may coincide by
chance. A label without a prediction is none; the label join knows which label was first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.jit import kernel
from detectors.arrays.types import I64, Bools
from detectors.series.id_ring import EMPTY, IdRing, append, find, home, leave_oldest
from streamer.events import NUMBER, EventBatch

WIDTH: Final = 3  # of an entry, of which nothing but the id is used
_NEVER: Final = -(1 << 62)
_COLUMN: Final = 0x2545F4914F6CDD1D  # odd numbers, so that sums of different values hardly meet
_CATEGORY: Final = 0x1B873593CC9E2D51


class Repeats:
    """The predictions of the last `window` events, by hash. 60 to 120 bytes each."""

    def __init__(self, window: int) -> None:
        """`window` 0: repeats count like all others."""
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
        """The hashes, oldest first."""
        return self._seen.dump()

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restore what was dumped."""
        self._seen.load(arrays)


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
