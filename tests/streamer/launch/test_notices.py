"""The changes of incidents that people hear of: each once, under an id that a repeat has too."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from launch_kit import TOPICS, stretch
from notify_kit import board, incident, request

from streamer.launch.notify.board import Board

EXPECTED = Path(__file__).parents[2] / "golden" / "expected"


def types(notices):
    return [one.type.partition(".")[2] for one in notices]


def test_a_life_of_an_incident_is_a_notice_a_change():
    """Opening, return and closing are notices; alerts that join, and another summary, are none."""
    life = [
        incident(),
        incident(alerts=2, summary="more columns"),
        incident(alerts=3, returns=1),
        incident(alerts=4, returns=1),
        incident(state="closed", returns=1),
        incident(alerts=5, returns=2),
        incident(state="closed", returns=2),
    ]
    _, notices = board(*life)
    assert types(notices) == ["opened", "recurred", "closed", "recurred", "closed"]
    assert len({one.notice_id for one in notices}) == 5
    assert [one.offset for one in notices] == [0, 2, 4, 5, 6]


def test_nobody_hears_of_what_is_silenced():
    """Of a story in which alerts are silenced, the first notice is of the moment at which the silence ends."""
    lines = (EXPECTED / "silence-ends-while-firing.jsonl").read_bytes().splitlines()
    made = Board(TOPICS, 10)
    topics = {"incident": TOPICS.incidents, "request": TOPICS.requests}
    published = [(topics[one["type"]], line) for line in lines if (one := json.loads(line))["type"] in topics]
    notices = [notice for topic, line in published for notice in made.add(stretch(topic, [line]))]
    assert [(one.type, one.model_id, f"{one.at:%H:%M}") for one in notices] == [
        ("incident.opened", "bus-1", "16:40"),
        ("retrain.requested", "bus-1", "16:40"),
        ("incident.opened", "tram-1", "18:51"),
        ("retrain.requested", "tram-1", "21:41"),
    ]
    suppressed = [one["silence"]["alerts"] for one in map(json.loads, lines) if one.get("reason") == "silence_expired"]
    assert suppressed == [2]


def test_a_storm_grows_when_it_doubles():
    """A storm is a notice again when it has twice as many models as at its last notice."""
    sizes = [20, 25, 39, 40, 60, 85]
    _, notices = board(*(incident(model="fleet:headway_s", model_count=size) for size in sizes))
    assert [(one.type, one.offset) for one in notices] == [
        ("incident.opened", 0), ("incident.grown", 3), ("incident.grown", 5),
    ]  # fmt: skip


def test_repeats_are_known():
    """A record that is there twice changes nothing, open or closed; a request is a notice once."""
    _, notices = board(incident(), incident(), incident(state="closed"), incident(state="closed"))
    assert types(notices) == ["opened", "closed"]
    made = Board(TOPICS, 10)
    (notice,) = made.add(stretch(TOPICS.requests, [request(), request()]))
    assert (notice.type, notice.incident_id, notice.model_id) == ("retrain.requested", f"incident-{0:016x}", "bus-0")
    assert made.approval_of("retrain-bus-0-aa") == "required"


def test_ids_do_not_depend_on_what_compaction_has_left():
    """The same change has the same id where only the newest record of each incident is left."""
    _, whole = board(incident(), incident(alerts=7))
    _, compacted = board(incident(alerts=7))
    assert [one.notice_id for one in whole] == [one.notice_id for one in compacted]
    closed_only, nothing = board(incident(state="closed"))
    assert (nothing, len(closed_only)) == ([], 0)


def test_beyond_the_bound_one_notice_stands_for_all_others():
    """Of 30 incidents the first 10 are announced; a notice says that there are more, again only once there were few."""
    made, notices = board(*(incident(n) for n in range(30)), most=10)
    assert types(notices) == ["opened"] * 10 + ["many"]
    assert ([one.model_id for one in made.announced()], made.beyond) == ([f"bus-{n}" for n in range(10)], 20)
    closed = made.add(stretch(TOPICS.incidents, [incident(n, state="closed") for n in range(22)]))
    assert types(closed) == ["closed"] * 10
    again = made.add(stretch(TOPICS.incidents, [incident(n) for n in range(40, 44)]))
    assert types(again) == ["opened", "opened", "many"]


def test_a_fleet_at_the_bound_is_one_notice():
    """Incidents that open and close around the bound give no further notice, before there were few."""
    made, notices = board(*(incident(n) for n in range(12)), most=10)
    assert types(notices)[10:] == ["many"]
    around = [incident(n, state=state) for n in range(20, 40) for state in ("open", "closed")]
    made.add(stretch(TOPICS.incidents, [incident(11, state="closed"), incident(10, state="closed")]))
    assert types(made.add(stretch(TOPICS.incidents, around))) == []


def test_what_is_announced_depends_on_the_open_incidents_alone():
    """In any order of reading, the same incidents are announced: the longest open."""
    values = [incident(n) for n in range(40)] + [incident(n, state="closed") for n in range(0, 40, 3)]
    expected = [one.model_id for one in board(*values, most=7)[0].announced()]
    for seed in range(20):
        opened = random.Random(seed).sample(values[:40], 40)
        closed = random.Random(seed).sample(values[40:], len(values) - 40)
        assert [one.model_id for one in board(*opened, *closed, most=7)[0].announced()] == expected


@pytest.mark.parametrize("value", [b"no json", b"{}", b"[]", b'{"incident_id": 3}', incident(opened_at="yesterday")])
def test_what_can_not_be_read_is_counted(value):
    """Such a record is no notice and no error; those after it are read."""
    made, notices = board(value, incident(1))
    assert (made.unreadable, types(notices)) == (1, ["opened"])


def test_memory_is_bounded(monkeypatch):
    """Closed incidents and requests are forgotten beyond a bound; open ones never."""
    monkeypatch.setattr("streamer.launch.notify.board.REMEMBERED_MAX", 5)
    made, _ = board(*(incident(n) for n in range(20)), *(incident(n, state="closed") for n in range(10)))
    made.add(stretch(TOPICS.requests, [request(n) for n in range(10)]))
    assert (len(made._closed), len(made._approvals), len(made)) == (5, 5, 10)
