"""Subjects: one version of one model, or one source, or a segment of either, on one topic; as ids and as names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from detectors.arrays.types import I64
from detectors.series.id_table import IdTable
from streamer.detect.references.table import Key
from streamer.detect.remap import Remaps
from streamer.detect.segments import WHOLE, Segments
from streamer.events import EventBatch, EventKind, Names, NameTable

# A subject's key: rank of the topic (8 bits), version (24), model (23), segment (8).
MODEL_MASK: Final = (1 << 23) - 1
VERSION_MASK: Final = 0xFFFFFF
SEGMENT_BIT: Final = 55
SUBJECTS_WITHOUT_SEGMENTS: Final = 4
SUBJECTS_PER_MODEL: Final = 64  # on average, where models have segments


class Subjects:
    """The subjects of a fold unit, with ids in order of first sight."""

    def __init__(self, models_max: int, names: Names, topics: NameTable, segments: Segments) -> None:
        self.ids = IdTable(models_max * (SUBJECTS_PER_MODEL if segments else SUBJECTS_WITHOUT_SEGMENTS))
        self._segments = segments
        self._names = names
        self._topics = topics

    def of(self, batch: EventBatch, rank: I64, segment: I64 | None = None) -> I64:
        """The subjects of each event [n, 1], on topics of these ranks; -1 for labels, which count for none.

        With segments, [n, 2]: the whole model, and the segment; -1 without one.
        """
        of_model = (batch.kind & (EventKind.PREDICTION | EventKind.SOURCE)) != 0
        model, version = batch.model.astype(np.int64), batch.version.astype(np.int64) + 1
        key = model << 32 | version << 8 | rank
        keys, counts = key[:, None], of_model[:, None]
        if segment is not None:
            keys = np.column_stack([key, key | segment << SEGMENT_BIT])
            counts = np.column_stack([of_model, of_model & (segment != WHOLE)])
        subjects = np.full(keys.shape, -1, np.int64)
        subjects[counts] = self.ids.add(keys[counts])
        return subjects

    def load(self, keys: I64) -> None:
        """Restore the table of these keys, also if other settings allowed more of them."""
        self.ids.limit = max(self.ids.limit, len(keys))
        self.ids.load(keys)

    def name_of(self, subject: int, column: int) -> Key:
        """Model, version ("" if events name none) and column: the key of training data.

        The model of a segment has a name of its own, such as `bus-12/depot=north`.
        """
        model, segment = self.model_and_segment(subject)
        whose = f"{model}/{segment}" if segment else model
        return whose, self.version_of(subject), self.column(column)

    def version_of(self, subject: int) -> str:
        """The version of the subject's model, "" if its events name none."""
        version = (self.ids.key_of(subject) >> 8 & VERSION_MASK) - 1
        return self._names.versions.names[version] if version >= 0 else ""

    def model_and_segment(self, subject: int) -> tuple[str, str]:
        """The model, or `source:<name>`, and the name of its segment; "" for the whole."""
        model, segment = self._names.models.names[self.model_of(subject)], self.ids.key_of(subject) >> SEGMENT_BIT
        return model, "" if segment == WHOLE else self._segments.name_of(model, segment)

    def model_of(self, subject: int) -> int:
        """The id of the subject's model."""
        return self.ids.key_of(subject) >> 32 & MODEL_MASK

    def column(self, column: int) -> str:
        """The name of a column."""
        return self._names.columns.names[column]

    def topic_of(self, subject: int) -> str:
        """The topic of the subject."""
        return self._topics.names[self.ids.key_of(subject) & 0xFF]

    def models(self, but_last: int) -> Iterator[str]:
        """The models and sources of all subjects but the last so many, in order of first sight."""
        of_subjects = model_ids(self.ids.keys[: len(self.ids) - but_last])
        models, first = np.unique(of_subjects, return_index=True)
        return (self._names.models.names[model] for model in models[np.argsort(first)].tolist())

    def of_model(self, model: str) -> Iterator[int]:
        """All subjects of a model, or of `source:<name>`."""
        known = self._names.models.ids.get(model)
        if known is not None:
            yield from np.flatnonzero(model_ids(self.ids.keys) == known).tolist()

    def whole_of_model(self, model: str) -> Iterator[int]:
        """The subjects of a model, or of `source:<name>`, that are no segments."""
        return (one for one in self.of_model(model) if self.ids.key_of(one) >> SEGMENT_BIT == WHOLE)


def model_ids(keys: I64) -> I64:
    """The id of the model in each key."""
    return keys >> 32 & MODEL_MASK


def version_ids(keys: I64) -> I64:
    """The id of the version in each key; -1 for none."""
    return (keys >> 8 & VERSION_MASK) - 1


def segment_ids(keys: I64) -> I64:
    """The number of the segment in each key; `WHOLE` for none."""
    return keys >> SEGMENT_BIT


def topic_ranks(keys: I64) -> I64:
    """The rank of the topic in each key."""
    return keys & 0xFF


def remap_subjects(keys: I64, remaps: Remaps) -> I64:
    """The keys of the subjects that survive an eviction, with their new models and versions."""
    keys = keys[remaps.subjects.kept]
    model, version = remaps.models.new(model_ids(keys)), remaps.versions.new(version_ids(keys)) + 1
    return keys & ~(MODEL_MASK << 32 | VERSION_MASK << 8) | model << 32 | version << 8
