"""The content of many events as columns, before names become ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, Self

import numpy as np
from msgspec import UnsetType
from numpy.typing import NDArray

from detectors.arrays.types import I64, Bools
from streamer.codecs.event import Event
from streamer.codecs.values import chosen
from streamer.events import EventKind


@dataclass(frozen=True, slots=True)
class EventColumns:
    """The content of `n` events, before names become ids. "" stands for an absent name."""

    events: Sequence[Event]  # [n]
    owner: Sequence[str]  # [n] the model, or `source:<name>`
    version: Sequence[str]  # [n]
    prediction_id: Sequence[str]  # [n]
    features: Sequence[dict[str, Any]]  # [n]
    kind: NDArray[np.uint8]  # [n] 0: nothing to watch
    predicted: Bools  # [n]
    size: I64  # [n] number of values

    @classmethod
    def of(cls, events: Sequence[Event]) -> Self:
        """The columns of parsed events. An event is a prediction or of a source, and may carry a label."""
        owner, is_source = _owners(events)
        features = [event.features or {} for event in events]
        widths = np.fromiter(map(len, features), np.int64, len(events))
        predictions = [event.prediction for event in events]
        # A null prediction is a missing value beside features; alone, it is what typed producers put in a label event.
        predicted = ~is_source & ~_are(predictions, UnsetType) & (~_are(predictions, NoneType) | (widths > 0))
        labelled = ~is_source & ~_are([event.label for event in events], NoneType)
        size = widths + predicted
        carries = np.where(is_source, EventKind.SOURCE, EventKind.PREDICTION)
        kind = np.where(size > 0, carries, 0) | np.where(labelled, EventKind.LABEL, 0)
        versions = _texts([event.model_version for event in events])
        ids = _texts([event.prediction_id for event in events])
        return cls(events, owner, versions, ids, features, kind.astype(np.uint8), predicted, size)

    def only(self, keep: Bools) -> Self:
        """The events where `keep` is true."""
        return type(self)(
            chosen(self.events, keep),
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


def _owners(events: Sequence[Event]) -> tuple[Sequence[str], Bools]:
    """The owner of each event, "" for none, and whether it is a source. The model precedes the source."""
    owners: list[Any] = [event.model_id for event in events]
    if set(map(type, owners)) <= {str} and "" not in owners:
        return owners, np.zeros(len(events), bool)
    models = _texts(owners)
    sources = _texts([event.source for event in events])
    is_source = np.fromiter((not m and bool(s) for m, s in zip(models, sources, strict=True)), bool, len(events))
    return [m or (s and f"source:{s}") for m, s in zip(models, sources, strict=True)], is_source


def _are(values: Sequence[Any], kind: type) -> Bools:
    """A mask of the values of exactly this type."""
    if kind not in set(map(type, values)):
        return np.zeros(len(values), bool)
    return np.fromiter((type(value) is kind for value in values), bool, len(values))


def _texts(values: Sequence[Any]) -> Sequence[str]:
    """Identifiers as text; "" for null."""
    if set(map(type, values)) <= {str}:
        return values
    return [value if isinstance(value, str) else "" if value is None else str(value) for value in values]
