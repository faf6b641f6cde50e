"""From records to events: decodes the parts of a chunk, counts them, advances the unit's clock, and joins halves.

Serving stacks log a request, with the features, and a response, with the prediction, as records of their own. In topics
with the setting `pairing`, an event with an id that has features alone, or a prediction alone, waits for the other one.
The pair is one event in the place of the later record, with the time of the request and the version of either. An event
whose other half does not come in time, by the unit's clock, goes on alone; so does the oldest where too many wait.

Each event takes its turn, so how events are cut into chunks never shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from detectors.arrays.types import I64, Bools
from retrain.messages.alert import Alert
from streamer.codecs.base import Codec, DeadLetters, PairSettings, eventless, own_rows
from streamer.contracts.dead_letters import dead_letter
from streamer.contracts.event_clock import EventClock, is_ahead
from streamer.detect.context import Context
from streamer.detect.remap import Array, Arrays, Remaps
from streamer.detect.repeats import Repeats
from streamer.detect.settings import TOPICS_MAX
from streamer.eventlog.base import Output, Records
from streamer.events import MISFIT, PREDICTION_COLUMN, EventBatch, EventKind, NameTable, time_of
from streamer.logs import log_of
from streamer.runtime.fold import Tally
from streamer.runtime.order import OF_EVENT, OF_VALUE, Part, merged
from streamer.runtime.snapshot import nested, unnested

log = log_of("detect")

WHOLE, REQUEST, RESPONSE = 0, 1, 2
NONE = -1


class DecodedChunk(NamedTuple):
    """What the records of a chunk hold: `n` events in the order in which they are folded."""

    events: EventBatch
    topic: I64  # [n] rank of each event's topic
    place: I64  # [n] place of each event's record in the chunk, increasing
    before_ms: int  # the unit's clock before the first event
    clock_ms: I64  # [n] the clock after each event
    batches: Sequence[EventBatch]  # the events of each part, as decoded
    dead_letters: list[tuple[int, Output]]  # with the place of each record
    alerts: Sequence[tuple[int, Alert]] = ()  # on the events themselves, likewise

    def time_at(self, places: Sequence[int]) -> I64:
        """The clock [k] after the events of these places [k]."""
        shown = np.concatenate([[self.before_ms], self.clock_ms])
        return np.asarray(shown[np.searchsorted(self.place, places, "right")], np.int64)


class Intake:
    """Decodes records, and keeps the unit's clock."""

    def __init__(self, context: Context) -> None:
        self.clock = EventClock()
        self.event_times_ms = (1 << 62, -1)  # oldest and newest since this process started; not part of the state
        self.newest_ms = np.full(TOPICS_MAX, NONE, np.int64)  # [rank of the topic] the same, of events not ahead
        self._context = context
        self.repeats = Repeats(context.settings.limits.repeats_max)
        self._has_logged_ahead = False  # once for each process, so not part of the state
        self._has_logged_repeat = False

    def decode(self, parts: Sequence[Part], tally: Tally) -> DecodedChunk:
        """Decode the parts of a chunk; records, events, values and dead letters are counted."""
        settings, dead_letters = self._context.settings, list[tuple[int, Output]]()
        batches, places, before_ms = [], [], self.clock.now_ms
        for part in parts:
            batch, dead = settings.codecs[part.records.topic].decode(part.records, self._context.names)
            tally["eventless", part.records.topic] += eventless(part.records, batch, dead)
            batch = own_rows(part.records, batch)
            dead_letters += self._letters(part, dead, tally)
            count(part.records, batch, tally)
            batches.append(batch)
            places.append(part.at[np.searchsorted(part.records.offset, batch.offset)])
        events, origin = merged(batches, places)
        topic = np.array([self._context.rank_of(part.records.topic) for part in parts])[origin]
        place = np.sort(np.concatenate(places))
        repeated = self.repeats.of(events, topic)
        found = self.repeats.runs.alerts(events, repeated, self._context.topics.names, topic, self._context.names)
        alerts = [(int(place[event]), alert) for event, alert in found]
        if repeated.any():
            self._count_repeats(events, topic, repeated, tally)
            events, topic, place = events.only(~repeated), topic[~repeated], place[~repeated]
        clock_ms = self._advance_clock(events, topic, tally)
        return DecodedChunk(events, topic, place, before_ms, clock_ms, batches, dead_letters, alerts)

    def dump(self) -> Arrays:
        """The clock, and the events that may repeat."""
        return nested("clock", self.clock.dump()) | nested("repeats", self.repeats.dump())

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Restore what was dumped."""
        self.clock.load(unnested("clock", arrays))
        self.repeats.load(unnested("repeats", arrays))

    def remap(self, remaps: Remaps) -> Arrays:
        """What `dump` gives, without what is evicted."""
        models = remaps.models
        clock = EventClock.remap(self.clock.dump(), models.kept, models.place)
        return nested("clock", clock) | nested("repeats", self.repeats.remap(models.kept))

    def succeed(self, other: Intake) -> None:
        """Go on for an intake of the same process whose fold is replaced; the clock is part of the state."""
        self.event_times_ms, self._has_logged_ahead = other.event_times_ms, other._has_logged_ahead
        self.newest_ms = other.newest_ms
        self._has_logged_repeat = other._has_logged_repeat

    def _letters(self, part: Part, dead: DeadLetters, tally: Tally) -> Iterator[tuple[int, Output]]:
        topic = part.records.topic
        for i, reason, detail in zip(dead.index, dead.reason, dead.detail, strict=True):
            tally["dead_letters", topic, reason.value] += 1
            to = self._context.settings.outputs.dead_letters(topic)
            yield int(part.at[i]), dead_letter(part.records, i, reason, detail, to)

    def _count_repeats(self, events: EventBatch, topic: I64, repeated: Bools, tally: Tally) -> None:
        """Count events that repeat others; the first is logged."""
        names = self._context.names.models.names
        for rank, n in zip(*np.unique(topic[repeated], return_counts=True), strict=True):
            tally["repeated_events", self._context.topics.names[rank]] += int(n)
        if not self._has_logged_repeat:
            self._has_logged_repeat, i = True, int(np.flatnonzero(repeated)[0])
            log.warning(
                "%s[%d] at offset %d: an event of %.60r repeats an earlier one. Repeats within limits.repeats_max "
                "events count once. Check the producer for retries. Further ones are only counted",
                self._context.topics.names[topic[i]], events.partition, events.offset[i], names[events.model[i]],
            )  # fmt: skip

    def _advance_clock(self, events: EventBatch, topic: I64, tally: Tally) -> I64:
        """The unit's clock after each event [n]. Events that are ahead of it are counted, and the first is logged."""
        times, (oldest, newest) = events.event_time_ms, self.event_times_ms
        self.event_times_ms = int(times.min(initial=oldest)), int(times.max(initial=newest))
        clock_ms = self.clock.advance(events.model, times)
        is_early = is_ahead(times, clock_ms)
        np.maximum.at(self.newest_ms, topic[~is_early], times[~is_early])
        ahead = np.flatnonzero(is_early)
        for rank, n in zip(*np.unique(topic[ahead], return_counts=True), strict=True):
            tally["ahead", self._context.topics.names[rank]] += int(n)
        if len(ahead) and not self._has_logged_ahead:
            self._has_logged_ahead, i = True, int(ahead[0])
            log.warning(
                "%s[%d] at offset %d: an event of %.60r is dated %s, ahead of %s, the time of its unit. It is folded "
                "and moves no time unless most other models agree. Check the clock of the producer. Further ones are "
                "only counted",
                self._context.topics.names[topic[i]], events.partition, events.offset[i],
                self._context.names.models.names[events.model[i]], time_of(int(times[i])), time_of(int(clock_ms[i])),
            )  # fmt: skip
        return clock_ms


def count(records: Records, batch: EventBatch, tally: Tally) -> None:
    """Count records of a topic, and the events and values they hold."""
    tally["records", records.topic] += len(records)
    tally["events", records.topic] += len(batch)
    tally["values", records.topic] += len(batch.number)
    tally["usable", records.topic] += int(np.count_nonzero(batch.category != MISFIT))
    tally["labelled", records.topic] += int(np.count_nonzero(batch.kind & EventKind.LABEL))
    tally["dropped",] += batch.dropped


class _Waiting(NamedTuple):
    """One half, by its index among the events that wait or come."""

    event: int
    half: int
    deadline_ms: int


class _Turns(NamedTuple):
    """What goes on, in order: each event, with its other half or none, in the place of the event whose turn it is."""

    event: list[int]
    other: list[int]
    at: list[int]
    whole: int  # of them, events that are no halves


class Pairing:
    """The halves that wait for each other, oldest first. About 200 bytes each, and 16 a value."""

    def __init__(self, codecs: Mapping[str, Codec], topics: NameTable) -> None:
        """`topics` are those of the fold, in canonical order."""
        self._codecs, self._topics = codecs, topics
        self._by_topic: dict[int, PairSettings] = {}  # by rank of the topic
        self._known = 0  # topics that `_by_topic` takes in
        self._held: EventBatch | None = None
        self._topic = np.zeros(0, np.int64)
        self._deadline_ms = np.zeros(0, np.int64)

    def joined(self, chunk: DecodedChunk, tally: Tally) -> DecodedChunk:
        """The chunk with pairs for halves, without those that wait now."""
        if self._known != len(self._topics):
            self._by_topic, self._known = _pairing_of(self._codecs, self._topics.names), len(self._topics)
        waiting = len(self)
        if not waiting and not (self._by_topic and np.isin(chunk.topic, list(self._by_topic)).any()):
            return chunk
        events = chunk.events
        if self._held is not None:
            both = [replace(self._held, partition=events.partition), events]
            events, _ = merged(both, [np.arange(waiting), waiting + np.arange(len(events))])
        topic = np.concatenate([self._topic, chunk.topic])
        turns, held = self._turns(events, topic, chunk.clock_ms, waiting)
        out = _joined(events, turns)
        kept = np.array([one.event for one in held], np.int64)
        self._held, self._topic = _taken(events, kept), topic[kept]
        self._deadline_ms = np.array([one.deadline_ms for one in held], np.int64)
        at = np.array(turns.at, np.int64)
        out = replace(out, strangers=chunk.events.strangers, turned_away=chunk.events.turned_away)
        pairs = sum(other != NONE for other in turns.other)
        tally["pairs", "joined"] += pairs
        tally["pairs", "alone"] += len(turns.other) - pairs - turns.whole
        return chunk._replace(
            events=out, topic=topic[np.array(turns.event, np.int64)], place=chunk.place[at], clock_ms=chunk.clock_ms[at]
        )

    def __len__(self) -> int:
        """How many halves wait."""
        return 0 if self._held is None else len(self._held)

    def held(self) -> tuple[EventBatch | None, I64]:
        """The halves that wait, oldest first, and the rank of the topic of each."""
        return self._held, self._topic

    def dump(self) -> Arrays:
        """The halves that wait, oldest first."""
        if self._held is None or not len(self._held):
            return {}
        names = (*OF_EVENT, *OF_VALUE, "start")
        return {name: getattr(self._held, name) for name in names} | {
            "topic": self._topic, "deadline_ms": self._deadline_ms
        }  # fmt: skip

    def load(self, arrays: Mapping[str, Any]) -> None:
        """Restore what was dumped, perhaps by a version or settings without pairs."""
        self._known = 0
        self._held, self._topic, self._deadline_ms = None, np.zeros(0, np.int64), np.zeros(0, np.int64)
        if arrays:
            columns = {name: arrays[name] for name in (*OF_EVENT, *OF_VALUE, "start")}
            self._held = EventBatch(topic="", partition=0, **columns)
            self._topic, self._deadline_ms = arrays["topic"], arrays["deadline_ms"]

    def versions(self) -> I64:
        """The versions that the state names."""
        return np.zeros(0, np.int64) if self._held is None else self._held.version.astype(np.int64)

    @staticmethod
    def remap(arrays: Arrays, remaps: Remaps) -> Arrays:
        """What was dumped, without the halves of evicted models."""
        if not arrays:
            return {}
        pairing = Pairing({}, NameTable(0))
        pairing.load(arrays)
        kept = np.flatnonzero(remaps.models.kept[arrays["model"]])
        assert pairing._held is not None  # noqa: S101 - for the type checker
        held = _taken(pairing._held, kept)
        pairing._held = replace(held, model=remaps.models.new(held.model), version=remaps.versions.new(held.version))
        pairing._topic, pairing._deadline_ms = arrays["topic"][kept], arrays["deadline_ms"][kept]
        return pairing.dump()

    def _turns(self, events: EventBatch, topic: I64, clock_ms: I64, waiting: int) -> tuple[_Turns, list[_Waiting]]:
        """Event by event: what goes on, and what waits at the end."""
        half = np.where(np.isin(topic, list(self._by_topic)), _halves(events), WHOLE)
        half[:waiting] = _halves(events)[:waiting]  # also where the settings have changed since
        ids, halves, clocks = events.join_id.tolist(), half.tolist(), clock_ms.tolist()
        held: dict[int, _Waiting] = {
            ids[i]: _Waiting(i, halves[i], int(self._deadline_ms[i])) for i in range(waiting)
        }  # in order of arrival
        turns = _Turns([], [], [], int(np.count_nonzero(half[waiting:] == WHOLE)))
        for at, (i, now_ms) in enumerate(zip(range(waiting, len(ids)), clocks, strict=True)):
            while held and next(iter(held.values())).deadline_ms <= now_ms:
                _go(turns, held.pop(next(iter(held))).event, NONE, at)
            if halves[i] == WHOLE:
                _go(turns, i, NONE, at)
                continue
            other = held.pop(ids[i], None)
            if other is not None and other.half != halves[i]:
                _go(turns, i, other.event, at)
                continue
            if other is not None:  # the same half again
                _go(turns, other.event, NONE, at)
            settings = self._by_topic[int(topic[i])]
            held[ids[i]] = _Waiting(i, halves[i], now_ms + int(settings.timeout_s * 1000))
            if len(held) > settings.open_max:
                _go(turns, held.pop(next(iter(held))).event, NONE, at)
        return turns, list(held.values())


def _go(turns: _Turns, event: int, other: int, at: int) -> None:
    turns.event.append(event)
    turns.other.append(other)
    turns.at.append(at)


def _halves(events: EventBatch) -> I64:
    """Which events have features alone, and which a prediction alone; of those with an id and without a label."""
    width = np.diff(events.start)
    first = np.append(events.column, NONE)[events.start[:-1]]
    predicted = (width > 0) & (first == PREDICTION_COLUMN)
    able = (events.kind == EventKind.PREDICTION) & (events.join_id != 0)
    half = np.where(predicted, np.where(width == 1, RESPONSE, WHOLE), REQUEST)
    return np.where(able & (width > 0), half, WHOLE)


def _joined(events: EventBatch, turns: _Turns) -> EventBatch:
    """The events that go on, each with the values, the version and the time that its other half brings."""
    event, other = np.array(turns.event, np.int64), np.array(turns.other, np.int64)
    pair = np.flatnonzero(other != NONE)
    first, second = event.copy(), other.copy()  # the response comes first, as the prediction is the first value
    swap = pair[_halves(events)[event[pair]] == REQUEST]
    first[swap], second[swap] = other[swap], event[swap]
    out = _taken(events, event, np.stack([first, second], axis=1).ravel())
    request, response = second[pair], first[pair]
    version, time_ms, prediction = out.version.copy(), out.event_time_ms.copy(), out.prediction.copy()
    version[pair] = np.where(version[pair] >= 0, version[pair], events.version[other[pair]])
    time_ms[pair], prediction[pair] = events.event_time_ms[request], events.prediction[response]
    return replace(out, version=version, event_time_ms=time_ms, prediction=prediction)


def _taken(events: EventBatch, event: I64, values_of: I64 | None = None) -> EventBatch:
    """These events [n]; `values_of` [2 n] are the two events whose values each has, or `NONE`."""
    sources = event if values_of is None else values_of
    there: Bools = sources != NONE
    width = np.where(there, np.diff(events.start)[sources], 0)
    ends = np.cumsum(width)
    begin = np.where(there, events.start[sources], 0)
    value = np.repeat(begin - (ends - width), width) + np.arange(ends[-1] if len(ends) else 0)
    per_event = ends if values_of is None else ends[1::2]
    return replace(
        events,
        start=np.concatenate([np.zeros(1, np.int64), per_event]),
        dropped=0,
        turned_away=(),
        strangers=None,
        **{name: getattr(events, name)[event] for name in OF_EVENT},
        **{name: getattr(events, name)[value] for name in OF_VALUE},
    )


def _pairing_of(codecs: Mapping[str, Any], topics: Sequence[str]) -> dict[int, PairSettings]:
    """The settings of pairs by rank of the topic, of the topics that have some."""
    known = ((rank, getattr(codecs[name], "settings", None)) for rank, name in enumerate(topics) if name in codecs)
    found = ((rank, getattr(settings, "pairing", None)) for rank, settings in known)
    return {rank: pairing for rank, pairing in found if pairing is not None}
