"""What the tests of the Kafka log share: a log on fresh topics, and writing and reading them by plain clients."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from streamer.logs.base import Records
from streamer.logs.kafka_connection import KafkaConnection
from streamer.logs.kafka_log import KafkaLog
from streamer.logs.kafka_settings import KafkaLogSettings

Row = tuple[int, int, bytes | None, bytes | None, object]


@dataclass
class Place:
    """Topics of one test: `events` with some partitions, `alerts` and `epochs` with one, and `out` for outputs."""

    broker: Any
    partitions: int = 1
    tag: str = field(default_factory=lambda: uuid.uuid4().hex[:10])

    def __post_init__(self) -> None:
        self.events, self.alerts = f"events-{self.tag}", f"alerts-{self.tag}"
        self.epochs, self.out = f"epochs-{self.tag}", f"out-{self.tag}"
        one = {self.alerts: 1, self.epochs: 1, self.out: 1}
        self.broker.create_topics({self.events: self.partitions, **one})
        self.connection = KafkaConnection(bootstrap=(self.broker.bootstrap,))
        self.settings = KafkaLogSettings(
            topics=(self.events, self.alerts),
            group_id=f"group-{self.tag}",
            epochs_topic=self.epochs,
            commit_deadline_s=10,
            metadata_age_s=1,
        )

    def unit_of(self, topic: str, partition: int) -> str:
        return f"detect-{partition}" if topic == self.events else "decide"

    @contextmanager
    def log(self, kind: type[KafkaLog] = KafkaLog, **changes: Any) -> Iterator[KafkaLog]:
        """A log that has not asked for its past yet."""
        log = kind(self.connection, replace(self.settings, **changes), self.unit_of)
        try:
            yield log
        finally:
            log.close()

    @contextmanager
    def producer(self, **arguments: Any) -> Iterator[Any]:
        producer = KafkaProducer(bootstrap_servers=self.broker.bootstrap, **arguments)
        try:
            yield producer
        finally:
            producer.close(5)

    @contextmanager
    def admin(self) -> Iterator[Any]:
        admin = KafkaAdminClient(bootstrap_servers=self.broker.bootstrap)
        try:
            yield admin
        finally:
            admin.close()

    def write(self, values: Sequence[bytes | None], topic: str = "", partition: int = 0, **arguments: Any) -> None:
        """Records with a key of their index, their index as timestamp."""
        with self.producer(**arguments) as producer:
            for i, value in enumerate(values):
                producer.send(topic or self.events, value, b"%d" % i, partition=partition, timestamp_ms=i)
            producer.flush(10)

    def read(self, topic: str, partition: int = 0) -> list[Any]:
        """All records of a partition, by the client's own means."""
        consumer = KafkaConsumer(bootstrap_servers=self.broker.bootstrap, isolation_level="read_committed")
        try:
            tp = TopicPartition(topic, partition)
            consumer.assign([tp])
            consumer.seek_to_beginning(tp)
            end, found = consumer.end_offsets([tp])[tp], []
            while consumer.position(tp) < end:
                found += consumer.poll(500).get(tp, [])
            return found
        finally:
            consumer.close(autocommit=False)


def rows_of(records: Records) -> list[Row]:
    return [
        (int(offset), int(records.timestamp_ms[i]), records.key_of(i), records.value_of(i), records.headers_of(i))
        for i, offset in enumerate(records.offset)
    ]


def drain(log: KafkaLog, ends: dict[tuple[str, int], int], polls_max: int = 100) -> dict[tuple[str, int], list[Row]]:
    """Everything until each topic-partition has reached its end."""
    rows: dict[tuple[str, int], list[Row]] = {spot: [] for spot in ends}
    missing = dict(ends)
    for _ in range(polls_max):
        for records in log.poll(0.3):
            spot = records.topic, records.partition
            rows.setdefault(spot, []).extend(rows_of(records))
            if records.next_offset >= missing.get(spot, 0):
                missing.pop(spot, None)
        if not missing:
            return rows
    raise AssertionError(f"not reached: {missing}")
