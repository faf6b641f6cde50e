"""Tables as recordings: each row of a Parquet or CSV file is an event of one topic, with its columns as fields.

A row becomes a JSON document, so that the fields of the topic map it. Without a column `features`, all columns that are
no other field are features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from streamer.codecs.document_codec import RecordSettings, under_features
from streamer.codecs.field_paths import FieldMap
from streamer.codecs.tables.arrow_types import with_plain_types
from streamer.config import Config
from streamer.config.models import topic_settings
from streamer.detect.references.training import CSV_NAME, CsvTable
from streamer.errors import UsageError
from streamer.eventlog.recordings.chunk import Chunk
from streamer.eventlog.recordings.parquet_reader import DAMAGE, REQUIRED
from streamer.eventlog.recordings.recording import Recording, open_recording

ENCODE: Final = msgspec.json.Encoder(enc_hook=str).encode


class TableSource:
    """The rows of a table as records with JSON values; the offset of a row is its number, from 0."""

    topics_max: int | None = 1

    def __init__(self, path: str, topic: str, mapped: FieldMap, table: pq.ParquetFile | CsvTable) -> None:
        self.name = path
        self.rows: int | None = table.metadata.num_rows if isinstance(table, pq.ParquetFile) else table.rows
        self.size_bytes: int | None = Path(path).stat().st_size
        self._topic, self._table = topic, table
        self._others = mapped.members() if mapped.features == FieldMap().features and mapped.rows is None else None

    def chunks(self, rows_max: int) -> Iterator[Chunk]:
        """The rows in order, at most `rows_max` at once. Raises `UsageError`."""
        first = 0
        try:
            for batch in self._table.iter_batches(rows_max):
                for at in range(0, batch.num_rows, rows_max):
                    values = list(map(ENCODE, self._documents(batch.slice(at, rows_max))))
                    yield _chunk(self._topic, first, values)
                    first += len(values)
        except DAMAGE as problem:
            raise UsageError(f"{self.name} can't be read after row {first}: {problem}") from problem

    def bytes_read(self) -> int:
        return 0

    def close(self) -> None:
        self._table.close()

    def _documents(self, batch: pa.RecordBatch) -> list[dict[str, Any]]:
        table = pa.Table.from_batches([batch])
        for i, column in enumerate(table.schema):
            if pa.types.is_timestamp(column.type):
                as_ms = table.column(i).cast(pa.timestamp("ms", column.type.tz), safe=False)
                table = table.set_column(i, column.name, as_ms.cast(pa.string()))
        rows: list[dict[str, Any]] = with_plain_types(table).to_pylist()
        return rows if self._others is None else [under_features(row, self._others) for row in rows]


def open_recordings(paths: list[str], topic: str | None, config: Config) -> tuple[list[Recording], Config]:
    """The recordings, and the configuration under which tables among them are read. Raises `UsageError`.

    Topics that a service copies with other keys are read as they are, for recordings that hold these.
    """
    found, topics = [], dict(config.topics)
    topics |= {source: topics[target] for source, target in config.rekeyed.items()}
    try:
        for path in paths:
            table = _table(path)
            if table is None:
                found.append(open_recording(path, topic))
                continue
            name = topic or Path(path).name.lstrip(".").partition(".")[0]
            settings = topics.get(name)
            if settings is not None and settings.format != "json":
                topics[name] = _as_json(settings)
            found.append(Recording(TableSource(path, name, getattr(settings, "fields", FieldMap()), table)))
    except BaseException:
        for one in found:
            one.close()
        raise
    return found, config.model_copy(update={"topics": topics})


def _as_json(settings: Any) -> Any:
    """The settings of a topic whose records are the JSON of table rows, in place of its own format."""
    return topic_settings("json")(**{one.name: getattr(settings, one.name) for one in fields(RecordSettings)})


def _table(path: str) -> pq.ParquetFile | CsvTable | None:
    """The table in a file; None where it is none, or a recording in Parquet."""
    if CSV_NAME.search(path.lower()):
        try:
            return CsvTable(path)
        except (OSError, ValueError, pa.ArrowException) as problem:
            raise UsageError(f"{path}: the table can't be read: {problem}") from problem
    try:
        file = pq.ParquetFile(path)
    except DAMAGE:
        return None  # what opens recordings says why
    names = file.schema_arrow.names
    is_recording = b"driftline.format" in (file.schema_arrow.metadata or {}) or set(REQUIRED) <= set(names)
    if is_recording or {"topic", "offset"} <= set(names):
        file.close()
        return None
    return file


def _chunk(topic: str, first: int, values: list[bytes]) -> Chunk:
    """Records of these values."""
    n = len(values)
    edges = np.concatenate([[0], np.cumsum([len(value) for value in values])]).astype(np.int64)
    none = np.full((n, 2), -1, np.int64)
    return Chunk(
        [(topic, 0)], np.zeros(n, np.int64), np.frombuffer(b"".join(values), np.uint8), first + np.arange(n),
        np.full(n, -1, np.int64), none, np.stack([edges[:-1], edges[1:]], axis=1), none,
    )  # fmt: skip
