"""Reading positions: the offsets that topic-partitions hold, and the ids of their topics."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from kafka import TopicPartition
from kafka.errors import AuthorizationError, KafkaError
from kafka.structs import OffsetAndMetadata

from streamer.errors import GapError
from streamer.eventlog.base import RebalanceInProgress, UnitNotReady
from streamer.eventlog.kafka.clients import REQUEST_TIMEOUT_MS
from streamer.eventlog.kafka.deadline import DeadlineExceeded, within
from streamer.eventlog.kafka.fetch import (
    START_MARK,
    Spot,
    committed_offsets,
    partition_counts,
    positions,
    start_marks,
    topic_ids,
)
from streamer.eventlog.kafka.unit_history import START_AFRESH, HistoryBounds, check_bounds, check_topic_id

METADATA_TIMEOUT_S = 5.0
DECIDES: Final = 0  # the partition whose worker decides where a topic begins


class Places:
    """Positions of the partitions that one consumer reads."""

    def __init__(self, consumer: Any, latest: LatestStart | None = None) -> None:
        """`latest`: read new topics from their end on."""
        self._consumer = consumer
        self._latest = latest
        self._topic_ids: dict[str, str] = {}

    def resume(
        self, spots: Sequence[Spot], ends: Mapping[str, int], known_ids: Mapping[str, str]
    ) -> tuple[dict[str, int], dict[str, str]]:
        """The first offsets of the topics that `ends` lacks, and their ids.

        Raises GapError when a topic has another id than the known one or has lost records from `ends` on, and
        UnitNotReady.
        """
        ids = self._note_ids(spots)
        for topic in ids.keys() & known_ids.keys():
            check_topic_id(topic, known_ids[topic], ids[topic])
        bounds = self._bounds(spots)
        for spot in spots:
            if spot[0] in ends:
                check_bounds(*spot, ends[spot[0]], bounds[spot])
        starts = {spot[0]: self._beginning(spot, bounds[spot]) for spot in spots if spot[0] not in ends}
        return starts, {topic: ids[topic] for topic in starts}

    def skip(self, spots: Sequence[Spot], ends: Mapping[str, int]) -> tuple[dict[str, int], dict[str, str]]:
        """The first readable offsets at or after `ends`, and the topics' ids."""
        starts = {}
        for (topic, _), held in self._bounds(spots).items():
            end = ends.get(topic, held.begin)
            starts[topic] = held.begin if end > held.end else max(end, held.begin)
        return starts, self._note_ids(spots)

    def check(self, refresh: bool = False) -> None:
        """Raises GapError when a topic was replaced since the start, by the client's metadata."""
        known = [topic for topic, topic_id in self._topic_ids.items() if topic_id]
        now = topic_ids(self._consumer, known)
        if refresh or "" in now.values():
            with suppress(DeadlineExceeded, KafkaError):
                there = within(METADATA_TIMEOUT_S, self._consumer.topics)
                now = topic_ids(self._consumer, known)
                for topic in known:
                    if topic not in there:
                        raise GapError(f"Topic {topic} was deleted while it was read. Restore it, {START_AFRESH}")
        for topic in known:
            check_topic_id(topic, self._topic_ids[topic], now[topic])

    def gap(self, error: Exception) -> GapError:
        """The error for next records that are not there."""
        at = positions(self._consumer)
        with suppress(KafkaError):
            for spot, bounds in self._bounds(list(at)).items():
                if not bounds.begin <= at[spot] <= bounds.end:
                    return GapError(
                        f"{spot[0]}-{spot[1]} holds offsets {bounds.begin} to {bounds.end} now, and reading stands at "
                        f"{at[spot]}: the records to read next are gone. Keep them longer (retention.ms, "
                        f"retention.bytes), {START_AFRESH}"
                    )
        return GapError(f"The records to read next are gone ({error}). Restore the topic, {START_AFRESH}")

    def _bounds(self, spots: Sequence[Spot]) -> dict[Spot, HistoryBounds]:
        partitions = [TopicPartition(*spot) for spot in spots]
        begin = self._consumer.beginning_offsets(partitions, timeout_ms=REQUEST_TIMEOUT_MS)
        end = self._consumer.end_offsets(partitions, timeout_ms=REQUEST_TIMEOUT_MS)
        return {(tp.topic, tp.partition): HistoryBounds(begin[tp], end[tp]) for tp in partitions}

    def _note_ids(self, spots: Sequence[Spot]) -> dict[str, str]:
        ids = topic_ids(self._consumer, {topic for topic, _ in spots})
        self._topic_ids |= ids
        return ids

    def _beginning(self, spot: Spot, bounds: HistoryBounds) -> int:
        """The first offset to read of a partition that was never read."""
        return bounds.begin if self._latest is None else self._latest.begin(spot, bounds.begin)


def seek(consumer: Any, spots: Sequence[Spot], at: Mapping[str, int], held: Collection[Spot]) -> bool:
    """Seek each partition to the offset of its topic and resume it, unless it is held.

    False when one of them is not assigned any more.
    """
    try:
        for spot in spots:
            consumer.seek(TopicPartition(*spot), at[spot[0]])
            if spot not in held:
                consumer.resume(TopicPartition(*spot))
    except (ValueError, KeyError, KafkaError):
        return False
    return True


def pause(consumer: Any, spots: Sequence[Spot]) -> bool:
    """Pause these partitions until `seek`; false when one of them is not assigned any more."""
    try:
        for spot in spots:
            consumer.pause(TopicPartition(*spot))
    except (KeyError, KafkaError):
        return False
    return True


class LatestStart:
    """Where a group with `kafka.start: latest` begins: decided once for all partitions of a topic.

    The worker with partition 0 of a topic that the group never read commits the ends of all partitions, marked as
    places to begin. Workers that join later begin there, whenever they take their partitions over. A partition without
    a mark was added later: it is read from its beginning, because its records arrived while the service read the topic.
    """

    def __init__(self, consumer: Any, deadline_s: float) -> None:
        """`consumer` is a member of the group."""
        self._consumer = consumer
        self._deadline_s = deadline_s

    def begin(self, spot: Spot, beginning: int) -> int:
        """Where to begin with a partition that was never read; `beginning` is its first offset.

        Raises `UnitNotReady` while the worker of partition 0 has not decided, and `RebalanceInProgress`.
        """
        topic, partition = spot
        spots = [(topic, p) for p in range(partition_counts(self._consumer, [topic])[topic])]
        marks = start_marks(self._consumer, spots, self._deadline_s)
        if spot in marks:
            return max(marks[spot], beginning)
        if marks or committed_offsets(self._consumer, spots, self._deadline_s):
            return beginning
        if partition != DECIDES:
            raise UnitNotReady(f"the worker of {topic}-{DECIDES} has not said yet where {topic} begins")
        return self._decide(spots)[spot]

    def _decide(self, spots: list[Spot]) -> dict[Spot, int]:
        partitions = [TopicPartition(*spot) for spot in spots]
        ends = self._consumer.end_offsets(partitions, timeout_ms=REQUEST_TIMEOUT_MS)
        marks = {tp: OffsetAndMetadata(end, START_MARK, -1) for tp, end in ends.items()}
        try:
            self._consumer.commit(marks, timeout_ms=int(self._deadline_s * 1000))
        except AuthorizationError:
            raise
        except KafkaError as error:  # of a generation that is over, as a rule
            raise RebalanceInProgress(f"where {spots[0][0]} begins could not be committed: {error}") from error
        return {(tp.topic, tp.partition): end for tp, end in ends.items()}
