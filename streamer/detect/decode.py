"""Dead letters and counts of a part of a chunk, as its codec decoded it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from streamer.codecs.base import DeadLetters
from streamer.contracts.dead_letters import dead_letter
from streamer.contracts.topics import OutputTopics
from streamer.eventlog.base import Output, Records
from streamer.events import EventBatch
from streamer.runtime.order import Part


def letters(
    part: Part, dead: DeadLetters, topics: OutputTopics, tally: Counter[tuple[str, ...]]
) -> Iterator[tuple[int, Output]]:
    """The dead letters of a part of a chunk, counted, each with its place in the chunk."""
    topic = part.records.topic
    for i, reason, detail in zip(dead.index, dead.reason, dead.detail, strict=True):
        tally["dead_letters", topic, reason.value] += 1
        yield int(part.at[i]), dead_letter(part.records, i, reason, detail, topics.dead_letters(topic))


def count(records: Records, batch: EventBatch, tally: Counter[tuple[str, ...]]) -> None:
    """Count records of a topic, and the events and values they hold."""
    tally["records", records.topic] += len(records)
    tally["events", records.topic] += len(batch)
    tally["values", records.topic] += len(batch.number)
    tally["dropped",] += batch.dropped
