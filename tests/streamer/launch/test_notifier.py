"""The notifier against receivers that a test plays: nobody hears twice, or never, and nobody waits for another."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest
from http_kit import serving
from launch_kit import TOPICS, tools
from notify_kit import SECRET, Desk, incident, request, settings

from streamer.errors import UsageError
from streamer.events import time_of
from streamer.launch.notify.settings import AlertmanagerSettings, NotifySettings, check_notify
from streamer.launch.targets.webhook import WebhookSettings, why_unsigned

REFUSED = "http://127.0.0.1:9"


@pytest.fixture
def server():
    with serving(lambda _: (200, None)) as made:
        yield made


def alerts(server):
    """All alerts that were sent, in order."""
    return [alert for sent in server.sent if sent.path == "/api/v2/alerts" for alert in sent.json]


def hooks(server):
    return [sent for sent in server.sent if sent.path == "/hook"]


def desk_of(server, tmp_path, **more):
    return Desk(settings(server.url, f"{server.url}/hook", **more), tmp_path)


def test_an_incident_is_an_alert_until_it_is_closed(server, tmp_path):
    """Labels never change; the alert is sent again before it would end, and at the end with an end that is now."""
    desk = Desk(settings(server.url, link="https://ui/{incident_id}", severity={"bus-*": "critical"}), tmp_path)
    desk.start()
    desk.publish(incident(3))
    desk.until(lambda: len(alerts(server)) == 1)
    desk.publish(request(3), topic=TOPICS.requests)
    desk.publish(incident(3, alerts=2, request_id="retrain-bus-3-aa"))
    desk.until(lambda: len(alerts(server)) == 2)
    desk.until(lambda: len(alerts(server)) == 4, step_s=1.0)
    desk.publish(incident(3, state="closed"))
    desk.until(lambda: len(alerts(server)) == 5)
    first, second, *_, last = alerts(server)
    assert first["labels"] == {
        "alertname": "DriftlineIncident", "incident_id": f"incident-{3:016x}", "model": "bus-3", "kind": "model",
        "severity": "critical",
    }  # fmt: skip
    assert all(one["labels"] == first["labels"] for one in alerts(server))
    assert first["annotations"] == {
        "summary": "bus-3: headway_s up: 699 -> 882", "link": f"https://ui/incident-{3:016x}",
    }  # fmt: skip
    assert second["annotations"]["request"] == "retrain-bus-3-aa; approval required"
    assert first["generatorURL"] == first["annotations"]["link"]
    assert first["startsAt"] == "2026-03-01T00:03:00+00:00"
    assert first["endsAt"] == "2026-04-01T00:15:00+00:00", "hold_s later"
    assert last["endsAt"] == time_of(int(desk.clock.wall_s * 1000)).isoformat(), "now"
    desk.until(lambda: desk.clock.elapsed_s > 300, step_s=5.0)
    assert len(alerts(server)) == 5


@pytest.mark.parametrize(("model", "kind"), [("fleet:headway_s", "fleet"), ("source:weather", "source")])
def test_storms_and_sources_are_kinds(server, tmp_path, model, kind):
    """Routes of Alertmanager can tell storms, sources and models apart; the number of models is said."""
    desk = Desk(settings(server.url), tmp_path)
    desk.start()
    desk.publish(incident(1, model, model_count=40))
    desk.until(lambda: len(alerts(server)) == 1)
    (alert,) = alerts(server)
    assert (alert["labels"]["kind"], alert["labels"]["model"]) == (kind, model)
    assert alert["annotations"]["models"] == "40"


def test_thousands_are_one_alert(server, tmp_path):
    """Beyond the bound, one alert says how many more are open; it is over when there are no more."""
    desk = desk_of(server, tmp_path, incidents_max=20)
    desk.start()
    desk.publish(*(incident(n) for n in range(1_000)))
    desk.settle()
    assert len(alerts(server)) == 21
    (more,) = [one for one in alerts(server) if one["labels"]["alertname"] == "DriftlineIncidents"]
    assert more["labels"] == {"alertname": "DriftlineIncidents", "kind": "fleet", "severity": "warning"}
    assert more["annotations"]["summary"] == "980 incidents are open beyond the 20 that are sent one by one"
    assert [sent.json["type"] for sent in hooks(server)] == ["incident.opened"] * 20 + ["incident.many"]
    assert desk.shown("driftline_notification_incidents") == {
        'driftline_notification_incidents{sent="one_by_one"}': 20.0,
        'driftline_notification_incidents{sent="beyond"}': 980.0,
    }
    desk.publish(*(incident(n, state="closed") for n in range(20, 1_000)))
    desk.until(lambda: len(alerts(server)) == 22)
    assert alerts(server)[-1]["labels"] == more["labels"]
    assert alerts(server)[-1]["endsAt"] < more["endsAt"]


def test_a_change_is_one_signed_message(server, tmp_path):
    """The webhook gets each change once, signed by Standard Webhooks, with the record as it is on its topic."""
    desk = Desk(settings(hook=f"{server.url}/hook", link="https://ui/{model_id}"), tmp_path)
    desk.start()
    desk.publish(incident(1), incident(1, alerts=2), incident(1, alerts=3))
    desk.publish(request(1), topic=TOPICS.requests)
    desk.publish(incident(1, state="closed"))
    desk.settle()
    assert [one.json["type"] for one in hooks(server)] == ["incident.opened", "retrain.requested", "incident.closed"]
    now_s = desk.clock.now_s()
    assert [why_unsigned(one.headers, one.body, [SECRET], now_s) for one in hooks(server)] == [None] * 3
    body = hooks(server)[0].json
    assert (body["timestamp"], body["data"]["link"]) == ("2026-03-02T00:00:00Z", "https://ui/bus-1")
    assert body["data"]["record"] == json.loads(incident(1))


def test_a_message_has_the_picture_of_its_record(server, tmp_path):
    """Before and after as an SVG text, where the record has a distribution; else there is no such field."""
    of = {"before": [0.5, 0.5], "after": [0.9, 0.1], "n_before": 10, "n_after": 10, "edges": [0.0, 1.0, 2.0]}
    shift = {"alert_id": "a", "column": "headway_s", "detector": "ks", "effect": 0.5, "effect_unit": "ks_distance"}
    onset = {"topic": "t", "partition": 0, "offset": 1, "event_time": "2026-03-01T00:00:00Z"}
    shift |= {"before": 1.0, "after": 2.0, "onset": onset, "distribution": of}
    desk = Desk(settings(hook=f"{server.url}/hook"), tmp_path)
    desk.start()
    desk.publish(incident(1, columns=[shift]), incident(2, columns=[shift | {"distribution": None}]))
    desk.settle()
    first, second = (one.json["data"] for one in hooks(server))
    assert first["picture"].startswith('<svg xmlns="http://www.w3.org/2000/svg" ')
    assert "headway_s before and after: from 1 to 2" in first["picture"]
    assert "picture" not in second


def test_a_restart_repeats_alerts_and_no_message(server, tmp_path):
    """A new process gives what is open to Alertmanager again, and to the webhook only what it has not had."""
    desk = desk_of(server, tmp_path)
    desk.start()
    desk.publish(incident(1), incident(2))
    desk.settle()
    desk.publish(incident(2, state="closed"))
    desk.settle()
    server.sent.clear()
    desk.start()
    desk.publish(incident(3))
    desk.settle()
    assert sorted(one["labels"]["model"] for one in alerts(server)) == ["bus-1", "bus-3"]
    assert [one.json["data"]["model_id"] for one in hooks(server)] == ["bus-3"]


def test_what_closed_while_nobody_ran_is_over(server, tmp_path):
    """A new process resolves the alert of an incident that was closed before its start, and of no other."""
    desk = Desk(settings(server.url), tmp_path)
    desk.start()
    desk.publish(incident(1), incident(2), incident(3), incident(3, state="closed"))
    desk.settle()
    del desk.notifier
    desk.publish(incident(2, state="closed"))
    server.sent.clear()
    desk.start()
    desk.settle()
    ends = {one["labels"]["model"]: one["endsAt"] for one in alerts(server)}
    assert ends.keys() == {"bus-1", "bus-2"}
    assert ends["bus-2"] < ends["bus-1"]


def test_a_first_start_introduces_what_is_open(server, tmp_path):
    """Without progress, history is no news; what is open now is, once."""
    desk = desk_of(server, tmp_path)
    desk.publish(incident(1), incident(2), incident(1, state="closed"))
    desk.start()
    desk.settle()
    desk.start()
    desk.settle()
    assert [one.json["data"]["model_id"] for one in hooks(server)] == ["bus-2"]


def test_a_first_start_is_over_once_its_messages_are_sent(server, tmp_path):
    """A process that ends before leaves the introduction to the next one."""
    server.answer = lambda _: (503, None)
    desk = Desk(settings(hook=f"{server.url}/hook"), tmp_path)
    desk.publish(incident(1))
    desk.start()
    desk.until(lambda: desk.notifier.counts["failed"] == 2, step_s=0.5)
    desk.notifier.close()
    assert desk.committed == {}
    server.answer = lambda _: (200, None)
    server.sent.clear()
    desk.start()
    desk.settle()
    assert [one.json["data"]["model_id"] for one in hooks(server)] == ["bus-1"]


def test_an_event_time_that_is_ahead_begins_before_it_ends(server, tmp_path):
    """Alertmanager refuses an alert that begins after its end."""
    desk = Desk(settings(server.url), tmp_path)
    desk.start()
    desk.publish(incident(1, opened_at="2030-01-01T00:00:00Z"))
    desk.until(lambda: len(alerts(server)) == 1)
    assert alerts(server)[0]["startsAt"] == alerts(server)[0]["endsAt"]


def test_a_crash_before_the_commit_repeats_a_message_under_its_id(server, tmp_path):
    """What was sent and not committed is sent once more, with the same `webhook-id`."""
    desk = desk_of(server, tmp_path)
    desk.publish(incident(0), incident(0, state="closed"))
    desk.start()
    desk.settle()
    before = dict(desk.committed)
    desk.publish(incident(1))
    desk.settle()
    desk.committed = before
    desk.start()
    desk.settle()
    assert [one.json["data"]["model_id"] for one in hooks(server)] == ["bus-1", "bus-1"]
    assert len({one.headers["webhook-id"] for one in hooks(server)}) == 1


def test_a_dead_receiver_holds_nobody_up(server, tmp_path, caplog):
    """The other one gets all; the dead one is tried again ever later, in one line of the log, and gets all at last."""
    server.answer = lambda sent: (200, None) if sent.path != "/hook" else (503, "away")
    desk = desk_of(server, tmp_path)
    desk.start()
    with caplog.at_level(logging.INFO, "driftline"):
        desk.publish(*(incident(n) for n in range(5)))
        desk.until(lambda: len(alerts(server)) >= 5)
        desk.until(lambda: len(hooks(server)) == 6, step_s=0.25)
        assert desk.clock.elapsed_s >= 31, "1, 2, 4, 8, 16 s"
        assert desk.committed.get((TOPICS.incidents, 0), 0) == 0
        up = 'driftline_notification_receiver_up{receiver="webhook"}'
        assert desk.shown("driftline_notification_receiver_up")[up] == 0
        server.answer = lambda _: (200, None)
        desk.settle()
    assert [one.json["data"]["model_id"] for one in hooks(server)][6:] == [f"bus-{n}" for n in range(5)]
    assert desk.committed[TOPICS.incidents, 0] == 5
    failures = 'driftline_notifications_total{outcome="failed",receiver="webhook"}'
    assert desk.shown("driftline_notifications_total")[failures] == 6
    said = [line.getMessage() for line in caplog.records if "webhook" in line.getMessage()]
    assert len(said) == 2
    assert said[0].startswith("webhook can't be notified, and is tried again: POST")
    assert said[1] == "webhook accepts again, after 6 failures"


def test_nobody_at_the_address_is_a_failure(tmp_path):
    """A refused connection is counted and tried again."""
    desk = Desk(settings(REFUSED, f"{REFUSED}/hook"), tmp_path)
    desk.start()
    desk.publish(incident(1))
    desk.until(lambda: desk.notifier.counts["failed"] == 4, step_s=1.0)
    assert desk.shown("driftline_notifications_waiting") == {
        'driftline_notifications_waiting{receiver="127.0.0.1:9"}': 1.0,
        'driftline_notifications_waiting{receiver="webhook"}': 1.0,
    }


def test_an_alertmanager_without_alerts_is_looked_at(server, tmp_path):
    """With nothing to send, an empty call every `resend_s` shows whether it answers."""
    server.answer = lambda _: (503, None)
    desk = Desk(settings(server.url), tmp_path)
    desk.start()
    up = "driftline_notification_receiver_up"
    desk.until(lambda: sum(desk.shown(up).values()) == 0, step_s=0.1)
    server.answer = lambda _: (200, None)
    desk.until(lambda: sum(desk.shown(up).values()) == 1, step_s=0.1)
    server.sent.clear()
    began_s = desk.clock.elapsed_s
    desk.until(lambda: len(server.sent) == 3, step_s=1.0)
    assert [sent.json for sent in server.sent] == [[]] * 3
    assert desk.clock.elapsed_s - began_s >= 120, "the first may be due at once"


def test_a_message_that_is_refused_is_not_repeated(server, tmp_path, caplog):
    """400 is final: it is logged and counted, and the next message goes out."""
    server.answer = lambda sent: (400, "no such field") if b"bus-1" in sent.body else (200, None)
    desk = Desk(settings(hook=f"{server.url}/hook"), tmp_path)
    desk.start()
    desk.publish(incident(1), incident(2))
    desk.settle()
    assert [one.json["data"]["model_id"] for one in hooks(server)] == ["bus-1", "bus-2"]
    assert (desk.notifier.counts["refused"], desk.notifier.counts["accepted"]) == (1, 1)
    assert "no such field" in caplog.text


def test_what_waits_for_a_webhook_is_bounded(server, tmp_path, monkeypatch):
    """Beyond the bound the oldest give way, are counted, and count as done."""
    monkeypatch.setattr("streamer.launch.notify.receivers.WAITING_MAX", 3)
    server.answer = lambda _: (503, None)
    desk = Desk(settings(hook=f"{server.url}/hook"), tmp_path)
    desk.start()
    desk.until(lambda: bool(desk.committed))
    desk.publish(*(incident(n) for n in range(10)))
    desk.until(lambda: desk.notifier.counts["failed"] == 1)
    server.answer = lambda _: (200, None)
    server.sent.clear()
    desk.settle()
    assert [one.json["data"]["model_id"] for one in hooks(server)] == ["bus-0", "bus-8", "bus-9"]
    assert desk.notifier.counts["dropped"] == 7


def test_progress_is_renewed_without_news(server, tmp_path):
    """Brokers forget the offsets of a group that commits nothing for days, so they are committed every hour."""
    desk = desk_of(server, tmp_path)
    desk.start()
    desk.until(lambda: bool(desk.committed))
    desk.committed = {}
    desk.until(lambda: bool(desk.committed), step_s=10.0)
    assert 3_590 < desk.clock.elapsed_s < 3_650


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (NotifySettings(), "nobody is configured to notify"),
        (NotifySettings(webhook=WebhookSettings("http://a", "NONE")), "the variable NONE"),
        (NotifySettings(webhook=WebhookSettings("http://a", "BAD")), "is not whsec_ and base64"),
        (NotifySettings(AlertmanagerSettings(["http://a"], "NONE")), "the variable NONE"),
    ],
)
def test_unusable_settings_end_the_start(tmp_path, wrong, message):
    """A missing receiver or secret is said before anything is read."""
    with pytest.raises(UsageError, match=message):
        check_notify(wrong, tools(tmp_path, BAD="%%%"))


@pytest.mark.parametrize(
    "wrong", [{"incidents_max": 0}, {"resend_s": 0.5}, {"resend_s": 60.0, "hold_s": 90.0}], ids=str
)
def test_settings_have_ranges(wrong):
    """Values out of range are sentences."""
    with pytest.raises(ValueError, match="but must be"):
        NotifySettings(**wrong)


def test_the_page_shows_what_is_sent(server, tmp_path):
    """The alert and the message of `docs/notifications.md` are those that the record on the page gives."""
    page = (Path(__file__).parents[3] / "docs" / "notifications.md").read_text(encoding="utf-8")
    alert, message = (json.loads(text) for text in re.findall(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    desk = desk_of(server, tmp_path, link="https://drift.example/incidents/{incident_id}")
    desk.start()
    desk.publish(json.dumps(message["data"]["record"], ensure_ascii=False).encode())
    desk.settle()
    assert alerts(server) == [alert]
    assert [one.json for one in hooks(server)] == [message]
