"""When something last came of each of many, by the clock of all of them together: what has been idle for long.

The clock is looked at now and then. Each look takes the median, over those of which something came since the last one,
of the newest event times they told, and the clock is the median of the last three looks: events that are years ahead,
or behind, move it only where they are those of more than half, for longer than a look. Whoever was heard of since the
last look came when the clock was there, whatever its own events say.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.growth import longer

I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]

NEVER: Final = -1


class Idle:
    """Of indices that are given out one after the other, when they last came; 16 to 32 bytes each."""

    def __init__(self) -> None:
        self._said = np.full(64, NEVER, np.int64)  # newest event time since the last look, in ms since 1970
        self._came = np.full(64, NEVER, np.int64)  # what the clock showed at the last look after something had come

    def saw(self, index: I64, event_time_ms: I64) -> None:
        """Events of these indices have come; -1 is nobody's."""
        mine = index >= 0
        self._hold(int(index.max(initial=-1)) + 1)
        np.maximum.at(self._said, index[mine], event_time_ms[mine])

    def told_ms(self, others_ms: I64) -> int:
        """The median of what was told since the last look, by others too; `NEVER` where nothing came."""
        said = np.concatenate([self._said[self._said != NEVER], others_ms])
        return middle(said) if len(said) else NEVER

    def settle(self, n: int, now_ms: int) -> None:
        """The clock shows `now_ms` at this look, and there are `n`; those that nothing is known of have just come."""
        self._hold(n)
        here = (self._said != NEVER) | (self._came == NEVER)
        self._came[:n][here[:n]] = now_ms
        self._said[:] = NEVER

    def since(self, n: int, before_ms: int) -> Mask:
        """Which of the first `n` came last before this time."""
        idle: Mask = self._came[:n] < before_ms
        return idle

    def dump(self, n: int) -> I64:
        """The state [n, 2]."""
        self._hold(n)
        return np.column_stack([self._said[:n], self._came[:n]])

    def load(self, state: I64) -> None:
        """Become what was dumped."""
        self._hold(len(state))
        self._said[: len(state)], self._came[: len(state)] = state.T

    def _hold(self, n: int) -> None:
        self._said, self._came = longer(self._said, n, NEVER), longer(self._came, n, NEVER)


def middle(times: I64) -> int:
    """The median; of an even number, the earlier of the two."""
    return int(np.sort(times)[(len(times) - 1) // 2])
