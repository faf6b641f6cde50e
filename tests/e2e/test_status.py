"""`driftline status`, `alerts`, `incidents` and `models` of a running service, on a real broker."""

from __future__ import annotations

import json

import msgspec
import pytest
from driftline_process import Place, driftline, events, running

from streamer.testing.alerts import START, firing

pytestmark = [pytest.mark.broker, pytest.mark.slow]

START_MS = int(START.timestamp() * 1000)


def objects(*arguments: str) -> list[dict]:
    """What a command writes with --json."""
    return [json.loads(line) for line in driftline(*arguments, "--json").stdout.splitlines()]


def test_a_service_is_shown_as_it_stands(kafka_broker, tmp_path):
    """Units without lag while it runs; afterwards exactly the records that wait, without the marks of transactions."""
    checkpoints = f"checkpoints: {{url: {tmp_path}/checkpoints, interval_s: 1}}\n"
    place = Place(kafka_broker.bootstrap, tmp_path, partitions=1, extra=checkpoints)
    config = ("--config", str(place.config))
    with running(place.config) as service:
        place.produce({0: events(1000)})
        place.produce_at(place.outputs["alerts"], 0, [(START_MS, msgspec.json.encode(firing("1h")))])
        service.wait_until_done()
        (about, *units, alert) = objects("status", *config)
        assert service.stop() == 0, "".join(service.said)
    assert (about["group"], about["state"], about["workers"]) == (f"driftline-{place.tag}", "Stable", 1)
    assert (about["models"], about["alerts"], about["incidents"], about["silences"]) == (1, 1, 1, 0)
    assert [(one["unit"], one["behind"], one["is_exact"]) for one in units] == [
        ("detect-0", 0, True),
        ("decide", 0, True),
    ]
    assert all(one["committed_at"] for one in units)
    assert (alert["alert_id"], alert["decision"]) == ("bus-099:7:headway_s:1h", "waiting_for_data")
    place.produce({0: events(7)})
    place.produce_at(place.outputs["alerts"], 0, [(START_MS, msgspec.json.encode(firing("2h")))])
    units = [one for one in objects("status", *config) if one["type"] == "unit"]
    assert [one["behind"] for one in units] == [7, 1]
    assert [one["decision"] for one in objects("alerts", *config)] == ["waiting_for_data", "not_decided"]
    (incident,) = objects("incidents", *config)
    assert (incident["model_id"], incident["alert_id"]) == ("bus-099", "bus-099:7:headway_s:1h")
    assert [(one["model_id"], one["events"], one["firing"]) for one in objects("models", *config)] == [
        ("bus", 1000, 0),
        ("bus-099", 0, 2),
    ]
