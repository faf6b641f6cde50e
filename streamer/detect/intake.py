"""From records to events: decodes the parts of a chunk, counts them, and advances the unit's clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from detectors.arrays.types import I64, Bools
from streamer.codecs.base import DeadLetters
from streamer.contracts.dead_letters import dead_letter
from streamer.contracts.event_clock import EventClock, is_ahead
from streamer.detect.context import Context
from streamer.detect.remap import Array, Arrays, Remaps
from streamer.detect.repeats import Repeats
from streamer.eventlog.base import Output, Records
from streamer.events import MISFIT, EventBatch, EventKind, time_of
from streamer.logs import log_of
from streamer.runtime.fold import Tally
from streamer.runtime.order import Part, merged
from streamer.runtime.snapshot import nested, unnested

log = log_of("detect")


class DecodedChunk(NamedTuple):
    """What the records of a chunk hold: `n` events in the order in which they are folded."""

    events: EventBatch
    topic: I64  # [n] rank of each event's topic
    place: I64  # [n] place of each event's record in the chunk, increasing
    before_ms: int  # the unit's clock before the first event
    clock_ms: I64  # [n] the clock after each event
    batches: Sequence[EventBatch]  # the events of each part, as decoded
    dead_letters: list[tuple[int, Output]]  # with the place of each record

    def time_at(self, places: Sequence[int]) -> I64:
        """The clock [k] after the events of these places [k]."""
        shown = np.concatenate([[self.before_ms], self.clock_ms])
        return np.asarray(shown[np.searchsorted(self.place, places, "right")], np.int64)


class Intake:
    """Decodes records, and keeps the unit's clock."""

    def __init__(self, context: Context) -> None:
        self.clock = EventClock()
        self.event_times_ms = (1 << 62, -1)  # oldest and newest since this process started; not part of the state
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
            dead_letters += self._letters(part, dead, tally)
            count(part.records, batch, tally)
            batches.append(batch)
            places.append(part.at[np.searchsorted(part.records.offset, batch.offset)])
        events, origin = merged(batches, places)
        topic = np.array([self._context.rank_of(part.records.topic) for part in parts])[origin]
        place = np.sort(np.concatenate(places))
        repeated = self.repeats.of(events, topic)
        if repeated.any():
            self._count_repeats(events, topic, repeated, tally)
            events, topic, place = events.only(~repeated), topic[~repeated], place[~repeated]
        clock_ms = self._advance_clock(events, topic, tally)
        return DecodedChunk(events, topic, place, before_ms, clock_ms, batches, dead_letters)

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
        return nested("clock", clock) | nested("repeats", self.repeats.dump())

    def succeed(self, other: Intake) -> None:
        """Go on for an intake of the same process whose fold is replaced; the clock is part of the state."""
        self.event_times_ms, self._has_logged_ahead = other.event_times_ms, other._has_logged_ahead
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
        ahead = np.flatnonzero(is_ahead(times, clock_ms))
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
