"""Events as records of a topic, and topics as a recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamer.eventlog.base import Records
from streamer.eventlog.recordings.recording import RecordingWriter

I64 = NDArray[np.int64]
Columns = tuple[NDArray[np.uint8], I64, I64, I64, I64]  # data, offset, time_ms, key, value as in `Records`

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Stream:
    """`n` records of one topic, in order of time."""

    topic: str
    time_ms: I64  # [n] time of the record
    partition: I64  # [n]
    keys: Sequence[str]  # [n] model ids
    values: Sequence[str]  # [n] JSON

    def __len__(self) -> int:
        return len(self.time_ms)


def write_recording(path: Path, streams: Sequence[Stream], slice_ms: int) -> None:
    """Write the streams as one recording, in the order of a recorder that polls every partition in turn.

    Within each `slice_ms` of time, rows are ordered by stream, then partition, then time.
    """
    pieces = [piece for rank, stream in enumerate(streams) for piece in _pieces(rank, stream, slice_ms)]
    with RecordingWriter(path) as writer:
        for _, _, records in sorted(pieces, key=lambda piece: piece[:2]):
            writer.write(records)


def write_by_partition(folder: Path, streams: Sequence[Stream]) -> list[Path]:
    """Write a recording of each topic-partition. A replay merges them by time, as the service does with partitions."""
    folder.mkdir(exist_ok=True)
    written = []
    for stream in streams:
        for p in np.unique(stream.partition).tolist():
            rows = np.flatnonzero(stream.partition == p)
            keys, values = ([of[i] for i in rows.tolist()] for of in (stream.keys, stream.values))
            own = replace(
                stream, time_ms=stream.time_ms[rows], partition=stream.partition[rows], keys=keys, values=values
            )
            written.append(folder / f"{stream.topic}-{p}.parquet")
            write_recording(written[-1], [own], DAY_MS)
    return written


def _pieces(rank: int, stream: Stream, slice_ms: int) -> list[tuple[int, int, Records]]:
    """The stretches of a stream by (slice, rank of the stream), partitions in order."""
    slices = stream.time_ms // slice_ms
    order = np.lexsort((stream.partition, slices))  # stable: time decides within a partition's stretch
    rows = order.tolist()
    data = "".join([stream.keys[i] + stream.values[i] for i in rows]).encode()
    end = np.array(list(accumulate([len(stream.keys[i]) + len(stream.values[i]) for i in rows])), np.int64)
    if len(data) != end[-1]:
        raise ValueError("the texts of a stream must be ASCII, so that characters are bytes")
    start = np.concatenate([[0], end[:-1]])
    middle = start + np.array([len(stream.keys[i]) for i in rows])
    columns = (
        np.frombuffer(data, np.uint8),
        _offsets(stream.partition)[order],
        stream.time_ms[order],
        np.column_stack([start, middle]),
        np.column_stack([middle, end]),
    )
    partition, of_slice = stream.partition[order], slices[order]
    edges = np.flatnonzero((np.diff(partition) != 0) | (np.diff(of_slice) != 0)) + 1
    return [
        (int(of_slice[a]), rank, _records(stream.topic, int(partition[a]), columns, slice(a, b)))
        for a, b in pairwise([0, *edges.tolist(), len(rows)])
    ]


def _records(topic: str, partition: int, columns: Columns, rows: slice) -> Records:
    data, offset, time_ms, key, value = columns
    none = np.full((rows.stop - rows.start, 2), -1, np.int64)
    next_offset = int(offset[rows.stop - 1]) + 1
    return Records(topic, partition, data, offset[rows], time_ms[rows], key[rows], value[rows], none, next_offset)


def _offsets(partition: I64) -> I64:
    """The offset of each record within its partition."""
    offsets = np.empty(len(partition), np.int64)
    for p in np.unique(partition):
        mine = np.flatnonzero(partition == p)
        offsets[mine] = np.arange(len(mine))
    return offsets


def rfc3339(time_ms: I64) -> list[str]:
    """Times in UTC to the second, as in events."""
    seconds = (time_ms // 1000).astype("datetime64[s]")
    return np.char.add(np.datetime_as_string(seconds), "Z").tolist()
