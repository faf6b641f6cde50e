"""Subjects: one version of one model, or one source, as seen on one topic; as numbers, and as their names."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from detectors.ids import IdTable
from streamer.events import EventBatch, Kind, Names, NameTable
from streamer.references import Key

I64 = NDArray[np.int64]


class Subjects:
    """The subjects of a fold unit, numbered in order of first sight."""

    def __init__(self, limit: int, names: Names, topics: NameTable) -> None:
        self.ids = IdTable(limit)
        self._names = names
        self._topics = topics

    def of(self, batch: EventBatch, rank: I64) -> I64:
        """Each event's subject, of events on topics of these ranks; -1 for labels, no events of its life."""
        of_model = (batch.kind & (Kind.PREDICTION | Kind.SOURCE)) != 0
        model, version = batch.model.astype(np.int64), batch.version.astype(np.int64) + 1
        key = model << 32 | version << 8 | rank
        subjects = np.full(len(batch), -1, np.int64)
        subjects[of_model] = self.ids.lookup(key[of_model])
        return subjects

    def name_of(self, subject: int, column: int) -> Key:
        """Model, version ("" where events name none) and column."""
        key = self.ids.key_of(subject)
        version = (key >> 8 & 0xFFFFFF) - 1
        names = self._names
        return names.models.names[key >> 32], names.versions.names[version] if version >= 0 else "", self.column(column)

    def column(self, column: int) -> str:
        """The name of a column."""
        return self._names.columns.names[column]

    def topic_of(self, subject: int) -> str:
        """The topic on which the subject is seen."""
        return self._topics.names[self.ids.key_of(subject) & 0xFF]

    def models(self, but_last: int) -> Iterator[str]:
        """The models and sources of all subjects but the last so many, in order of first sight."""
        of_subjects = self.ids.keys[: len(self.ids) - but_last] >> 32
        models, first = np.unique(of_subjects, return_index=True)
        return (self._names.models.names[model] for model in models[np.argsort(first)].tolist())

    def of_model(self, model: str) -> Iterator[int]:
        """All subjects of a model, or of `source:<name>`."""
        known = self._names.models.ids.get(model)
        if known is not None:
            yield from np.flatnonzero(self.ids.keys >> 32 == known).tolist()
