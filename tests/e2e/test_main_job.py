"""The main job on a real broker: events in, the right requests out, through kill -9, and alike in a replay."""

from __future__ import annotations

import json
import random
from collections import Counter

import numpy as np
import pytest
from driftline_process import Place, driftline, running
from fifty_models import DRIFTING, EVENTS, START_MS, onset_error, stream
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import KafkaConsumer, TopicPartition

from streamer.app.folds import ConfiguredFolds, units
from streamer.clock import SystemClock
from streamer.config import load_config
from streamer.eventlog.memory import MemoryLog
from streamer.eventlog.recordings.log import RecordedLog
from streamer.eventlog.recordings.recording import open_recording
from streamer.runtime.epoch_size import CommitSettings
from streamer.runtime.loop import Service
from streamer.runtime.recovery import NoCheckpoints, Recovery
from streamer.telemetry.observers import Observers

pytestmark = [pytest.mark.broker, pytest.mark.slow]

EXPECTED = {f"bus-{m:03}" for m in DRIFTING}


@pytest.fixture(scope="module")
def done(kafka_broker, tmp_path_factory):
    """A place where the service has folded the fifty models without interruption."""
    place = Place(kafka_broker.bootstrap, tmp_path_factory.mktemp("e2e"))
    place.produce(stream().values, stream().keys)
    place.run_to_end()
    return place


def test_exactly_the_drifting_models_are_asked_for(done, conforms):
    """100,000 events of 50 models: one request for each of the five that drift, each onset near, none for others."""
    requests = [conforms("retrain-request.v1", value) for _, value, _ in done.read(done.outputs["requests"])]
    assert sorted(r["model_id"] for r in requests) == sorted(EXPECTED)
    errors = {r["model_id"]: onset_error(r) for r in requests}
    print("onset errors, in events of the model:", errors)
    assert max(errors.values()) <= 500


def test_what_is_published_can_be_read_by_anyone(done, conforms):
    """Keys are model ids, headers are CloudEvents, and every record meets its schema."""
    for key, value, headers in done.read(done.outputs["requests"]):
        request = json.loads(value)
        assert key.decode() == request["model_id"]
        assert headers["ce_id"].decode() == request["request_id"]
        assert headers["ce_type"] == b"io.driftline.retrain.requested.v1"
    for what, contract in (("alerts", "alert.v1"), ("incidents", "incident.v1")):
        assert [conforms(contract, value) for _, value, _ in done.read(done.outputs[what])]


def test_kill_9_at_random_moments_changes_nothing(done, kafka_broker, tmp_path):
    """Killed again and again while it works, the service publishes each record once, as if it had not been killed."""
    place = Place(kafka_broker.bootstrap, tmp_path, done.events, records_max=2000)
    dice = random.Random(4)
    for most in sorted(dice.uniform(0.05, 0.9) * EVENTS for _ in range(5)):
        with running(place.config) as service:
            folded = service.wait_for_records(place.events, int(most))
            service.kill()
        print(f"killed after {folded:,.0f} records")
        assert folded < EVENTS
    place.run_to_end()
    for what in ("alerts", "incidents", "requests"):
        assert Counter(value for _, value, _ in place.read(place.outputs[what])) == Counter(
            value for _, value, _ in done.read(done.outputs[what])
        )


@pytest.fixture(scope="module")
def recording(done):
    """The topic of the fifty models as a Parquet file."""
    file = done.folder / "recording.parquet"
    driftline("record", "--config", str(done.config), "--until-end", "--out", str(file))
    return file


def test_a_replay_of_the_recorded_topic_gives_what_the_service_published(done, recording):
    """Recorded to Parquet and replayed, the topic gives the very alerts, incidents and requests, byte for byte."""
    replayed = driftline("replay", str(recording), "--config", str(done.config))
    lines = [json.loads(line) for line in replayed.stdout.splitlines()]
    for kind, what in (("alert", "alerts"), ("request", "requests"), ("incident", "incidents")):
        mine = [{k: v for k, v in line.items() if k != "type"} for line in lines if line["type"] == kind]
        live = done.jsons(what)
        assert sorted(map(canonical, mine)) == sorted(map(canonical, live))


@settings(max_examples=8)
@given(chunk_rows=st.integers(100, 20_000), epoch_records=st.integers(500, 40_000))
def test_batch_sizes_do_not_show_in_a_replay(done, recording, chunk_rows, epoch_records):
    """Read in chunks and folded in epochs of any size, the recording gives the alerts and requests of the live run."""
    config = load_config(done.config)
    outputs = MemoryLog([config.outputs.alerts, config.outputs.watermarks])
    outputs.end_input()
    with open_recording(str(recording)) as file:
        source = RecordedLog([file], outputs, tuple(config.topics), chunk_rows, epoch_records)
        nothing = NoCheckpoints()
        recovery = Recovery(source, ConfiguredFolds(config), nothing)
        settings, observer = CommitSettings(interval_s=0), Observers()
        Service(units(config), recovery, settings, SystemClock(), observer, nothing).run(lambda: False)
    for what in ("alerts", "requests"):
        records = outputs.store.read(done.outputs[what])
        found = [records.value_of(i) for i in range(len(records))]
        assert sorted(found) == sorted(value for _, value, _ in done.read(done.outputs[what]))


def test_late_labels_on_a_topic_of_their_own_show_the_model_that_errs(kafka_broker, tmp_path):
    """Catching up with a backlog of both topics, one model's error has grown and it alone is asked for."""
    rng = np.random.default_rng(12)
    place = Place(kafka_broker.bootstrap, tmp_path, partitions=1, labels=f"bus.labels.{tmp_path.name}")
    predictions, labels = [], []
    for i in range(12_000):
        m, time_ms = i % 4, START_MS + 60_000 * i
        of = {"model_id": f"bus-{m}", "prediction_id": str(i), "event_time": time_ms}
        error = rng.normal() * (30 if m == 2 and i > 8000 else 10)
        predictions.append((time_ms, json.dumps(of | {"prediction": 300.0}).encode()))
        late = time_ms + 600_000
        labels.append((late, json.dumps(of | {"event_time": late, "label": 300.0 + error}).encode()))
    place.produce_at(place.events, 0, predictions)
    place.produce_at(place.labels, 0, labels)
    place.run_to_end()
    (request,) = place.jsons("requests")
    assert request["model_id"] == "bus-2"
    assert {alert["column"] for alert in request["evidence"]} == {"error"}
    assert abs(request["training_window"][0]["start_offset"] - 8000) <= 4 * 50


def events_of(bootstrap, window):
    """The events in a window, by a plain consumer."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, isolation_level="read_committed")
    where = TopicPartition(window["topic"], window["partition"])
    consumer.assign([where])
    consumer.seek(where, window["start_offset"])
    found = []
    while consumer.position(where) < window["end_offset"]:
        for records in consumer.poll(timeout_ms=1000).values():
            found += [json.loads(one.value) for one in records if one.offset < window["end_offset"]]
    consumer.close()
    return found


def rows_of(bootstrap, windows, model):
    """Prediction and label of each row of a model, by id; None: no label has joined."""
    rows, labels = {}, {}
    for window in windows:
        mine = [event for event in events_of(bootstrap, window) if event["model_id"] == model]
        if window["role"] == "predictions":
            assert len(mine) == window["events"]
            rows |= {event["prediction_id"]: event["features"]["x"] for event in mine}
        else:
            labels |= {event["prediction_id"]: event["label"] for event in mine}
    return {name: (x, labels.get(name)) for name, x in rows.items()}


def test_rows_with_labels_are_read_back_from_a_request(kafka_broker, tmp_path):
    """The rows of the windows are those of the simulation, each with its label if that came before the request."""
    rng = np.random.default_rng(12)
    place = Place(kafka_broker.bootstrap, tmp_path, partitions=2, labels=f"bus.labels.{tmp_path.name}")
    truth, written = {}, {(topic, p): [] for topic in ("predictions", "labels") for p in range(2)}
    for i in range(8000):
        m, time_ms = int(rng.integers(4)), START_MS + 60_000 * i
        of = {"model_id": f"bus-{m}", "prediction_id": f"p-{i}", "event_time": time_ms}
        x, label = float(rng.normal()), float(300 + rng.normal() * (30 if m == 2 and i > 5000 else 10))
        event = of | {"features": {"x": x}, "prediction": 300.0}
        written["predictions", m % 2].append((time_ms, json.dumps(event).encode()))
        late = time_ms + 600_000
        written["labels", m % 2].append((late, json.dumps(of | {"event_time": late, "label": label}).encode()))
        truth[f"p-{i}"] = m, late, x, label
    for (topic, p), rows in written.items():
        place.produce_at(place.events if topic == "predictions" else place.labels, p, rows)
    place.run_to_end()
    (request,) = place.jsons("requests")
    assert {window["role"] for window in request["training_window"]} == {"predictions", "labels"}
    ready_ms = int(np.datetime64(request["training_window"][0]["end_time"].rstrip("Z"), "ms").astype(np.int64))
    for windows in (request["training_window"], request["history"]):
        rows = rows_of(kafka_broker.bootstrap, windows, "bus-2")
        ids = [name for name, (m, *_) in truth.items() if m == 2]
        first, last = ids.index(next(iter(rows))), ids.index(list(rows)[-1])
        assert list(rows) == ids[first : last + 1]
        assert len(rows) >= 500
        for name, (x, label) in rows.items():
            _, late, true_x, true_label = truth[name]
            assert x == true_x
            assert label == (true_label if late < ready_ms else label)
            assert label in (true_label, None)
    before, after = (
        list(rows_of(kafka_broker.bootstrap, request[part], "bus-2")) for part in ("history", "training_window")
    )
    assert ids.index(before[-1]) + 1 == ids.index(after[0])


def canonical(record: dict) -> str:
    return json.dumps(record, sort_keys=True)
