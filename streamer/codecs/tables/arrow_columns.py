"""Rows of Arrow tables as an event batch, column by column, without an object for a value.

It gives what the plain path gives of the same rows. Where anything is unusual (a fault, a new name without room, tables
of two schemas, nested columns), it gives nothing, and the plain path decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from detectors.arrays.types import F64, I32, I64, Bools
from streamer.codecs.batch_builder import TimeBounds
from streamer.codecs.class_labels import encode_labels
from streamer.codecs.event import NAME_CHARS_MAX
from streamer.codecs.event_columns import join_ids_at, seeds_of
from streamer.codecs.field_paths import FieldMap, Path, Root, parse_path
from streamer.codecs.tables.arrow_types import is_time, with_plain_types
from streamer.codecs.times import END_MS, from_epochs, times_ms
from streamer.codecs.values import BOOLEANS, NAN, TAKEN, text_number
from streamer.eventlog.base import Records
from streamer.events import NUMBER, PREDICTION_COLUMN, EventBatch, EventKind, Names, NameTable

_PLAIN_TYPES: Final = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_boolean,
    pa.types.is_null,
    pa.types.is_string,
)


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of texts: row `i` holds `texts[code[i]]`; -1: null. Texts are in order of first appearance."""

    texts: list[str]
    code: I64

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> Coded:
        """The texts of a column; whole numbers as text."""
        coded = _whole(column.cast(pa.string())).dictionary_encode()
        code = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        return cls(coded.dictionary.to_pylist(), code)

    def first(self) -> Iterator[tuple[str, int]]:
        """Each text with the row where it appears first."""
        _, at = np.unique(self.code, return_index=True)
        return zip(self.texts, at[len(at) - len(self.texts) :].tolist(), strict=True)


class ArrowColumns:
    """Compiled once from a `FieldMap`."""

    def __init__(self, fields: FieldMap, bounds: TimeBounds) -> None:
        self._bounds = bounds
        self._paths = fields.paths()
        self._constants = fields.constants()
        self._features = parse_path(fields.features, "features") if isinstance(fields.features, str) else None
        self._is_canonical = fields.features == FieldMap().features
        self._members = fields.members()
        own = [fields.rows, fields.names, fields.segment]
        self._able = own == [None] * 3 and self._features is not None and fields.roots() == {Root.RECORD}
        self._able = self._able and not fields.numbers
        self._able = self._able and all(
            _is_column(path) for path in (*self._paths.values(), self._features or (Root.RECORD,))
        )

    def batch(
        self, records: Records, index: I64, parts: Sequence[Sequence[pa.RecordBatch]], names: Names
    ) -> EventBatch | None:
        """The events of the tables of the records at `index`; None if the plain path has to decide."""
        if not self._able:
            return None
        schema = parts[0][0].schema
        batches = list(chain.from_iterable(parts))
        if any(batch.schema != schema for batch in batches) or len(set(schema.names)) < len(schema.names):
            return None
        try:
            table = with_plain_types(pa.Table.from_batches(batches), self._bounds.zone)
            rows = np.array([sum(batch.num_rows for batch in part) for part in parts], np.int64)
            return self._built(records, np.repeat(index, rows), _places(rows), table, names)
        except (pa.ArrowException, ValueError, OverflowError):
            return None

    def _built(self, records: Records, index: I64, row: I32, table: pa.Table, names: Names) -> EventBatch | None:
        """The batch. All checks precede the first new id, as the plain path may still have to decide."""
        features = self._feature_columns(table)
        model, version = self._texts("model_id", table), self._texts("model_version", table)
        time_ms, joins = self._times(records, index, table), self._joins(table)
        if features is None or model is None or version is None or time_ms is None or joins is None:
            return None
        prediction, label = self._column("prediction", table), self._column("label", table)
        values = _Values.of(features, prediction)
        if any(one is not None and _is_odd(one.type) for one in (prediction, label)) or values is None:
            return None
        if (model.code < 0).any() or len(values.names) > self._bounds.values_max or not values.fit(names):
            return None
        if not _fit(model, names.models) or not _fit(version, names.versions):
            return None
        kind = np.full(len(index), EventKind.PREDICTION, np.uint8)
        kind[_is_there(label, len(index))] |= np.uint8(EventKind.LABEL)
        column, number, category = values.written(names)
        return EventBatch(
            records.topic, records.partition, kind, _ids(model, names.models), _ids(version, names.versions), time_ms,
            records.offset[index], row, joins(model), _outcome(prediction, len(index)), _outcome(label, len(index)),
            np.arange(len(index) + 1, dtype=np.int64) * len(column), np.tile(column, len(index)), number.ravel(),
            category.ravel(),
        )  # fmt: skip

    def _column(self, name: str, table: pa.Table) -> pa.ChunkedArray | None:
        """The column of a field; None where the table has none."""
        path = self._paths.get(name)
        return None if path is None else _found(table, path)

    def _texts(self, name: str, table: pa.Table) -> Coded | None:
        """The names in a column; None where it holds anything else, or names that are too long."""
        n = table.num_rows
        if name in self._constants:
            return Coded([self._constants[name]], np.zeros(n, np.int64))
        column = self._column(name, table)
        if column is None or pa.types.is_null(column.type):
            return Coded([], np.full(n, -1, np.int64))
        if not (_is_text(column.type) or pa.types.is_integer(column.type)):
            return None
        coded = Coded.of(column)
        return coded if all(0 < len(text) <= NAME_CHARS_MAX for text in coded.texts) else None

    def _times(self, records: Records, index: I64, table: pa.Table) -> I64 | None:
        """The event times; None if one of them is a fault."""
        record_ms, bounds = records.timestamp_ms[index], self._bounds
        column = self._column("event_time", table)
        if column is None or pa.types.is_null(column.type):
            time_ms = times_ms([None] * len(index), bounds.event_time_unit, record_ms, bounds.zone)
        elif _is_text(column.type) or column.null_count:
            return None
        elif is_time(table, self._paths["event_time"]):
            time_ms = _to_numpy(column).astype(np.int64)
        elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            time_ms = from_epochs(_to_numpy(column.cast(pa.float64())), bounds.event_time_unit)
        else:
            return None
        ahead = (record_ms >= 0) & (time_ms - record_ms > bounds.skew_max_s * 1000)
        return None if (time_ms < 0).any() or (time_ms >= END_MS).any() or ahead.any() else time_ms

    def _feature_columns(self, table: pa.Table) -> list[tuple[str, pa.ChunkedArray]] | None:
        """The features, in order; None where they are no plain columns."""
        at = self._features or (Root.RECORD,)
        if len(at) > 1 and not (self._is_canonical and "features" not in table.column_names):
            column = _found(table, at)
            if column is None or not pa.types.is_struct(column.type) or column.null_count:
                return None
            taken = {path[len(at)] for path in self._paths.values() if path[: len(at)] == at and len(path) > len(at)}
            parts = _whole(column)
            names = [field.name for field in column.type]
            fields = [pa.chunked_array([one]) for one in parts.flatten()]
        else:
            taken, names, fields = set(self._members), table.column_names, table.columns
        found = [(name, one) for name, one in zip(names, fields, strict=True) if name not in taken]
        if taken or len(at) == 1:
            if any(pa.types.is_nested(one.type) and one.null_count for _, one in found):
                return None
            found = [(name, one) for name, one in found if not pa.types.is_nested(one.type)]
        return (
            None if len({name for name, _ in found}) < len(found) or any(_is_odd(c.type) for _, c in found) else found
        )

    def _joins(self, table: pa.Table) -> Callable[[Coded], NDArray[np.uint64]] | None:
        """What makes the hashes of models and prediction ids, 0 for none; None where the ids are anything else."""
        ids = self._column("prediction_id", table)
        if ids is None or pa.types.is_null(ids.type):
            return lambda model: np.zeros(len(model.code), np.uint64)
        if not (_is_text(ids.type) or pa.types.is_integer(ids.type)):
            return None
        whole = _whole(ids.cast(pa.string()))
        _, edges, letters = whole.buffers()
        edge = np.frombuffer(edges, np.int32)[whole.offset : whole.offset + len(whole) + 1].astype(np.int64)
        data = np.frombuffer(letters or b"", np.uint8)
        absent = (np.diff(edge) == 0) | whole.is_null().to_numpy(zero_copy_only=False)

        def joins(model: Coded) -> NDArray[np.uint64]:
            seeds = seeds_of(model.texts)[model.code]
            return np.where(absent, np.uint64(0), join_ids_at(data, edge[:-1], edge[1:], seeds))

        return joins


@dataclass(frozen=True, slots=True)
class _Values:
    """The values of all events, which have the same columns."""

    names: list[str | None]  # None: the prediction
    numbers: Sequence[F64 | None]
    texts: Sequence[Coded | None]

    @classmethod
    def of(cls, features: Sequence[tuple[str, pa.ChunkedArray]], prediction: pa.ChunkedArray | None) -> _Values | None:
        """The values of these columns; None where there are none, or names that are too long."""
        if not features and (prediction is None or prediction.null_count):
            return None
        named = [*([] if prediction is None else [(None, prediction)]), *features]
        texts = [Coded.of(column) if _is_text(column.type) else None for _, column in named]
        if any(len(text) > NAME_CHARS_MAX for coded in texts if coded for text in coded.texts):
            return None
        numbers = [None if text else _numbers(column) for (_, column), text in zip(named, texts, strict=True)]
        names = [None if name is None else TAKEN.get(name, name) for name, _ in named]
        return None if any(len(name or "") > NAME_CHARS_MAX for name in names) else cls(names, numbers, texts)

    def fit(self, names: Names) -> bool:
        """Whether the tables have room for the columns and categories."""
        new = sum(name is not None and name not in names.columns.ids for name in self.names)
        room = names.columns.limit - len(names.columns)
        return new <= room and len(self._new(names)) <= names.categories.limit - len(names.categories)

    def written(self, names: Names) -> tuple[I32, F64, I32]:
        """The columns [w], and the values [n, w] as numbers and categories; new names get ids."""
        columns = names.columns
        column = [PREDICTION_COLUMN if name is None else columns.id_of(name) for name in self.names]
        for text in self._new(names):
            names.categories.id_of(text)
        n = max(len(one) if one is not None else len(coded.code) for one, coded in self._pairs())  # type: ignore[union-attr]
        number, category = np.full((n, len(column)), NAN), np.full((n, len(column)), NUMBER, np.int32)
        for j, (one, coded) in enumerate(self._pairs()):
            if one is not None:
                number[:, j] = one
            elif coded is not None:
                read = [_as_value(text, names.categories.ids) for text in coded.texts]
                numbers, ids = zip(*read, (NAN, NUMBER), strict=True)
                number[:, j], category[:, j] = np.array(numbers)[coded.code], np.array(ids, np.int32)[coded.code]
        return np.array(column, np.int32), number, category

    def _pairs(self) -> Iterator[tuple[F64 | None, Coded | None]]:
        return zip(self.numbers, self.texts, strict=True)

    def _new(self, names: Names) -> list[str]:
        """The texts without an id, in order of events, and of columns within one."""
        first: dict[str, int] = {}
        for j, coded in enumerate(self.texts):
            for text, at in coded.first() if coded else ():
                if text not in names.categories.ids and text_number(text) is None:
                    place = at * len(self.names) + j
                    first[text] = min(place, first.get(text, place))
        return sorted(first, key=first.__getitem__)


def _as_value(text: str, ids: Mapping[str, int]) -> tuple[float, int]:
    """A text as a number and a category of an `EventBatch`."""
    known = ids.get(text)
    if known is not None:
        return BOOLEANS.get(text, NAN), known
    read = text_number(text)
    assert read is not None  # noqa: S101 -- other texts have got ids before
    return read


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array."""
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def _is_column(path: Path) -> bool:
    """Whether a path is a column, or a member of a column that is a structure."""
    return path[0] is Root.RECORD and len(path) <= 3 and all(isinstance(step, str) for step in path[1:])


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind))


def _is_odd(kind: pa.DataType) -> bool:
    return not any(test(kind) for test in _PLAIN_TYPES)


def _found(table: pa.Table, path: Path) -> pa.ChunkedArray | None:
    """The column at a path; None where there is none. Raises ValueError for a structure that is null in places."""
    name, *inner = path[1:]
    if name not in table.column_names:
        return None
    column = table[name]
    for step in inner:
        if not pa.types.is_struct(column.type) or column.null_count:
            raise ValueError(name)
        if column.type.get_field_index(step) < 0:
            return None
        column = pc.struct_field(column, step)
    return column


def _places(rows: I64) -> I32:
    """The place of each row in its record."""
    first = np.repeat(np.cumsum(rows) - rows, rows)
    return (np.arange(len(first)) - first).astype(np.int32)


def _to_numpy(column: pa.ChunkedArray) -> NDArray[Any]:
    found: NDArray[Any] = column.to_numpy()
    return found


def _numbers(column: pa.ChunkedArray) -> F64:
    """Numbers and booleans as doubles; NaN for null and for infinite ones."""
    if pa.types.is_null(column.type):
        return np.full(len(column), NAN)
    plain = column.cast(pa.uint8()) if pa.types.is_boolean(column.type) else column
    out = _to_numpy(plain.cast(pa.float64(), safe=False)).astype(np.float64)
    return np.where(np.isfinite(out), out, NAN)


def _outcome(column: pa.ChunkedArray | None, n: int) -> F64:
    """A prediction or label as doubles [n]; see `class_labels.py`."""
    if column is None:
        return np.full(n, NAN)
    if not _is_text(column.type):
        return _numbers(column)
    coded = Coded.of(column)
    found = encode_labels(coded.texts)
    found[np.isinf(found)] = NAN
    return np.append(found, NAN)[coded.code]


def _is_there(label: pa.ChunkedArray | None, n: int) -> Bools:
    if label is None:
        return np.zeros(n, bool)
    return Coded.of(label).code >= 0 if _is_text(label.type) else np.isfinite(_numbers(label))


def _fit(coded: Coded, table: NameTable) -> bool:
    """Whether the table has room for all names."""
    return sum(text not in table.ids for text in coded.texts) <= table.limit - len(table)


def _ids(coded: Coded, table: NameTable) -> I32:
    """The ids of names; new ones get theirs in order of first appearance."""
    return np.array([*map(table.id_of, coded.texts), -1], np.int32)[coded.code]
