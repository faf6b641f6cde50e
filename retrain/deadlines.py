"""Moments at which something ends by itself, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from heapq import heapify, heappop, heappush

Deadline = tuple[datetime, str]  # when, and the id of what
STALE_MAX = 4  # entries for each id that has one; beyond, the queue is made anew


class Deadlines:
    """A queue of deadlines, the soonest first, equal ones in order of id. Entries that hold no more are left in it.

    `current` gives those that hold, one an id: so the queue is part of no state.
    """

    def __init__(self, current: Callable[[], Iterable[Deadline]]) -> None:
        self._current = current
        self._queue: list[Deadline] = []
        self._made = 0
        self._make()

    def put(self, when: datetime, name: str) -> None:
        """Add a deadline; an earlier one of the same id holds no more."""
        heappush(self._queue, (when, name))
        if len(self._queue) > STALE_MAX * (self._made + 16):
            self._make()

    def until(self, now: datetime) -> Iterator[Deadline]:
        """Take out those that have come, soonest first; whether an entry still holds is the caller's to see."""
        while self._queue and self._queue[0][0] <= now:
            yield heappop(self._queue)

    def _make(self) -> None:
        self._queue = list(self._current())
        self._made = len(self._queue)
        heapify(self._queue)
