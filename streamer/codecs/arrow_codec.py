"""The codec `arrow`: a record is a table as Arrow IPC, a stream or a file, and each row of it is an event.

Rows stay columns from the record to the batch, without an object for a value (`tables/arrow_columns.py`). A stretch
with any record that needs an explanation takes the plain path: each row is a document.

Times become milliseconds, decimals doubles, dates days. A table is checked in full before it is used, as a damaged one
can point anywhere in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
from pyarrow import ipc

from detectors.arrays.types import I64
from streamer.codecs.base import DeadLetters, Reason
from streamer.codecs.batch_builder import Refusals
from streamer.codecs.document_codec import DocumentCodec, RecordSettings
from streamer.codecs.event import Refused
from streamer.codecs.schemas.framing import likeness
from streamer.codecs.tables.arrow_columns import ArrowColumns
from streamer.codecs.tables.arrow_types import is_time, with_plain_types
from streamer.codecs.times import Milliseconds
from streamer.eventlog.base import Records
from streamer.events import EventBatch, Names

FILE_MAGIC: Final = b"ARROW1"
UNPACKED_BYTES_MAX: Final = 64 << 20  # of the compressed buffers of one record
_COMPRESSED: Final = (b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18")  # zstd and lz4, after 8 bytes with the size unpacked


@dataclass(frozen=True, slots=True)
class ArrowSettings(RecordSettings):
    """The settings of Arrow. Columns are the fields of a row; without a column `features`, all others are features."""


class ArrowCodec(DocumentCodec):
    """Decodes Arrow IPC. Keeps no state besides its settings."""

    errors = (Refused,)

    def __init__(self, settings: RecordSettings) -> None:
        super().__init__(settings)
        self._columns = ArrowColumns(settings.fields, self._bounds)
        self._time_path = settings.fields.paths().get("event_time")

    def decode_block(self, records: Records, names: Names) -> tuple[EventBatch, DeadLetters]:
        """See `DocumentCodec`."""
        refused: Refusals = {}
        index = self._readable(records, refused)
        if not refused and len(index):
            try:
                parts = [self._batches(records, i) for i in index.tolist()]
            except Refused:
                return super().decode_block(records, names)
            batch = self._columns.batch(records, index, parts, names)
            if batch is not None:
                return batch, DeadLetters()
        return super().decode_block(records, names)

    def parsed(self, records: Records, index: I64) -> Iterator[Any]:
        """See `DocumentCodec`."""
        return map(self.plain, [records] * len(index), index.tolist())

    def plain(self, records: Records, i: int) -> Any:
        """See `DocumentCodec`."""
        batches = self._batches(records, i)
        try:
            table = with_plain_types(pa.Table.from_batches(batches), self._bounds.zone)
            documents = table.to_pylist()
            if (path := self._time_path) is not None and is_time(table, path):
                name = str(path[-1])
                for one in documents:
                    one[name] = None if one[name] is None else Milliseconds(one[name])
            return [self._canonical(one) for one in documents]
        except (pa.ArrowException, ValueError, OverflowError) as problem:
            raise Refused(Reason.NOT_ARROW, f"the table holds values that can't be read: {problem}") from None

    def _batches(self, records: Records, i: int) -> list[pa.RecordBatch]:
        """The batches of the table of a record, at least one. Raises `Refused`."""
        value = records.value_of(i) or b""
        if unpacked_bytes(value) > UNPACKED_BYTES_MAX:
            raise Refused(Reason.NOT_ARROW, f"the table has more than {UNPACKED_BYTES_MAX >> 20} MiB unpacked")
        try:
            found = read_batches(value)
        except (pa.ArrowException, ValueError, OSError, MemoryError, KeyError, TypeError, OverflowError) as problem:
            what = likeness(value, records.headers_of(i))
            if what and "use format arrow" not in what:
                raise Refused(Reason.OTHER_FORMAT, what) from None
            raise Refused(Reason.NOT_ARROW, f"the value is no table of Arrow: {problem}") from None
        rows, limit = sum(batch.num_rows for batch in found), self.settings.rows_max
        if rows > limit:
            raise Refused(Reason.TOO_MANY_ROWS, f"the record has {rows:,} rows, more than rows_max, {limit:,}")
        if not rows:
            raise Refused(Reason.NOT_ARROW, "the table has no rows")
        return found


def read_batches(value: bytes) -> list[pa.RecordBatch]:
    """The batches of an IPC stream or file, checked in full. Raises errors of Arrow."""
    buffer = pa.py_buffer(value)
    if value.startswith(FILE_MAGIC):
        file = ipc.open_file(buffer)
        found = [file.get_batch(i) for i in range(file.num_record_batches)]
    else:
        found = list(ipc.open_stream(buffer))
    for batch in found:
        batch.validate(full=True)
        if len(set(batch.schema.names)) < batch.num_columns:
            raise ValueError("two of its columns have one name")
    return found


def unpacked_bytes(value: bytes) -> int:
    """The size that the compressed buffers of a message state for their content."""
    total = 0
    for magic in _COMPRESSED:
        at = value.find(magic)
        while at >= 0:
            if at >= 8:
                total += max(int.from_bytes(value[at - 8 : at], "little", signed=True), 0)
            at = value.find(magic, at + 1)
    return total
