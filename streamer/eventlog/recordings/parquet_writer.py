"""Recordings in Parquet: the format and its writer.

    topic         dictionary(int32, string)
    partition     int32
    offset        int64                              increasing within (topic, partition)
    timestamp_ms  int64                              -1 unknown
    key           binary, null
    value         binary, null
    headers       list<struct<name: string, value: binary>>, null when there are none

The order of the rows is the order in which the records were recorded, and the recording's total order. File metadata
`driftline.format` and `driftline.version` name it, `driftline.rows` is the number of rows, and `driftline.ends` has the
offset after the last record of each partition. Pages have checksums.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import gettempdir
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from detectors.arrays.types import I64, U8
from streamer.errors import UsageError
from streamer.eventlog.base import Records
from streamer.eventlog.recordings.chunk import Group
from streamer.eventlog.recordings.places import bare, is_url, opened, place_of, shown, topic_of
from streamer.eventlog.time_merge import Taken

FORMAT, VERSION = "driftline-recording", 1
ROWS_KEY = "driftline.rows"
ENDS_KEY = "driftline.ends"
LOCK = ".lock"  # of a folder into which a process records
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
    """Writes a recording to a path or URL, where it appears, whole, when the context ends without an exception."""

    def __init__(self, path: str | Path, ends: dict[Group, int] | None = None) -> None:
        """`ends`: where the recording begins in each partition. The caller moves it on, and the file keeps the last."""
        self.path = str(path)
        self.ends: dict[Group, int] = {} if ends is None else ends
        beside = Path(gettempdir(), topic_of(self.path)) if is_url(self.path) else Path(path)
        self._partial = beside.with_name(f".{beside.name}.{os.getpid()}.partial")
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

    @property
    def size_bytes(self) -> int:
        """Of the file, with what is not written yet before its compression."""
        return self._partial.stat().st_size + self._pending_bytes

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
                    about = {ROWS_KEY: str(self._rows), ENDS_KEY: _ends_text(self.ends)}
                    self._writer.add_key_value_metadata(about)
                self._writer.close()
                if kind is None and is_url(self.path):
                    fs.copy_files(str(self._partial), self.path)
                elif kind is None:
                    self._partial.replace(self.path)
        finally:
            self._partial.unlink(missing_ok=True)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            cause = os.strerror(error.errno) if error.errno else error  # pyarrow's own words name the partial file
            made = f" It is made in {self._partial.parent} first." if is_url(self.path) else ""
            raise UsageError(
                f"Can't write the recording {shown(self.path)}: {cause}. Name a file in a folder that can be "
                f"written.{made}"
            ) from error


class RecordingFolder:
    """Writes recordings of a folder, one after the other, each whole: `000001.parquet` and so on.

    A part ends at about `part_bytes`. `ends` has the offset after the last record of each partition, which the parts
    keep in their metadata: it begins with that of the parts that are there, and the caller moves it on. On this
    machine, a lock keeps other processes out; into a folder of an object store, only one process may record.
    """

    def __init__(self, path: str | Path, part_bytes: int) -> None:
        self.path, self._part_bytes = str(path), part_bytes
        self.ends: dict[Group, int] = {}
        self._opened = ExitStack()
        self._part: RecordingWriter | None = None

    def __enter__(self) -> Self:
        """Raises `UsageError` if another process records into it, or its newest part can't be read."""
        with ExitStack() as opened:
            try:
                names = _names_in(self.path) if is_url(self.path) else _locked(Path(self.path), opened)
            except BlockingIOError:
                raise UsageError(f"Another process records into {shown(self.path)}. Name another folder.") from None
            except OSError as error:
                cause = error.strerror or error
                raise UsageError(f"Can't record into {shown(self.path)}: {cause}. Name another folder.") from error
            stems = (name.removesuffix(".parquet") for name in names if name.endswith(".parquet"))
            self._number = max((int(stem) for stem in stems if stem.isdecimal()), default=0)
            if self._number:
                self.ends = _ends_of(self._path())
            self._opened = opened.pop_all()
        return self

    def write_merged(self, taken: Taken) -> None:
        """Append records of several partitions, in their common order."""
        if self._part is None:
            self._number += 1
            self._part = RecordingWriter(self._path(), self.ends).__enter__()
        self._part.write_merged(taken)
        if self._part.size_bytes >= self._part_bytes:
            self._close(None)

    def _close(self, error: BaseException | None) -> None:
        part, self._part = self._part, None
        if part is not None:
            part.__exit__(None if error is None else type(error), error, None)

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        with self._opened:
            self._close(error)

    def _path(self) -> str:
        folder = bare(self.path)
        return f"{folder.rstrip('/')}/{self._number:06d}.parquet{self.path[len(folder) :]}"


def _locked(folder: Path, opened: ExitStack) -> list[str]:
    """The names in a folder, which exists then, and which this process alone writes. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = opened.enter_context((folder / LOCK).open("w"))
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return [one.name for one in folder.iterdir()]


def _names_in(url: str) -> list[str]:
    system, path = place_of(url)
    return [one.base_name for one in system.get_file_info(fs.FileSelector(path.rstrip("/"), allow_not_found=True))]


def _ends_text(ends: Mapping[Group, int]) -> str:
    return json.dumps([[topic, partition, end] for (topic, partition), end in sorted(ends.items())])


def _ends_of(path: str) -> dict[Group, int]:
    """Where a part ended. Raises `UsageError`."""
    try:
        text = (pq.read_metadata(opened(path)).metadata or {})[ENDS_KEY.encode()]
        return {(topic, partition): end for topic, partition, end in json.loads(text)}
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise UsageError(
            f"{shown(path)} does not say where it ended, so the recording can't go on after it: it is damaged, or not "
            "a part of a recording. Move it elsewhere, or name another folder."
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
    if not len(spans):
        return pa.array([], pa.binary())
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
