"""The training references of a fold unit, as values that detectors take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from detectors.arrays.growth import ensure_length
from detectors.arrays.types import F64, I64
from detectors.reference import CategoryReference, Reference, rounded
from detectors.series.decimals import decimal_id, scale_of
from detectors.series.evidence import ANY, CATEGORIES, MIXED, NUMBERS
from detectors.series.table import Routed, SeriesTable, ValueKind
from streamer.detect.references.table import AnyReference, Key, References
from streamer.events import OTHER_CATEGORY, NameTable

SAMPLE_MAX: Final = 256  # values that decide whether a series has recovered


class ReferenceLookup:
    """The references of a fold unit; their categories have ids in the unit's own table."""

    def __init__(self, references: References, categories: NameTable) -> None:
        self._references = references
        self._categories = categories
        self._rounded: dict[int, Reference] = {}  # by identity, for as long as the references live
        self._is_rounded = np.zeros(0, bool)  # by row of numbers
        self._known = 0  # rows of numbers that have been looked up
        self.name_categories()

    def name_categories(self) -> None:
        """Give every category of a reference its id before events do, so that no cut of the stream changes ids."""
        for name in self._references.categories:
            if scale_of(name) < 0:
                self._categories.id_of(name)

    def of_any(self, key: Key) -> AnyReference | None:
        """The reference of (model, version, column), of either kind; None without one."""
        return self.of(ValueKind.NUMBER, key) or self.of(ValueKind.CATEGORY, key)

    def ids_of(self, reference: CategoryReference) -> I64:
        """The ids of the categories of a reference, and that of `(other)`, which stands for all beyond the table."""
        ids = [self.id_of(name) for name in reference.names]
        return np.array([*ids, OTHER_CATEGORY], np.int64)

    def expected(self, key: Key) -> int:
        """What the training data of (model, version, column) hold, as `detectors.series.evidence` names it."""
        reference = self.of_any(key)
        if isinstance(reference, CategoryReference):
            return MIXED if any(scale_of(name) == 0 for name in reference.names) else CATEGORIES
        return ANY if reference is None else NUMBERS

    def id_of(self, name: str) -> int:
        """The id of a category."""
        scale = scale_of(name)
        return self._categories.ids.get(name, OTHER_CATEGORY) if scale < 0 else int(decimal_id(float(name), scale))

    def of(self, kind: ValueKind, key: Key) -> AnyReference | None:
        """The reference of (model, version, column) for values of this kind; None without one."""
        if kind is ValueKind.CATEGORY:
            return self._references.categories_of(*key)
        found = self._references.of(*key)
        if found is not None and id(found) not in self._rounded:
            self._rounded[id(found)] = found.up_to_rounding()
        return None if found is None else self._rounded[id(found)]

    def round(self, routed: Routed, series: SeriesTable, key_of: Callable[[int, int], Key]) -> None:
        """Round the numbers of columns whose training data allow that, in place: a float32 equals its double."""
        rows = int(series.rows[ValueKind.NUMBER])
        self._is_rounded = ensure_length(self._is_rounded, rows, False)
        for row in range(self._known, rows) if self else ():
            reference = self._references.of(*key_of(*series.subject_and_column(row)))
            self._is_rounded[row] = reference is not None and reference.allows_rounding()
        self._known = rows
        if self:
            mine = np.flatnonzero((routed.kind == ValueKind.NUMBER) & (routed.row >= 0))
            mine = mine[self._is_rounded[routed.row[mine]]]
            routed.value[mine] = rounded(routed.value[mine])

    def sample(self, kind: ValueKind, key: Key) -> F64 | None:
        """A small sample of the reference, as detectors take values; None without one."""
        reference = self.of(kind, key)
        if reference is None:
            return None
        if isinstance(reference, Reference):
            return reference.no_larger_than(SAMPLE_MAX).values
        return self.values(reference, SAMPLE_MAX)

    def __bool__(self) -> bool:
        return len(self._references) > 0

    def values(self, reference: AnyReference, size_max: int) -> F64:
        """A reference as detectors take values: numbers, or at most `size_max` ids of categories."""
        if isinstance(reference, Reference):
            return reference.values
        return self.ids_of(reference)[reference.sample(size_max)].astype(np.float64)
