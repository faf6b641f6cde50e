"""`status`, `models`, `alerts` and `incidents`, with the broker and the checkpoints played by the test."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from cli_kit import cli
from service_kit import play

from retrain.messages.silence import Matcher
from streamer.app import inspect as app_inspect
from streamer.app import standing as app_standing
from streamer.app.inspect import WatchedFleet
from streamer.app.standing import ServiceStanding, UnitStanding
from streamer.detect.inspect import WatchedModel
from streamer.errors import UsageError
from streamer.testing.alerts import firing, moment, place, ready, said

STORY = (
    firing("1h", "bus-1", onset=place("30m"), events_after_onset=48, min_events_after_onset=500),
    firing("2h", "bus-2"),
    ready("3h", "2h", "bus-2"),
    firing("4h", "tram-1", "dwell_s", effect=0.1, segment="depot=north", version=""),
    said("silence", "s-1", "4h", matcher=Matcher("tram-*"), until=moment("9h")),
)
AT = datetime(2026, 1, 1, 4, tzinfo=UTC)


@pytest.fixture
def service(config, monkeypatch):
    """A service that has read the story, and whose checkpoints show four models."""
    service = play(monkeypatch, approval_by_model={"*": "training"})
    service.publish(*STORY)
    units = (UnitStanding("detect-0", 0, True, AT), UnitStanding("decide", 12_345, False, None))
    standing = ServiceStanding("localhost:9092", "driftline", "Stable", 2, AT, units)
    monkeypatch.setattr(app_standing, "standing_of", lambda _config: service.standing)
    service.standing = standing
    watched = [WatchedModel("detect-0", "bus", name, "7", 4600, 3, AT) for name in ("bus-1", "bus-2", "bus-9")]
    fleet = WatchedFleet(watched, {"bus-1:7:headway_s:1h": 212})
    monkeypatch.setattr(app_inspect, "fleet_of_checkpoints", lambda _config: fleet)
    return service


def test_alerts_lists_what_fires(service):
    """One line an alert, in order of time, with the last decision on it and its id."""
    assert cli("alerts").stdout.splitlines() == [
        "state   since             model   version  column               kind   effect  "
        "decision                       alert",
        "firing  2026-01-01 01:00  bus-1   7        headway_s            drift  1 sd    "
        "waiting_for_data (212 of 500)  bus-1:7:headway_s:1h",
        "ready   2026-01-01 02:00  bus-2   7        headway_s            drift  1 sd    "
        "request_made                   bus-2:7:headway_s:2h",
        "firing  2026-01-01 04:00  tram-1  -        dwell_s depot=north  drift  0.1 sd  "
        "effect_too_small               tram-1::dwell_s:4h",
    ]
    assert cli("alerts", "--firing").stdout == cli("alerts").stdout


@pytest.mark.parametrize(
    ("filters", "models"),
    [
        (["--model", "bus-*"], ["bus-1", "bus-2"]),
        (["--column", "dwell_s"], ["tram-1"]),
        (["--kind", "drift", "--model", "*1"], ["bus-1", "tram-1"]),
        (["--since", "1h"], ["bus-2", "tram-1"]),
        (["--since", "2026-01-01T04:00:00Z"], ["tram-1"]),
        (["--kind", "missing"], []),
    ],
)
def test_filters_narrow_the_list(service, filters, models):
    """By pattern of model and column, by kind, and by event time."""
    found = [json.loads(line) for line in cli("alerts", "--json", *filters).stdout.splitlines()]
    assert [one["model_id"] for one in found] == models
    assert all(one["is_active"] and one["incident_id"] for one in found)


@pytest.mark.parametrize(
    ("filters", "complaint"),
    [
        (["--kind", "drfit"], "--kind drfit is no kind of alerts; did you mean drift?"),
        (["--kind", "x"], "--kind x is no kind of alerts; there are drift, missing, "),
        (["--since", "noon"], "--since noon is neither a time such as 2026-11-30T16:00:00Z nor a duration such as 4h"),
    ],
)
def test_a_wrong_filter_ends_with_2(service, filters, complaint):
    """With near names or the forms that are read."""
    ran = cli("alerts", *filters)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert complaint in ran.stderr


def test_an_empty_list_is_a_sentence(service):
    """On standard error, so that a script reads nothing; the exit code is 0."""
    ran = cli("alerts", "--model", "nothing")
    assert (ran.exit_code, ran.stdout) == (0, "")
    assert ran.stderr == "no alert fires; --all also lists those that have ended\n"
    assert cli("incidents", "--model", "nothing").stderr == "no open incident; --all also lists those that are closed\n"


def test_incidents_lists_what_moved(service):
    """With the last decision, and the request if there is one."""
    head, *rows = cli("incidents").stdout.splitlines()
    assert head.split()[:6] == ["state", "since", "last", "alert", "model", "alerts"]
    assert [row.split()[5] for row in rows] == ["bus-1", "bus-2", "tram-1"]
    assert f"headway_s 1 sd  request_made      {service.requested()}  incident-" in rows[1]
    (closed,) = [json.loads(line) for line in cli("incidents", "--json", "--model", "bus-1").stdout.splitlines()]
    assert (closed["state"], closed["alert_id"]) == ("open", "bus-1:7:headway_s:1h")


def test_what_a_replay_wrote_is_listed_alike(service, tmp_path, monkeypatch):
    """No broker is needed, nor a checkpoint: an alert has the events with which it fired."""
    path = service.replayed(tmp_path)
    monkeypatch.setattr(app_inspect, "fleet_of_checkpoints", lambda _config: WatchedFleet([], {}))
    for command in ("alerts", "incidents"):
        assert cli(command, path).stdout == cli(command).stdout != ""
    assert "waiting_for_data (48 of 500)" in cli("alerts", path).stdout


def test_an_explanation_counts_the_events_of_the_last_checkpoint(service, tmp_path):
    """Of an alert that waits; a replay shows those with which it fired."""
    name, path = "bus-1:7:headway_s:1h", service.replayed(tmp_path)
    assert "yet: 212 of 500 events at the last checkpoint, " in cli("explain", name).stdout
    assert "yet: 48 of 500 events when it fired, " in cli("explain", name, path).stdout


def test_models_lists_all_that_is_watched(service, monkeypatch):
    """Those of the checkpoints, with their alerts, incidents and requests; without checkpoints, those with alerts."""
    lines = cli("models").stdout.splitlines()
    assert lines[0].split()[-3:] == ["firing", "incident", "request"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    assert list(rows) == ["bus-1", "bus-2", "bus-9", "tram-1"]
    assert rows["bus-9"] == ["7", "4,600", "3", "2026-01-01", "04:00", "0", "-", "-"]
    assert rows["bus-2"][5:] == ["1", rows["bus-2"][6], "requested"]
    firing = [json.loads(line)["model_id"] for line in cli("models", "--firing", "--json").stdout.splitlines()]
    assert firing == ["bus-1", "bus-2", "tram-1"]
    assert cli("models", "--model", "bus-9").stdout.count("\n") == 2

    def none(_config):
        raise UsageError("there is no checkpoint")

    monkeypatch.setattr(app_inspect, "fleet_of_checkpoints", none)
    ran = cli("models")
    assert ran.stderr == "only models with alerts or requests are listed: there is no checkpoint\n"
    assert [line.split()[0] for line in ran.stdout.splitlines()[1:]] == ["bus-1", "bus-2", "tram-1"]


def test_status_is_one_page(service):
    """The workers, the lag of each unit, counts, what waits for whom with the command, and the newest alerts."""
    page = cli("status").stdout
    assert page.startswith("group driftline on localhost:9092: running, 2 workers, events until 2026-01-01 04:00\n")
    assert "detect-0  0               2026-01-01 04:00:00\n" in page
    assert "decide    at most 12,345  never\n" in page
    assert "models     3 watched, 3 with alerts\n" in page
    assert "alerts     3 firing: 1 effect_too_small, 1 request_made, 1 waiting_for_data\n" in page
    assert "incidents  3 open\nrequests   1 requested\nsilences   1 active: s-1\n" in page
    assert f"approval   2026-01-01 03:00  2026-01-08 03:00  bus-2  driftline approve {service.requested()}\n" in page
    assert page.endswith(cli("alerts").stdout)


def test_status_is_json_on_request(service):
    """One object a line, each with its type."""
    found = [json.loads(line) for line in cli("status", "--json").stdout.splitlines()]
    assert [one["type"] for one in found] == ["service", "unit", "unit", "request", "alert", "alert", "alert"]
    assert (found[0]["workers"], found[0]["models"], found[0]["alerts"]) == (2, 3, 3)
    unit = {"type": "unit", "unit": "decide", "behind": 12_345, "is_exact": False, "committed_at": None}
    assert found[2] == unit | {"waiting_since": None, "events_until": None}


def test_a_service_without_workers_is_not_running(service):
    """Also while its group has members that have no partitions yet."""
    service.standing = ServiceStanding("localhost:9092", "driftline", "Empty", 0, None, ())
    assert cli("status").stdout.startswith("group driftline on localhost:9092: NOT RUNNING, no events so far\n")
    service.standing = ServiceStanding("localhost:9092", "driftline", "PreparingRebalance", 1, None, ())
    assert ": 1 worker, partitions are being assigned" in cli("status").stdout
