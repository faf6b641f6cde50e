"""Clients of Kafka as Driftline needs them: nothing by itself, no offsets by guess, every call within a bound."""

from __future__ import annotations

from typing import Any

from kafka import KafkaConsumer, KafkaProducer
from kafka.serializer import Serializer

from streamer.logs.kafka_commit import NULL_KEY
from streamer.logs.kafka_connection import KafkaConnection
from streamer.logs.kafka_fetch import fetch_plain, fetch_raw
from streamer.logs.kafka_noise import calm_kafka_logs

REQUEST_TIMEOUT_MS = 10_000
RETRY_BACKOFF_MS = 20
RECONNECT_BACKOFF_MAX_MS = 1000  # the client's own half a minute is how long we would stay away after an outage
LINGER_MS = 5
PRODUCE_BATCH_BYTES = 128 << 10
FETCH_BYTES_MAX = 32 << 20
PARTITION_FETCH_BYTES_MAX = 2 << 20


def new_consumer(
    connection: KafkaConnection,
    group_id: str | None,
    *,
    raw_batches: bool = True,
    fetch_bytes_max: int = FETCH_BYTES_MAX,
    partition_fetch_bytes_max: int = PARTITION_FETCH_BYTES_MAX,
    metadata_age_s: float = 30.0,
) -> Any:
    """A consumer of committed records that gives `Records` (see `kafka_fetch`) and moves only where it is told to."""
    calm_kafka_logs()
    consumer = KafkaConsumer(
        **connection.client_arguments(),
        client_id="driftline",
        group_id=group_id,
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
    (fetch_raw if raw_batches else fetch_plain)(consumer)
    return consumer


def new_producer(connection: KafkaConnection, deadline_s: float, request_bytes_max: int) -> Any:
    """An idempotent producer that gives up on a record after `deadline_s`; its keys may be NULL_KEY."""
    calm_kafka_logs()
    deadline_ms = int(deadline_s * 1000)
    return KafkaProducer(
        **connection.client_arguments(),
        client_id="driftline",
        key_serializer=_Keys(),
        acks="all",
        enable_idempotence=True,
        allow_auto_create_topics=False,
        compression_type="lz4",
        linger_ms=LINGER_MS,
        batch_size=PRODUCE_BATCH_BYTES,
        max_request_size=request_bytes_max,
        max_block_ms=deadline_ms,
        delivery_timeout_ms=deadline_ms,
        request_timeout_ms=min(REQUEST_TIMEOUT_MS, max(deadline_ms // 3, 100)),
        bootstrap_timeout_ms=REQUEST_TIMEOUT_MS,
        retry_backoff_ms=RETRY_BACKOFF_MS,
        reconnect_backoff_max_ms=RECONNECT_BACKOFF_MAX_MS,
    )


class _Keys(Serializer):  # type: ignore[misc]
    def serialize(self, _topic: str, _headers: object, key: object) -> object:
        return None if key is NULL_KEY else key
