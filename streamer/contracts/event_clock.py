"""The time of a fold unit: the newest event time that can be believed, one step at a time.

An event moves the clock by `STEP_MS` at most. One that is further ahead moves it only with others: once most of the
models heard of last say so, the clock takes the median of their times. It goes back likewise, where the median lies
`BACK_MS` behind it, for a clock that one wrong event has set must not stand still for years. See
`docs/adr/0025-who-may-move-time.md`.

Each event takes its turn, so how events are cut into chunks never shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.jit import kernel
from detectors.arrays.types import I64, Bools

STEP_MS: Final = 86_400_000  # what one event may move the clock by
BACK_MS: Final = 7 * 86_400_000  # a median so far behind moves the clock back; later events are only late
JURORS: Final = 15  # models that are asked: those heard of last
AGE: Final = 1024  # events of others after which a model is asked no more
AHEAD_MIN: Final = 3  # events that have to say so for the clock to go ahead by more than a step ...
BEHIND_MIN: Final = 256  # ... and to go back

NEVER: Final = -1
_NOW, _HEARD, _SIZE, _HEAD = 0, 1, 2, 3
_MODEL, _TIME, _LAST, _RUN, _JUROR = 0, 1, 2, 3, 4  # _RUN: events in a row beyond a step ahead (+) or behind (-)


class EventClock:
    """The clock of one fold unit. 512 bytes, however many models there are."""

    def __init__(self) -> None:
        self._head = np.array([NEVER, 0, 0], np.int64)
        self._jurors = np.zeros((JURORS, _JUROR), np.int64)

    @property
    def now_ms(self) -> int:
        """What it shows, in ms since 1970; -1 before the first event."""
        return int(self._head[_NOW])

    def advance(self, model: NDArray[np.integer[Any]], event_time_ms: I64) -> I64:
        """Take events [n] of these models (ids, >= 0) in order; what the clock shows behind each [n]."""
        shown = np.empty(len(event_time_ms), np.int64)
        _advance(self._head, self._jurors, model.astype(np.int64), np.ascontiguousarray(event_time_ms), shown)
        return shown

    def dump(self) -> dict[str, I64]:
        """The state, as copies; `jurors` has the model of each in its first column."""
        return {"head": self._head.copy(), "jurors": self._jurors[: self._head[_SIZE]].copy()}

    def load(self, arrays: Mapping[str, I64]) -> None:
        """Restore what was dumped."""
        jurors = arrays["jurors"]
        self._head[:] = arrays["head"]
        self._head[_SIZE] = len(jurors)
        self._jurors[: len(jurors)] = jurors

    @staticmethod
    def remap(arrays: Mapping[str, I64], kept: Bools, place: I64) -> dict[str, I64]:
        """The state without evicted models. `kept` [m] and `place` [m] say of each model id whether, and as which."""
        jurors = arrays["jurors"][kept[arrays["jurors"][:, _MODEL]]]
        jurors[:, _MODEL] = place[jurors[:, _MODEL]]
        return {"head": arrays["head"], "jurors": jurors}


def is_ahead(event_time_ms: I64, shown_ms: I64) -> Bools:
    """Which events lie beyond a step of what the clock shows behind them: they have moved nothing."""
    ahead: Bools = event_time_ms > shown_ms + STEP_MS
    return ahead


@kernel
def _advance(head: I64, jurors: I64, model: I64, time_ms: I64, shown_ms: I64) -> None:
    for i in range(len(time_ms)):
        time = time_ms[i]
        if head[_NOW] == NEVER:
            head[_NOW] = time
        head[_HEARD] += 1
        _hear(head, jurors, model[i], time)
        if time > head[_NOW] + STEP_MS or time < head[_NOW] - BACK_MS:
            _agree(head, jurors)
        if head[_NOW] < time <= head[_NOW] + STEP_MS:
            head[_NOW] = time
        shown_ms[i] = head[_NOW]


@kernel
def _hear(head: I64, jurors: I64, model: int, time: int) -> None:
    """Keep what a model says, in its own place or in that of the one heard of longest ago."""
    size, place = head[_SIZE], 0
    while place < size and jurors[place, _MODEL] != model:
        place += 1
    if place == size:
        if size < JURORS:
            head[_SIZE] += 1
        else:
            place = int(np.argmin(jurors[:, _LAST]))
        jurors[place, _MODEL], jurors[place, _RUN] = model, 0
    run = jurors[place, _RUN]
    if time > head[_NOW] + STEP_MS:
        jurors[place, _RUN] = max(run, 0) + 1
    elif time < head[_NOW] - BACK_MS:
        jurors[place, _RUN] = min(run, 0) - 1
    else:
        jurors[place, _RUN] = 0
    jurors[place, _TIME], jurors[place, _LAST] = time, head[_HEARD]


@kernel
def _agree(head: I64, jurors: I64) -> None:
    """Set the clock to the median of the models' times, the earlier of two, if it is far away and enough say so."""
    asked = jurors[: head[_SIZE]]
    asked = asked[asked[:, _LAST] > head[_HEARD] - AGE]
    median = np.sort(asked[:, _TIME])[(len(asked) - 1) // 2]
    ahead, behind = 0, 0
    for i in range(len(asked)):
        ahead += max(asked[i, _RUN], 0)
        behind -= min(asked[i, _RUN], 0)
    goes_ahead = median > head[_NOW] + STEP_MS and ahead >= AHEAD_MIN
    if goes_ahead or (median < head[_NOW] - BACK_MS and behind >= BEHIND_MIN):
        head[_NOW] = median
        jurors[:, _RUN] = 0
