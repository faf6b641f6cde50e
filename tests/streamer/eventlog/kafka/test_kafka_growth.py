"""Topics that grow while they are read, and where reading begins."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from kafka_kit import POLLS_MAX, Place, Row, begin, drain, settle, take_over

from streamer.errors import InDoubtError
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
