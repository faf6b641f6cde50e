"""A reader of whole topics without a group, for `driftline record` and the audit commands."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal

from kafka import TopicPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError

from streamer.errors import BrokerError
from streamer.eventlog.base import Records
from streamer.eventlog.kafka.access.rights import Client
from streamer.eventlog.kafka.admin import check_topics, preflight
from streamer.eventlog.kafka.batches import BatchError
from streamer.eventlog.kafka.clients import REQUEST_TIMEOUT_MS, new_consumer
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.eventlog.kafka.fetch import Spot, ends, partition_counts, poll, positions, stretches

CLOSE_TIMEOUT_MS = 5_000
RECORDS_MAX = 100_000  # of one poll
POLL_S = 0.2


def read_to_end(
    connection: KafkaConnection, topics: Sequence[str], start: Mapping[Spot, int] | None = None,
    only: Collection[Spot] | None = None,
) -> Iterator[Records]:  # fmt: skip
    """All records that the topics hold now, from given offsets on. The arguments, and errors, are of `KafkaReader`."""
    reader = KafkaReader(connection, topics, start or "earliest", only)
    try:
        while not reader.at_end():
            yield from reader.poll(POLL_S)
    finally:
        reader.close()


class KafkaReader:
    """All partitions of some topics, read from their beginning, from their end, or from given offsets on.

    A partition without a given offset is read from its beginning. `only` names the partitions, if not all are meant.
    Raises `BrokerError` when the cluster is unreachable, a topic is missing, or its records can't be read.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        topics: Sequence[str],
        start: Literal["earliest", "latest"] | Mapping[Spot, int] = "earliest",
        only: Collection[Spot] | None = None,
    ) -> None:
        preflight(connection)
        found = check_topics(connection, topics)
        self._client, self._topics = Client.of(connection), tuple(topics)
        self._consumer = new_consumer(connection, None)
        every = [TopicPartition(topic, p) for topic in topics for p in range(found[topic].partitions)]
        spots = [one for one in every if only is None or tuple(one) in only]
        self._consumer.assign(spots)
        begin = self._consumer.beginning_offsets(spots, timeout_ms=REQUEST_TIMEOUT_MS)
        end = self._consumer.end_offsets(spots, timeout_ms=REQUEST_TIMEOUT_MS)
        at = {} if isinstance(start, str) else start
        for spot in spots:
            given = end[spot] if start == "latest" else at.get((spot.topic, spot.partition), begin[spot])
            self._consumer.seek(spot, min(max(given, begin[spot]), end[spot]))
        self.begins: dict[Spot, int] = {(spot.topic, spot.partition): begin[spot] for spot in spots}  # at the start
        self.ends: dict[Spot, int] = {(spot.topic, spot.partition): end[spot] for spot in spots}  # at the start
        self.waiting = sum(end[spot] - begin[spot] for spot in spots) if start == "earliest" else 0  # records, at most

    def poll(self, timeout_s: float) -> list[Records]:
        """New records, one stretch a partition."""
        before = positions(self._consumer)
        try:
            fetched = poll(self._consumer, int(timeout_s * 1000), RECORDS_MAX)
        except OffsetOutOfRangeError as error:
            raise BrokerError(f"Kafka deleted records while they were read ({error}): restart the command") from error
        except (KafkaError, BatchError) as error:
            if missing := self._client.refusal(error, "Read", self._topics):
                raise missing from error
            raise BrokerError(f"Kafka can't be read: {type(error).__name__}: {error}") from error
        return stretches(fetched, before, positions(self._consumer))

    def positions(self) -> Mapping[Spot, int]:
        """The offset of the next record of each partition."""
        return positions(self._consumer)

    def hold(self, spot: Spot, held: bool) -> None:
        """Stop or continue fetching a partition."""
        (self._consumer.pause if held else self._consumer.resume)(TopicPartition(*spot))

    def offset_at(self, spot: Spot, time_ms: int) -> int:
        """The first offset whose record time is `time_ms` or later; the end if there is none."""
        found = self._consumer.offsets_for_times({TopicPartition(*spot): time_ms}, timeout_ms=REQUEST_TIMEOUT_MS)
        at = found.get(TopicPartition(*spot))
        return self.ends[spot] if at is None else int(at.offset)

    def at_end(self) -> bool:
        """Whether all records that were there at the start are read."""
        return all(at >= self.ends[spot] for spot, at in positions(self._consumer).items())

    def lagging(self) -> list[Spot]:
        """Partitions with records that are not polled yet, or whose end is not known yet."""
        at, end = positions(self._consumer), ends(self._consumer)
        return [spot for spot in self.ends if spot not in end or at.get(spot, 0) < end[spot]]

    def behind(self) -> Mapping[Spot, int]:
        """How many offsets of each partition are not polled yet, where its end is known."""
        at, end = positions(self._consumer), ends(self._consumer)
        return {spot: max(end[spot] - at.get(spot, 0), 0) for spot in self.ends if spot in end}

    def has_grown(self) -> bool:
        """Whether a topic has partitions that are not read, as of the client's last metadata."""
        return sum(partition_counts(self._consumer, self._topics).values()) > len(self.ends)

    def close(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=CLOSE_TIMEOUT_MS)
