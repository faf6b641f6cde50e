"""Topics that grow while they are read, and where reading begins."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from kafka_kit import POLL_S, POLLS_MAX, Place, Row, begin, drain, settle, take_over

from streamer.errors import BrokerError, InDoubtError
from streamer.eventlog.base import UnitNotReady
from streamer.eventlog.kafka import epochs_topic
from streamer.eventlog.kafka.log import KafkaLog

pytestmark = pytest.mark.broker

UNITS = ["decide", "detect-0", "detect-1"]


def grow(place: Place) -> None:
    """To two partitions. The history first, as `driftline topics --create` does: a unit needs its partition there."""
    with place.admin() as admin:
        admin.create_partitions({place.epochs: 3})
        admin.create_partitions({place.events: 2})


def read_what_was_added(place: Place, log: KafkaLog) -> list[Row]:
    """Once the new unit is ours: what is in its partition, which is committed then."""
    for _ in range(POLLS_MAX):
        if settle(log) == [UNITS]:
            break
    for unit in UNITS:
        take_over(log, unit)
    rows = drain(log, {(place.events, 1): 4})[place.events, 1]
    log.commit([place.output("grown")], [place.epoch(1, 4, 1)])
    return rows


@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_an_added_partition_is_read_from_its_beginning(kafka_broker: Any, start: str) -> None:
    """Even where topics that were never read are read from their end on: this one has been read all along.

    The running process takes it over; if its producer has not heard of the new partition of the history by then, that
    is a doubt, and the next process does.
    """
    place = Place(kafka_broker)
    place.write([b"before"] * 3)
    rows: list[Row] = []
    with place.log(start=start) as log:
        begin(log)
        place.write([b"now"] * 2)
        read = drain(log, {(place.events, 0): 5})[place.events, 0]
        assert [row[0] for row in read] == list(range(3 if start == "latest" else 0, 5))
        log.commit([], [place.epoch(1, 5)])
        grow(place)
        place.write([b"new"] * 4, partition=1)
        with suppress(InDoubtError):
            rows = read_what_was_added(place, log)
    if not rows:
        with place.log(start=start) as log:
            rows = read_what_was_added(place, log)
    assert [row[0] for row in rows] == [0, 1, 2, 3]
    assert place.outputs() == ["grown"]
    assert place.committed()[place.events, 1] == 4


def grow_events_first(place: Place, log: KafkaLog) -> None:
    """The event topic alone, of a group that has begun; until the new unit is this log's."""
    with place.admin() as admin:
        admin.create_partitions({place.events: 2})
    for _ in range(POLLS_MAX):
        if settle(log) == [UNITS]:
            return
    raise AssertionError("the partition was not noticed")


def partitions_of_epochs(place: Place) -> int:
    with place.consumer() as consumer:
        return len(consumer.partitions_for_topic(place.epochs))


def test_the_epochs_topic_grows_after_the_events(kafka_broker: Any) -> None:
    """The process that meets the new unit adds its partition, and takes the unit over once its clients know of it."""
    place = Place(kafka_broker)
    with place.log() as log:
        begin(log)
        grow_events_first(place, log)
        waited = 0
        while waited < POLLS_MAX:
            try:
                take_over(log, "detect-1")
                break
            except UnitNotReady:
                waited += 1
                log.poll(POLL_S)
        assert 0 < waited < POLLS_MAX
        assert partitions_of_epochs(place) == 3
        log.commit([place.output("grown")], [place.epoch(1, 0, 1)])
    assert place.outputs() == ["grown"]


def test_who_may_not_add_partitions_waits_and_says_so(kafka_broker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new unit is not ready; the others go on, and the command that helps is named."""
    place = Place(kafka_broker)

    def refuse(*_: Any) -> None:
        raise BrokerError("ClusterAuthorizationFailedError")

    monkeypatch.setattr(epochs_topic, "add_partitions", refuse)
    with place.log() as log:
        begin(log)
        grow_events_first(place, log)
        with pytest.raises(UnitNotReady, match="detect-1 needs partition 2: `driftline topics"):
            take_over(log, "detect-1")
        take_over(log, "detect-0")
        log.commit([place.output("on")], [place.epoch(1, 0)])
    assert place.outputs() == ["on"]


def test_a_topic_that_is_not_the_groups_is_left_alone(kafka_broker: Any) -> None:
    """A wrong name under outputs.epochs grows nobody's topic."""
    place = Place(kafka_broker)
    place.write([b"somebody's"], place.epochs)
    with place.admin() as admin:
        admin.create_partitions({place.events: 2})
    with place.log() as log:
        for _ in range(POLLS_MAX):
            if settle(log) == [UNITS]:
                break
        with pytest.raises(UnitNotReady, match="--create"):
            log.past("detect-1")
    assert partitions_of_epochs(place) == 2
