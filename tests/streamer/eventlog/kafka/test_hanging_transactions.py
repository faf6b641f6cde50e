"""A transaction that the coordinator knows nothing of: its records must not come out with the next one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kafka import TopicPartition
from kafka_kit import Place, begin

from streamer.eventlog.kafka.log import KafkaLog
from streamer.testing.kafka import Broker

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def credulous_broker() -> Iterator[Broker]:
    """It takes records of a transaction without asking the coordinator, as a way to leave some behind."""
    with Broker(settings={"transaction.partition.verification.enable": "false"}) as broker:
        yield broker


def leave_behind(log: KafkaLog, place: Place) -> None:
    """A record in a transaction whose coordinator does not know of the partition, so that it never ends it there."""
    producer = log._producer
    producer.begin_transaction()
    producer._transaction_manager._partitions_in_transaction.add(TopicPartition(place.out, 0))
    producer.send(place.out, b"left behind", b"k", partition=0)
    producer.flush(5)


def test_what_was_left_open_never_comes_out(credulous_broker: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A fresh process aborts it before anything else, and says so; outputs come once, and readers are not held up."""
    place = Place(credulous_broker)
    with place.log() as log:
        begin(log)
        log.commit([place.output("one")], [place.epoch(1, 0)])
        leave_behind(log, place)
    with place.log() as log:
        assert f"aborting transactions that the brokers have left open: [('{place.out}', 0)]" in caplog.text
        begin(log)
        log.commit([place.output("two")], [place.epoch(2, 0)])
    assert place.outputs() == ["one", "two"]


@pytest.mark.parametrize("deadline_s", [0.5, 30.0, 120.0, 600.0])
def test_a_transaction_outlives_the_deadline_of_its_outputs(kafka_broker: Any, deadline_s: float) -> None:
    """Else the broker would end it while the outputs are on their way, whatever the deadline says."""
    place = Place(kafka_broker)
    with place.log(commit_deadline_s=deadline_s) as log:
        assert log._producer.config["transaction_timeout_ms"] > deadline_s * 1000
