"""Records that are gone and a second process of the group, through the real command: one clear sentence each."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from driftline_process import PATIENCE_S, Place, create_topic, ends, events, running

from streamer.errors import GapError, InDoubtError

pytestmark = [pytest.mark.broker, pytest.mark.slow]

GAP, DOUBT = GapError.exit_code, InDoubtError.exit_code


def test_records_that_the_state_needs_and_that_are_gone(kafka_broker, tmp_path):
    """Deleted records, lost epochs, another topic of the same name: exit code 4, and how to start afresh."""
    place = Place(kafka_broker.bootstrap, tmp_path, partitions=1, extra="checkpoints: {url: null}\n")
    place.produce({0: events(400)})
    place.run_to_end()
    text = place.config.read_text()
    admin = AdminClient({"bootstrap.servers": place.bootstrap})

    create_topic(place.bootstrap, f"new.{place.tag}", 2)
    place.config.write_text(text.replace(place.outputs["epochs"], f"new.{place.tag}"))
    said = ends("run", "--config", str(place.config), exit_code=GAP)
    assert f"ends before the offsets that group driftline-{place.tag} has committed: epochs were lost" in said
    place.config.write_text(text)

    for deleted in admin.delete_records([TopicPartition(place.events, 0, 100)]).values():
        deleted.result(PATIENCE_S)
    said = ends("run", "--config", str(place.config), exit_code=GAP)
    assert f"{place.events}-0 begins at offset 100 now" in said
    assert "100 records are gone" in said
    assert "start afresh: a new kafka.group and a new outputs.prefix" in said

    for deleted in admin.delete_topics([place.events]).values():
        deleted.result(PATIENCE_S)
    recreate(place)
    place.produce({0: events(400)})
    said = ends("run", "--config", str(place.config), exit_code=GAP)
    assert f"Topic {place.events} was deleted and created again" in said


def recreate(place: Place) -> None:
    """Create the deleted topic of events again; Kafka takes a moment to let go of the name."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return create_topic(place.bootstrap, place.events, 1)
        except Exception:
            assert time.monotonic() < deadline_s
            time.sleep(0.1)


def test_two_processes_of_one_group(kafka_broker, tmp_path):
    """Of two with one worker number the older one is fenced, ends with 75 and says why; the other goes on."""
    place = Place(kafka_broker.bootstrap, tmp_path, partitions=1)
    with running(place.config) as first:
        first.wait_until_done()
        with running(place.config) as second:
            second.wait_until_done()
            place.produce({0: events(400)})
            both = (first, second)
            deadline_s = time.monotonic() + PATIENCE_S
            while all(service.process.poll() is None for service in both) and time.monotonic() < deadline_s:
                time.sleep(0.1)
            codes = [service.stop() for service in both]
    assert DOUBT in codes
    assert set(codes) <= {0, DOUBT}
    for service, code in zip(both, codes, strict=True):
        said = "".join(service.said)
        assert "Traceback" not in said
        assert (f"Another process is member driftline-{place.tag}-0" in said or "in doubt" in said) == (code == DOUBT)
    place.run_to_end()
