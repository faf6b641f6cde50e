"""Labels that join no prediction: their producer uses other ids, other names of models, or other partitions.

Labels of a topic are judged in blocks. A block is bad if most of its labels are of models that have had no prediction
on the partition, or if nearly none has joined although predictions have come for longer than the time-out of labels.
Two bad blocks in a row raise one alert, until a block is good again. A label that waits for a prediction behind it
counts for the block in which that comes, so labels that are always early do not make a second bad block.

This is no monitor: it counts the labels of all models together, those that are evicted later among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from detectors.arrays.types import I64
from detectors.series.offsets import OffsetMark
from retrain.messages.alert import AlertKind
from streamer.detect.alarm import Alarm
from streamer.detect.batch import Batch
from streamer.detect.context import Context
from streamer.detect.remap import Array, Arrays
from streamer.detect.settings import TOPICS_MAX
from streamer.events import EventKind

LABELS: Final = "labels"  # the detector
COLUMN: Final = "(labels)"
BLOCK: Final = 500  # labels
BLOCKS: Final = 2  # bad ones in a row that raise an alert
STRANGE_MIN: Final = 0.5  # share of labels whose model has had no prediction ...
JOINED_MAX: Final = 0.05  # ... or share of those that joined, that make a block bad
NO_PREDICTIONS, OTHER_IDS = "no_predictions", "other_ids"  # the causes, as alerts name them
NONE: Final = -1

LABELLED, JOINED, STRANGE, BAD, REPORTED, OFFSET, TIME, COLUMNS = range(8)  # columns of _topics


class LabelMismatch:
    """How the labels of each topic of a fold unit join."""

    def __init__(self, context: Context) -> None:
        self._is_on = context.settings.labels.watch_mismatch
        self._timeout_ms = int(context.settings.labels.timeout_s * 1000)
        self._topics = np.zeros((TOPICS_MAX, COLUMNS), np.int64)
        self._begun = np.full(1, NONE, np.int64)  # event time of the unit's first prediction
        self._names = context.names.models
        self._topic_names = context.topics

    def alarms(self, batch: Batch) -> list[Alarm]:
        """Count the labels of a batch; the alarms of topics whose labels do not join, in order of events."""
        kind, labels = batch.events.kind, batch.labels
        is_made = (kind & EventKind.PREDICTION) != 0
        late = np.flatnonzero(~is_made & ((kind & EventKind.LABEL) != 0))
        first = int(np.argmax(is_made)) if is_made.any() else len(kind)
        if not self._is_on or (not len(late) and not len(labels.labelled.event)):
            self._begin(batch, first)
            return []
        known_ms, joined = int(self._begun[0]), labels.labelled.topic
        self._begin(batch, first)
        found = list[Alarm]()
        for rank in np.union1d(batch.topic[late], joined[joined >= 0]).tolist():
            mine = late[batch.topic[late] == rank]
            pairs = np.unique(labels.labelled.event[joined == rank])
            strange = labels.strange[batch.topic[labels.strange] == rank]
            for event, counts in self._blocks(batch, rank, mine, pairs, strange):
                begun_ms = known_ms if known_ms != NONE else int(self._begun[0]) if first < event else NONE
                found += self._judge(batch, rank, event, counts, begun_ms)
        return sorted(found, key=lambda alarm: alarm.event)

    def dump(self) -> Arrays:
        """The counts of each topic, and when predictions began."""
        return {"topics": self._topics, "begun": self._begun}

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Restore what was dumped."""
        self._topics, self._begun = arrays["topics"].copy(), arrays["begun"].copy()

    def _begin(self, batch: Batch, first: int) -> None:
        if self._begun[0] == NONE and first < len(batch.events):
            self._begun[0] = batch.events.event_time_ms[first]

    def _blocks(
        self, batch: Batch, rank: int, mine: I64, pairs: I64, strange: I64
    ) -> Iterator[tuple[int, tuple[int, int]]]:
        """The last event of each block that is complete, with how many joined and how many have a strange model.

        What is left is stored for the next block.
        """
        state, before = self._topics[rank], NONE
        for k in range(BLOCK - 1 - int(state[LABELLED]), len(mine), BLOCK):
            event = int(mine[k])
            self._start(batch, rank, mine, before)
            yield (
                event,
                (
                    int(state[JOINED]) + _between(pairs, before, event),
                    int(state[STRANGE]) + _between(strange, before, event),
                ),
            )
            state[LABELLED] = state[JOINED] = state[STRANGE] = 0
            before = event
        self._start(batch, rank, mine, before)
        state[LABELLED] += _between(mine, before, len(batch.events))
        state[JOINED] += _between(pairs, before, len(batch.events))
        state[STRANGE] += _between(strange, before, len(batch.events))

    def _start(self, batch: Batch, rank: int, mine: I64, before: int) -> None:
        """Store where a block begins, unless it has begun, or belongs to a bad one before it."""
        state, after = self._topics[rank], mine[mine > before]
        if not state[LABELLED] and not state[BAD] and len(after):
            state[OFFSET], state[TIME] = batch.events.offset[after[0]], batch.events.event_time_ms[after[0]]

    def _judge(self, batch: Batch, rank: int, event: int, counts: tuple[int, int], begun_ms: int) -> Iterator[Alarm]:
        state, (joined, strange) = self._topics[rank], counts
        is_old = begun_ms != NONE and batch.events.event_time_ms[event] - begun_ms >= self._timeout_ms
        cause = NO_PREDICTIONS if strange >= STRANGE_MIN * BLOCK else ""
        if not cause and is_old and joined < JOINED_MAX * BLOCK:
            cause = OTHER_IDS
        if not cause:
            state[BAD] = state[REPORTED] = 0
            return
        state[BAD] += 1
        if state[BAD] >= BLOCKS and not state[REPORTED]:
            state[REPORTED] = 1
            yield self._alarm(batch, rank, event, joined / BLOCK, cause)

    def _alarm(self, batch: Batch, rank: int, event: int, share: float, cause: str) -> Alarm:
        facts: dict[str, Any] = {
            "model_id": self._names.names[batch.events.model[event]],
            "model_version": "",
            "column": COLUMN,
            "detector": LABELS,
            "statistic": 1.0 - min(share, 1.0),
            "threshold": STRANGE_MIN if cause == NO_PREDICTIONS else 1.0 - JOINED_MAX,
            "effect": 1.0 - min(share, 1.0),
            "effect_unit": "rate",
            "before": 1.0,
            "after": min(share, 1.0),
            "n_reference": 0,
            "n_current": BLOCK * BLOCKS,
            "kind": AlertKind.LABEL_MISMATCH,
            "category": cause,
        }
        began = OffsetMark(0, int(self._topics[rank, OFFSET]), int(self._topics[rank, TIME]))
        topic = self._topic_names.names[rank]
        return Alarm(event, (rank, LABELS), -1, topic, 0, facts, becomes_ready=False, began=began)


def _between(events: I64, after: int, until: int) -> int:
    """How many of these events, in order, come after one and not after another."""
    return int(np.searchsorted(events, until, "right") - np.searchsorted(events, after, "right"))
