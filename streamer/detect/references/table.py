"""Training references: the distribution of each column of each model in its training data.

They come from a reference file (`references/file.py`), or directly from training data in Parquet: a text column
`model_id`, optionally `model_version`, and a column of numbers or text for each feature; `prediction` and `error` are
compared too. The rows of a model are its sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b

from detectors.reference import CategoryReference, Reference

Key = tuple[str, str, str]  # model, version, column
AnyReference = Reference | CategoryReference


@dataclass(frozen=True)
class References:
    """References by (model, version, column); version "" serves every version without its own."""

    by_series: Mapping[Key, AnyReference] = field(default_factory=dict)

    def of(self, model: str, version: str, column: str) -> Reference | None:
        """The numeric reference of this column, if any."""
        found = self.find(model, version, column)
        return found if isinstance(found, Reference) else None

    def categories_of(self, model: str, version: str, column: str) -> CategoryReference | None:
        """The reference of this column of categories, if any."""
        found = self.find(model, version, column)
        return found if isinstance(found, CategoryReference) else None

    @cached_property
    def categories(self) -> list[str]:
        """All categories of all references, in order."""
        found = {name for one in self.by_series.values() if isinstance(one, CategoryReference) for name in one.names}
        return sorted(found)

    @cached_property
    def digest(self) -> int:
        """63 bits of a digest of all references and their keys; 0 without any."""
        found = sorted((key, one.digest) for key, one in self.by_series.items())
        return int.from_bytes(blake2b(repr(found).encode(), digest_size=8).digest()) >> 1 if found else 0

    def __len__(self) -> int:
        return len(self.by_series)

    def find(self, model: str, version: str, column: str) -> AnyReference | None:
        """The reference of this column, of either kind, if any."""
        found = self.by_series.get((model, version, column))
        return found if found is not None else self.by_series.get((model, "", column))


def load_references(where: str, size_max: int) -> References:
    """Read a reference file, or training data in Parquet, and thin samples to `size_max` values.

    `where` is a path, or a URL of s3, gs or abfs. Raises `UsageError` for an unusable file.
    """
    from streamer.detect.references.build import references_from
    from streamer.detect.references.file import is_reference_file, read_references
    from streamer.detect.references.training import TrainingData

    if is_reference_file(where):
        return References(read_references(where, size_max))
    return References(references_from(TrainingData((where,), format="parquet", error=None), size_max).by_series)
