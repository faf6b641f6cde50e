"""Where a group begins that reads topics from their end on: decided once for all partitions of a topic.

Whoever has partition 0 of a topic that the group never began commits the ends of all partitions, marked as places to
begin. So workers that come later begin where the first one did, whenever they take their partitions over. A partition
without a mark, of a topic that was begun, was added later: it is read from its beginning, because its records were
written while the service was in charge of the topic.
"""

from __future__ import annotations

from typing import Any, Final

from kafka import TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from streamer.eventlog.base import RebalanceInProgress, UnitNotReady
from streamer.eventlog.kafka.clients import REQUEST_TIMEOUT_MS
from streamer.eventlog.kafka.fetch import START_MARK, Spot, committed_offsets, partition_counts, start_marks

DECIDES: Final = 0  # the partition whose worker decides


class LatestStart:
    """Places to begin of one group."""

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
        except KafkaError as error:  # of a generation that is over, as a rule
            raise RebalanceInProgress(f"where {spots[0][0]} begins could not be committed: {error}") from error
        return {(tp.topic, tp.partition): end for tp, end in ends.items()}
