"""The main job on a real broker: events in, the right requests out, through kill -9, and alike in a replay."""

from __future__ import annotations

import json
import random
import time

import pytest
from driftline_process import Place, driftline, running
from fifty_models import DRIFTING, onset_error, stream

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
    """Killed again and again while it works, the service may repeat a record, but changes none and loses none."""
    place = Place(kafka_broker.bootstrap, tmp_path, done.events)
    dice = random.Random(4)
    for _ in range(5):
        with running(place.config) as service:
            time.sleep(dice.uniform(2.0, 5.0))
            service.kill()
    place.run_to_end()
    for what in ("alerts", "incidents", "requests"):
        assert {value for _, value, _ in place.read(place.outputs[what])} == {
            value for _, value, _ in done.read(done.outputs[what])
        }


def test_a_replay_of_the_recorded_topic_gives_the_same_ids(done, tmp_path):
    """Recorded to Parquet and replayed, the topic gives the very alerts and requests that the service published."""
    recording = tmp_path / "recording.parquet"
    driftline("record", "--config", str(done.config), "--until-end", "--out", str(recording))
    replayed = driftline("replay", str(recording), "--config", str(done.config))
    lines = [json.loads(line) for line in replayed.stdout.splitlines()]
    for kind, what in (("alert", "alerts"), ("request", "requests"), ("incident", "incidents")):
        mine = [{k: v for k, v in line.items() if k != "type"} for line in lines if line["type"] == kind]
        live = done.jsons(what)
        assert sorted(map(canonical, mine)) == sorted(map(canonical, live))


def canonical(record: dict) -> str:
    return json.dumps(record, sort_keys=True)
