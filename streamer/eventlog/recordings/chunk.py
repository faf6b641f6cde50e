"""Rows of a recording as columns over one buffer, in the order they were recorded.

A recording interleaves topics and partitions, so it is read as chunks; `Records`, which the folds read, hold one
partition each. `split` makes the one from the other without touching a payload.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import I64, U8
from streamer.eventlog.base import Records

Group = tuple[str, int]  # (topic, partition)


@dataclass(frozen=True, slots=True)
class Chunk:
    """`n` rows. Spans are [start, end) in `data`, start -1 is null; row `i` belongs to `groups[group[i]]`."""

    groups: Sequence[Group]
    group: I64  # [n]
    data: U8
    offset: I64  # [n]
    timestamp_ms: I64  # [n]
    key: I64  # [n, 2]
    value: I64  # [n, 2]
    headers: I64  # [n, 2]

    def __len__(self) -> int:
        return len(self.group)

    @classmethod
    def none(cls) -> Self:
        """An empty chunk."""
        empty, spans = np.empty(0, np.int64), np.empty((0, 2), np.int64)
        return cls((), empty, np.empty(0, np.uint8), empty, empty, spans, spans, spans)

    def take(self, rows: slice | NDArray[Any]) -> Self:
        """These rows, by slice, mask or index, over the same buffer."""
        return replace(
            self,
            group=self.group[rows],
            offset=self.offset[rows],
            timestamp_ms=self.timestamp_ms[rows],
            key=self.key[rows],
            value=self.value[rows],
            headers=self.headers[rows],
        )

    def split(self) -> list[Records]:
        """One `Records` for each (topic, partition) among the rows, sorted by these; rows keep their order."""
        order, edges = runs(self.group)
        rows = self if order is None else self.take(order)
        return sorted(
            (rows._records(slice(start, end)) for start, end in pairwise(edges)),
            key=lambda records: (records.topic, records.partition),
        )

    def _records(self, rows: slice) -> Records:
        topic, partition = self.groups[self.group[rows.start]]
        part = self.take(rows)
        return Records(
            topic,
            partition,
            self.data,
            part.offset,
            part.timestamp_ms,
            part.key,
            part.value,
            part.headers,
            int(part.offset[-1]) + 1,
        )


def runs(group: I64) -> tuple[I64 | None, list[int]]:
    """A stable order that joins equal groups (None: they are joined already), and the edges of its runs."""
    if len(group) == 0:
        return None, [0]
    order = None
    if (group[1:] < group[:-1]).any():
        # NumPy sorts 16-bit integers by radix, several times faster than wider ones.
        narrow = group.astype(np.uint16) if int(group.max()) < 1 << 16 else group
        order = np.argsort(narrow, kind="stable")
        group = group[order]
    return order, [0, *(np.flatnonzero(group[1:] != group[:-1]) + 1).tolist(), len(group)]


def out_of_order(chunk: Chunk, reached: dict[Group, int]) -> tuple[int, int] | None:
    """The first row whose offset does not exceed the one before it in its partition, and that earlier offset.

    `reached` holds the last offset of each partition before this chunk, and is moved to the end of it.
    """
    order, edges = runs(chunk.group)
    offset = chunk.offset if order is None else chunk.offset[order]
    before = np.empty_like(offset)
    before[1:] = offset[:-1]
    for start, end in pairwise(edges):
        group = chunk.groups[chunk.group[start if order is None else order[start]]]
        before[start] = reached.get(group, -1)
        reached[group] = int(offset[end - 1])
    bad = np.flatnonzero(offset <= before)
    if len(bad) == 0:
        return None
    first = bad[0] if order is None else bad[np.argmin(order[bad])]
    return int(first if order is None else order[first]), int(before[first])


def gather(columns: Sequence[tuple[U8, I64]]) -> tuple[U8, list[I64]]:
    """Several buffers as one, with the spans into each of them shifted accordingly.

    Of each buffer only the stretch that its spans reach is copied; a lone buffer is not copied at all.
    """
    reached = []
    for data, spans in columns:
        present = spans[:, 0] >= 0
        every = bool(present.all())
        start, end = (spans if every else spans[present])[:, 0], (spans if every else spans[present])[:, 1]
        low, high = (int(start.min()), int(end.max())) if len(start) else (0, 0)
        reached.append((data[low:high], low, None if every else present))
    filled = [data for data, _, _ in reached if len(data)]
    buffer = filled[0] if len(filled) == 1 else np.concatenate(filled) if filled else np.empty(0, np.uint8)
    moved, base = [], 0
    for (_, spans), (data, low, mask) in zip(columns, reached, strict=True):
        shift = base - low
        moved.append(spans + shift if mask is None else np.where(mask[:, None], spans + shift, -1))
        base += len(data)
    return buffer, moved


def join(chunks: Sequence[Chunk], groups: Sequence[Group]) -> Chunk:
    """The rows of several chunks as one. Their groups must all be indices into `groups`."""
    if len(chunks) == 1:
        return replace(chunks[0], groups=groups)
    columns = [(c.data, spans) for c in chunks for spans in (c.key, c.value, c.headers)]
    data, moved = gather(columns)
    return Chunk(
        groups,
        np.concatenate([c.group for c in chunks]),
        data,
        np.concatenate([c.offset for c in chunks]),
        np.concatenate([c.timestamp_ms for c in chunks]),
        np.concatenate(moved[0::3]),
        np.concatenate(moved[1::3]),
        np.concatenate(moved[2::3]),
    )
