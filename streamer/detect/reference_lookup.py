"""The training references of a fold unit, as values that detectors take."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final

import numpy as np

from detectors.arrays.growth import ensure_length
from detectors.arrays.types import F64, I64
from detectors.reference import CategoryReference, Reference, rounded
from detectors.series.decimals import decimal_id, scale_of, ungrouped
from detectors.series.evidence import ANY, CATEGORIES, MIXED, NUMBERS
from detectors.series.table import Routed, SeriesTable, ValueKind
from streamer.detect.references.store import Digests, ReferenceStore, VersionReferences
from streamer.detect.references.table import AnyReference, Key, References
from streamer.errors import GapError
from streamer.events import OTHER_CATEGORY, NameTable

AT_ONCE_MAX: Final = 200  # versions whose references one epoch loads
SAMPLE_MAX: Final = 256  # values that decide whether a series has recovered


class ReferenceLookup:
    """The references of a fold unit; their categories have ids in the unit's own table.

    Beside those of the settings, versions have references of their own, from the store. Such a version takes no others.
    """

    def __init__(self, references: References, categories: NameTable, store: ReferenceStore | None = None) -> None:
        self._references, self._store = references, store
        self._own: dict[tuple[str, str], VersionReferences] = {}  # by model and version
        self._by_series: dict[Key, AnyReference] = {}  # those of all of these
        self._ready: list[VersionReferences] = []  # what `new` has loaded and `add` will take
        self._looked = (-1, -1)  # at the catalog, when nothing in it was new: its changes, and the models
        self._categories = categories
        self._rounded: dict[int, Reference] = {}  # by identity, for as long as the references live
        self._is_rounded = np.zeros(0, bool)  # by row of numbers
        self._known = 0  # rows of numbers that have been looked up
        self.name_categories()

    def name_categories(self) -> None:
        """Give every category of a reference its id before events do, so that no cut of the stream changes ids."""
        self._name(self._references.categories)

    def _name(self, categories: Iterable[str]) -> None:
        for name in categories:
            if scale_of(name) < 0:
                self._categories.id_of(name)

    def add(self, digests: Digests) -> None:
        """Load references of versions from the store. Raises `GapError` where they are not there."""
        for model, versions in digests.items():
            for version, digest in versions.items():
                if self._store is None:
                    raise GapError(
                        f"The history names a reference {digest} of {model} {version}: set references.url to the store"
                    )
                self._add(model, version, self._store.load(model, version, digest))

    def digests(self) -> dict[str, dict[str, str]]:
        """The digests of what was added, in the order of loading."""
        found: dict[str, dict[str, str]] = {}
        for (model, version), one in self._own.items():
            found.setdefault(model, {})[version] = one.digest
        return found

    def new(self, models: Collection[str], seen: Callable[[], Collection[tuple[str, str]]]) -> Digests:
        """What the catalog has for versions that have not been seen, of these models; some, if there are many."""
        store, self._ready = self._store, []
        if store is None or not store.catalog or self._looked == (store.changes, len(models)):
            return {}
        looked, found = (store.changes, len(models)), dict[str, dict[str, str]]()
        missing = [
            (model, version, digest)
            for model in sorted(store.catalog if store.every_model else store.catalog.keys() & models)
            for version, digest in store.catalog[model].items()
            if (model, version) not in self._own
        ]
        known = seen() if missing else ()
        for model, version, digest in missing:
            if (model, version) not in known and (one := store.usable(model, version, digest)) is not None:
                found.setdefault(model, {})[version] = digest
                self._ready.append(one)
                if len(self._ready) == AT_ONCE_MAX:
                    break
        if not found:
            self._looked = looked
        return found

    def _add(self, model: str, version: str, found: VersionReferences) -> None:
        self._own[model, version] = found
        self._by_series.update(found.by_series)
        names = {name for one in found.by_series.values() if isinstance(one, CategoryReference) for name in one.names}
        self._name(sorted(names))

    def _find(self, key: Key) -> AnyReference | None:
        return self._by_series.get(key) if self._is_own(*key[:2]) else self._references.find(*key)

    def _is_own(self, whose: str, version: str) -> bool:
        """Whether a version of a model, or of the model of this segment, has references of its own."""
        while (whose, version) not in self._own:
            whose, _, segment = whose.rpartition("/")
            if "=" not in segment:
                return False
        return True

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
        return (
            self._categories.ids.get(name, OTHER_CATEGORY)
            if scale < 0
            else int(decimal_id(float(ungrouped(name)), scale))
        )

    def of(self, kind: ValueKind, key: Key) -> AnyReference | None:
        """The reference of (model, version, column) for values of this kind; None without one."""
        found = self._find(key)
        if kind is ValueKind.CATEGORY:
            return found if isinstance(found, CategoryReference) else None
        if not isinstance(found, Reference):
            return None
        if id(found) not in self._rounded:
            self._rounded[id(found)] = found.up_to_rounding()
        return self._rounded[id(found)]

    def round(self, routed: Routed, series: SeriesTable, key_of: Callable[[int, int], Key]) -> None:
        """Round the numbers of columns whose training data allow that, in place: a float32 equals its double."""
        rows = int(series.rows[ValueKind.NUMBER])
        self._is_rounded = ensure_length(self._is_rounded, rows, False)
        for row in range(self._known, rows) if self else ():
            reference = self._find(key_of(*series.subject_and_column(row)))
            self._is_rounded[row] = isinstance(reference, Reference) and reference.allows_rounding()
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
        return len(self._references) > 0 or bool(self._own)

    def values(self, reference: AnyReference, size_max: int) -> F64:
        """A reference as detectors take values: numbers, or at most `size_max` ids of categories."""
        if isinstance(reference, Reference):
            return reference.values
        return self.ids_of(reference)[reference.sample(size_max)].astype(np.float64)
