"""Training data as they are: Parquet or CSV, files of differing schemas, hive partitions.

Columns are read one by one over all files, and each is judged by what all files hold: numbers, or text. What can't be a
column of a reference is left out, with the reason.
"""

from __future__ import annotations

import json
import re
from codecs import lookup
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyarrow import csv, fs

from retrain.messages.patterns import matches
from streamer.detect.settings import PROBABILITY_MIN, ErrorKind
from streamer.eventlog.recordings.places import paths_of, place_of

FORMATS: Final = ("parquet", "csv")
KINDS: Final = ("number", "text")
SEPARATORS: Final = (",", ";", "\t", "|")
WHOLE_MAX: Final = 1 << 53  # larger whole numbers are ids, and doubles would merge them
HEAD_BYTES: Final = 64 << 10
MISSING: Final = ("", "null", "NULL", "None", "nan", "NaN", "NA", "N/A", "#N/A")
_NUMBER: Final = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?\s*$"
_GROUPED: Final = r"^\s*-?[1-9]\d{0,2}(,\d{3})+\.\d+\s*$"  # with both marks, as only these are sure
_GROUPED_ASKED: Final = r"^\s*-?[1-9]\d{0,2}(,\d{3})+(\.\d+)?\s*$"
_WHOLE: Final = r"^\s*-?\d{1,18}\s*$"
_CODE: Final = r"^\s*[+-]?0\d"  # digits that a number would lose: 00501
CSV_NAME: Final = re.compile(r"\.(csv|tsv|txt)(\.(gz|bz2|zst|lz4))?$")
_BOOLEAN: Final = r"^(true|false|True|False|TRUE|FALSE)$"
_INDEX: Final = re.compile(r"(__index_level_\d+__|Unnamed: \d+)?")  # as pandas writes the index of a frame
_ROLES: Final = {
    "model_id": "names a model", "model_version": "names a version", "prediction_id": "is a key",
    "event_time": "is a time", "label": "is a label",
}  # fmt: skip


class LeftOut(Exception):  # noqa: N818 -- a state of a column, not an error of ours
    """A column that can be no column of a reference, with the reason."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The places of training data, their form, and their models."""

    places: Sequence[str]  # files or folders, as paths or URLs
    format: str | None = None  # one of FORMATS; None: by the names of the files
    model_column: str = "model_id"  # the column with the model ...
    version_column: str = "model_version"  # ... and the optional one with the version
    model: str | None = None  # the model of all rows, instead of a column
    version: str | None = None  # the version of all rows, instead of a column
    separator: str | None = None  # between cells of CSV; None: as the first line shows
    encoding: str = "utf8"  # of CSV
    types: Mapping[str, str] = field(default_factory=dict)  # column -> one of KINDS, instead of evidence
    columns: Sequence[str] = ()  # patterns of the columns to take; (): all
    without: Sequence[str] = ()  # patterns of the columns to leave out
    names: Mapping[str, str] = field(default_factory=dict)  # column -> name of the feature, where it has another
    prediction: str = "prediction"  # the column with the output of the model
    label: str = "label"  # the column with the true value; with both, and without a column `error`, it is computed
    error: ErrorKind | None = ErrorKind.ABSOLUTE  # as `labels.error` of the configuration; None: not computed


class TrainingTables:
    """The files of training data, open for reading column by column."""

    def __init__(self, data: TrainingData) -> None:
        """Raises OSError, ValueError and errors of Arrow for files that can't be read."""
        self.data = data
        self.files = [one for place in data.places for one in _files(place, data)]
        if not self.files:
            raise ValueError("there is no file with rows")
        self.rows = [file.fragment.count_rows() for file in self.files]
        self._index = {name for file in self.files for name in index_columns(file.fragment.physical_schema)}
        self.names = list(dict.fromkeys(name for file in self.files for name in file.names))

    def features(self) -> list[str]:
        """The columns that may be features, in order of first sight."""
        return [name for name in self.names if name not in (self.data.model_column, self.data.version_column)]

    def role(self, name: str) -> str | None:
        """Why a column is no feature by its role; None where it may be one."""
        if name == self.data.label:
            return _ROLES["label"]
        if name in self.data.names or name in (self.data.prediction, "error"):
            return None
        return role_without_values(name, name in self._index, False, pa.null())

    def error(self) -> pa.ChunkedArray | None:
        """The errors of the predictions as doubles; None where the columns for it are not there. Raises `LeftOut`."""
        predicted, label = self.data.prediction, self.data.label
        if self.data.error is None or "error" in self.names or not {predicted, label} <= {*self.names}:
            return None
        return _error(self.column(predicted), self.column(label), self.data.error)

    def is_chosen(self, name: str) -> bool:
        """Whether the settings take a column."""
        chosen = not self.data.columns or any(matches(name, one) for one in self.data.columns)
        return chosen and not any(matches(name, one) for one in self.data.without)

    def texts(self, name: str) -> pa.ChunkedArray:
        """A column as text; whole numbers that are stored as floats are whole. Null where a file lacks it."""
        return _joined([_as_text(one) for one in self._parts(name)], pa.string())

    def column(self, name: str) -> pa.ChunkedArray:
        """A column as doubles or as text; null where a file lacks it. Raises `LeftOut`."""
        parts, wanted = list(self._parts(name)), self.data.types.get(name)
        loose = [part for file, part in zip(self.files, parts, strict=True) if file.is_loose(name)]
        firm = [part for file, part in zip(self.files, parts, strict=True) if not file.is_loose(name)]
        kinds = {kind for part in firm if (kind := _kind_of(part))}
        if any(part.null_count < len(part) for part in loose):
            kinds.add("number" if all(map(_holds_numbers, loose)) else "text")
        if wanted is None and len(kinds) > 1:
            raise LeftOut(f"numbers in some files and text in others; give --type {name}=text or {name}=number")
        if not kinds:
            raise LeftOut("no value")
        if (wanted or kinds.pop()) == "text":
            return _joined([_as_text(one) for one in parts], pa.string())
        return _joined([_as_number(one, is_asked=wanted is not None) for one in parts], pa.float64())

    def _parts(self, name: str) -> Iterator[pa.ChunkedArray]:
        for file, rows in zip(self.files, self.rows, strict=True):
            yield file.column(name, rows)


@dataclass(frozen=True, slots=True)
class _TrainingFile:
    """One file, with the partition keys of its folders."""

    fragment: Any
    names: list[str]
    keys: Mapping[str, str]
    is_csv: bool

    def is_loose(self, name: str) -> bool:
        """Whether the texts of a column may be numbers, as nothing but texts can be written there."""
        return self.is_csv or name in self.keys

    def column(self, name: str, rows: int) -> pa.ChunkedArray:
        if name in self.keys:
            return pa.chunked_array([pa.array([self.keys[name]] * rows, pa.string())])
        if name not in self.names:
            return pa.chunked_array([pa.nulls(rows)])
        column = self.fragment.to_table(columns=[name])[name]
        return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _files(place: str, data: TrainingData) -> Iterator[_TrainingFile]:
    system, root = place_of(place)
    paths = paths_of(system, root)
    is_csv = data.format == "csv" or (data.format is None and bool(CSV_NAME.search(paths[0].lower() if paths else "")))
    for path in paths:
        fragment = _csv_fragment(system, path, data) if is_csv else ds.ParquetFileFormat().make_fragment(path, system)
        names = fragment.physical_schema.names
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two columns of {path} are named {repeated[0]}")
        keys = partition_keys(path, root)
        yield _TrainingFile(fragment, [*names, *(key for key in keys if key not in names)], keys, is_csv)


def _csv_fragment(system: fs.FileSystem, path: str, data: TrainingData) -> Any:
    """A file of CSV, whose cells are all read as text: evidence decides later."""
    try:
        lookup(data.encoding)
    except LookupError:
        raise ValueError(f"--encoding {data.encoding} is unknown") from None
    separator = data.separator or _separator_of(system, path, data.encoding)
    names = _csv_format(data, separator, ()).inspect(path, system).names
    return _csv_format(data, separator, names).make_fragment(path, system)


def _csv_format(data: TrainingData, separator: str, names: Sequence[str]) -> ds.CsvFileFormat:
    return ds.CsvFileFormat(
        parse_options=csv.ParseOptions(delimiter=separator, newlines_in_values=True),
        read_options=csv.ReadOptions(encoding=data.encoding),
        convert_options=csv.ConvertOptions(
            column_types={name: pa.string() for name in names}, strings_can_be_null=True, null_values=list(MISSING)
        ),
    )


def _separator_of(system: fs.FileSystem, file: str, encoding: str) -> str:
    """The separator that the first line of a file holds most of."""
    with system.open_input_stream(file) as stream:
        head = stream.read(HEAD_BYTES).decode(encoding, errors="replace")
    line = re.sub(r'"[^"]*"', "", head.partition("\n")[0])
    return max(SEPARATORS, key=line.count)


def partition_keys(file: str, root: str) -> dict[str, str]:
    """The keys of hive partitions in the folders of a file: `region=north`."""
    folders = PurePosixPath(file).parts[:-1]
    inner = folders[max(len(PurePosixPath(root).parts) - 1, 0) :]
    pairs = (folder.partition("=") for folder in inner if "=" in folder)
    return {name: unquote(value) for name, _, value in pairs if value != "__HIVE_DEFAULT_PARTITION__"}


class CsvTable:
    """One local file of CSV, in batches of rows. Columns are numbers or texts, as all of their cells say."""

    def __init__(self, path: str) -> None:
        """Raises OSError, ValueError and errors of Arrow for a file that can't be read."""
        tables = TrainingTables(TrainingData([path], format="csv"))
        self.rows = tables.rows[0]
        self._fragment = tables.files[0].fragment
        columns = {name: tables.files[0].column(name, self.rows) for name in tables.names}
        self.numbers = {name for name, column in columns.items() if _holds_numbers(column)}
        self._whole = {name for name in self.numbers if _all_fit(columns[name], _WHOLE)}

    def iter_batches(self, rows_max: int) -> Iterator[pa.RecordBatch]:
        """The rows in order. Raises errors of Arrow."""
        for batch in self._fragment.to_batches(batch_size=rows_max):
            columns = [
                self._typed(name, column) for name, column in zip(batch.schema.names, batch.columns, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(columns, batch.schema.names)

    def _typed(self, name: str, column: pa.Array) -> pa.Array:
        if name in self._whole & self.numbers:
            return pc.utf8_trim_whitespace(column).cast(pa.int64())
        return _as_number(pa.chunked_array([column])).combine_chunks() if name in self.numbers else column

    def close(self) -> None:
        """Nothing stays open."""


def index_columns(schema: pa.Schema) -> set[str]:
    """The columns that pandas wrote for the index of a frame."""
    try:
        about = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
    except ValueError:
        return set()
    return {name for name in about.get("index_columns", ()) if isinstance(name, str)}


def role_without_values(name: str, is_index: bool, is_time: bool, kind: pa.DataType) -> str | None:
    """Why a column of a table is no feature, by its role; None where it may be one."""
    if is_index or _INDEX.fullmatch(name):
        return "an index of pandas"
    if name in _ROLES:
        return _ROLES[name]
    if is_time:
        return "is a time"
    return "a list or an object" if pa.types.is_nested(kind) else None


def _kind_of(column: pa.ChunkedArray) -> str | None:
    """`number` or `text`; None where there is no value. Raises `LeftOut` for types that events don't compare."""
    kind = column.type
    if pa.types.is_null(kind) or column.null_count == len(column):
        return None
    if _is_text(kind) or pa.types.is_date(kind):
        return "text"
    if any(
        test(kind) for test in (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean, pa.types.is_decimal)
    ):
        return "number"
    if pa.types.is_temporal(kind):
        raise LeftOut(f"times ({kind}) are not compared")
    raise LeftOut(f"values of type {kind} are not compared")


def _error(predicted: pa.ChunkedArray, label: pa.ChunkedArray, kind: ErrorKind) -> pa.ChunkedArray:
    """How wrong each prediction was; null where one of both is. Raises `LeftOut` for texts that are no classes."""
    if kind is ErrorKind.ZERO_ONE:
        texts = [_as_text(one) for one in (predicted, label)]
        return pc.not_equal(*texts).cast(pa.uint8()).cast(pa.float64())
    if pa.types.is_string(predicted.type) or pa.types.is_string(label.type):
        raise LeftOut("predictions or labels are texts; give --error zero_one for classes")
    if kind is ErrorKind.LOG_LOSS:
        of_label = pc.if_else(pc.equal(label, 1.0), predicted, pc.subtract(1.0, predicted))
        is_class = pc.is_in(label, pa.array([0.0, 1.0]))
        is_right = pc.and_(is_class, pc.equal(pc.min_element_wise(pc.max_element_wise(predicted, 0.0), 1.0), predicted))
        loss = pc.negate(pc.ln(pc.max_element_wise(of_label, PROBABILITY_MIN, skip_nulls=False)))
        return pc.if_else(is_right, loss, pa.scalar(None, pa.float64()))
    off = pc.abs(pc.subtract(label, predicted))
    return pc.multiply(off, off) if kind is ErrorKind.SQUARED else off


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _holds_numbers(column: pa.ChunkedArray) -> bool:
    """Whether all texts are numbers or booleans, and none is a code with leading zeros."""
    if pa.types.is_null(column.type):
        return True
    column = _ungrouped(column, _GROUPED)
    plain = pc.and_(pc.match_substring_regex(column, _NUMBER), pc.invert(pc.match_substring_regex(column, _CODE)))
    fits = pc.or_(plain, pc.match_substring_regex(column, _BOOLEAN))
    return bool(pc.all(pc.fill_null(fits, True), min_count=0).as_py())


def _ungrouped(column: pa.ChunkedArray, pattern: str) -> pa.ChunkedArray:
    """Texts without thousands separators where they fit the pattern: 1234.5 of 1,234.5."""
    return pc.if_else(pc.match_substring_regex(column, pattern), pc.replace_substring(column, ",", ""), column)


def _all_fit(column: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.all(pc.fill_null(pc.match_substring_regex(column, pattern), True), min_count=0).as_py())


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_floating(column.type):  # as pandas makes of whole numbers with a missing one
        whole = column.cast(pa.float64())
        if pc.all(pc.fill_null(pc.equal(pc.floor(whole), whole), True)).as_py():
            return whole.cast(pa.int64(), safe=False).cast(pa.string())
    return column.cast(pa.string())


def _as_number(column: pa.ChunkedArray, is_asked: bool = False) -> pa.ChunkedArray:
    """A column as doubles. Raises `LeftOut` for whole numbers that doubles would merge."""
    kind = column.type
    if pa.types.is_null(kind):
        return column.cast(pa.float64())
    if _is_text(kind):
        stripped = pc.utf8_trim_whitespace(column)
        low = pc.utf8_lower(stripped)
        stripped = _ungrouped(stripped, _GROUPED_ASKED if is_asked else _GROUPED)
        stripped = pc.if_else(pc.equal(low, "true"), "1", pc.if_else(pc.equal(low, "false"), "0", stripped))
        fits = pc.match_substring_regex(stripped, _NUMBER)
        return pc.if_else(fits, stripped, pa.scalar(None, pa.string())).cast(pa.float64())
    if pa.types.is_boolean(kind):
        return column.cast(pa.uint8()).cast(pa.float64())
    if pa.types.is_integer(kind) and kind.bit_width == 64 and not is_asked:
        most = pc.min_max(column).as_py()
        if max(abs(most["min"] or 0), abs(most["max"] or 0)) > WHOLE_MAX:
            raise LeftOut("whole numbers beyond 2^53, as ids are")
    return column.cast(pa.float64(), safe=False)


def _joined(parts: Sequence[pa.ChunkedArray], kind: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array([chunk for part in parts for chunk in part.cast(kind).chunks], kind)
