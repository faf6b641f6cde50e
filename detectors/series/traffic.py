"""How much traffic each subject has: events a second, measured by event time.

A rate of false alarms in time, such as one a month, becomes one in values by the traffic of the subject. That is the
mean over its last four weeks, or over all its time so far, the hour that is not over included. Each event counts before
its own values are judged, so the measure depends on the order of events alone, and never on how they are cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.growth import ensure_length
from detectors.arrays.jit import kernel
from detectors.arrays.types import F64, I64

HOUR_MS: Final = 3_600_000
HOURS_MAX: Final = 4 * 7 * 24.0  # over which traffic is averaged; older events fade

# columns of the state
MARK_MS = 0  # event time of the last mark: the first event, then whole hours behind it
HOURS = 1  # between the first event and the mark, at most HOURS_MAX
EVENTS = 2  # in these hours, and since the mark
FIELDS = 3


class Traffic:
    """The traffic of all subjects. 24 bytes a subject."""

    def __init__(self) -> None:
        self._state = np.zeros((0, FIELDS))

    def follow(self, subjects: I64, event_time_ms: I64, event: I64, asked: I64) -> F64:
        """Count events, and return the traffic of some subjects at some of them, in events a second.

        subjects: [n, w] those that event `i` counts for; -1: none. event_time_ms: [n].
        event: [m] index of an event, increasing. asked: [m] a subject; its traffic includes that event.
        """
        needed = max(int(subjects.max(initial=-1)), int(asked.max(initial=-1))) + 1
        self._state = ensure_length(self._state, needed, 0.0)
        found = np.empty(len(event))
        _follow(self._state, subjects, event_time_ms, event, asked, found)
        return found

    def dump(self, subjects: int) -> dict[str, NDArray[Any]]:
        """A copy of the state of the first `subjects` subjects."""
        return {"state": ensure_length(self._state, subjects, 0.0)[:subjects].copy()}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `dump`; nothing is known yet where nothing was dumped."""
        if "state" in arrays:
            self._state = arrays["state"].copy()


@kernel
def _follow(state: F64, subjects: I64, times: I64, event: I64, asked: I64, found: F64) -> None:
    k = 0
    for i in range(len(times)):
        for j in range(subjects.shape[1]):
            if subjects[i, j] >= 0:
                _count(state, subjects[i, j], float(times[i]))
        while k < len(event) and event[k] == i:
            one = asked[k]
            found[k] = state[one, EVENTS] / max(state[one, HOURS], 1.0) / 3600.0
            k += 1


@kernel
def _count(state: F64, one: int, time_ms: float) -> None:
    """Count an event; at a mark, move on to the hour that holds it, and let older events fade."""
    if state[one, EVENTS] == 0.0:
        state[one, MARK_MS] = time_ms
    hours = np.floor((time_ms - state[one, MARK_MS]) / HOUR_MS)
    if hours >= 1.0:
        state[one, MARK_MS] += hours * HOUR_MS
        state[one, HOURS] += hours
        if state[one, HOURS] > HOURS_MAX:
            state[one, EVENTS] *= HOURS_MAX / state[one, HOURS]
            state[one, HOURS] = HOURS_MAX
    state[one, EVENTS] += 1.0
