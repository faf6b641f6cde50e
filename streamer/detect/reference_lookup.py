"""The training references of a fold unit, as values that detectors take."""

from __future__ import annotations

from typing import Final

import numpy as np

from detectors.arrays.types import F64, I64
from detectors.reference import CategoryReference, Reference
from detectors.series.table import ValueKind
from streamer.events import OTHER_CATEGORY, NameTable
from streamer.references.table import AnyReference, Key, References

SAMPLE_MAX: Final = 256  # values that decide whether a series has recovered


class ReferenceLookup:
    """The references of a fold unit; their categories have ids in the unit's own table."""

    def __init__(self, references: References, categories: NameTable) -> None:
        self._references = references
        self._categories = categories
        self.name_categories()

    def name_categories(self) -> None:
        """Give every category of a reference its id before events do, so that no cut of the stream changes ids."""
        for name in self._references.categories:
            self._categories.id_of(name)

    def of_any(self, key: Key) -> AnyReference | None:
        """The reference of (model, version, column), of either kind; None without one."""
        return self.of(ValueKind.NUMBER, key) or self.of(ValueKind.CATEGORY, key)

    def ids_of(self, reference: CategoryReference) -> I64:
        """The ids of the categories of a reference, and that of `(other)`, which stands for all beyond the table."""
        ids = [self._categories.ids.get(name, OTHER_CATEGORY) for name in reference.names]
        return np.array([*ids, OTHER_CATEGORY], np.int64)

    def of(self, kind: ValueKind, key: Key) -> AnyReference | None:
        """The reference of (model, version, column) for values of this kind; None without one."""
        of = self._references.of if kind is ValueKind.NUMBER else self._references.categories_of
        return of(*key)

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
