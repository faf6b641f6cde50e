"""The order of an epoch's records across topics.

A record comes before another if its placing time is earlier (`eventlog/record_times.py`), then if its topic stands
first in the canonical order, then by offset. So a label is folded after the predictions that were written before it,
and before those written after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from detectors.arrays.types import I64
from streamer.eventlog.base import Records
from streamer.eventlog.record_times import placing_times
from streamer.events import EventBatch

OF_EVENT = ("kind", "model", "version", "event_time_ms", "offset", "row", "join_id", "prediction", "label")
OF_VALUE = ("column", "number", "category")


@dataclass(frozen=True, slots=True)
class Part:
    """Records of one topic within a chunk, and the place of each in the chunk."""

    records: Records
    at: I64  # increasing


def chunks(stretch: Sequence[Records], rank: Callable[[str], int], size: Callable[[], int]) -> Iterator[list[Part]]:
    """The epoch's records in order, in chunks of `size()` records, at least 1; `size` is called before each chunk."""
    ranked = sorted((records for records in stretch if len(records)), key=lambda records: rank(records.topic))
    if not ranked:
        return
    order = np.argsort(_times(ranked), kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    places = np.split(place, np.cumsum([len(records) for records in ranked])[:-1])
    start = 0
    while start < len(order):
        end = start + size()
        parts = []
        for records, at in zip(ranked, places, strict=True):
            a, b = np.searchsorted(at, (start, end))
            if a < b:
                parts.append(Part(records.part(int(a), int(b)), at[a:b] - start))
        yield parts
        start = end


def in_order(ranked: Sequence[Records]) -> Iterator[tuple[Records, int]]:
    """The records of an epoch one by one, as (stretch, index); stretches come in the canonical order of topics."""
    ranked = [records for records in ranked if len(records)]
    if len({records.topic for records in ranked}) <= 1:
        yield from ((records, i) for records in ranked for i in range(len(records)))
        return
    owner = np.repeat(np.arange(len(ranked)), [len(records) for records in ranked])
    index = np.concatenate([np.arange(len(records)) for records in ranked])
    for at in np.argsort(_times(ranked), kind="stable").tolist():
        yield ranked[owner[at]], int(index[at])


def _times(ranked: Sequence[Records]) -> I64:
    """The time that places each record, topic after topic."""
    groups = groupby(ranked, key=lambda records: records.topic)
    return np.concatenate(placing_times([np.concatenate([one.timestamp_ms for one in group]) for _, group in groups]))


def merged(batches: Sequence[EventBatch], places: Sequence[I64]) -> tuple[EventBatch, I64]:
    """Batches of several topics as one, in order of the places of their events, and the source batch of each event."""
    origin = np.repeat(np.arange(len(batches)), [len(batch) for batch in batches])
    if len(batches) == 1:
        return batches[0], origin
    order = np.argsort(np.concatenate(places), kind="stable")
    starts = np.cumsum([0, *(len(batch.number) for batch in batches)])
    start = np.concatenate([batch.start[:-1] + s for batch, s in zip(batches, starts, strict=False)])[order]
    width = np.concatenate([np.diff(batch.start) for batch in batches])[order]
    ends = np.cumsum(width)
    value = np.repeat(start - (ends - width), width) + np.arange(ends[-1] if len(ends) else 0)

    def whole(name: str, take: I64) -> Any:
        return np.concatenate([getattr(batch, name) for batch in batches])[take]

    batch = EventBatch(
        topic="",
        partition=batches[0].partition,
        start=np.concatenate([[0], ends]),
        **{name: whole(name, order) for name in OF_EVENT},
        **{name: whole(name, value) for name in OF_VALUE},
    )
    return batch, origin[order]
