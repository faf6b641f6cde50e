"""What the tests of the Kafka log share: a log on fresh topics, and writing and reading them by plain clients."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from streamer.eventlog.base import Epoch, History, Output, Records
from streamer.eventlog.kafka.clients import KafkaLogSettings
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.eventlog.kafka.fetch import CountedStretches
from streamer.eventlog.kafka.log import KafkaLog

POLLS_MAX = 100
POLL_S = 0.3
CALM_POLLS = 3

Row = tuple[int, int, bytes | None, bytes | None, object]


def run_alone(arguments: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Python with these arguments in a process of its own, which finds this module. A busy machine gets more time."""
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, *arguments]
    limit_s = timeout_s * slowness()
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit_s)


def slowness() -> float:
    """By how much processes wait for a core of this machine: 1 where one is free."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


@dataclass
class Place:
    """Topics of one test: `events` with some partitions, `alerts` and `out` with one, `epochs` with one a unit."""

    broker: Any
    partitions: int = 1
    tag: str = field(default_factory=lambda: uuid.uuid4().hex[:10])

    def __post_init__(self) -> None:
        self.events, self.alerts = f"events-{self.tag}", f"alerts-{self.tag}"
        self.epochs, self.out = f"epochs-{self.tag}", f"out-{self.tag}"
        one = {self.alerts: 1, self.out: 1}
        self.broker.create_topics({self.events: self.partitions, self.epochs: self.partitions + 1, **one})
        self.connection = KafkaConnection(bootstrap=(self.broker.bootstrap,))
        self.settings = KafkaLogSettings(
            topics=(self.events, self.alerts),
            group_id=f"group-{self.tag}",
            epochs_topic=self.epochs,
            outputs=(self.alerts, self.out),
            session_timeout_s=6,
            commit_deadline_s=10,
            metadata_age_s=1,
        )

    @property
    def owner(self) -> tuple[str, bytes]:
        """The header of each output of the log."""
        return "__driftline.group", self.settings.group_id.encode()

    def unit_of(self, topic: str, partition: int) -> str:
        return f"detect-{partition}" if topic == self.events else "decide"

    @contextmanager
    def log(self, kind: type[KafkaLog] = KafkaLog, **changes: Any) -> Iterator[KafkaLog]:
        """A log that has not been polled yet."""
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

    @contextmanager
    def consumer(self, isolation_level: str = "read_committed") -> Iterator[Any]:
        bootstrap = self.broker.bootstrap
        consumer = KafkaConsumer(bootstrap_servers=bootstrap, isolation_level=isolation_level, enable_auto_commit=False)
        try:
            yield consumer
        finally:
            consumer.close(autocommit=False)

    def write(self, values: Sequence[bytes | None], topic: str = "", partition: int = 0, **arguments: Any) -> None:
        """Records with a key of their index, their index as timestamp."""
        with self.producer(**arguments) as producer:
            for i, value in enumerate(values):
                producer.send(topic or self.events, value, b"%d" % i, partition=partition, timestamp_ms=i)
            producer.flush(10)

    def read(self, topic: str, partition: int = 0, isolation_level: str = "read_committed") -> list[Any]:
        """All records of a partition, by the client's own means."""
        tp = TopicPartition(topic, partition)
        with self.consumer(isolation_level) as consumer:
            consumer.assign([tp])
            consumer.seek_to_beginning(tp)
            end, found = consumer.end_offsets([tp])[tp], []
            while consumer.position(tp) < end:
                found += consumer.poll(500).get(tp, [])
            return found

    def end_of(self, topic: str, partition: int = 0) -> int:
        """Where a reader of committed records ends."""
        tp = TopicPartition(topic, partition)
        with self.consumer() as consumer:
            return int(consumer.end_offsets([tp])[tp])

    def outputs(self) -> list[str]:
        """What a reader of committed records finds in `out`."""
        return [record.value.decode() for record in self.read(self.out)]

    def committed(self) -> dict[tuple[str, int], int]:
        """The group's offsets."""
        with self.admin() as admin:
            (found,) = admin.list_group_offsets([self.settings.group_id]).values()
        return {(tp.topic, tp.partition): offset.offset for tp, offset in found.items()}

    def epoch(self, number: int, end: int, partition: int = 0) -> Epoch:
        return Epoch(f"detect-{partition}", number, {self.events: end}, 1, f"digest {number}")

    def output(self, text: str) -> Output:
        return Output(self.out, b"key", text.encode(), (("h", b"1"),))


def settle(*logs: KafkaLog) -> list[list[str]]:
    """The units of each log, once the group has come to rest with all of these as members that poll."""
    ours: list[Collection[str] | None] = [None] * len(logs)
    for _ in range(int(POLLS_MAX * slowness())):
        for log in logs:
            log.poll(POLL_S / len(logs))
        for i, log in enumerate(logs):
            if (units := log.assignment()) is not None:
                ours[i] = units
        if None not in ours and is_calm(logs):
            return [list(units or ()) for units in ours]
    raise AssertionError(f"the group did not come to rest: {ours}")


def is_calm(logs: Sequence[KafkaLog]) -> bool:
    """Whether the group stays as it is: right after a start it often moves once more."""
    for _ in range(CALM_POLLS):
        for log in logs:
            log.poll(POLL_S / len(logs))
    return not any(log._membership.moved for log in logs)


def begin(log: KafkaLog) -> dict[str, History]:
    """Take over whatever units are the log's, as a service without checkpoints does; what they have done."""
    ((*units,),) = settle(log)
    return {unit: take_over(log, unit) for unit in units}


def take_over(log: KafkaLog, unit: str, at: Mapping[str, int] | None = None) -> History:
    """Read a unit from its beginning on (or from `at`), and note where the topics begin that it never read."""
    past = log.past(unit)
    assert past is not None
    start = log.resume(unit, past.starts if at is None else at, past.topic_ids)
    if start.starts:
        log.note(unit, [start])
    return past


def rows_of(records: Records) -> list[Row]:
    return [
        (int(offset), int(records.timestamp_ms[i]), records.key_of(i), records.value_of(i), records.headers_of(i))
        for i, offset in enumerate(records.offset)
    ]


def come_back(log: KafkaLog, reached: Mapping[tuple[str, int], int]) -> None:
    """Read on where reading stood, after the group has moved, as a service does with units that stay."""
    for unit in settle(log)[0]:
        past = log.past(unit)
        assert past is not None
        here = {topic: offset for (topic, p), offset in reached.items() if log._unit_of(topic, p) == unit}
        log.resume(unit, past.starts | here, past.topic_ids)


def polls(
    log: KafkaLog,
    ends: Mapping[tuple[str, int], int],
    polls_max: int = POLLS_MAX,
    begun: Mapping[tuple[str, int], int] | None = None,
) -> Iterator[list[Records]]:
    """What each poll brings, until each topic-partition has reached its end. At most so many in a row bring nothing."""
    reached = dict(begun or {})
    idle = 0
    while idle < polls_max * slowness():
        if log._membership.moved:
            come_back(log, reached)
        found = log.poll(POLL_S)
        idle = 0 if found else idle + 1
        reached |= {(records.topic, records.partition): records.next_offset for records in found}
        yield found
        if all(reached.get(spot, 0) >= end for spot, end in ends.items()):
            return
    raise AssertionError(f"not reached: {ends} from {reached}")


def drain(
    log: KafkaLog,
    ends: Mapping[tuple[str, int], int],
    polls_max: int = POLLS_MAX,
    begun: Mapping[tuple[str, int], int] | None = None,
) -> dict[tuple[str, int], list[Row]]:
    """Everything until each topic-partition has reached its end, from where reading has `begun`."""
    rows: dict[tuple[str, int], list[Row]] = {spot: [] for spot in ends}
    for found in polls(log, ends, polls_max, begun):
        for records in found:
            rows.setdefault((records.topic, records.partition), []).extend(rows_of(records))
    return rows


@contextmanager
def read_by(raw: bool) -> Iterator[None]:
    """Within it, new consumers read whole batches as the service does (raw), or record by record as the client does."""
    with nullcontext() if raw else patch("streamer.eventlog.kafka.clients.fetch_records", fetch_one_by_one):
        yield


def fetch_one_by_one(consumer: Any) -> None:
    """The oracle of `fetch_records`: the client's own way, but for the endless loop after an error in a fetch."""
    parent: Any = consumer._fetcher.PartitionRecords

    class OneByOne(parent):  # type: ignore[misc]
        def _unpack_records(self, *arguments: Any) -> Iterator[Any]:
            try:
                yield from super()._unpack_records(*arguments)
            except Exception:
                self.drain()
                raise

        def take(self, n: int | None = None) -> CountedStretches:
            taken = super().take(n)
            return CountedStretches([as_records(self.topic_partition, taken)] if taken else [])

    consumer._fetcher.PartitionRecords = OneByOne


def as_records(tp: TopicPartition, taken: Sequence[Any]) -> Records:
    """The client's objects of some records as columns."""
    rows = ((one.offset, one.timestamp, one.key, one.value, tuple(one.headers)) for one in taken)
    return Records.build(tp.topic, tp.partition, rows)
