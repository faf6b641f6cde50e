"""Topics that grow while they are read, and where reading begins."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from kafka_kit import POLL_S, POLLS_MAX, Place, Row, begin, drain, settle, take_over

from streamer.errors import BrokerError, InDoubtError
from streamer.eventlog.base import RebalanceInProgress, UnitNotReady
from streamer.eventlog.kafka import unit_history
from streamer.eventlog.kafka.log import KafkaLog

pytestmark = pytest.mark.broker

UNITS = ["decide", "detect-0", "detect-1"]


def grow(place: Place) -> None:
    """To two partitions. The history first, as `driftline topics --create` does: a unit needs its partition there."""
    with place.admin() as admin:
        admin.create_partitions({place.epochs: 3})
        admin.create_partitions({place.events: 2})


def take_over_when_ready(log: KafkaLog, unit: str) -> int:
    """Take a unit over, as the loop does: again at each turn until its partition is known. Returns the turns waited."""
    for waited in range(POLLS_MAX):
        with suppress(UnitNotReady):
            take_over(log, unit)
            return waited
        log.poll(POLL_S)
    raise AssertionError(f"{unit} was never ready")


def read_what_was_added(place: Place, log: KafkaLog) -> list[Row]:
    """Once the new unit is ours: what is in its partition, which is committed then."""
    for _ in range(POLLS_MAX):
        if settle(log) == [UNITS]:
            break
    for unit in UNITS:
        take_over_when_ready(log, unit)
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
        assert take_over_when_ready(log, "detect-1") > 0
        assert partitions_of_epochs(place) == 3
        log.commit([place.output("grown")], [place.epoch(1, 0, 1)])
    assert place.outputs() == ["grown"]


def test_who_may_not_add_partitions_waits_and_says_so(kafka_broker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new unit is not ready; the others go on, and the command that helps is named."""
    place = Place(kafka_broker)

    def refuse(*_: Any) -> None:
        raise BrokerError("ClusterAuthorizationFailedError")

    monkeypatch.setattr(unit_history, "add_partitions", refuse)
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


# `kafka.start: latest` at the very first start: nothing from before it is read, whoever begins with it and when.

STARTED = 3  # partitions at the first start


def filled(kafka_broker: Any) -> Place:
    place = Place(kafka_broker, STARTED)
    for partition in range(STARTED):
        place.write([b"before"] * 4, partition=partition)
    return place


def write_now(place: Place) -> None:
    for partition in range(STARTED):
        place.write([b"now"] * 2, partition=partition)


def read_all(log: KafkaLog, place: Place, partitions: list[int]) -> list[bytes | None]:
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
        assert read_all(log, place, [0, 1, 2]) == [b"now"] * 6


def test_a_worker_that_ends_in_between_has_decided_for_the_next(kafka_broker: Any) -> None:
    """What was written meanwhile is read by whoever begins with the other partitions."""
    place = filled(kafka_broker)
    with place.log(start="latest") as log:
        settle(log)
        assert started(log, ["detect-0"]) == []
    write_now(place)
    with place.log(start="latest") as log:
        begin(log)
        assert read_all(log, place, [0, 1, 2]) == [b"now"] * 6
        log.commit([], [place.epoch(1, 6, partition) for partition in range(STARTED)])
    assert {place.committed()[place.events, p] for p in range(STARTED)} == {6}


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
        assert read_all(other, place, partitions) == [b"now"] * 2 * len(partitions)


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
