"""Kafka clients: without automatic commits or offset resets, and with a bound on every call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from kafka import KafkaConsumer, KafkaProducer
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.serializer import Serializer

from streamer.eventlog.kafka.commit import NULL_KEY
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.eventlog.kafka.fetch import fetch_records
from streamer.eventlog.kafka.log_filter import calm_kafka_logs

REQUEST_TIMEOUT_MS = 10_000
RETRY_BACKOFF_MS = 20
RECONNECT_BACKOFF_MAX_MS = 1000  # by its default of half a minute the client would stay away that long after an outage
LINGER_MS = 5
HEARTBEAT_MAX_MS = 3_000
POLL_INTERVAL_MAX_MS = 120_000  # the loop polls many times a second; only loading a large state takes longer
TRANSACTION_GRACE_S = 10.0  # for offsets and markers, after outputs that took their whole deadline
TRANSACTION_TIMEOUT_MAX_S = 900.0  # the default limit of brokers
PRODUCE_BATCH_BYTES = 128 << 10
FETCH_BYTES_MAX = 32 << 20
PARTITION_FETCH_BYTES_MAX = 2 << 20
# The broker answers a member once it has so much, or after so long. By the client's default it answers at each byte: a
# thousand records a second take hundreds of fetches, which cost more than the folding.
FETCH_BYTES_MIN = 256 << 10
FETCH_WAIT_MS = 100


@dataclass(frozen=True, slots=True)
class Member:
    """A static group member: it has the same id after every restart, so it keeps its partitions."""

    group_id: str
    instance_id: str
    session_timeout_s: float = 30.0  # without a heartbeat for so long, the group drops it


def new_consumer(
    connection: KafkaConnection,
    member: Member | None,
    *,
    fetch_bytes_max: int = FETCH_BYTES_MAX,
    partition_fetch_bytes_max: int = PARTITION_FETCH_BYTES_MAX,
    metadata_age_s: float = 30.0,
) -> Any:
    """A consumer of committed records that gives `Records` (see `fetch`) and moves only by `seek` and `poll`."""
    calm_kafka_logs()
    consumer = KafkaConsumer(
        **connection.client_arguments(),
        **_membership(member),
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="none",
        allow_auto_create_topics=False,
        fetch_max_bytes=fetch_bytes_max,
        max_partition_fetch_bytes=partition_fetch_bytes_max,
        metadata_max_age_ms=int(metadata_age_s * 1000),
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        bootstrap_timeout_ms=REQUEST_TIMEOUT_MS,
        retry_backoff_ms=RETRY_BACKOFF_MS,
        reconnect_backoff_max_ms=RECONNECT_BACKOFF_MAX_MS,
    )
    fetch_records(consumer)
    return consumer


def _membership(member: Member | None) -> dict[str, Any]:
    if member is None:
        return {"client_id": "driftline", "group_id": None}
    session_ms = int(member.session_timeout_s * 1000)
    return {
        "client_id": member.instance_id,
        "group_id": member.group_id,
        "group_instance_id": member.instance_id,
        "session_timeout_ms": session_ms,
        "heartbeat_interval_ms": max(min(session_ms // 5, HEARTBEAT_MAX_MS), 100),
        "max_poll_interval_ms": POLL_INTERVAL_MAX_MS,
        "fetch_min_bytes": FETCH_BYTES_MIN,
        "fetch_max_wait_ms": FETCH_WAIT_MS,
        # With equal partition counts, it gives a member the same partitions of every topic.
        "partition_assignment_strategy": (RangePartitionAssignor,),
    }


def new_producer(
    connection: KafkaConnection,
    deadline_s: float,
    request_bytes_max: int,
    transactional_id: str | None = None,
    batch_bytes_max: int = PRODUCE_BATCH_BYTES,
) -> Any:
    """An idempotent producer that drops a record after `deadline_s`; its keys may be NULL_KEY.

    A batch of several records has `batch_bytes_max` bytes at most. With a transactional id it writes in transactions
    and fences earlier producers of that id.
    """
    calm_kafka_logs()
    deadline_ms = int(deadline_s * 1000)
    return KafkaProducer(
        **connection.client_arguments(),
        client_id=transactional_id or "driftline",
        transactional_id=transactional_id,
        transaction_timeout_ms=int(transaction_timeout_s(deadline_s) * 1000),
        key_serializer=_Keys(),
        acks="all",
        enable_idempotence=True,
        allow_auto_create_topics=False,
        compression_type="lz4",
        linger_ms=LINGER_MS,
        batch_size=min(batch_bytes_max, PRODUCE_BATCH_BYTES),
        max_request_size=request_bytes_max,
        max_block_ms=deadline_ms,
        delivery_timeout_ms=deadline_ms,
        request_timeout_ms=min(REQUEST_TIMEOUT_MS, max(deadline_ms // 3, 100)),
        bootstrap_timeout_ms=REQUEST_TIMEOUT_MS,
        retry_backoff_ms=RETRY_BACKOFF_MS,
        reconnect_backoff_max_ms=RECONNECT_BACKOFF_MAX_MS,
    )


def transaction_timeout_s(deadline_s: float) -> float:
    """How long a transaction that nobody ends holds up readers: longer than publishing outputs may take."""
    return min(deadline_s + TRANSACTION_GRACE_S, TRANSACTION_TIMEOUT_MAX_S)


class _Keys(Serializer):  # type: ignore[misc]
    def serialize(self, _topic: str, _headers: object, key: object) -> object:
        return None if key is NULL_KEY else key


@dataclass(frozen=True, slots=True)
class KafkaLogSettings:
    """Topics, group and bounds of a `KafkaLog`."""

    topics: tuple[str, ...]  # event topics in canonical order, then those that decide reads
    group_id: str  # consumer group: its members share the partitions
    worker: int = 0  # number of this process in the group, unique
    # At least once is for brokers without transactions.
    delivery: Literal["exactly_once", "at_least_once"] = "exactly_once"
    epochs_topic: str = "driftline.epochs"  # one partition a unit; used by this group alone
    outputs: tuple[str, ...] = ()  # the other topics that the worker writes
    start: Literal["earliest", "latest"] = "earliest"  # first offset of a topic that was never read
    session_timeout_s: float = 30.0  # the group drops a member without a heartbeat for so long
    records_max: int = 100_000  # of one poll
    fetch_bytes_max: int = 32 << 20  # of one fetch response, compressed
    partition_fetch_bytes_max: int = 2 << 20  # of one partition in it
    request_bytes_max: int = 16 << 20  # the largest output
    commit_deadline_s: float = 30.0  # for each step of a commit; past it, the commit is in doubt
    metadata_age_s: float = 30.0  # how late a replaced topic is noticed

    def __post_init__(self) -> None:
        if not self.topics or not self.group_id:
            raise ValueError("topics and group_id must not be empty")
        if self.epochs_topic in self.topics:
            raise ValueError(f"the epochs topic {self.epochs_topic} can't be an input as well")
        for name in ("records_max", "fetch_bytes_max", "partition_fetch_bytes_max", "request_bytes_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")
        for name in ("commit_deadline_s", "metadata_age_s", "session_timeout_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")

    @property
    def member(self) -> Member:
        return Member(self.group_id, f"{self.group_id}-{self.worker}", self.session_timeout_s)
