"""Recordings in Parquet: the reader. The format is described in `parquet_writer.py`.

Files of other tools are read as long as they have topic, partition, offset and value, in types that convert without
loss; the other columns may be missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from detectors.arrays.types import I64, U8
from streamer.errors import UsageError
from streamer.eventlog.headers import encode_varint
from streamer.eventlog.recordings.chunk import Chunk, Group, gather
from streamer.eventlog.recordings.parquet_writer import FORMAT, ROWS_KEY, SCHEMA, VERSION
from streamer.eventlog.recordings.places import is_url, opened, shown

REQUIRED = ("topic", "partition", "offset", "value")
# Errors that damaged files cause: in Arrow, in text and in numbers.
DAMAGE = (pa.ArrowException, OSError, ValueError, TypeError, LookupError, OverflowError, MemoryError)
PAIRS_DENSE_MAX = 1 << 20  # (topic, partition) pairs that a chunk may span before a sort separates them


class ParquetSource:
    """The rows of one file as chunks, with nothing made for a single record."""

    topics_max: int | None = None

    def __init__(self, path: str, size_bytes: int) -> None:
        self.name = shown(path)
        self.size_bytes: int | None = size_bytes
        self._rows_read = 0
        try:
            self._file = pq.ParquetFile(opened(path), page_checksum_verification=True, pre_buffer=is_url(path))
        except DAMAGE as error:
            raise UsageError(
                f"{self.name} begins as a Parquet file does, but its footer can't be read ({_first_line(error)}): it "
                "was cut short or is still being written. Copy or record it again."
            ) from error
        try:
            self._check_schema()
        except UsageError:
            self.close()
            raise
        except DAMAGE as error:
            self.close()
            raise self._damaged(error) from error
        self.rows: int | None = self._file.metadata.num_rows

    def _check_schema(self) -> None:
        schema = self._file.schema_arrow
        about = {key.decode(): value.decode(errors="replace") for key, value in (schema.metadata or {}).items()}
        version = about.get("driftline.version", "0")
        if about.get("driftline.format") == FORMAT and (not version.isdecimal() or int(version) > VERSION):
            raise UsageError(
                f"{self.name} is a recording of version {version}; this Driftline reads up to {VERSION}. Upgrade it."
            )
        is_own = about.get("driftline.format") == FORMAT
        lost = [one.name for one in SCHEMA if one.name not in schema.names or schema.field(one.name).type != one.type]
        if is_own and lost:
            raise ValueError(f"it has lost the column {lost[0]}, or its type")
        stated = (self._file.metadata.metadata or {}).get(ROWS_KEY.encode(), b"").decode(errors="replace")
        if is_own and stated and stated != str(self._file.metadata.num_rows):
            raise ValueError(f"it has {self._file.metadata.num_rows:,} rows of {stated}")
        missing = [name for name in REQUIRED if name not in schema.names]
        if missing:
            raise UsageError(
                f"{self.name} is a Parquet file with the columns {', '.join(schema.names[:12])}; a recording also "
                f"needs {', '.join(missing)}. Each row must be one record: {', '.join(SCHEMA.names)}."
            )

    def chunks(self, rows_max: int) -> Iterator[Chunk]:
        """The rows in order, at most `rows_max` at once."""
        columns = [name for name in SCHEMA.names if name in self._file.schema_arrow.names]
        batches = self._file.iter_batches(rows_max, columns=columns, use_threads=False)
        try:
            for batch in batches:
                chunk = self._chunk(batch)
                self._rows_read += len(chunk)
                yield chunk
        except DAMAGE as error:
            raise self._damaged(error) from error
        if self._rows_read != self.rows:
            raise self._damaged(ValueError(f"it ends after {self._rows_read:,} of {self.rows:,} rows"))

    def _damaged(self, error: BaseException) -> UsageError:
        return UsageError(
            f"{self.name} is damaged after row {self._rows_read}: {_first_line(error)}. Copy or record it again."
        )

    def _chunk(self, batch: Any) -> Chunk:
        topic = self._column(batch, "topic")
        partition = self._column(batch, "partition").to_numpy().astype(np.int64)
        groups, group = _groups(topic.indices.to_numpy().astype(np.int64), topic.dictionary.to_pylist(), partition)
        key, value = (self._column(batch, name) for name in ("key", "value"))
        headers = encoded_headers(self._column(batch, "headers"))
        data, (key_spans, value_spans, header_spans) = gather([_spans(array) for array in (key, value, headers)])
        return Chunk(
            groups,
            group,
            data,
            self._column(batch, "offset").to_numpy(),
            self._column(batch, "timestamp_ms").to_numpy(),
            key_spans,
            value_spans,
            header_spans,
        )

    def _column(self, batch: Any, name: str) -> Any:
        kind = SCHEMA.field(name).type
        if name not in batch.schema.names:
            return pa.nulls(len(batch), kind) if name != "timestamp_ms" else pa.array(np.full(len(batch), -1))
        column = batch.column(name)
        if column.type != kind:
            try:
                column = column.cast(kind)
            except pa.ArrowException as error:
                raise UsageError(
                    f"Column {name} of {self.name} is of type {column.type}, which can't become {kind}: "
                    f"{_first_line(error)}. Write it as {kind}."
                ) from error
        if name == "timestamp_ms":
            return column.fill_null(-1)
        if name in ("topic", "partition", "offset") and column.null_count:
            first = self._rows_read + column.is_null().index(True).as_py()
            raise UsageError(f"Row {first} of {self.name} has no {name}; every record needs one.")
        return column

    def bytes_read(self) -> int:
        """How far reading has come in the file, estimated by its rows."""
        return (self.size_bytes or 0) * self._rows_read // max(self.rows or 0, 1)

    def close(self) -> None:
        self._file.close()


def _groups(topic: I64, topics: list[str], partition: I64) -> tuple[list[Group], I64]:
    """The (topic, partition) pairs that occur, and the index of each row's pair."""
    if len(topic) == 0:
        return [], topic
    low = int(partition.min())
    width = int(partition.max()) - low + 1
    pair = topic * width + (partition - low)
    if len(topics) * width > PAIRS_DENSE_MAX:
        present, group = np.unique(pair, return_inverse=True)
    else:
        seen = np.bincount(pair) > 0
        present, group = np.flatnonzero(seen), (np.cumsum(seen) - 1)[pair]
    return [(topics[p // width], low + p % width) for p in present.tolist()], group


def _spans(array: Any) -> tuple[U8, I64]:
    """A binary array as bytes and spans, without a copy of the bytes."""
    n = len(array)
    spans = np.full((n, 2), -1, np.int64)
    if array.null_count == n:
        return np.empty(0, np.uint8), spans
    _, offsets, data = array.buffers()
    edges = np.frombuffer(offsets, np.int32, count=n + 1, offset=4 * array.offset)
    spans[:, 0], spans[:, 1] = edges[:-1], edges[1:]
    if array.null_count:
        spans[array.is_null().to_numpy(zero_copy_only=False)] = -1
    return np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8), spans


def encoded_headers(headers: Any) -> Any:
    """A list<struct<name, value>> array as the binary array of `encode_headers` of each row."""
    if headers.null_count == len(headers):
        return pa.nulls(len(headers), pa.binary())
    flat = headers.flatten()
    name, value = (pc.struct_field(flat, i) for i in (0, 1))
    name = name.cast(pa.binary()).fill_null(b"")
    empty = pa.scalar(b"", pa.binary())
    size = pc.binary_length(value).fill_null(-1)
    each = pc.binary_join_element_wise(
        _varints(pc.binary_length(name)), name, _varints(size), value.fill_null(b""), empty
    )
    count = pc.list_value_length(headers)
    start = np.concatenate([[0], count.fill_null(0).to_numpy().cumsum()]).astype(np.int32)
    joined = pc.binary_join(pa.ListArray.from_arrays(pa.array(start), each), empty)
    # A row with an empty list has no headers, just as one with a null.
    filled = pc.greater(count.fill_null(0), 0)
    encoded = pc.binary_join_element_wise(_varints(count.fill_null(0)), joined, empty)
    return pc.if_else(filled, encoded, pa.scalar(None, pa.binary()))


def _varints(numbers: Any) -> Any:
    distinct = numbers.dictionary_encode()
    table = pa.array([encode_varint(n) for n in distinct.dictionary.to_pylist()], pa.binary())
    return table.take(distinct.indices)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0].rstrip(".")
