"""Records that a wrong mapping turned into dead letters get back into their topic, once each, and recordings get in."""

from __future__ import annotations

import json
import time

import pytest
from confluent_kafka import Producer
from driftline_process import PATIENCE_S, Place, create_topic, driftline, messages

pytestmark = [pytest.mark.broker, pytest.mark.slow]

NOW_MS = int(time.time() * 1000) // 60_000 * 60_000


def event(i: int) -> bytes:
    at = NOW_MS - 60_000 + i
    return json.dumps({"model": f"m{i % 3}", "event_time": at, "features": {"x": i}}).encode()


def mapped(place: Place) -> None:
    """Correct the configuration: the model is in `model`."""
    wrong = f"{place.events}: {{format: json}}"
    text = place.config.read_text()
    assert wrong in text
    place.config.write_text(text.replace(wrong, f"{place.events}: {{format: json, fields: {{model_id: $.model}}}}"))


@pytest.fixture
def misread(kafka_broker, tmp_path) -> Place:
    """A place whose records of two partitions all became dead letters."""
    place = Place(kafka_broker.bootstrap, tmp_path, partitions=2)
    for partition in (0, 1):
        records = [(NOW_MS - 60_000 + i, event(i)) for i in range(40) if i % 2 == partition]
        place.produce_at(place.events, partition, records)
    place.run_to_end()
    return place


def test_dead_letters_are_shown_and_sent_again_once(misread):
    """Reasons and samples are shown; nothing is sent while records can't be read; then each is, in order of time."""
    config, topic = str(misread.config), misread.events
    shown = driftline("dead-letters", topic, "--config", config).stdout.splitlines()
    assert shown[0].split() == ["reason", "records", "first", "last"]
    assert shown[1].split()[:2] == ["missing_model", "40"]
    assert shown[3].startswith(f"missing_model: {topic}[")
    assert shown[4] == "  the event has neither a model_id nor a source"
    lines = driftline("dead-letters", topic, "--config", config, "--json").stdout.splitlines()
    assert {json.loads(line)["reason"] for line in lines} == {"missing_model"}
    refused = driftline("dead-letters", topic, "--config", config, "--replay", expect=6).stderr
    assert "40 of 40 dead letters of " in refused
    assert "still can't be read (40 missing_model), so none of them was sent" in refused
    assert misread.end(topic) == 40

    mapped(misread)
    sent = driftline("dead-letters", topic, "--config", config, "--replay").stderr
    assert f"40 dead letters were sent to {topic} again" in sent
    assert "0 dead letters were sent" in driftline("dead-letters", topic, "--config", config, "--replay").stderr
    copies = [m for m in messages(misread.bootstrap, topic) if dict(m.headers() or ())]
    assert len(copies) == 40
    for partition in (0, 1):
        mine = [m for m in copies if m.partition() == partition]
        times = [m.timestamp()[1] for m in mine]
        assert times == sorted(times)
        assert [m.value() for m in mine] == [event(i) for i in range(40) if i % 2 == partition]
        places = [f"{topic}/{partition}/{i}".encode() for i in range(20)]
        assert [dict(m.headers())["__driftline.replayed"] for m in mine] == places
    misread.run_to_end()
    assert len(misread.read(f"{topic}-dlt")) == 40


def test_unreadable_records_are_passed_over_for_good(misread):
    """`--skip-unreadable` sends the rest, and a later replay does not come back to what was passed over."""
    config, topic = str(misread.config), misread.events
    misread.produce({0: [b"{broken"]})
    misread.run_to_end()
    mapped(misread)
    about = ("dead-letters", topic, "--config", config, "--replay")
    assert "1 of 41 dead letters" in driftline(*about, expect=6).stderr
    said = driftline(*about, "--skip-unreadable").stderr
    assert f"40 dead letters were sent to {topic} again; 1 that can't be read were passed over (1 not_json)" in said
    assert "0 dead letters were sent" in driftline(*about).stderr


def test_a_topic_that_is_not_configured_is_named(misread):
    """The nearest topic is suggested, also for the name of the dead-letter topic."""
    said = driftline("dead-letters", f"{misread.events}-dlt", "--config", str(misread.config), expect=2).stderr
    assert f"is no event topic of the configuration; did you mean {misread.events}?" in said


def test_a_recording_is_sent(kafka_broker, tmp_path):
    """Keys, values and headers stay, and records of a key keep their order; without --to, topics keep their names."""
    source, target = f"source-{tmp_path.name}", f"target-{tmp_path.name}"
    create_topic(kafka_broker.bootstrap, source, 1)
    create_topic(kafka_broker.bootstrap, target, 3)
    producer = Producer({"bootstrap.servers": kafka_broker.bootstrap})
    for i in range(60):
        producer.produce(source, event(i), f"k{i % 5}", headers=[("n", str(i).encode())], timestamp=NOW_MS + i * 20)
    producer.produce(source, None, "k1", timestamp=NOW_MS + 1_200)
    assert producer.flush(PATIENCE_S) == 0
    file, brokers = str(tmp_path / "r.parquet"), ("--bootstrap", kafka_broker.bootstrap)
    driftline("record", source, *brokers, "--until-end", "--out", file)
    assert "61 records are in Kafka" in driftline("send", file, "--to", target, *brokers, "--keep-times").stderr
    copies = messages(kafka_broker.bootstrap, target)
    originals = messages(kafka_broker.bootstrap, source)

    def rows(found, key):
        return [(m.value(), m.headers() or [], m.timestamp()[1]) for m in found if m.key() == key]

    for key in (f"k{i}".encode() for i in range(5)):
        assert rows(copies, key) == rows(originals, key)
        assert len({m.partition() for m in copies if m.key() == key}) == 1
    began_s = time.monotonic()
    driftline("send", file, *brokers, "--speed", "0.5")
    assert time.monotonic() - began_s >= 2.4
    assert len(messages(kafka_broker.bootstrap, source)) == 122
    missing = driftline("send", file, "--to", "nowhere", *brokers, expect=3).stderr
    assert "nowhere" in missing
