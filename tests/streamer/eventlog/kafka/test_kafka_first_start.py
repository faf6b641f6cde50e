"""`kafka.start: latest` at the very first start: nothing from before it is read, whoever begins with it and when."""

from __future__ import annotations

from typing import Any

import pytest
from kafka_kit import Place, begin, drain, settle, take_over

from streamer.eventlog.base import RebalanceInProgress, UnitNotReady
from streamer.eventlog.kafka.log import KafkaLog

pytestmark = pytest.mark.broker

PARTITIONS = 3


def filled(kafka_broker: Any) -> Place:
    place = Place(kafka_broker, PARTITIONS)
    for partition in range(PARTITIONS):
        place.write([b"before"] * 4, partition=partition)
    return place


def write_now(place: Place) -> None:
    for partition in range(PARTITIONS):
        place.write([b"now"] * 2, partition=partition)


def read(log: KafkaLog, place: Place, partitions: list[int]) -> list[bytes | None]:
    rows = drain(log, {(place.events, p): 6 for p in partitions})
    return [value for spot in rows for _, _, _, value, _ in rows[spot]]


def started(log: KafkaLog, units: list[str]) -> list[str]:
    """Take over what can be taken over; what can't yet."""
    waiting = []
    for unit in units:
        try:
            take_over(log, unit)
        except UnitNotReady:
            waiting.append(unit)
    return waiting


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_one_worker_reads_every_partition_from_its_end(kafka_broker: Any, delivery: str) -> None:
    """Not partition 0 alone: that it has begun by then says nothing of the others."""
    place = filled(kafka_broker)
    with place.log(start="latest", delivery=delivery) as log:
        begin(log)
        write_now(place)
        assert read(log, place, [0, 1, 2]) == [b"now"] * 6


def test_a_worker_that_ends_in_between_has_decided_for_the_next(kafka_broker: Any) -> None:
    """What was written meanwhile is read by whoever begins with the other partitions."""
    place = filled(kafka_broker)
    with place.log(start="latest") as log:
        settle(log)
        assert started(log, ["detect-0"]) == []
    write_now(place)
    with place.log(start="latest") as log:
        begin(log)
        assert read(log, place, [0, 1, 2]) == [b"now"] * 6
        log.commit([], [place.epoch(1, 6, partition) for partition in range(PARTITIONS)])
    assert {place.committed()[place.events, p] for p in range(PARTITIONS)} == {6}


def test_several_workers_wait_for_the_one_that_decides(kafka_broker: Any) -> None:
    """The worker of partition 0 decides for all, so that nobody takes a topic for one that was read all along."""
    place = filled(kafka_broker)
    with place.log(start="latest", worker=0) as one, place.log(start="latest", worker=1) as two:
        ours = settle(one, two)
        first, other = (one, two) if "detect-0" in ours[0] else (two, one)
        of_first, of_other = ours if first is one else ours[::-1]
        events = [unit for unit in of_other if unit != "decide"]
        assert events
        assert started(other, events) == events
        assert started(first, of_first) == []
        write_now(place)
        try:
            assert started(other, of_other) == []
        except RebalanceInProgress:
            pytest.fail("the group moved")
        partitions = [int(unit.removeprefix("detect-")) for unit in events]
        assert read(other, place, partitions) == [b"now"] * 2 * len(partitions)


def test_marks_are_no_progress(kafka_broker: Any) -> None:
    """A place to begin is not taken for what is committed, by which histories would be lost."""
    place = filled(kafka_broker)
    with place.log(start="latest") as log:
        settle(log)
        assert started(log, ["detect-0"]) == []
        assert log.committed([(place.events, 1)]) == {}
        past = log.past("detect-1")
        assert past is not None
        assert past.last == 0
