"""Bad records through the real service on a real broker: kept beside their reason, while the fold goes on."""

from __future__ import annotations

import base64
import json
import re
import uuid
from dataclasses import dataclass, field

import numpy as np
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from driftline_process import PATIENCE_S, Place, create_topic, running

from streamer.codecs.base import Reason
from streamer.contracts.dead_letters import BYTES_MAX, PREFIX
from streamer.eventlog.headers import OWNER_HEADER

pytestmark = [pytest.mark.broker, pytest.mark.slow]

START_MS = 1_782_889_200_000  # 2026-07-01T07:00:00Z
EVENTS = 1200  # of each model
DRIFTS_AT = 600
MESSAGE_BYTES_MAX = 12_000_000
DRIFTING, STEADY = "bus-drifting", "bus-steady"  # on partition 0, beside everything bad; on partition 1
HEADERS = [("trace", b"\x00\xff\x01"), ("empty", b""), ("ключ", "значение".encode())]
MODELS_MAX = 2


def noise(size: int) -> bytes:
    """Text that does not get smaller by compression: brokers measure what arrives."""
    return base64.b64encode(np.random.default_rng(size).bytes(size))[:size]


def event(**fields: object) -> bytes:
    return json.dumps({"model_id": DRIFTING, "event_time": START_MS, "prediction": 1.0} | fields).encode()


# What is wrong, and the reason by which it should be known.
BAD: list[tuple[bytes | None, Reason]] = [
    (b"\xff\xfe\x00\x80 no text at all", Reason.NOT_UTF8),
    (b'{"model_id": "bus-\xff", "prediction": 1}', Reason.NOT_UTF8),
    (b'{"model_id": "bus-1", "prediction":', Reason.NOT_JSON),
    (b"", Reason.NOT_JSON),
    (b'["a", "list"]', Reason.NOT_AN_OBJECT),
    (event(features=[1, 2]), Reason.WRONG_TYPE),
    (event(model_id={"name": "bus"}), Reason.WRONG_TYPE),
    (event(model_id=None), Reason.MISSING_MODEL),
    (json.dumps({"model_id": DRIFTING, "event_time": START_MS, "label": 1.0}).encode(), Reason.MISSING_PREDICTION_ID),
    (json.dumps({"model_id": DRIFTING, "event_time": START_MS}).encode(), Reason.NOTHING_TO_WATCH),
    (event(event_time="the day before yesterday"), Reason.BAD_EVENT_TIME),
    (event(event_time="2099-01-01T00:00:00Z"), Reason.TIME_TOO_FAR_AHEAD),
    (event(features={f"x{i}": i for i in range(10_000)}), Reason.TOO_MANY_COLUMNS),
    (b"[" + b", ".join([b'{"model_id": "bus", "label": 1}'] * 10_001) + b"]", Reason.TOO_MANY_ROWS),
    (event(model_id="bus-fills-the-table"), None),
    (event(model_id="bus-too-many"), Reason.TOO_MANY_MODELS),
    (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, Reason.TOO_DEEP),
    (b"[" * 400_000, Reason.TOO_DEEP),
    (event(text=noise(10_000_000).decode()), Reason.TOO_LARGE),
    (None, Reason.NULL_VALUE),
    (b"Obj\x01 an Avro object container", Reason.OTHER_FORMAT),
]
BAD_ALERTS: list[tuple[bytes | None, Reason]] = [
    (b"no alert", Reason.NOT_JSON),
    (b"\x00\xff", Reason.NOT_JSON),
    (None, Reason.NULL_VALUE),
    (b"[]", Reason.NOT_AN_OBJECT),
    (b'{"alert_id": 5}', Reason.WRONG_TYPE),
    (b"{" + b" " * 70_000 + b"}", Reason.TOO_LARGE),
]


@dataclass
class Sent:
    """A record as it was produced, and where it came to stand."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    reason: Reason | None = None
    headers: dict[str, bytes] = field(default_factory=dict)
    offset: int = -1

    @property
    def place(self) -> tuple[str, int, int]:
        return self.topic, self.partition, self.offset


def produce(bootstrap: str, records: list[Sent]) -> None:
    settings = {"message.max.bytes": MESSAGE_BYTES_MAX, "enable.idempotence": True, "compression.type": "none"}
    producer = Producer({"bootstrap.servers": bootstrap, **settings})
    for one in records:

        def delivered(error, message, one=one):
            assert error is None, error
            one.offset = message.offset()

        headers = list(one.headers.items())
        producer.produce(
            one.topic, one.value, one.key, one.partition, timestamp=START_MS, headers=headers, on_delivery=delivered
        )
    assert producer.flush(PATIENCE_S) == 0


def good_events(model: str, rng: np.random.Generator) -> list[bytes]:
    """Events with unknown fields and missing values of all kinds; the headway of the drifting model drifts."""
    missing = [float("nan"), float("inf"), float("-inf"), None, "a text", [1]]
    values = []
    for i in range(EVENTS):
        shift = 90 if model == DRIFTING and i >= DRIFTS_AT else 0
        features = {
            "headway_s": 420 + shift + 60 * rng.normal(),
            "dwell_s": missing[i % 6] if i % 4 == 0 else 30 + rng.normal(),
        }
        values.append(
            event(
                model_id=model,
                event_time=START_MS + i,
                prediction=60 * rng.normal(),
                features=features,
                route={"line": [7]},
            )
        )
    return values


@dataclass
class Story:
    """What was sent, and what the service said of itself when it had read everything."""

    place: Place
    sent: list[Sent]
    metrics: dict[str, float]
    said: str
    exit_code: int

    def bad(self, topic: str) -> list[Sent]:
        return [one for one in self.sent if one.topic == topic and one.reason is not None]


@pytest.fixture(scope="module")
def story(kafka_broker, tmp_path_factory):
    """One run of the service over everything bad among twice 1,200 good events, and garbage among the alerts."""
    events = f"bus.bad-input.{uuid.uuid4().hex[:8]}"
    create_topic(kafka_broker.bootstrap, events, 2, **{"max.message.bytes": str(MESSAGE_BYTES_MAX)})
    limits = f"limits: {{models_max: {MODELS_MAX}}}\n"
    place = Place(kafka_broker.bootstrap, tmp_path_factory.mktemp("bad-input"), events, extra=limits)
    rng = np.random.default_rng(7)
    steady = [Sent(place.events, 1, STEADY.encode(), value) for value in good_events(STEADY, rng)]
    drifting = [Sent(place.events, 0, None, value) for value in good_events(DRIFTING, rng)]
    bad = [
        Sent(place.events, 0, key, value, reason, dict(HEADERS))
        for value, reason in BAD
        for key in ((None, None) if value is None else (b"\xffkey", None))  # with a key, it is a tombstone
    ]
    bad.append(Sent(place.events, 0, noise(950_000), b"no JSON", Reason.NOT_JSON, dict(HEADERS)))
    bad.append(Sent(place.events, 0, b"key", b"no JSON", Reason.NOT_JSON, {"large": noise(950_000)}))
    for i, one in enumerate(bad):
        drifting.insert(20 + i * EVENTS // len(bad), one)
    alerts = [Sent(place.outputs["alerts"], 0, b"k", value, reason, dict(HEADERS)) for value, reason in BAD_ALERTS]
    sent = [*steady, *drifting, *alerts]
    produce(place.bootstrap, sent)
    with running(place.config) as service:
        service.wait_until_done()
        metrics = service.metrics()
        exit_code = service.stop()
    return Story(place, sent, metrics, "".join(service.said), exit_code)


def dead_letters(story: Story, topic: str) -> list[tuple[Sent, dict[str, str]]]:
    """What stands on the dead-letter topic, as it was before it went there, and what our headers say of it."""
    found = []
    for key, value, headers in story.place.read(f"{topic}-dlt"):
        ours = {name.removeprefix(PREFIX): text.decode() for name, text in headers.items() if name.startswith(PREFIX)}
        assert headers.pop(OWNER_HEADER).decode() == f"driftline-{story.place.tag}"
        theirs = {name: text for name, text in headers.items() if not name.startswith(PREFIX)}
        at = ours["topic"], int(ours["partition"]), int(ours["offset"])
        found.append((Sent(at[0], at[1], key, value, Reason(ours["reason"]), theirs, at[2]), ours))
    return found


def test_every_reason_there_is_has_been_met():
    """The records of this file meet all reasons of JSON. Other formats, and records that kill, have their own tests."""
    elsewhere = {Reason.POISON_RECORD, Reason.BATCH_TOO_LARGE}
    elsewhere |= {Reason.NOT_AVRO, Reason.NOT_PROTOBUF, Reason.NOT_ARROW, Reason.NOT_CSV}
    assert {reason for _, reason in BAD if reason} | elsewhere == set(Reason)


@pytest.mark.parametrize("which", ["events", "alerts"])
def test_bad_records_are_kept_byte_for_byte(story, which):
    """Each stands once on the dead-letter topic with key, value, headers, coordinates and reason; nothing else does."""
    topic = story.place.events if which == "events" else story.place.outputs["alerts"]
    found = {one.place: (one, ours) for one, ours in dead_letters(story, topic)}
    sent = {one.place: one for one in story.bad(topic)}
    assert {place: one.reason for place, (one, _) in found.items()} == {p: one.reason for p, one in sent.items()}
    assert len(story.place.read(f"{topic}-dlt")) == len(sent)
    for place, (one, ours) in found.items():
        if not any("bytes" in name for name in ours):
            assert one == sent[place]
        assert ours["timestamp"] == str(START_MS)
        assert len(ours["message"]) > 10


def test_what_is_too_large_to_be_kept_whole_is_cut_and_says_so(story):
    """Of 10 MB, the first 900,000 bytes are kept; large keys and headers give way too, and the service goes on."""
    cut = {
        one.place: (one, ours)
        for one, ours in dead_letters(story, story.place.events)
        if any("bytes" in name for name in ours)
    }
    sent = {one.place: one for one in story.bad(story.place.events)}
    assert len(cut) == 4
    for place, (one, ours) in cut.items():
        before = sent[place]
        kept = sum(map(len, (one.key or b"", one.value or b"", *one.headers, *one.headers.values())))
        assert kept <= BYTES_MAX
        assert (before.key or b"").startswith(one.key or b"")
        assert before.value.startswith(one.value)
        assert ours.get("cut.from.bytes", str(len(one.value))) == str(len(before.value))
        assert ours.get("key.cut.from.bytes", str(len(one.key or b""))) == str(len(before.key or b""))
        assert one.headers == ({} if "headers.dropped.bytes" in ours else before.headers)
    assert sum(len(one.value) > 890_000 for one, _ in cut.values()) == 2


def test_the_counters_move(story):
    """Every dead letter is counted under its topic and reason, and every record of both kinds as folded."""
    for topic in (story.place.events, story.place.outputs["alerts"]):
        counted = {}
        for name, n in story.metrics.items():
            labels = dict(re.findall(r'(\w+)="([^"]*)"', name))
            if name.startswith("driftline_dead_letters_total") and labels["topic"] == topic and n:
                counted[labels["reason"]] = n
        expected = [one.reason.value for one in story.bad(topic)]
        assert counted == {reason: expected.count(reason) for reason in expected}
    records = story.metrics[f'driftline_records_total{{topic="{story.place.events}"}}']
    assert records == sum(one.topic == story.place.events for one in story.sent)


def test_the_offsets_advance_past_everything(story):
    """The group has committed the end of every partition that it reads."""
    topics = (story.place.events, 0), (story.place.events, 1), (story.place.outputs["alerts"], 0)
    consumer = Consumer({"bootstrap.servers": story.place.bootstrap, "group.id": f"driftline-{story.place.tag}"})
    try:
        for at in consumer.committed([TopicPartition(*spot) for spot in topics], PATIENCE_S):
            assert at.offset == consumer.get_watermark_offsets(at, PATIENCE_S)[1]
    finally:
        consumer.close()


def test_drift_among_the_good_events_is_still_found(story):
    """The drifting model is asked for, from about where it drifted; the steady one is not."""
    (request,) = story.place.jsons("requests")
    assert request["model_id"] == DRIFTING
    drifted = next(one for one in story.sent if one.value and one.value == _first_drifted(story))
    assert abs(request["training_window"][0]["start_offset"] - drifted.offset) < 100


def _first_drifted(story: Story) -> bytes:
    mine = [
        one.value for one in story.sent if one.topic == story.place.events and one.partition == 0 and not one.headers
    ]
    return mine[DRIFTS_AT]


def test_the_log_names_dead_letters_and_the_service_ends_well(story):
    """The log says where they are and how to see them, and nothing worse; on SIGTERM the service ends with 0."""
    assert story.exit_code == 0, story.said
    assert "Traceback" not in story.said
    warned = re.findall(r"WARNING driftline: \[(?!kafka)(.*)|ERROR", story.said)
    assert warned, story.said
    for line in warned:
        assert re.fullmatch(r"telemetry\] \S+: \d+ of [\d,]+ new records became dead letters \(.*`.* shows some", line)


def test_a_restart_folds_them_again_and_keeps_none_twice(story):
    """The next process reads the same records to recover, and publishes nothing that is published already."""
    topics = [f"{story.place.events}-dlt", f"{story.place.outputs['alerts']}-dlt", *story.place.outputs.values()]
    before = {topic: len(story.place.read(topic)) for topic in topics}
    story.place.run_to_end()
    assert {topic: len(story.place.read(topic)) for topic in topics} == before
