"""What comes first: ids by rank, where ranks change and entries are taken out from the front."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from typing import Any

STALE_MAX = 4  # entries for each id that has one; beyond, the ranking is made anew
SMALL = 16  # ids for which that does not pay


class Ranking:
    """Ids with a rank each, the least first, equal ones in order of id. Entries that hold no more are left in it.

    `current` gives those that hold, one an id: so the ranking is part of no state. Ranks must have an order.
    """

    def __init__(self, current: Callable[[], Iterable[tuple[Any, str]]]) -> None:
        self._current = current
        self._heap: list[tuple[Any, str]] = []
        self._made = 0
        self._make()

    def put(self, rank: Any, name: str) -> None:
        """Give an id a rank; an earlier one holds no more."""
        heappush(self._heap, (rank, name))
        if len(self._heap) > STALE_MAX * (self._made + SMALL):
            self._make()

    def first(self) -> tuple[Any, str] | None:
        """What comes first, if there is anything; whether the entry still holds is the caller's to see."""
        return self._heap[0] if self._heap else None

    def take(self) -> None:
        """Take the first entry out."""
        heappop(self._heap)

    def _make(self) -> None:
        self._heap = list(self._current())
        self._made = len(self._heap)
        heapify(self._heap)
