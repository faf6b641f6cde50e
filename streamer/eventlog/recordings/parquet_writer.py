"""Recordings in Parquet: the format and its writer.

    topic         dictionary(int32, string)
    partition     int32
    offset        int64                              increasing within (topic, partition)
    timestamp_ms  int64                              -1 unknown
    key           binary, null
    value         binary, null
    headers       list<struct<name: string, value: binary>>, null when there are none

The order of the rows is the order in which the records were recorded, and the recording's total order. File metadata
`driftline.format` and `driftline.version` name it, `driftline.rows` is the number of rows. Pages have checksums.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from detectors.arrays.types import I64, U8
from streamer.errors import UsageError
from streamer.eventlog.base import Records
from streamer.eventlog.time_merge import Taken

FORMAT, VERSION = "driftline-recording", 1
ROWS_KEY = "driftline.rows"
HEADER = pa.struct([("name", pa.string()), ("value", pa.binary())])
SCHEMA = pa.schema(
    [
        pa.field("topic", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("timestamp_ms", pa.int64(), nullable=False),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
        pa.field("headers", pa.list_(HEADER)),
    ],
    metadata={"driftline.format": FORMAT, "driftline.version": str(VERSION)},
)
ROW_GROUP_ROWS = 65_536
ROW_GROUP_BYTES = 64 << 20  # keys and values of a row group, before compression


class RecordingWriter:
    """Writes a recording. The file appears under its name, whole, when the context ends without an exception."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")
        self._pending: list[Any] = []
        self._pending_rows = self._pending_bytes = self._rows = 0

    def __enter__(self) -> Self:
        with self._explained():
            # Payloads barely repeat, so a dictionary of them would only cost; lengths apart from bytes decode fastest.
            self._writer = pq.ParquetWriter(
                self._partial,
                SCHEMA,
                compression="zstd",
                write_page_checksum=True,
                compression_level=1,
                use_dictionary=["topic", "key"],
                column_encoding={"value": "DELTA_LENGTH_BYTE_ARRAY"},
                write_statistics=["topic", "partition", "offset", "timestamp_ms"],
            )
        return self

    def write(self, records: Records) -> None:
        """Append these records, after all that were written before."""
        for first, end in pairwise(_pieces(records)):
            self._append(_batch(records.part(first, end)))

    def write_merged(self, taken: Taken) -> None:
        """Append records of several partitions, in their common order."""
        starts = np.cumsum([0, *map(len, taken.parts)])
        table = pa.Table.from_batches([_batch(part) for part in taken.parts], SCHEMA).unify_dictionaries()
        for batch in table.take(pa.array(starts[taken.part] + taken.at)).combine_chunks().to_batches():
            self._append(batch)

    def _append(self, batch: Any) -> None:
        self._pending.append(batch)
        self._pending_rows += batch.num_rows
        self._pending_bytes += batch.nbytes
        if self._pending_rows >= ROW_GROUP_ROWS or self._pending_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        table = pa.Table.from_batches(self._pending, SCHEMA).unify_dictionaries()
        self._rows += self._pending_rows
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0
        with self._explained():
            self._writer.write_table(table, row_group_size=ROW_GROUP_ROWS)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._pending:
                self._flush()
            with self._explained():
                if kind is None:
                    self._writer.add_key_value_metadata({ROWS_KEY: str(self._rows)})
                self._writer.close()
                if kind is None:
                    self._partial.replace(self.path)
        finally:
            self._partial.unlink(missing_ok=True)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            cause = os.strerror(error.errno) if error.errno else error  # pyarrow's own words name the partial file
            raise UsageError(
                f"Can't write the recording {self.path}: {cause}. Name a file in a folder that can be written."
            ) from error


def _pieces(records: Records) -> list[int]:
    """The edges that cut a stretch into pieces within the bounds of a row group (one row may exceed them)."""
    size = (records.key[:, 1] - records.key[:, 0] + records.value[:, 1] - records.value[:, 0]).cumsum()
    by_bytes = np.flatnonzero(np.diff(size // ROW_GROUP_BYTES)) + 1
    return sorted({*range(0, len(records), ROW_GROUP_ROWS), *by_bytes.tolist(), len(records)})


def _batch(part: Records) -> Any:
    n = len(part)
    headers = [list(part.headers_of(i)) or None for i in range(n)] if (part.headers[:, 0] >= 0).any() else [None] * n
    return pa.record_batch(
        [
            pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([part.topic])),
            pa.array(np.full(n, part.partition, np.int32)),
            pa.array(part.offset),
            pa.array(part.timestamp_ms),
            _binary(part.data, part.key),
            _binary(part.data, part.value),
            pa.array(headers, SCHEMA.field("headers").type),
        ],
        schema=SCHEMA,
    )


def _binary(data: U8, spans: I64) -> Any:
    """The spans of a buffer as an Arrow array of their own."""
    null = spans[:, 0] < 0
    start = np.where(null, 0, spans[:, 0])
    end = np.where(null, 0, spans[:, 1])
    # Arrow cuts a buffer at ascending edges: with starts and ends as edges, every other entry is a span, and `take`
    # copies those. A null repeats the edge before it; spans that step back are rare enough for the plain way.
    reached = np.maximum.accumulate(end)
    if (start[1:] < reached[:-1])[~null[1:]].any():
        return pa.array([None if s < 0 else data[s:e].tobytes() for s, e in spans.tolist()], pa.binary())
    before = np.concatenate([[0], reached[:-1]])
    edges = np.empty(2 * len(spans) + 1, np.int64)
    edges[0:-1:2], edges[1::2], edges[-1] = np.where(null, before, start), reached, reached[-1]
    pieces = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(edges) - 1, [None, pa.py_buffer(edges), pa.py_buffer(np.ascontiguousarray(data))]
    )
    index = pa.array(np.arange(0, 2 * len(spans), 2), mask=null)
    return pieces.take(index).cast(pa.binary())
