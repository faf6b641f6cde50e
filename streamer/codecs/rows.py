"""Records with several events: the rows of a record, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Self

import numpy as np

from detectors.arrays.types import I32, I64, Bools
from streamer.codecs.event import Event

Parsed = Event | list[Event]  # what one record holds: an event, or rows of events, of which there is at least one


@dataclass(frozen=True, slots=True)
class Rows:
    """`n` events with their places: event `i` is row `row[i]` of record `index[i]`."""

    index: I64  # [n] in order of records
    row: I32  # [n]
    events: Sequence[Event]  # [n]
    is_one_of_several: Bools  # [n]

    @classmethod
    def of(cls, index: I64, parsed: Sequence[Parsed]) -> Self:
        """The events of records at `index`, each with what it holds."""
        n = len(index)
        if list not in set(map(type, parsed)):
            return cls(index, np.zeros(n, np.int32), parsed, np.zeros(n, bool))  # type: ignore[arg-type]
        width = np.fromiter((len(one) if isinstance(one, list) else 1 for one in parsed), np.int64, n)
        first = np.repeat(np.cumsum(width) - width, width)
        row = (np.arange(len(first)) - first).astype(np.int32)
        events = list(chain.from_iterable(one if isinstance(one, list) else [one] for one in parsed))
        return cls(np.repeat(index, width), row, events, np.repeat(width > 1, width))

    def named(self, i: int, detail: str) -> str:
        """A message about event `i`, with its row where its record has several."""
        return f"row {self.row[i]}: {detail}" if self.is_one_of_several[i] else detail

    def of_record(self, index: int) -> range:
        """The events of a record."""
        first, last = np.searchsorted(self.index, (index, index + 1)).tolist()
        return range(first, last)
