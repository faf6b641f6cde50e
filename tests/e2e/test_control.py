"""A request from question to promotion, through the real commands, a running service and a real broker."""

from __future__ import annotations

import json
import time

import msgspec
import pytest
from driftline_process import Patience, Place, Running, driftline, running

from streamer.testing.alerts import START, firing, ready

pytestmark = [pytest.mark.broker, pytest.mark.slow]

START_MS = int(START.timestamp() * 1000)
ANN = ("--actor", "ann", "--wait-s", "100")
AIRFLOW = ("--actor", "airflow", "--wait-s", "100")
ASK = "retrain: {approval_by_model: {'bus-*': both}, distinct_actors: true, expires_after_s: 3.0e+9}\n"


def listed(config: str) -> list[dict]:
    """What `driftline requests` lists."""
    return [
        json.loads(line) for line in driftline("requests", "--config", config, "--json", "--all").stdout.splitlines()
    ]


def wait_for(service: Running, config: str, state: str) -> dict:
    """The one request, once it stands so."""
    patience = Patience(service.said)
    while not ((found := listed(config)) and found[0]["state"] == state):
        patience.check(found)
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
        request = wait_for(service, config, "requested")
        about = (request["request_id"], "--config", config)
        answer = driftline("approve", *about, *ANN, "--comment", "go").stdout
        assert answer.startswith(f"approved: {request['request_id']} of bus-099 is approved until 2")
        assert " is training until 2" in driftline("result", *about, "started", *AIRFLOW).stdout
        metrics = ("--champion", "mae=61", "--challenger", "mae=48.5")
        trained = driftline("result", *about, "trained", *AIRFLOW, "--version", "8", *metrics)
        assert " is awaiting_review until 2" in trained.stdout
        assert "was refused: same_actor" in driftline("promote", *about, *ANN, expect=7).stderr
        assert " is watching until 20" in driftline("promote", *about, "--actor", "bob", "--wait-s", "100").stdout
        assert "watching  20" in (listed := driftline("requests", "--config", config).stdout)
        assert listed.endswith("  bob\n")
        service.wait_until_done()
        assert service.stop() == 0, "".join(service.said)
    decisions = place.jsons("decisions")
    assert decisions[0]["comment"] == "go"
    reasons = ["approved", "training", "trained", "same_actor", "promoted"]
    assert [decision["reason"] for decision in decisions] == reasons
    assert decisions[2]["challenger"] == {"mae": 48.5}
    assert place.jsons("incidents")[-1]["reason"] == "promoted"
    assert "decide: epochs 1 to" in (verdict := driftline("verify", "--config", config, "--unit", "decide").stdout)
    assert "all as published" in verdict
    driftline("approve", "no-such", "--config", config, "--actor", " ", expect=2)


def test_commands_that_change_nothing_end_with_their_reason(kafka_broker, tmp_path):
    """An unknown id is not sent, a refusal is printed, a repeated command is no error, and a service may be down."""
    place = Place(kafka_broker.bootstrap, tmp_path, partitions=1, extra=ASK)
    alert = msgspec.json.encode(ready("2h", fired="1h"))
    with running(place.config) as service:
        place.produce_at(place.outputs["alerts"], 0, [(START_MS, alert)])
        name = wait_for(service, str(place.config), "requested")["request_id"]
        config = ("--config", str(place.config))
        unknown = driftline("approve", name[:-1] + "x", *config, *ANN, expect=2).stderr
        assert f"approve was not sent: there is no request, held storm or held source {name[:-1]}x" in unknown
        assert f"did you mean {name}?" in unknown
        refused = driftline("promote", name, *config, *ANN, expect=7).stderr
        assert f"promote of {name} was refused: not_approved (a person must approve it first" in refused
        driftline("approve", name, *config, *ANN)
        assert driftline("approve", name, *config, *ANN).stdout.startswith(f"no change: {name} of bus-099 is approved")
        assert service.stop() == 0, "".join(service.said)
    unanswered = driftline("reject", name, *config, *ANN, "--wait-s", "2", expect=8).stderr
    assert "was sent, but the service has not answered within 2 s. Is it running?" in unanswered
    assert [one["reason"] for one in place.jsons("decisions")] == ["not_approved", "approved", "no_change"]


def test_silences_are_answered_by_a_running_service(kafka_broker, tmp_path):
    """The id goes to standard output, an unknown one is not sent, and one that is over is no error to end again."""
    place = Place(kafka_broker.bootstrap, tmp_path, partitions=1)
    config = ("--config", str(place.config))
    with running(place.config) as service:
        place.produce_at(place.outputs["alerts"], 0, [(START_MS, msgspec.json.encode(firing("1h")))])
        service.wait_until_done()
        begun = driftline("silence", "--model", "bus-*", "--for", "4h", *ANN, *config)
        name = begun.stdout.strip()
        assert begun.stderr.startswith(f"silence_began: {name} is active until ")
        assert f"did you mean {name}?" in driftline("unsilence", name[:-1], *ANN, *config, expect=2).stderr
        assert driftline("unsilence", name, *ANN, *config).stdout.startswith(f"silence_ended: {name} is over")
        assert driftline("unsilence", name, *ANN, *config).stdout.startswith("no change: ")
        assert service.stop() == 0, "".join(service.said)
