"""The content of many events as columns, before names become ids, with their places in records; and join hashes.

The join hash is MurmurHash64A (A. Appleby, 2008, public domain) over the id's UTF-8 bytes, seeded with BLAKE2b-64 of
the model's name. It is the same in every process. All ids of one length are hashed at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from itertools import chain
from math import nan
from types import NoneType
from typing import Any, Self

import numpy as np
from msgspec import UnsetType
from numpy.typing import NDArray

from detectors.arrays.byte_matrix import by_length
from detectors.arrays.types import I32, I64, U8, U64, Bools
from streamer.codecs.event import NOT_SO, Event, Spellings
from streamer.codecs.values import chosen
from streamer.events import EventKind

_M = np.uint64(0xC6A4A7935BD1E995)
_R = np.uint64(47)
_MURMUR_BYTES_MAX = 256  # longer ids are rare, and BLAKE2b is faster for a single text


@dataclass(frozen=True, slots=True)
class EventLists:
    """The fields of `n` events, each as one sequence [n]; see `Event` for what they hold."""

    model_id: Sequence[Any]
    model_version: Sequence[Any]
    prediction_id: Sequence[Any]
    event_time: Sequence[Any]
    features: Sequence[dict[str, Any] | None]
    prediction: Sequence[Any]
    label: Sequence[Any]
    source: Sequence[Any]

    @classmethod
    def of(cls, events: Sequence[Event]) -> Self:
        """The fields of parsed events. Sources are left out where all events name a model, which goes before."""
        models = [event.model_id for event in events]
        return cls(
            models,
            [event.model_version for event in events],
            [event.prediction_id for event in events],
            [event.event_time for event in events],
            [event.features for event in events],
            [event.prediction for event in events],
            [event.label for event in events],
            [] if all(models) else [event.source for event in events],
        )

    def __len__(self) -> int:
        return len(self.model_id)


Parsed = Event | list[Event]  # what one record holds: an event, or rows of events, of which there is at least one


@dataclass(frozen=True, slots=True)
class Rows:
    """`n` events with their places: event `i` is row `row[i]` of record `index[i]`."""

    index: I64  # [n] in order of records
    row: I32  # [n]
    events: EventLists  # [n]
    is_one_of_several: Bools  # [n]

    @classmethod
    def of(cls, index: I64, parsed: Sequence[Parsed]) -> Self:
        """The events of records at `index`, each with what it holds."""
        n = len(index)
        if list not in set(map(type, parsed)):
            return cls.single(index, EventLists.of(parsed))  # type: ignore[arg-type]
        width = np.fromiter((len(one) if isinstance(one, list) else 1 for one in parsed), np.int64, n)
        events = list(chain.from_iterable(one if isinstance(one, list) else [one] for one in parsed))
        return cls.several(index, width, EventLists.of(events))

    @classmethod
    def several(cls, index: I64, width: I64, events: EventLists) -> Self:
        """Events of which record `i` holds `width[i]`."""
        first = np.repeat(np.cumsum(width) - width, width)
        row = (np.arange(len(first)) - first).astype(np.int32)
        return cls(np.repeat(index, width), row, events, np.repeat(width > 1, width))

    @classmethod
    def single(cls, index: I64, events: EventLists) -> Self:
        """Events that are one a record."""
        n = len(index)
        return cls(index, np.zeros(n, np.int32), events, np.zeros(n, bool))

    def spelt(self, spellings: Spellings) -> Self:
        """The same with numbers for texts. A label that is a number, but written otherwise, is a missing one."""
        events = replace(
            self.events,
            features=list(map(spellings.features, self.events.features)),
            prediction=[spellings.value("prediction", one) for one in self.events.prediction],
            label=[nan if (read := spellings.value("label", one)) is NOT_SO else read for one in self.events.label],
        )
        return replace(self, events=events)

    def named(self, i: int, detail: str) -> str:
        """A message about event `i`, with its row where its record has several."""
        return f"row {self.row[i]}: {detail}" if self.is_one_of_several[i] else detail

    def of_record(self, index: int) -> range:
        """The events of a record."""
        first, last = np.searchsorted(self.index, (index, index + 1)).tolist()
        return range(first, last)


@dataclass(frozen=True, slots=True)
class EventColumns:
    """The content of `n` events, before names become ids. "" stands for an absent name."""

    prediction: Sequence[Any]  # [n]
    label: Sequence[Any]  # [n]
    owner: Sequence[str]  # [n] the model, or `source:<name>`
    version: Sequence[str]  # [n]
    prediction_id: Sequence[str]  # [n]
    features: Sequence[dict[str, Any]]  # [n]
    kind: NDArray[np.uint8]  # [n] 0: nothing to watch
    predicted: Bools  # [n]
    size: I64  # [n] number of values

    @classmethod
    def of(cls, events: EventLists) -> Self:
        """The columns of events. An event is a prediction or of a source, and may carry a label."""
        owner, is_source = _owners(events)
        features = [one or {} for one in events.features]
        widths = np.fromiter(map(len, features), np.int64, len(events))
        predictions = events.prediction
        # A null prediction is a missing value beside features; alone, it is what typed producers put in a label event.
        predicted = ~is_source & ~_are(predictions, UnsetType) & (~_are(predictions, NoneType) | (widths > 0))
        labelled = ~is_source & ~_are(events.label, NoneType)
        size = widths + predicted
        carries = np.where(is_source, EventKind.SOURCE, EventKind.PREDICTION)
        kind = np.where(size > 0, carries, 0) | np.where(labelled, EventKind.LABEL, 0)
        versions, ids = _texts(events.model_version), _texts(events.prediction_id)
        return cls(predictions, events.label, owner, versions, ids, features, kind.astype(np.uint8), predicted, size)

    def only(self, keep: Bools) -> Self:
        """The events where `keep` is true."""
        return type(self)(
            chosen(self.prediction, keep),
            chosen(self.label, keep),
            chosen(self.owner, keep),
            chosen(self.version, keep),
            chosen(self.prediction_id, keep),
            chosen(self.features, keep),
            self.kind[keep],
            self.predicted[keep],
            self.size[keep],
        )


def are_empty(texts: Sequence[str]) -> Bools:
    """A mask of the texts that are "", which stands for an absent name."""
    if "" not in texts:
        return np.zeros(len(texts), bool)
    return np.fromiter((not text for text in texts), bool, len(texts))


def _owners(events: EventLists) -> tuple[Sequence[str], Bools]:
    """The owner of each event, "" for none, and whether it is a source. The model precedes the source."""
    owners = events.model_id
    if set(map(type, owners)) <= {str} and "" not in owners:
        return owners, np.zeros(len(events), bool)
    models = _texts(owners)
    sources = _texts(events.source) or [""] * len(models)
    is_source = np.fromiter((not m and bool(s) for m, s in zip(models, sources, strict=True)), bool, len(events))
    return [m or (s and f"source:{s}") for m, s in zip(models, sources, strict=True)], is_source


def _are(values: Sequence[Any], kind: type) -> Bools:
    """A mask of the values of exactly this type."""
    if kind not in set(map(type, values)):
        return np.zeros(len(values), bool)
    return np.fromiter((type(value) is kind for value in values), bool, len(values))


def _texts(values: Sequence[Any]) -> Sequence[str]:
    """Identifiers as text; "" for null."""
    kinds = set(map(type, values))
    if kinds <= {str}:
        return values
    if kinds == {NoneType}:
        return [""] * len(values)
    return [value if isinstance(value, str) else "" if value is None else str(value) for value in values]


def join_ids(models: Sequence[str], prediction_ids: Sequence[str]) -> U64:
    """A hash for each pair, never 0. Equal pairs have equal hashes."""
    return _hashes(by_length(prediction_ids), seeds_of(models))


def join_ids_at(data: U8, start: I64, end: I64, seeds: U64) -> U64:
    """The same of the ids at these places of bytes that are UTF-8."""
    return _hashes(_by_length_at(data, start, end), seeds)


def seeds_of(models: Sequence[str]) -> U64:
    """What the hashes of the ids of each model begin with."""
    return np.fromiter(map(_seed, models), np.uint64, len(models))


def _by_length_at(data: U8, start: I64, end: I64) -> Iterator[tuple[I64, U8]]:
    """What `by_length` gives of texts at these places."""
    size = end - start
    for one in np.unique(size).tolist():
        index = np.flatnonzero(size == one)
        yield index, data[start[index, None] + np.arange(one)]


def _hashes(groups: Iterable[tuple[I64, U8]], seeds: U64) -> U64:
    out = np.zeros(len(seeds), np.uint64)
    for index, matrix in groups:
        if matrix.shape[1] <= _MURMUR_BYTES_MAX:
            out[index] = _murmur(matrix, seeds[index])
        else:
            out[index] = [_blake(row.tobytes(), int(seed)) for row, seed in zip(matrix, seeds[index], strict=True)]
    out[out == 0] = 1
    return out


@lru_cache(maxsize=65_536)
def _seed(model: str) -> int:
    return _blake(model.encode(), 0)


def _blake(data: bytes, seed: int) -> int:
    return int.from_bytes(blake2b(data, digest_size=8, key=seed.to_bytes(8, "little")).digest(), "little")


def _murmur(text: U8, seed: U64) -> U64:
    """MurmurHash64A of each row of [n, length] bytes."""
    n, length = text.shape
    padded = np.zeros((n, -(-length // 8) * 8), np.uint8)
    padded[:, :length] = text
    words = padded.view("<u8").astype(np.uint64, copy=False)
    h: U64 = seed ^ (np.full(n, length, np.uint64) * _M)
    for i in range(length // 8):
        k = words[:, i] * _M
        k = (k ^ (k >> _R)) * _M
        h = (h ^ k) * _M
    if length % 8:
        h = (h ^ words[:, -1]) * _M
    h = (h ^ (h >> _R)) * _M
    return h ^ (h >> _R)
