"""Which models use a feature source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

MODELS_MAX: Final = 1000
WILD: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """Which models use a feature source: its drift is theirs.

    models: names of models, or patterns such as `bus-*`; 1 to 1000. A model that fits a pattern counts once it has
        alerted, or has been seen on the partition of the source; one that is named counts from the start.
    """

    models: list[str]

    def __post_init__(self) -> None:
        """Raises `ValueError` with a sentence."""
        if not 1 <= len(self.models) <= MODELS_MAX:
            raise ValueError(f"models has {len(self.models)} names or patterns, but must have 1 to {MODELS_MAX}.")

    def uses(self, model_id: str) -> bool:
        """Whether this model uses the source."""
        return any(fnmatchcase(model_id, pattern) for pattern in self.models)

    def named(self) -> Iterator[str]:
        """The models that are named rather than described by a pattern."""
        return (name for name in self.models if not WILD & set(name))
