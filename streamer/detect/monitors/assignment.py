"""Which detectors watch which column, where settings tell columns apart."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from retrain.messages.patterns import first_match, matches
from streamer.detect.settings import WatchSettings


class DetectorAssignment:
    """The detectors of each column: those of the first patterns that fit model and column, else all there are."""

    def __init__(self, settings: WatchSettings, detectors: Collection[str]) -> None:
        self._settings = settings
        self._all = frozenset(detectors)
        self._known: dict[str, Mapping[str, frozenset[str]]] = {}  # model -> pattern of columns -> detectors

    def __bool__(self) -> bool:
        """Whether settings tell any columns apart."""
        return bool(self._settings)

    def of(self, model: str, column: str) -> frozenset[str]:
        """The detectors of a column of a model, or of `source:<name>`."""
        if model not in self._known:
            self._known[model] = self._of_model(model)
        found = first_match(self._known[model], column)
        return self._all if found is None else found

    def _of_model(self, model: str) -> Mapping[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        for pattern, columns in self._settings.items():
            if matches(model, pattern):
                found |= {column: frozenset(names) for column, names in columns.items() if column not in found}
        return found
