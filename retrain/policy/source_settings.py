"""Which models use a feature source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from retrain.messages.patterns import matches

MODELS_MAX: Final = 1000
WILD: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """Which models use a feature source: its drift is theirs.

    models: names of models, or patterns such as `bus-*`; 1 to 1000. A model that fits a pattern counts once it alerts,
        or appears on the partition of the source; a model that is named counts from the start.
    """

    models: list[str]

    def __post_init__(self) -> None:
        """Raises `ValueError` with a sentence."""
        if not 1 <= len(self.models) <= MODELS_MAX:
            raise ValueError(f"models has {len(self.models)} names or patterns, but must have 1 to {MODELS_MAX}.")

    def uses(self, model_id: str) -> bool:
        """Whether this model uses the source."""
        return any(matches(model_id, pattern) for pattern in self.models)

    def named(self) -> Iterator[str]:
        """The entries that are names, not patterns."""
        return (name for name in self.models if not WILD & set(name))
