"""Side input of a replay: records, such as commands of people, that follow the outputs of other records.

The record time places a side input: after the outputs of all records up to that time, and before those of later ones.
Its place in the recording does not matter, if it is not after that time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import I64
from streamer.errors import UsageError
from streamer.eventlog.base import Records
from streamer.eventlog.recordings.chunk import Chunk

WAITING_MAX = 1_000_000  # records

Stretch = tuple[Chunk, list[Records]]  # rows, and the side inputs that follow their outputs


class Aside:
    """Takes the records of some topics out of a merged order, and cuts the order where they belong."""

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = frozenset(topics)
        self._waiting: deque[tuple[int, Records]] = deque()  # in order of time
        self._latest = -1

    def __len__(self) -> int:
        return len(self._waiting)

    def among(self, rows: Chunk) -> NDArray[np.bool_]:
        """[n] Whether each row is of these topics."""
        return np.array([topic in self._topics for topic, _ in rows.groups], bool)[rows.group]

    def stretches(self, rows: Chunk, time: I64) -> Iterator[Stretch]:
        """The next rows in pieces. `time` [n] is ascending: the time that is reached at each row.

        Raises `UsageError` when more than `WAITING_MAX` records wait for their time.
        """
        aside = self.among(rows)
        if aside.any():
            self._put(rows.take(aside))
            rows, time = rows.take(~aside), time[~aside]
        start = 0
        while self._waiting:
            end = int(np.searchsorted(time, self._waiting[0][0], side="right"))
            if end == len(time):
                break
            yield rows.take(slice(start, end)), self._due(int(time[end]))
            start = end
        yield rows.take(slice(start, None)), []

    def rest(self) -> list[Records]:
        """The records that still wait at the end of the recordings."""
        rest = [records for _, records in self._waiting]
        self._waiting.clear()
        return rest

    def _put(self, rows: Chunk) -> None:
        for records in rows.split():
            for i in range(len(records)):
                self._latest = max(self._latest, int(records.timestamp_ms[i]))
                self._waiting.append((self._latest, records.part(i, i + 1)))
        if len(self._waiting) > WAITING_MAX:
            names = ", ".join(sorted(self._topics))
            raise UsageError(f"more than {WAITING_MAX:,} records of {names} wait for their time: replay fewer files")

    def _due(self, reached: int) -> list[Records]:
        due = []
        while self._waiting and self._waiting[0][0] < reached:
            due.append(self._waiting.popleft()[1])
        return due
