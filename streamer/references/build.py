"""Builds references from training data: one sample for each column of each version of each model.

Columns are read one by one, so memory depends on the rows, not on the columns: about 40 bytes for each row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray
from pyarrow import csv

from detectors.reference import CategoryReference, Reference
from streamer.errors import UsageError
from streamer.events import OTHERS
from streamer.references.file import AnyReference, Key, place_of

CATEGORIES_MAX: Final = 1000  # of one column of one model: the most frequent are kept, the others become one
FORMATS: Final = ("parquet", "csv")


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The places of training data, and their models."""

    places: Sequence[str]  # files or folders, as paths or URLs
    format: str = "parquet"  # one of FORMATS
    model_column: str = "model_id"  # the column with the model ...
    version_column: str = "model_version"  # ... and the optional one with the version
    model: str | None = None  # the model of all rows, instead of a column
    version: str | None = None  # the version of all rows, instead of a column


@dataclass(frozen=True, slots=True)
class Built:
    """The references built from training data."""

    by_series: dict[Key, AnyReference]
    rows: int
    ignored: tuple[str, ...]  # columns that are neither numbers nor text


def references_from(data: TrainingData, size_max: int) -> Built:
    """The references of training data, samples thinned to `size_max` values. Raises `UsageError` for unusable data."""
    where = ", ".join(data.places)
    try:
        dataset = ds.dataset([_dataset(place, data) for place in data.places])
        return _built(where, dataset, data, size_max)
    except (OSError, ValueError, pa.ArrowException) as problem:
        raise UsageError(f"{where}: the training data can't be read: {problem}") from problem


def _dataset(place: str, data: TrainingData) -> ds.Dataset:
    system, path = place_of(place)
    if data.format == "parquet":
        return ds.dataset(path, filesystem=system, format="parquet")
    names = {data.model_column: pa.string(), data.version_column: pa.string()}  # 007 is a name, not 7
    options = csv.ConvertOptions(column_types=names, strings_can_be_null=True)
    return ds.dataset(path, filesystem=system, format=ds.CsvFileFormat(convert_options=options))


def _built(where: str, dataset: ds.Dataset, data: TrainingData, size_max: int) -> Built:
    names = dataset.schema.names
    if data.model is None and data.model_column not in names:
        raise UsageError(
            f"{where}: a training reference needs a column {data.model_column} that names the model; it has "
            f"{', '.join(names)}"
        )
    kinds = {f.name: _kind(f.type) for f in dataset.schema if f.name not in (data.model_column, data.version_column)}
    features = [name for name, kind in kinds.items() if kind]
    if not features:
        raise UsageError(f"{where}: a training reference needs feature columns of numbers or text; it has none")
    owners = _Owners.of(where, dataset, data)
    found: dict[Key, AnyReference] = {}
    for feature in features:
        column = dataset.to_table(columns=[feature])[feature]
        sample = owners.numbers(column, size_max) if kinds[feature] == "number" else owners.categories(column)
        found |= {(*owner, feature): one for owner, one in sample}
    return Built(found, len(owners.order), tuple(name for name, kind in kinds.items() if not kind))


def _kind(type_: pa.DataType) -> str:
    """`number`, `text`, or "" for types that events can't hold."""
    if pa.types.is_dictionary(type_):
        return _kind(type_.value_type)
    is_text = pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)
    numbers = (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean, pa.types.is_decimal)
    return "text" if is_text else "number" if any(test(type_) for test in numbers) else ""


@dataclass(frozen=True, slots=True)
class _Owners:
    """The owner of each row: rows `order[edges[k] : edges[k + 1]]` belong to `owners[k]`, in the order of the data."""

    owners: list[tuple[str, str]]  # model, version; in order
    order: NDArray[np.int64]
    edges: list[int]

    @classmethod
    def of(cls, where: str, dataset: ds.Dataset, data: TrainingData) -> _Owners:
        given = ((data.model_column, data.model), (data.version_column, data.version))
        wanted = [name for name, constant in given if constant is None and name in dataset.schema.names]
        table, rows = dataset.to_table(columns=wanted), dataset.count_rows()
        try:
            parts = [
                _codes(table[name]) if name in wanted else ([constant or ""], np.zeros(rows, np.int64))
                for name, constant in given
            ]
        except pa.ArrowException as problem:
            raise UsageError(
                f"{where}: model_id and model_version of a training reference must be text: {problem}"
            ) from None
        (models, model), (versions, version) = parts
        code = model * len(versions) + version
        order = np.argsort(code, kind="stable")
        present, first = np.unique(code[order], return_index=True)
        owners = [(models[k // len(versions)], versions[k % len(versions)]) for k in present.tolist()]
        return cls(owners, order, [*first.tolist(), rows])

    def numbers(self, column: pa.ChunkedArray, size_max: int) -> Iterator[tuple[tuple[str, str], Reference]]:
        """The references of a column of numbers; an owner without a finite value has none."""
        values = _plain(column).cast(pa.float64()).to_numpy()[self.order]
        for owner, start, end in self._runs():
            if np.isfinite(values[start:end]).any():
                yield owner, Reference.of(values[start:end], size_max)

    def categories(self, column: pa.ChunkedArray) -> Iterator[tuple[tuple[str, str], CategoryReference]]:
        """The references of a column of text; an owner with only null values has none."""
        names, codes = _codes(column, null=None)
        codes = codes[self.order]
        for owner, start, end in self._runs():
            mine = codes[start:end]
            code, count = np.unique(mine[mine >= 0], return_counts=True)
            if len(code):
                yield owner, CategoryReference.of(_kept(names, code, count), int(np.count_nonzero(mine < 0)))

    def _runs(self) -> Iterator[tuple[tuple[str, str], int, int]]:
        return zip(self.owners, self.edges, self.edges[1:], strict=False)


def _kept(names: list[str], code: NDArray[Any], count: NDArray[Any]) -> dict[str, int]:
    """The most frequent categories; among equally frequent ones, the first in order."""
    order = np.lexsort((code, -count))
    kept, rest = order[:CATEGORIES_MAX], order[CATEGORIES_MAX:]
    counts = {names[code[i]]: int(count[i]) for i in kept.tolist()}
    if len(rest):
        counts[OTHERS] = counts.get(OTHERS, 0) + int(count[rest].sum())
    return counts


def _codes(column: pa.ChunkedArray, null: str | None = "") -> tuple[list[str], NDArray[np.int64]]:
    """The distinct texts in order, and the index of each row; -1 for null, unless `null` replaces it."""
    texts = _plain(column).cast(pa.string())
    coded = (texts if null is None else pc.fill_null(texts, null)).combine_chunks().dictionary_encode()
    names: list[str] = coded.dictionary.to_pylist()
    order = sorted(range(len(names)), key=names.__getitem__)
    place = np.empty(len(names) + 1, np.int64)
    place[order], place[-1] = np.arange(len(names)), -1
    return sorted(names), place[pc.fill_null(coded.indices, -1).to_numpy().astype(np.int64)]


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
