"""Copies records into topics: in order, with every delivery checked, and exactly once with the offsets of a group."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from kafka import TopicPartition
from kafka.errors import InvalidProducerEpochError, ProducerFencedError
from kafka.partitioner.default import murmur2
from kafka.structs import OffsetAndMetadata

from streamer.errors import BrokerError
from streamer.eventlog.base import Output
from streamer.eventlog.headers import Headers
from streamer.eventlog.kafka.access.rights import Client
from streamer.eventlog.kafka.admin import check_topics, group_status, preflight
from streamer.eventlog.kafka.clients import new_producer
from streamer.eventlog.kafka.commit import NULL_KEY, REFUSALS
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.eventlog.kafka.deadline import within
from streamer.eventlog.kafka.fetch import abandon

DEADLINE_S: Final = 60.0  # for the records of one call
COMMAND_DEADLINE_S: Final = 15.0  # for those of a command that a person waits for
REQUEST_BYTES_MAX: Final = 16 << 20
FENCED: Final = frozenset({InvalidProducerEpochError.errno, ProducerFencedError.errno})

Spot = tuple[str, int]


def partition_of_key(key: bytes, partitions: int) -> int:
    """The partition that producers of Java and kafka-python choose for a key."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


class Copy(NamedTuple):
    """A record to write."""

    topic: str
    partition: int | None  # None: by its key
    timestamp_ms: int | None  # None: now
    key: bytes | None
    value: bytes | None
    headers: Headers


class Transfer:
    """Writes copies. With a `group`, each call is one transaction with offsets of that group.

    Raises `BrokerError` when the cluster can't be reached, lacks a topic or refuses a record, or when it is not certain
    that all records are in the log. A transaction is all or nothing then.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        topics: Sequence[str] = (),
        group: str | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        preflight(connection)
        self._deadline_s = deadline_s
        self._connection, self._group = connection, group
        self._client = Client.of(connection, group or "", group or "")
        self._topics: set[str] = set()
        self.partitions: dict[str, int] = {}  # of each topic, when it was checked
        self.require(topics)
        self._producer: Any = new_producer(connection, deadline_s, REQUEST_BYTES_MAX, group)
        if group is not None:
            self._checked(self._producer.init_transactions)

    def require(self, topics: Collection[str]) -> None:
        """Check that the cluster has these topics."""
        if new := sorted(set(topics) - self._topics):
            found = check_topics(self._connection, new)
            self.partitions |= {name: topic.partitions for name, topic in found.items()}
            self._topics |= {*new}

    def committed(self) -> Mapping[Spot, int]:
        """The offsets of the group, after all transactions on them have ended."""
        if self._group is None:
            return {}
        return group_status(self._connection, self._group).offsets

    def write(self, copies: Sequence[Copy], offsets: Mapping[Spot, int] | None = None) -> None:
        """Write the copies in this order, and with them the offsets up to which the group has read."""
        if self._group is None:
            self._checked(partial(self._send, copies))
            return
        read = {TopicPartition(*spot): OffsetAndMetadata(offset, "", -1) for spot, offset in (offsets or {}).items()}
        self._checked(partial(self._send_in_transaction, copies, read))

    def close(self) -> None:
        """Let the client go."""
        self._producer.close(timeout=self._deadline_s)

    def _send_in_transaction(self, copies: Sequence[Copy], read: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        self._producer.begin_transaction()
        self._send(copies)
        self._producer.send_offsets_to_transaction(read, self._group)
        self._producer.commit_transaction()

    def _send(self, copies: Sequence[Copy]) -> None:
        sent = [self._send_one(copy) for copy in copies]
        self._producer.flush(self._deadline_s)
        for result in sent:
            result.get(self._deadline_s)

    def _send_one(self, copy: Copy) -> Any:
        key = NULL_KEY if copy.key is None and copy.value is None else copy.key
        headers = [(name, value or b"") for name, value in copy.headers]  # the client can't write null headers
        return self._producer.send(copy.topic, copy.value, key, headers, copy.partition, copy.timestamp_ms)

    def _checked(self, work: Any) -> None:
        try:
            within(2 * self._deadline_s, work)
        except Exception as error:
            abandon(self._producer)  # its state is unknown now, and it may wait for what never comes
            if isinstance(error, BrokerError):
                raise
            if missing := self._client.refusal(error, "Write", self._topics):
                raise missing from error
            if getattr(error, "errno", 0) in FENCED:
                raise BrokerError(f"A later process of {self._group} has taken over, so this one ends") from error
            if reason := REFUSALS.get(getattr(error, "errno", 0)):
                raise BrokerError(f"Kafka refuses a record, because {reason}") from error
            raise BrokerError(
                f"It is not certain that the last records are in {', '.join(sorted(self._topics))} "
                f"({type(error).__name__}: {error})"
                + (". Run the command again: what is in the log is not sent twice" if self._group else "")
            ) from error


def send(connection: KafkaConnection, outputs: Sequence[Output]) -> None:
    """Append these records, each to the partition of its key; returns when they are in the log.

    Raises `BrokerError` as `Transfer` does.
    """
    transfer = Transfer(connection, sorted({output.topic for output in outputs}), deadline_s=COMMAND_DEADLINE_S)
    try:
        transfer.write([Copy(one.topic, None, None, one.key, one.value, one.headers) for one in outputs])
    finally:
        transfer.close()
