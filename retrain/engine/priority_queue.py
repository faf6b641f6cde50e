"""A priority queue of ids whose ranks change: stale entries stay in the heap until they reach its front."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from typing import Any

STALE_MAX = 4  # entries for each id that counts; beyond, the heap is rebuilt
SMALL = 16  # ids for which a rebuild does not pay


class PriorityQueue:
    """Ids with a rank each: the least rank first, equal ranks in order of id. Ranks must have an order.

    `current` gives the entries that count, one an id. The queue can be rebuilt from it, so it is part of no state.
    """

    def __init__(self, current: Callable[[], Iterable[tuple[Any, str]]]) -> None:
        self._current = current
        self._heap: list[tuple[Any, str]] = []
        self._built = 0
        self._rebuild()

    def push(self, rank: Any, name: str) -> None:
        """Give an id a rank; its earlier entry becomes stale."""
        heappush(self._heap, (rank, name))
        if len(self._heap) > STALE_MAX * (self._built + SMALL):
            self._rebuild()

    def first(self) -> tuple[Any, str] | None:
        """The first entry, if there is any. The caller checks whether it is stale."""
        return self._heap[0] if self._heap else None

    def pop(self) -> None:
        """Remove the first entry."""
        heappop(self._heap)

    def _rebuild(self) -> None:
        self._heap = list(self._current())
        self._built = len(self._heap)
        heapify(self._heap)
