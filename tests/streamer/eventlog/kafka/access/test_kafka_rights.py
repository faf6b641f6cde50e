"""A right that is taken from a running worker: the call that needs it fails with the name of the right."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kafka_kit import Place, begin
from rights_kit import grant_only

from streamer.eventlog.kafka.access.rights import MissingRightError, Right
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.eventlog.kafka.log import KafkaLog
from streamer.testing.kafka import Broker

pytestmark = [pytest.mark.broker, pytest.mark.slow]


@pytest.fixture(scope="module")
def secured() -> Iterator[Broker]:
    with Broker(sasl=True, acls=True) as broker:
        yield broker


@pytest.fixture
def place(secured) -> Place:
    made = Place(secured)
    made.connection = KafkaConnection(
        bootstrap=(secured.secured_bootstrap,),
        protocol=secured.secured_protocol,
        mechanism=secured.mechanism,
        username=secured.username,
        password=secured.password,
    )
    return made


def rights(place: Place, taken: str = "") -> list[Right]:
    """What the log needs, without one right."""
    group = place.settings.group_id
    needed = [
        *(Right("topic", topic, "Read") for topic in (place.events, place.alerts, place.epochs)),
        *(Right("topic", topic, "Write") for topic in (place.alerts, place.out, place.epochs)),
        Right("group", group, "Read"),
        Right("transactional-id", f"{group}-0", "Write"),
    ]
    return [right for right in needed if str(right) != taken]


TAKEN = {
    "Write on topic out": lambda place: f"Write on topic {place.out}",
    "Write on topic epochs": lambda place: f"Write on topic {place.epochs}",
    "Read on topic events": lambda place: f"Read on topic {place.events}",
    "Read on group": lambda place: f"Read on group {place.settings.group_id}",
    "Write on transactional id": lambda place: f"Write on transactional id {place.settings.group_id}-0",
}


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
@pytest.mark.parametrize("taken", TAKEN)
def test_a_commit_names_the_right_that_is_missing(place, secured, taken, delivery):
    """Once a right is taken, the next commit fails for good and names it; it is not in doubt."""
    if delivery == "at_least_once" and "transactional" in taken:
        return
    name = TAKEN[taken](place)
    grant_only(secured, secured.username, rights(place))
    place.write([b"a", b"b"])
    with place.log(delivery=delivery) as log:
        begin(log)
        log.commit([place.output("first")], [place.epoch(1, 1)])
        grant_only(secured, secured.username, rights(place, name))
        with pytest.raises(MissingRightError, match=f"refuses User:driftline: {name} is not granted"):
            log.commit([place.output("second")], [place.epoch(2, 2)])
    assert place.outputs()[:1] == ["first"]


@pytest.mark.parametrize("taken", ["Read on topic events", "Read on group"])
def test_a_poll_names_the_right_that_is_missing(place, secured, taken):
    """A worker that may not read any more ends at a poll."""
    name = TAKEN[taken](place)
    grant_only(secured, secured.username, rights(place))
    place.write([b"a"])
    with place.log() as log:
        begin(log)
        grant_only(secured, secured.username, rights(place, name))
        place.write([b"b"])
        with pytest.raises(MissingRightError, match=f"refuses User:driftline: {name} is not granted"):
            poll_on(log)


def poll_on(log: KafkaLog) -> None:
    for _ in range(100):
        log.poll(0.1)


def test_a_missing_transactional_id_shows_at_the_start(place, secured):
    """Without Write on its transactional id, a log does not open."""
    name = TAKEN["Write on transactional id"](place)
    grant_only(secured, secured.username, rights(place, name))
    with pytest.raises(MissingRightError, match=f"refuses User:driftline: {name} is not granted"), place.log():
        pass
