"""Builds references from training data: one sample for each column of each version of each model.

Columns are read one by one, so memory depends on the rows, not on the columns: about 40 bytes for each row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from detectors.reference import CategoryReference, Reference
from streamer.detect.references.file import AnyReference, Key
from streamer.detect.references.training import LeftOut, TrainingData, TrainingTables
from streamer.errors import UsageError
from streamer.events import OTHERS

CATEGORIES_MAX: Final = 1000  # of one column of one model: the most frequent are kept, the others become one


@dataclass(frozen=True, slots=True)
class Built:
    """The references built from training data."""

    by_series: dict[Key, AnyReference]
    rows: int
    left_out: tuple[tuple[str, str], ...]  # columns without a reference, with the reason


def references_from(data: TrainingData, size_max: int) -> Built:
    """The references of training data, samples thinned to `size_max` values. Raises `UsageError` for unusable data."""
    where = ", ".join(data.places)
    try:
        return _built(where, TrainingTables(data), size_max)
    except (OSError, ValueError, pa.ArrowException) as problem:
        raise UsageError(f"{where}: the training data can't be read: {problem}") from problem


def _built(where: str, tables: TrainingTables, size_max: int) -> Built:
    data = tables.data
    if data.model is None and data.model_column not in tables.names:
        raise UsageError(
            f"{where}: a training reference needs a column {data.model_column} that names the model; it has "
            f"{', '.join(tables.names)}. Name it with --model-column, or the model of all rows with --model"
        )
    owners = _Owners.of(tables)
    found: dict[Key, AnyReference] = {}
    left_out: list[tuple[str, str]] = []
    for name in tables.features():
        try:
            if not tables.is_chosen(name):
                raise LeftOut("not chosen")
            if (role := tables.role(name)) is not None:
                raise LeftOut(role)
            column = tables.column(name)
        except LeftOut as reason:
            left_out.append((name, str(reason)))
            continue
        except (OSError, ValueError, pa.ArrowException) as problem:
            left_out.append((name, f"it can't be read: {problem}"))
            continue
        sample = owners.categories(column) if pa.types.is_string(column.type) else owners.numbers(column, size_max)
        feature = data.names.get(name, "prediction" if name == data.prediction else name)
        found |= {(*owner, feature): one for owner, one in sample}
    found |= _errors(tables, owners, size_max, left_out)
    if not found:
        why = "".join(f"; {name}: {reason}" for name, reason in left_out)
        raise UsageError(f"{where}: a training reference needs feature columns of numbers or text; it has none{why}")
    return Built(found, len(owners.order), tuple(left_out))


def _errors(
    tables: TrainingTables, owners: _Owners, size_max: int, left_out: list[tuple[str, str]]
) -> dict[Key, AnyReference]:
    """The references of the errors, computed from predictions and labels."""
    try:
        column = tables.error() if tables.is_chosen("error") else None
    except LeftOut as reason:
        left_out.append(("error", str(reason)))
        return {}
    return {} if column is None else {(*owner, "error"): one for owner, one in owners.numbers(column, size_max)}


@dataclass(frozen=True, slots=True)
class _Owners:
    """The owner of each row: rows `order[edges[k] : edges[k + 1]]` belong to `owners[k]`, in the order of the data."""

    owners: list[tuple[str, str]]  # model, version; in order
    order: NDArray[np.int64]
    edges: list[int]

    @classmethod
    def of(cls, tables: TrainingTables) -> _Owners:
        data, rows = tables.data, sum(tables.rows)
        given = ((data.model_column, data.model), (data.version_column, data.version))
        try:
            (models, model), (versions, version) = [
                _codes(tables.texts(name))
                if constant is None and name in tables.names
                else ([constant or ""], np.zeros(rows, np.int64))
                for name, constant in given
            ]
        except pa.ArrowException as problem:
            raise ValueError(f"model_id and model_version of a training reference must be text: {problem}") from None
        code = model * len(versions) + version
        order = np.argsort(code, kind="stable")
        present, first = np.unique(code[order], return_index=True)
        owners = [(models[k // len(versions)], versions[k % len(versions)]) for k in present.tolist()]
        return cls(owners, order, [*first.tolist(), rows])

    def numbers(self, column: pa.ChunkedArray, size_max: int) -> Iterator[tuple[tuple[str, str], Reference]]:
        """The references of a column of numbers; an owner without a finite value has none."""
        values = column.to_numpy()[self.order]
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
    coded = (column if null is None else pc.fill_null(column, null)).combine_chunks().dictionary_encode()
    names: list[str] = coded.dictionary.to_pylist()
    order = sorted(range(len(names)), key=lambda i: names[i])
    place = np.empty(len(names) + 1, np.int64)
    place[order], place[-1] = np.arange(len(names)), -1
    return sorted(names), place[pc.fill_null(coded.indices, -1).to_numpy().astype(np.int64)]
