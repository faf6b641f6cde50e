"""What series are compared with, where there are training data: references as the banks take them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from detectors.arrays.types import F64, I64
from detectors.reference import CategoryReference, Reference
from detectors.series.table import ValueKind
from streamer.detect.monitors.detector_set import DetectorSet
from streamer.events import OTHER_CATEGORY, NameTable
from streamer.references.table import AnyReference, Key, References

SAMPLE_MAX = 256  # values that tell whether a series is back to what it was


class ReferenceLookup:
    """The references of a fold, whose categories have ids in the fold's own table."""

    def __init__(self, references: References, categories: NameTable) -> None:
        self._references = references
        self._categories = categories
        self.name_categories()

    def name_categories(self) -> None:
        """Give every category of a reference its id, before events do: so ids never depend on where a batch ends."""
        for name in self._references.categories:
            self._categories.id_of(name)

    def refer(self, panel: DetectorSet, row: int, key: Key, detectors: Collection[str]) -> None:
        """Compare a row of the panel with the training data of (model, version, column), where there are any."""
        reference = self.of(panel.kind, key)
        if reference is not None:
            panel.refer(row, lambda size_max: self._values(reference, size_max), detectors)

    def of_any(self, key: Key) -> AnyReference | None:
        """What (model, version, column) is compared with, whatever its kind."""
        return self.of(ValueKind.NUMBER, key) or self.of(ValueKind.CATEGORY, key)

    def ids_of(self, reference: CategoryReference) -> I64:
        """The ids of the categories of a reference, and of what stands for all that no table has room for."""
        ids = [self._categories.ids.get(name, OTHER_CATEGORY) for name in reference.names]
        return np.array([*ids, OTHER_CATEGORY], np.int64)

    def of(self, kind: ValueKind, key: Key) -> AnyReference | None:
        """What values of this kind are compared with."""
        of = self._references.of if kind is ValueKind.NUMBER else self._references.categories_of
        return of(*key)

    def sample(self, kind: ValueKind, key: Key) -> F64 | None:
        """A small sample of it, as values of the panel; None where there is nothing."""
        reference = self.of(kind, key)
        if reference is None:
            return None
        if isinstance(reference, Reference):
            return reference.no_larger_than(SAMPLE_MAX).values
        return self.ids_of(reference)[reference.sample(SAMPLE_MAX)].astype(np.float64)

    def __bool__(self) -> bool:
        return len(self._references) > 0

    def _values(self, reference: AnyReference, size_max: int) -> F64:
        """The sample as values of the panel: numbers, or ids of categories."""
        if isinstance(reference, Reference):
            return reference.values
        return self.ids_of(reference)[reference.sample(size_max)].astype(np.float64)
