"""The events of a request's windows in the order of the service: decoded, merged by record time, joined with labels.

    stretches of topic-partitions ─► codecs ─► events of the model ─► one order ─► pairs, without repeats ─► rows

Order, pairs, repeats and the label join are those of the detect fold, so a row has the label that the service joined.
Events are numbered in that order, which is the same at each reading. So the labels of a first reading fit the rows of a
second one, and no row has to wait in memory for its label.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np

from detectors.arrays.types import F64, I64, Bools
from streamer.codecs.base import Codec
from streamer.codecs.class_labels import CLASS_BYTES, QUIET_NAN
from streamer.contracts.event_clock import EventClock
from streamer.detect.intake import DecodedChunk, Pairing
from streamer.detect.label_join import LabelJoin
from streamer.detect.repeats import Repeats
from streamer.detect.settings import ErrorKind, LabelSettings, Limits
from streamer.eventlog.base import Records
from streamer.events import EventBatch, EventKind, Names, NameTable
from streamer.runtime.fold import Tally
from streamer.runtime.order import merged

Spot = tuple[str, int]  # topic and partition
SPOT_DONE: Final = np.iinfo(np.int64).max  # the time reached by a partition of which no more comes
CLASS_MASK: Final = (1 << (8 * CLASS_BYTES)) - 1


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets [start, end) of one topic-partition. Rows are made of the predictions or source events in it."""

    start: int
    end: int
    gives_rows: bool
    history: bool = False  # from before the drift


class OrderedEvents(NamedTuple):
    """`n` events of the model in order."""

    batch: EventBatch
    spot: I64  # [n] index of the topic-partition
    clock_ms: I64  # [n] event time of the whole stretch after each event


class EventOrder:
    """Merges the events of one model, and of its sources, from several topic-partitions by record time."""

    def __init__(
        self, spots: Sequence[Spot], codecs: Mapping[str, Codec], owners: Collection[str], limits: Limits, names: Names
    ) -> None:
        self.names, self._limits = names, limits
        self._owners = {*owners}
        self._index = {spot: i for i, spot in enumerate(spots)}
        self._codecs = codecs
        self._kept = np.zeros(0, bool)  # by model id: whether it is one of `owners`
        self._waiting: list[deque[tuple[EventBatch, I64]]] = [deque() for _ in spots]
        self._reached = np.full(len(spots), -1, np.int64)  # record time of each, as a running maximum
        table = NameTable(len(spots))
        for topic, partition in spots:
            table.id_of(f"{topic}[{partition}]")
        self._pairing = Pairing({f"{t}[{p}]": codecs[t] for t, p in spots}, table)
        self._clock, self._repeats = EventClock(), Repeats(limits.repeats_max)
        self.dead_letters = 0

    def add(self, records: Records) -> None:
        """Take a stretch in; each topic-partition comes in offset order."""
        i = self._index[records.topic, records.partition]
        batch, dead = self._codecs[records.topic].decode(records, self.names)
        self.dead_letters += len(dead)
        times = np.maximum.accumulate(np.concatenate([self._reached[i : i + 1], records.timestamp_ms]))[1:]
        if len(times):
            self._reached[i] = times[-1]
        batch_times = times[np.searchsorted(records.offset, batch.offset)]
        keep = self._of_owners(batch)
        if keep.any():
            self._waiting[i].append((batch.only(keep), batch_times[keep]))

    def finish(self, spot: Spot) -> None:
        """No more of this topic-partition comes."""
        self._reached[self._index[spot]] = SPOT_DONE

    def waiting(self, spot: Spot) -> int:
        """How many events of this topic-partition wait for the others."""
        return sum(len(batch) for batch, _ in self._waiting[self._index[spot]])

    def ready(self) -> Iterator[OrderedEvents]:
        """The events whose place in the order is certain."""
        taken = [self._taken(queue, int(self._reached.min())) for queue in self._waiting]
        batches = [(i, batch, times) for i, one in enumerate(taken) for batch, times in one]
        if batches:
            yield from self._ordered(batches)

    def rest(self) -> Iterator[OrderedEvents]:
        """After the end: halves whose other half has not come."""
        batch, spot = self._pairing.held()
        if batch is not None and len(batch):
            yield OrderedEvents(batch, spot, np.full(len(batch), self._clock.now_ms))

    def _taken(self, queue: deque[tuple[EventBatch, I64]], before: int) -> list[tuple[EventBatch, I64]]:
        found = []
        while queue and queue[0][1][0] < before:
            batch, times = queue.popleft()
            n = int(np.searchsorted(times, before))
            if n < len(times):
                mask = np.arange(len(times)) < n
                queue.appendleft((batch.only(~mask), times[n:]))
                batch, times = batch.only(mask), times[:n]
            found.append((batch, times))
        return found

    def _ordered(self, parts: list[tuple[int, EventBatch, I64]]) -> Iterator[OrderedEvents]:
        times = np.concatenate([times for _, _, times in parts])
        spots = np.repeat([i for i, _, _ in parts], [len(batch) for _, batch, _ in parts])
        order = np.lexsort((np.arange(len(times)), spots, times))
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        edges = np.cumsum([len(batch) for _, batch, _ in parts])[:-1]
        events, _ = merged([batch for _, batch, _ in parts], np.split(place, edges))
        spot = spots[order].astype(np.int64)
        repeated = self._repeats.of(events, spot)
        events, spot = events.only(~repeated), spot[~repeated]
        clock_ms = self._clock.advance(events.model, events.event_time_ms)
        chunk = DecodedChunk(events, spot, np.arange(len(events)), -1, clock_ms, (), [])
        paired = self._pairing.joined(chunk, Tally())
        if len(paired.events):
            yield OrderedEvents(paired.events, paired.topic, paired.clock_ms)

    def _of_owners(self, batch: EventBatch) -> Bools:
        new = self.names.models.names[len(self._kept) :]
        if new:
            self._kept = np.concatenate([self._kept, np.array([name in self._owners for name in new])])
        found: Bools = self._kept[batch.model]
        return found


class RowLabels:
    """The label of each row, by the label join of the service: 24 bytes a row, and 200 for one that waits."""

    def __init__(self, settings: LabelSettings, error: ErrorKind) -> None:
        self._join = LabelJoin(replace(settings, error=ErrorKind.ABSOLUTE, errors={}))
        self._error = error
        self._rows = 0
        self._labels = 0
        self._values: list[F64] = []
        self._times: list[I64] = []
        self._matches: list[tuple[I64, F64]] = []

    def add(self, events: OrderedEvents, is_row: Bools, is_label: Bools) -> None:
        """Take events in order: those that are rows, and those that are labels.

        The join gives an error, and no label. So it gets the number of the label as the label, and 0 as each
        prediction: their absolute difference is the number.
        """
        batch = events.batch
        usable = self._usable(batch.prediction, batch.label)
        number = self._labels + np.cumsum(is_label) - 1
        kind = np.where(is_row, batch.kind & ~np.uint8(EventKind.LABEL), 0) | np.where(is_label, EventKind.LABEL, 0)
        asked = replace(
            batch,
            kind=kind.astype(np.uint8),
            prediction=np.where(usable[0], 0.0, np.nan),
            label=np.where(is_label & usable[1], number.astype(np.float64), np.nan),
        )
        row = self._rows + np.cumsum(is_row) - 1
        subjects = batch.version.astype(np.int64) + 1
        found = self._join.join(
            asked, subjects, row, [""] * (int(batch.model.max(initial=0)) + 1), None, events.clock_ms
        )
        self._matches.append((found.sequence, found.error))
        self._values.append(batch.label[is_label])
        self._times.append(batch.event_time_ms[is_label])
        self._rows += int(is_row.sum())
        self._labels += int(is_label.sum())

    def _usable(self, prediction: F64, label: F64) -> tuple[Bools, Bools]:
        """Which predictions and which labels can give an error of the model's kind."""
        if self._error is ErrorKind.ZERO_ONE:
            return ~np.isnan(prediction) | are_classes(prediction), ~np.isnan(label) | are_classes(label)
        if self._error is ErrorKind.LOG_LOSS:
            return (prediction >= 0) & (prediction <= 1), (label == 0) | (label == 1)
        return ~np.isnan(prediction), ~np.isnan(label)

    def found(self) -> tuple[F64, I64]:
        """The label of each row [rows], NaN without one, and its event time in ms, -1 without one."""
        label, time_ms = np.full(self._rows, np.nan), np.full(self._rows, -1, np.int64)
        if self._matches:
            row = np.concatenate([rows for rows, _ in self._matches])
            number = np.concatenate([numbers for _, numbers in self._matches]).astype(np.int64)
            label[row] = np.concatenate(self._values)[number]
            time_ms[row] = np.concatenate(self._times)[number]
        return label, time_ms


def are_classes(values: F64) -> Bools:
    """Which values are NaNs that stand for names of classes."""
    bits = values.view(np.uint64)
    found: Bools = np.isnan(values) & (bits > QUIET_NAN) & ((bits & CLASS_MASK) != 0)
    return found


def errors_of(kind: ErrorKind, prediction: F64, label: F64) -> F64:
    """The error of each row [n], as the service computes it; NaN where there is none."""
    if kind is ErrorKind.ZERO_ONE:
        known = (~np.isnan(prediction) | are_classes(prediction)) & (~np.isnan(label) | are_classes(label))
        is_class = are_classes(prediction) | are_classes(label)
        same = np.where(is_class, prediction.view(np.uint64) == label.view(np.uint64), prediction == label)
        return np.where(known, np.where(same, 0.0, 1.0), np.nan)
    if kind is ErrorKind.LOG_LOSS:
        of_label = np.where(label == 1, prediction, 1 - prediction)
        return np.where(np.isnan(label) | np.isnan(prediction), np.nan, -np.log(np.maximum(of_label, 1e-15)))
    off = np.abs(label - prediction)
    return off * off if kind is ErrorKind.SQUARED else off


def row_masks(events: OrderedEvents, spans: Sequence[Sequence[Span]]) -> tuple[Bools, Bools, Bools]:
    """Which events [n] are rows, which carry a label of the windows, and which rows are history.

    `spans` are those of each topic-partition, by its index.
    """
    batch, n = events.batch, len(events.batch)
    rows, labels, history, current = (np.zeros(n, bool) for _ in range(4))
    for i, of_spot in enumerate(spans):
        mine = events.spot == i
        for span in of_spot:
            inside = mine & (batch.offset >= span.start) & (batch.offset < span.end)
            labels |= inside
            rows |= inside & span.gives_rows
            if span.gives_rows:  # a record of both holds the onset
                (history if span.history else current)[inside] = True
    is_row = rows & ((batch.kind & (EventKind.PREDICTION | EventKind.SOURCE)) != 0)
    return is_row, labels & ((batch.kind & EventKind.LABEL) != 0), history & ~current


def ordered(feed: Iterable[Records | Spot], order: EventOrder) -> Iterator[OrderedEvents]:
    """The events of a feed, which names a topic-partition once it is read to its end."""
    for one in feed:
        if isinstance(one, Records):
            order.add(one)
        else:
            order.finish(one)
        yield from order.ready()
    yield from order.rest()
