"""Owners of output topics, as the newest records name them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from kafka_kit import Place, begin

from streamer.errors import GapError, UsageError
from streamer.eventlog.kafka.owners import check_owners

pytestmark = [pytest.mark.broker, pytest.mark.slow]


@pytest.fixture
def place(kafka_broker) -> Place:
    return Place(kafka_broker)


def check(place: Place, group: str, epochs: str = "", topic: str = "") -> None:
    check_owners(place.connection, group, epochs or place.epochs, [topic or place.out])


def publish(place: Place) -> str:
    """An output and an epoch of the place's group, which is returned."""
    with place.log() as log:
        begin(log)
        log.commit([place.output("first")], [place.epoch(1, 0)])
    return place.settings.group_id


def test_a_topic_without_records_has_no_owner(place):
    """Any group may begin with empty topics."""
    check(place, "anybody")


def test_a_topic_of_other_records_has_no_owner(place):
    """Records without the header, as of versions before it, name nobody."""
    place.write([b"old"], place.out)
    check(place, "anybody")


def test_the_newest_output_names_the_owner(place):
    """The owner may start again, and another group may not, whichever of the topics it shares."""
    owner = publish(place)
    check(place, owner)
    with pytest.raises(UsageError, match=f"{place.epochs} by group {owner}"):
        check(place, "another", topic=place.alerts)
    place.broker.create_topics({f"new-{place.epochs}": 2})
    with pytest.raises(UsageError, match=f"{place.out} by group {owner}"):
        check(place, "another", f"new-{place.epochs}")


def test_an_owner_is_found_behind_aborted_transactions(place):
    """Markers and aborted records at the end of a topic hide no owner, however many there are."""
    owner = publish(place)
    with place.producer(transactional_id=f"other-{place.tag}") as producer:
        producer.init_transactions()
        for size in (1, 400):
            producer.begin_transaction()
            for _ in range(size):
                producer.send(place.out, b"aborted", b"key", partition=0)
            producer.flush(10)
            with suppress(Exception):
                producer.abort_transaction()
    with pytest.raises(UsageError, match=f"{place.out} by group {owner}"):
        check(place, "another", topic=place.out)


def test_a_group_of_another_service_is_refused(place):
    """A group that has committed offsets, with an empty epochs topic, belongs to another service."""
    owner = publish(place)
    place.broker.create_topics({f"new-{place.epochs}": 2, f"new-{place.out}": 1})
    with pytest.raises(GapError, match=f"group {owner} has committed: epochs were lost, or another service uses"):
        check(place, owner, f"new-{place.epochs}", f"new-{place.out}")
