"""Segments: the events of a model that share the value of one column, watched beside the whole model.

A segment is a subject of its own, with its own series, offsets and alerts. An event of a model with segments counts
for two subjects, the whole model and its segment. Segments of a model have numbers from 1 in order of first sight; 0 is
the whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import F64, I64
from detectors.series.decimals import decimal_ids, decimal_name
from retrain.messages.patterns import first_match
from streamer.detect.settings import SEGMENTS_MAX, SegmentSettings
from streamer.events import NUMBER, OTHERS, TEXT_NUMBER, EventBatch, EventKind, Names

WHOLE: Final = 0
NUMBERS_END: Final = 1 << 31  # whole numbers up to here can be segments


class Segments:
    """The segments of a fold unit's models."""

    def __init__(self, settings: Mapping[str, SegmentSettings], names: Names) -> None:
        self._settings = settings
        self._names = names
        self._known: dict[str, dict[str, int]] = {}  # model -> name of its segment -> number; in order of first sight
        self._name_columns()

    def __bool__(self) -> bool:
        return bool(self._settings)

    def _name_columns(self) -> None:
        """Give an id to each column that defines segments; again after the names were loaded."""
        self._column_of = {one.by: self._names.columns.id_of(one.by) for one in self._settings.values()}
        self._by = np.empty(0, np.int64)  # by model: id of the column that defines its segments, or -1
        self._of_model: list[SegmentSettings | None] = []

    def settings_of(self, model: int) -> SegmentSettings | None:
        """The settings of a model, by its id; None if it has no segments."""
        self.columns()
        return self._of_model[model]

    def columns(self) -> I64:
        """By model, the id of the column that defines its segments; -1 for models without."""
        new = self._names.models.names[len(self._by) :]
        if new:
            found = [first_match(self._settings, model) for model in new]
            ids = [-1 if one is None else self._column_of[one.by] for one in found]
            self._of_model += found
            self._by = np.concatenate([self._by, np.array(ids, np.int64)])
        return self._by

    def of(self, batch: EventBatch, tally: Counter[tuple[str, ...]]) -> I64:
        """The segment of each event: its number among those of its model, or `WHOLE` for none."""
        segment = np.zeros(len(batch), np.int64)
        wanted = self.columns()[batch.model] if len(batch) else segment
        counts = (batch.kind & (EventKind.PREDICTION | EventKind.SOURCE)) != 0
        wanted = np.where(counts & (wanted >= 0), wanted, -2)
        of_event = np.repeat(np.arange(len(batch)), np.diff(batch.start))
        at = np.flatnonzero(batch.column == wanted[of_event])
        value = _values(batch.number[at], batch.category[at])
        at, value = at[value >= 0], value[value >= 0]
        event, first = np.unique(of_event[at], return_index=True)  # of a column that occurs twice, the first counts
        values, code = np.unique(value[first], return_inverse=True)
        key, first, which = np.unique(
            batch.model[event].astype(np.int64) << 32 | code, return_index=True, return_inverse=True
        )
        texts = [_text(int(one), self._names) for one in values.tolist()]
        found, is_over = np.empty(len(key), np.int64), np.zeros(len(key), bool)
        for k in np.argsort(first).tolist():
            found[k], is_over[k] = self._number_of(int(batch.model[event[first[k]]]), texts[code[first[k]]])
        segment[event] = found[which]
        tally["segments_overflow",] += int(np.count_nonzero(is_over[which]))
        return segment

    def name_of(self, model: str, segment: int) -> str:
        """The name of a model's segment, such as `depot=north`."""
        return list(self._known[model])[segment - 1]

    def dump(self) -> dict[str, list[str]]:
        """The names of the segments of each model, as JSON-able data."""
        return {model: list(known) for model, known in self._known.items()}

    def load(self, dumped: Mapping[str, Sequence[str]]) -> None:
        self._known = {model: {name: i + 1 for i, name in enumerate(names)} for model, names in dumped.items()}
        self._name_columns()

    def _number_of(self, model: int, value: str) -> tuple[int, bool]:
        """The number of the segment of this value, new at first sight; and whether the model has too many."""
        settings = self._of_model[model]
        assert settings is not None  # noqa: S101 -- only events of models with segments come here
        known = self._known.setdefault(self._names.models.names[model], {})
        name, others = f"{settings.by}={value}", f"{settings.by}={OTHERS}"
        is_over = name not in known and name != others and len(known) - (others in known) >= settings.segments_max
        name = others if is_over else name
        if name not in known and len(known) > SEGMENTS_MAX:  # under settings that have changed over and over
            return WHOLE, True
        return known.setdefault(name, len(known) + 1), is_over


def _values(number: F64, category: NDArray[np.int32]) -> F64:
    """The ids of texts and whole numbers as categories; -1 for other values. `7` and `"7"` are one."""
    scale = np.where(category <= TEXT_NUMBER, TEXT_NUMBER - 1 - category, 0).astype(np.int32)
    is_whole = (category == NUMBER) & (np.abs(number) < NUMBERS_END) & (number == np.rint(number))
    found = decimal_ids(np.where(is_whole | (category <= TEXT_NUMBER), number, np.nan), scale)
    return np.where(category >= 0, category.astype(np.float64), found)


def _text(category: int, names: Names) -> str:
    return decimal_name(category) or names.categories.names[category]
