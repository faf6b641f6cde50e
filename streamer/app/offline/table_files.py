"""Tables in batches of rows: files of Parquet, Arrow and CSV, folders of them, and tables in memory.

`TableMapping` names their columns in place of a configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import ipc

from streamer.clock import seconds_of
from streamer.codecs.arrow_codec import FILE_MAGIC
from streamer.codecs.field_paths import FieldMap
from streamer.codecs.times import times_ms
from streamer.config import Config
from streamer.config.models import topic_settings
from streamer.config.problems import near
from streamer.detect.references.training import (
    CSV_NAME,
    CsvTable,
    TrainingData,
    TrainingTables,
    partition_keys,
)
from streamer.errors import UsageError
from streamer.eventlog.recordings.parquet_reader import DAMAGE, REQUIRED
from streamer.eventlog.recordings.places import (
    bare,
    files_of,
    is_folder,
    is_url,
    opened,
    shown,
    size_of,
    topic_of,
)

TIME: Final = "event_time"  # the column with the time, unless another is named
FIRST_MS: Final = 946_684_800_000  # of the first row of a table without times: 2000-01-01
LOADED_BYTES_MAX: Final = 4 << 30  # of a file that is sorted
ROWS_READ: Final = 65_536
_RECORDING: Final = {"topic", "offset"}  # columns that only recordings have both of
_FIELDS: Final = {
    "time": "event_time", "model_column": "model_id", "version": "model_version", "id": "prediction_id",
    "prediction": "prediction", "label": "label", "segment": "segment",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class NamedTable:
    """A table in memory, with the name of its topic."""

    name: str
    table: pa.Table


class Table(Protocol):
    """A table whose rows are events."""

    rows: int

    def iter_batches(self, rows_max: int) -> Iterator[pa.RecordBatch]:
        """The rows in order. Raises errors of Arrow."""
        ...

    def close(self) -> None:
        """Close the file; safe to call twice."""
        ...


class ParquetTable:
    """A file of Parquet. Raises errors of Arrow, and OSError."""

    def __init__(self, path: str) -> None:
        self._file = pq.ParquetFile(opened(path), pre_buffer=is_url(path))
        self.rows: int = self._file.metadata.num_rows
        self.is_recording = is_recording(self._file.schema_arrow)

    def iter_batches(self, rows_max: int) -> Iterator[pa.RecordBatch]:
        yield from self._file.iter_batches(rows_max)

    def close(self) -> None:
        self._file.close()


class ArrowTable:
    """A table in memory, or in a file of Arrow IPC that is mapped into memory."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.rows: int = table.num_rows

    @classmethod
    def of_file(cls, path: str) -> ArrowTable:
        """A file of Arrow IPC, also called Feather. Raises errors of Arrow, and OSError."""
        with opened(path) if is_url(path) else pa.memory_map(path) as file:
            return cls(ipc.open_file(file).read_all())

    def iter_batches(self, rows_max: int) -> Iterator[pa.RecordBatch]:
        yield from self._table.to_batches(rows_max)

    def close(self) -> None:
        """Nothing stays open."""


class FolderTable:
    """The files of a folder in the order of their names; keys of hive partitions are columns."""

    def __init__(self, path: str) -> None:
        """Raises `UsageError` for a folder without tables, or with a file that is none."""
        paths = files_of(path)
        found = [(one, open_table(one)) for one in paths]
        others = [one for one, table in found if table is None]
        if not found or others:
            what = f"{shown(others[0])} is no table" if others else "it holds no file"
            raise UsageError(
                f"{shown(path)}: {what}; name a folder of recordings, or of tables in Parquet, Arrow or CSV"
            )
        self.parts = [(partition_keys(one, path), table) for one, table in found if table is not None]
        self.rows = sum(table.rows for _, table in self.parts)

    def iter_batches(self, rows_max: int) -> Iterator[pa.RecordBatch]:
        for keys, table in self.parts:
            for batch in table.iter_batches(rows_max):
                names, columns = list(batch.schema.names), list(batch.columns)
                for name, text in keys.items():
                    if name not in names:
                        names.append(name)
                        columns.append(pa.array([text] * batch.num_rows, pa.string()))
                yield pa.RecordBatch.from_arrays(columns, names) if keys else batch

    def close(self) -> None:
        for _, table in self.parts:
            table.close()


def open_table(path: str) -> Table | None:
    """The table in a file or folder; None for other files, and for recordings. Raises `UsageError`."""
    if is_folder(path):
        return FolderTable(path)
    if CSV_NAME.search(bare(path).lower()):
        try:
            return CsvTable(path)
        except (OSError, ValueError, pa.ArrowException) as problem:
            raise UsageError(f"{shown(path)}: the table can't be read: {problem}") from problem
    try:
        if _head(path) == FILE_MAGIC:
            return ArrowTable.of_file(path)
        file = ParquetTable(path)
    except DAMAGE:
        return None  # what opens recordings says why
    if file.is_recording:
        file.close()
        return None
    return file


def keep_texts(table: Table, is_text: Callable[[str], object]) -> None:
    """Read columns of CSV as they are, also where all of their cells look like numbers."""
    if isinstance(table, CsvTable):
        table.numbers = {name for name in table.numbers if not is_text(name)}
    for _, part in table.parts if isinstance(table, FolderTable) else ():
        keep_texts(part, is_text)


def columns_of(path: str) -> list[str] | None:
    """The names of the columns of a table; None for other files, and for recordings. Raises `UsageError`."""
    if is_folder(path):
        inside = [columns_of(one) or [] for one in files_of(path)]
        keys = [list(partition_keys(one, path)) for one in files_of(path)]
        return list(dict.fromkeys(name for names in inside + keys for name in names))
    try:
        if CSV_NAME.search(bare(path).lower()):
            return TrainingTables(TrainingData([path], format="csv")).names
        if _head(path) == FILE_MAGIC:
            with opened(path) if is_url(path) else pa.memory_map(path) as file:
                return list(ipc.open_file(file).schema.names)
        schema = pq.read_schema(opened(path))
    except DAMAGE:
        return None
    return None if is_recording(schema) else list(schema.names)


def is_recording(schema: pa.Schema) -> bool:
    """Whether a file of Parquet is a recording of topics."""
    names = set(schema.names)
    return b"driftline.format" in (schema.metadata or {}) or set(REQUIRED) <= names or names >= _RECORDING


def _head(path: str) -> bytes:
    with opened(path) if is_url(path) else Path(path).open("rb") as file:
        head: bytes = file.read(len(FILE_MAGIC))
        return head


@dataclass(frozen=True, slots=True)
class TableMapping:
    """Which column of a table is what. Each is the name of a column, except `model`, and `features`, which has several.

    A field without a column keeps the one of its canonical name, such as `prediction`. Without `features`, all other
    columns are features.
    """

    time: str | None = None  # when the event happened
    model: str | None = None  # the model of all rows, instead of a column
    model_column: str | None = None  # the model of the row
    version: str | None = None  # the version of the model
    id: str | None = None  # the id that joins a label of a later row to its prediction
    features: Sequence[str] = ()  # the inputs of the model; (): all columns that are nothing else
    prediction: str | None = None  # the output of the model
    label: str | None = None  # the true value
    segment: str | None = None  # the value that `segments` can group rows by
    sort: bool = False  # fold rows in order of time, not in that of the table
    every: str | None = None  # how far apart rows are that have no time, as in "1m"

    @property
    def is_given(self) -> bool:
        """Whether a column or the model is named."""
        return replace(self, sort=False, every=None) != TableMapping()

    def arranged(self, tables: Sequence[str | NamedTable]) -> Sequence[str | NamedTable]:
        """The tables with times for rows that have none, and sorted by time. Raises `UsageError`."""
        if self.every is not None and self.time is not None:
            raise UsageError("name the column of the time, or how far apart rows are; not both")
        if not self.sort and self.every is None:
            return tables
        return [self._arranged(loaded(one)) for one in tables]

    def _arranged(self, one: NamedTable) -> NamedTable:
        name, table = self.time or TIME, one.table
        if self.every is not None:
            if name in table.column_names:
                raise UsageError(
                    f"{shown(one.name)} has a column {name}, so its rows have times; leave out how far apart"
                )
            try:
                step_ms = 1000 * seconds_of(self.every)
            except ValueError as problem:
                raise UsageError(f"--every {problem}") from None
            table = table.append_column(name, pa.array(FIRST_MS + step_ms * np.arange(table.num_rows)))
        if self.sort:
            self._check(shown(one.name), table.column_names)
            table = table.take(pc.sort_indices(_sortable(table[name])))
        return NamedTable(one.name, table)

    def fields(self) -> FieldMap:
        """The paths of the fields. Raises `UsageError` for names that no path can hold."""
        given: dict[str, Any] = {}
        for name, field in _FIELDS.items():
            if (column := getattr(self, name)) is not None:
                given[field] = _path(column)
        if self.model is not None:
            given["model_id"] = f"={self.model}"
        if self.features:
            given["features"] = {name: _path(name) for name in self.features}
        try:
            return FieldMap(**given)
        except ValueError as problem:
            raise UsageError(f"the columns can't be mapped: {problem}") from None

    def configured(self, config: Config, tables: Iterable[str | NamedTable], topic: str | None = None) -> Config:
        """The configuration with a topic for each table, mapped so.

        Raises `UsageError` when a file is no table, lacks a column, or its topic is configured already.
        """
        if self.model is not None and self.model_column is not None:
            raise UsageError("name the model of all rows, or the column of the model; not both")
        topics: dict[str, Any] = {}
        for table in tables:
            where = table.name if isinstance(table, NamedTable) else table
            name, where = topic or topic_of(where), shown(where)
            if name in config.topics:
                raise UsageError(
                    f"{where}: the configuration maps the topic {name} already; name columns there, or name another "
                    "topic with --topic"
                )
            self._check(where, table.table.column_names if isinstance(table, NamedTable) else columns_of(table))
            topics[name] = topic_settings("json")(fields=self.fields())
        return config.model_copy(update={"topics": {**config.topics, **topics}})

    def _check(self, where: str, columns: Sequence[str] | None) -> None:
        """Raises `UsageError` unless the table has all columns that are named."""
        if columns is None:
            raise UsageError(
                f"{where} is no table in Parquet, Arrow or CSV, so its columns can't be named; the fields of "
                "recordings are named in a configuration (topics.<topic>.fields)"
            )
        if self.time is None and self.every is None and TIME not in columns:
            raise UsageError(
                f"{where} has no column {TIME}: name the column of the time (--time), or say how far apart its rows "
                f"are (--every 1m); it has {', '.join(columns)}"
            )
        named = [getattr(self, name) for name in _FIELDS]
        for name in [*named, *self.features]:
            if name is not None and name not in columns:
                close = near(name, columns)
                meant = f"; did you mean {close}?" if close else f"; it has {', '.join(columns)}"
                raise UsageError(f"{where} has no column {name}{meant}")


def mapping_of(options: Mapping[str, Any]) -> TableMapping:
    """The mapping of command line options. `features` is one text with commas."""
    features = options.get("features") or ""
    names = tuple(name.strip() for name in features.split(",") if name.strip())
    given = {name: options.get(name) for name in (*_FIELDS, "model", "every")}
    return TableMapping(**given, features=names, sort=bool(options.get("sort")))


def loaded(table: str | NamedTable) -> NamedTable:
    """A table in memory. Raises `UsageError`."""
    if isinstance(table, NamedTable):
        return table
    opened = open_table(table)
    if opened is None:
        raise UsageError(f"{shown(table)} is no table in Parquet, Arrow or CSV, and keeps its own order and times")
    try:
        if size_of(table) > LOADED_BYTES_MAX:
            raise UsageError(
                f"{shown(table)} is larger than {LOADED_BYTES_MAX >> 30} GB: sort it before, and name --time"
            )
        return NamedTable(table, pa.Table.from_batches(opened.iter_batches(ROWS_READ)))
    except DAMAGE as problem:
        raise UsageError(f"{shown(table)} can't be read: {problem}") from problem
    finally:
        opened.close()


def _sortable(times: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """Times that sort as they follow each other: texts in milliseconds, and what is no time before all."""
    if not (pa.types.is_string(times.type) or pa.types.is_large_string(times.type)):
        return times
    return pa.array(times_ms(times.to_pylist(), "auto", np.full(len(times), -1)))


def _path(column: str) -> str:
    return f"$['{column}']"
