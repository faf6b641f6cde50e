"""A partition that was paused and resumed is read again."""

from __future__ import annotations

from typing import Any

import pytest
from kafka import TopicPartition
from kafka_kit import read_by

from streamer.eventlog.kafka.clients import new_consumer
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.eventlog.kafka.fetch import poll

pytestmark = pytest.mark.broker

ONE, OTHER = 0, 1
RECORDS = 100


@pytest.fixture
def topic(kafka_broker: Any) -> str:
    from kafka import KafkaProducer

    name = "parked"
    kafka_broker.create_topics({name: 2})
    producer = KafkaProducer(bootstrap_servers=kafka_broker.bootstrap)
    for i in range(RECORDS):
        for partition in (ONE, OTHER):
            producer.send(name, b"%d" % i, partition=partition)
    producer.flush(10)
    producer.close(5)
    return name


def test_what_was_parked_is_taken_up_again(kafka_broker: Any, topic: str) -> None:
    """The client alone leaves it parked for ever, once another partition was read to its end meanwhile."""
    for heals in (False, True):
        with read_by(raw=False):
            consumer = new_consumer(KafkaConnection(bootstrap=(kafka_broker.bootstrap,)), None)
        try:
            one, other = (TopicPartition(topic, partition) for partition in (ONE, OTHER))
            consumer.assign([one, other])
            consumer.seek(one, 0)
            consumer.seek(other, 0)
            read = {one: 0, other: 0}

            def turn(most: int, consumer: Any = consumer, read: Any = read, heals: bool = heals) -> None:
                found = poll(consumer, 500, most) if heals else consumer.poll(500, most)
                for tp, records in found.items():
                    read[tp] += sum(map(len, records))

            while not any(read.values()):
                turn(1)
            first = one if read[one] else other
            rest = other if first is one else one
            consumer.pause(first)  # while more of it is in hand, which is parked with the next poll
            while read[rest] < RECORDS:
                turn(RECORDS)
            consumer.resume(first)
            for _ in range(4):
                turn(RECORDS)
            assert read[first] == (RECORDS if heals else 1)
        finally:
            consumer.close(autocommit=False)
