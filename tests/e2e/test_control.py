"""A request from question to promotion, through the real commands, a running service and a real broker."""

from __future__ import annotations

import json
import time

import msgspec
import pytest
from driftline_process import PATIENCE_S, Place, driftline, running

from streamer.testing.alerts import START, ready

pytestmark = [pytest.mark.broker, pytest.mark.slow]

START_MS = int(START.timestamp() * 1000)
ASK = "retrain: {approval_by_model: {'bus-*': both}, distinct_actors: true, expires_after_s: 3.0e+9}\n"


def listed(config: str) -> list[dict]:
    """What `driftline requests` lists."""
    return [
        json.loads(line) for line in driftline("requests", "--config", config, "--json", "--all").stdout.splitlines()
    ]


def wait_for(config: str, state: str) -> dict:
    """The one request, once it stands so."""
    deadline = time.monotonic() + PATIENCE_S
    while not ((found := listed(config)) and found[0]["state"] == state):
        assert time.monotonic() < deadline, found
        time.sleep(0.3)
    return found[0]


def test_people_and_trainers_speak_to_a_running_service(kafka_broker, tmp_path):
    """What is said by command changes how the request stands, refusals included, and folded again it is the same."""
    place = Place(kafka_broker.bootstrap, tmp_path, partitions=1, extra=ASK)
    config = str(place.config)
    assert (
        driftline("requests", "--config", config).stderr == "no open request; --all also lists those that have ended\n"
    )
    alert = msgspec.json.encode(ready("2h", fired="1h"))
    with running(place.config) as service:
        place.produce_at(place.outputs["alerts"], 0, [(START_MS, alert)])
        request = wait_for(config, "requested")
        about = (request["request_id"], "--config", config)
        driftline("approve", *about, "--actor", "ann", "--comment", "go")
        assert wait_for(config, "approved")["comment"] == "go"
        driftline("result", *about, "started", "--actor", "airflow")
        wait_for(config, "training")
        metrics = ("--champion", "mae=61", "--challenger", "mae=48.5")
        driftline("result", *about, "trained", "--actor", "airflow", "--version", "8", *metrics)
        wait_for(config, "awaiting_review")
        driftline("promote", *about, "--actor", "ann")
        driftline("promote", *about, "--actor", "bob")
        assert wait_for(config, "watching")["actor"] == "bob"
        assert "watching  20" in driftline("requests", "--config", config).stdout
        service.wait_until_done()
        assert service.stop() == 0, "".join(service.said)
    decisions = place.jsons("decisions")
    reasons = ["approved", "training", "trained", "same_actor", "promoted"]
    assert [decision["reason"] for decision in decisions] == reasons
    assert decisions[2]["challenger"] == {"mae": 48.5}
    assert place.jsons("incidents")[-1]["reason"] == "promoted"
    assert "decide: epochs 1 to" in (verdict := driftline("verify", "--config", config, "--unit", "decide").stdout)
    assert "all as published" in verdict
    driftline("approve", "no-such", "--config", config, "--actor", " ", expect=2)
