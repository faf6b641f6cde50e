"""Tables as recordings: each row of a table is an event of one topic, with its columns as fields.

A row becomes a JSON document, so that the fields of the topic map it. Without a column `features`, all columns that are
no other field are features, except those that are none by their role: an index of pandas, a time, a list, an object.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from itertools import chain
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamer.app.offline.table_files import ArrowTable, NamedTable, Table, keep_texts, open_table
from streamer.codecs.document_codec import RecordSettings
from streamer.codecs.event import Spellings
from streamer.codecs.field_paths import FieldMap, Root
from streamer.codecs.tables.arrow_types import with_plain_types
from streamer.config import Config
from streamer.config.models import topic_settings
from streamer.detect.references.training import index_columns, role_without_values
from streamer.errors import UsageError
from streamer.eventlog.recordings.chunk import Chunk
from streamer.eventlog.recordings.parquet_reader import DAMAGE
from streamer.eventlog.recordings.places import files_of, is_folder, shown, size_of, topic_of
from streamer.eventlog.recordings.recording import Recording, open_recording

ENCODE: Final = msgspec.json.Encoder(enc_hook=str).encode
DISTINCT_MIN: Final = 1_000  # rows of a chunk that all differ in a column before it counts as an id
NAMES_SHOWN: Final = 8
NEEDED: Final = {
    "model_id": "name the model of all rows with --model, or its column with --model-column",
    "event_time": "name the column of the time with --time, or say with --every how far apart rows are",
}


class TableSource:
    """The rows of a table as records with JSON values; the offset of a row is its number, from 0."""

    topics_max: int | None = 1

    def __init__(self, name: str, topic: str, mapped: FieldMap, table: Table, size_bytes: int | None = None) -> None:
        self.name = shown(name)
        self.rows: int | None = table.rows
        self.size_bytes = size_bytes
        self._topic, self._table = topic, table
        if mapped.numbers:  # 1.234 may be no fraction
            spellings = Spellings(mapped.numbers)
            of_column = {str(path[-1]): name for name, path in mapped.value_paths().items()}
            keep_texts(table, lambda name: spellings.of_column(of_column.get(name, name)))
        paths = mapped.paths()
        self._is_canonical = mapped.features == FieldMap().features and mapped.rows is None
        self._fields = set(mapped.members())
        self._named = {step for root, *steps in paths.values() if root is Root.RECORD for step in steps[:1]}
        self._chosen = mapped.features if isinstance(mapped.features, dict) else None
        at = list(paths.get("event_time", (Root.RECORD,)))[1:]
        self._time = str(at[0]) if len(at) == 1 else None
        self._newest: Any = None
        self._needed = {
            str(step): how for name, how in NEEDED.items() for root, *steps in [paths.get(name, (Root.RECORD,))]
            for step in steps[:1] if root is Root.RECORD
        }  # fmt: skip
        self.lacking: dict[str, str] = {}  # columns without which no row is an event, with what to do
        self.late = 0  # rows that are earlier than one before them
        self.left_out: dict[str, str] = {}  # columns that are no features, with the reason
        self.ids: dict[str, None] = {}  # features whose value never repeats

    def chunks(self, rows_max: int) -> Iterator[Chunk]:
        """The rows in order, at most `rows_max` at once. Raises `UsageError`."""
        first = 0
        try:
            for batch in self._table.iter_batches(rows_max):
                for at in range(0, batch.num_rows, rows_max):
                    part = pa.Table.from_batches([batch.slice(at, rows_max)])
                    self.lacking = {one: how for one, how in self._needed.items() if one not in part.column_names}
                    self._look_at_order(part)
                    values = list(map(ENCODE, self._documents(part)))
                    yield _chunk(self._topic, first, values)
                    first += len(values)
        except DAMAGE as problem:
            raise UsageError(f"{self.name} can't be read after row {first}: {problem}") from problem

    def bytes_read(self) -> int:
        return 0

    def close(self) -> None:
        self._table.close()

    def warnings(self) -> Iterator[str]:
        """What is probably not meant so, a sentence each."""
        for column, step in self.lacking.items():
            yield f"{self._topic}: the table has no column {column}, so no row is an event: {step}"
        if self.left_out:
            named = [f"{name} ({why})" for name, why in self.left_out.items()]
            more = f" and {len(named) - NAMES_SHOWN} more" if len(named) > NAMES_SHOWN else ""
            yield f"{self._topic}: columns left out: {', '.join(named[:NAMES_SHOWN])}{more}"
        if self.late:
            yield (
                f"{self._topic}: {self.late:,} of {self.rows:,} rows are earlier than one before them by {self._time}: "
                "add --sort, as rows are folded in their order"
            )
        for name in self.ids:
            yield (
                f"{self._topic}: no value of {name} repeats in {DISTINCT_MIN:,} rows or more, as of an id: leave it "
                "out of the features"
            )

    def _documents(self, table: pa.Table) -> list[dict[str, Any]]:
        index = index_columns(table.schema)
        times = {one.name for one in table.schema if pa.types.is_timestamp(one.type)}
        for i, column in enumerate(table.schema):
            if column.name in times:
                as_ms = table.column(i).cast(pa.timestamp("ms", column.type.tz), safe=False)
                table = table.set_column(i, column.name, as_ms.cast(pa.string()))
        table = with_plain_types(table)
        if not self._is_canonical or "features" in table.column_names:
            self._look_at_chosen(table)
            rows: list[dict[str, Any]] = table.to_pylist()
            return rows
        mine, features = {}, {}
        for name, column in zip(table.column_names, table.columns, strict=True):
            why = role_without_values(name, name in index, name in times, column.type)
            if name in self._fields:
                mine[name] = column
            elif why is None:
                features[name] = column
            else:
                self.left_out.setdefault(name, why)
        self._look_for_ids(features)
        if features:
            columns = [pa.concat_arrays(one.chunks) for one in features.values()]
            mine["features"] = pa.chunked_array([pa.StructArray.from_arrays(columns, list(features))])
        elif not mine:
            return [{} for _ in range(table.num_rows)]
        found: list[dict[str, Any]] = pa.table(mine).to_pylist()
        return found

    def _look_at_chosen(self, table: pa.Table) -> None:
        """Note the columns that nothing names."""
        if self._chosen is None:
            return
        texts = "".join(self._chosen.values())
        for name in table.column_names:
            if name not in self._named and f"['{name}']" not in texts and f"$.{name}" not in self._chosen.values():
                self.left_out.setdefault(name, "not named")

    def _look_at_order(self, table: pa.Table) -> None:
        """Count the rows that are earlier than the newest before them."""
        if self._time not in table.column_names:
            return
        column = table[self._time].combine_chunks()
        column = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            values: Any = np.array(column.fill_null("").to_pylist(), dtype=object)
        elif pa.types.is_timestamp(column.type):
            values = column.cast(pa.int64()).drop_null().to_numpy(zero_copy_only=False)
        elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            values = column.drop_null().to_numpy(zero_copy_only=False)
        else:
            return
        if not len(values):
            return
        newest = np.maximum.accumulate(values if self._newest is None else np.append([self._newest], values))
        before = newest[:-1]
        self.late += int(np.count_nonzero(values[len(values) - len(before) :] < before))
        self._newest = newest[-1]

    def _look_for_ids(self, features: dict[str, pa.ChunkedArray]) -> None:
        """Note the texts and whole numbers that never repeat within a chunk; forget those that do in another."""
        for name, column in features.items():
            if len(column) < DISTINCT_MIN:
                return
            is_text = pa.types.is_string(column.type)
            if not (is_text or pa.types.is_integer(column.type)):
                continue
            if pc.count_distinct(column, mode="all").as_py() == len(column):
                self.ids.setdefault(name)
            else:
                self.ids.pop(name, None)


def open_recordings(
    paths: Sequence[str | NamedTable], topic: str | None, config: Config
) -> tuple[list[Recording], Config]:
    """The recordings, and the configuration under which tables among them are read. Raises `UsageError`.

    Topics that a service copies with other keys are read as they are, for recordings that hold these.
    """
    found, topics = [], dict(config.topics)
    topics |= {source: topics[target] for target, sources in config.rekey.items() for source in sources}
    try:
        for path in chain.from_iterable(map(_parts, paths)):
            table = ArrowTable(path.table) if isinstance(path, NamedTable) else open_table(path)
            if table is None:
                found.append(open_recording(str(path), topic))
                continue
            of_table = path.name if isinstance(path, NamedTable) else path
            name = topic or topic_of(of_table)
            settings = topics.get(name)
            if settings is not None and settings.format != "json":
                topics[name] = _as_json(settings)
            size = None if isinstance(path, NamedTable) else size_of(path)
            found.append(Recording(TableSource(of_table, name, getattr(settings, "fields", FieldMap()), table, size)))
    except BaseException:
        for one in found:
            one.close()
        raise
    return found, config.model_copy(update={"topics": topics})


def _parts(path: str | NamedTable) -> list[str | NamedTable]:
    """The recordings of a folder that holds them, in order; or the path or table itself, also a folder of a table."""
    if isinstance(path, NamedTable) or not is_folder(path):
        return [path]
    files = files_of(path)
    first = open_table(files[0]) if files else None
    if first is not None:
        first.close()
    return [path] if first is not None or not files else [*files]


def _as_json(settings: Any) -> Any:
    """The settings of a topic whose records are the JSON of table rows, in place of its own format."""
    return topic_settings("json")(**{one.name: getattr(settings, one.name) for one in fields(RecordSettings)})


def _chunk(topic: str, first: int, values: list[bytes]) -> Chunk:
    """Records of these values."""
    n = len(values)
    edges = np.concatenate([[0], np.cumsum([len(value) for value in values])]).astype(np.int64)
    none = np.full((n, 2), -1, np.int64)
    return Chunk(
        [(topic, 0)], np.zeros(n, np.int64), np.frombuffer(b"".join(values), np.uint8), first + np.arange(n),
        np.full(n, -1, np.int64), none, np.stack([edges[:-1], edges[1:]], axis=1), none,
    )  # fmt: skip
