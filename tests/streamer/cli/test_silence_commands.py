"""`silence`, `unsilence` and `silences`, with the broker played by the test."""

from __future__ import annotations

import json
import re
import urllib.request
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from cli_kit import cli
from http_kit import serving
from prometheus_kit import alertmanager
from service_kit import play

from retrain.messages.control import Control
from retrain.messages.silence import Matcher
from retrain.policy.settings import RetrainSettings
from streamer.contracts.topics import OutputTopics
from streamer.decide import DecideFold
from streamer.eventlog.base import Records
from streamer.eventlog.kafka import reader as kafka_reader
from streamer.testing.alerts import firing, moment, said

BY = ("--actor", "ann", "--at", "2026-01-01T02:00:00Z")


@pytest.fixture
def service(monkeypatch):
    """A service that has read one alert, at 1h."""
    service = play(monkeypatch)
    service.publish(firing("1h"))
    return service


def test_what_is_typed_is_said(config, service):
    """The record names what is silenced, until when, by whom and why; its id, on standard output, follows from them."""
    words = ("silence", "--model", "bus-*", "--column", "headway_s", "--kind", "drift", "--comment", "known", *BY)
    ran, same = cli(*words, "--for", "4h"), cli(*words, "--until", "2026-01-01T06:00:00Z")
    assert ran.exit_code == 0, ran.stderr
    name = ran.stdout.strip()
    assert name.startswith("silence-bus-")
    assert ran.stderr == f"silence_began: {name} is active until 2026-01-01 06:00, 0 alerts suppressed\n"
    matcher = Matcher("bus-*", "headway_s", "drift")
    expected = said("silence", name, "2h", matcher=matcher, until=moment("6h"), comment="known")
    assert msgspec.json.decode(service.sent[0].value, type=Control) == expected
    assert (service.sent[0].topic, service.sent[0].key) == ("driftline.control", name.encode())
    assert (same.stdout, service.sent[1]) == (ran.stdout, service.sent[0])
    assert same.stderr.startswith(f"no change: {name} is active until ")
    ran = cli("unsilence", name, *BY)
    assert ran.stdout == f"silence_ended: {name} is over, 0 alerts suppressed\n"
    assert msgspec.json.decode(service.sent[2].value, type=Control) == said("unsilence", name, "2h")


def test_an_unknown_silence_is_not_ended(config, service):
    """Exit code 2 and near ids, and nothing is sent."""
    name = cli("silence", "--model", "bus-*", "--for", "4h", *BY).stdout.strip()
    ran = cli("unsilence", name[:-1], *BY)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr == f"driftline: unsilence was not sent: there is no silence {name[:-1]}; did you mean {name}?\n"
    assert "`driftline silences --all` lists them" in cli("unsilence", "nosuch", *BY).stderr
    assert len(service.sent) == 1


def test_a_silence_that_the_service_refuses_has_no_id(config, service):
    """One that ends before the time of the events, or is over already, suppresses nothing: exit code 7."""
    service.publish(firing("9h"))
    ran = cli("silence", "--for", "1h", *BY)
    assert (ran.exit_code, ran.stdout) == (7, "")
    assert "was refused: too_late" in ran.stderr
    words = ("silence", "--for", "12h", *BY)
    name = cli(*words).stdout.strip()
    cli("unsilence", name, *BY)
    ran = cli(*words)
    assert (ran.exit_code, ran.stdout) == (7, "")
    assert f"was refused: no_change. {name} is over" in ran.stderr


def test_a_silence_without_an_answer_keeps_its_id(config, service):
    """It is in the log, and begins when the service runs: exit code 8, and the id to end it."""
    service.is_running = False
    ran = cli("silence", "--for", "4h", "--wait-s", "1", *BY)
    assert (ran.exit_code, ran.stdout) == (8, service.sent[0].key.decode() + "\n")
    assert "the service has not answered within 1 s" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "Give the end"),
        (("--for", "4h", "--until", "2026-01-01T06:00:00Z"), "Give the end"),
        (("--for", "soon"), "'soon' is not like 90s, 30m, 1h30m or 7d"),
        (("--for", "0h"), "'0h' is not like 90s, 30m, 1h30m or 7d"),
        (("--for", "400d"), "silence was not sent: until is 2027-02-05"),
        (("--for", "1h", "--kind", "odd"), "silence was not sent: Invalid enum value 'odd'"),
        (("--for", "1h", "--at", "noon"), "--at noon and --for give no valid time"),
    ],
)
def test_what_can_not_be_said_is_not_sent(config, service, arguments, complaint):
    """A silence without an end, or with one that can't be read, is refused here with exit code 2."""
    ran = cli("silence", *BY, *arguments)
    assert ran.exit_code == 2
    assert complaint in ran.stderr
    assert service.sent == []


def test_silences_lists_how_they_stand(config, monkeypatch):
    """Active ones by default, all on request, with how much each has silenced, why and by whom."""
    fold, topics = DecideFold(RetrainSettings()), OutputTopics()
    story = [
        said("silence", "s-1", "1h", matcher=Matcher("bus-*"), until=moment("5h"), comment="roadworks\nuntil May"),
        said("silence", "s-2", "1h", "bob", matcher=Matcher(column="dwell_s", kind="missing"), until=moment("2d")),
        firing("2h"),
        said("unsilence", "s-1", "3h"),
        said("unsilence", "s-1", "3h"),
    ]
    outputs = []
    for record in story:
        topic = topics.control if isinstance(record, Control) else topics.alerts
        outputs += fold.step([Records.build(topic, 0, [(0, -1, None, msgspec.json.encode(record), ())])])
    rows = [(i, -1, o.key, o.value, ()) for i, o in enumerate(outputs) if o.topic == topics.decisions]
    held = [Records.build(topics.decisions, 0, rows)]
    monkeypatch.setattr(
        kafka_reader, "read_to_end", lambda _connection, names: held if topics.decisions in names else []
    )
    assert cli("silences").stdout == (
        "state   since             until             model  column   kind     alerts  silence  by   why\n"
        "active  2026-01-01 01:00  2026-01-03 00:00  *      dwell_s  missing  0       s-2      bob\n"
    )
    assert cli("silences", "--all").stdout.splitlines()[1] == (
        "over    2026-01-01 01:00  2026-01-01 05:00  bus-*  *        *        1       s-1      ann  roadworks"
    )
    assert [msgspec.json.decode(line)["silence_id"] for line in cli("silences", "--json").stdout.splitlines()] == [
        "s-2"
    ]
    monkeypatch.setattr(kafka_reader, "read_to_end", lambda _connection, _names: [])
    assert cli("silences").stderr == "no active silence; --all also lists those that have ended\n"


def their(silence_id, *matchers, state="active", comment="known"):
    """A silence as Alertmanager gives it; of a matcher its name, its sign and its value."""
    found = [
        {"name": name, "value": value, "isRegex": "~" in sign, "isEqual": "!" not in sign}
        for name, sign, value in (one.split(" ", 2) for one in matchers)
    ]
    about = {"createdBy": "eve", "comment": comment, "endsAt": "2026-03-02T00:00:00.000Z", "status": {"state": state}}
    return {**about, "id": silence_id, "matchers": found, "startsAt": "2026-03-01T00:00:00.000Z"}


@pytest.fixture
def asked(config, monkeypatch):
    """Ask for the silences where these Alertmanagers are configured; the service has none of its own."""
    monkeypatch.setattr(kafka_reader, "read_to_end", lambda _connection, _names: [])
    text = config.read_text()

    def ask(*urls, more=()):
        config.write_text(f"{text}notify: {{alertmanager: {{urls: {json.dumps(urls)}, token_env: AM_TOKEN}}}}\n")
        return cli("silences", *more)

    monkeypatch.setenv("AM_TOKEN", "sesame")
    return ask


def test_silences_of_alertmanager_are_shown(asked):
    """Those that are active and name our alerts or their labels, each once, with what controls a terminal as text."""
    silences = [
        their("ours", "alertname = DriftlineIncident", "model =~ bus-.*", comment="roadworks\x1b[31m\nuntil May"),
        their("by-name", "alertname =~ Driftline.+"),
        their("any-name", "alertname =~ .+", "severity = warning"),
        their("by-model", "model = bus-1", "alertname != DriftlineDown"),
        their("by-id", "incident_id = incident-1", "alertname =~ (?odd"),
        their("over", "model = bus-1", state="expired"),
        their("other", "alertname = DiskFull"),
        their("other-model", "alertname = DiskFull", "model = bus-1"),
        their("others", "alertname =~ Disk.*", "model = bus-1"),
        their("all-warnings", "severity = warning"),
        their("negative", "model != bus-1"),
    ]
    with serving(lambda _: (200, silences)) as one:
        ran = asked(one.url, f"{one.url}/second")
        assert [sent.path for sent in one.sent] == ["/api/v2/silences", "/second/api/v2/silences"]
        assert {sent.headers["authorization"] for sent in one.sent} == {"Bearer sesame"}
        one.sent.clear()
        assert asked(one.url, more=("--json",)).stdout == ""
        assert one.sent == []
    assert ran.exit_code == 0
    head, columns, *rows = ran.stdout.splitlines()
    assert head == "Alertmanager holds back notifications of:"
    assert columns.split() == ["until", "matchers", "silence", "by", "why"]
    assert {re.split(r"\s{2,}", row)[2] for row in rows} == {"any-name", "by-id", "by-model", "by-name", "ours"}
    (ours,) = [row for row in rows if " ours " in row]
    assert re.split(r"\s{2,}", ours) == [
        "2026-03-02 00:00", 'alertname="DriftlineIncident" model=~"bus-.*"', "ours", "eve", "roadworks\\x1b[31m"
    ]  # fmt: skip


@pytest.mark.parametrize("answer", [(500, None), (404, None), (200, b"<html>"), (200, {}), (200, [{"id": 1}]), None])
def test_an_alertmanager_that_does_not_answer_is_one_line(asked, answer):
    """The others are shown all the same, and the command succeeds."""
    with serving(lambda _: answer) as bad, serving(lambda _: (200, [their("ours", "model = bus-1")])) as good:
        ran = asked(bad.url, good.url)
    assert ran.exit_code == 0
    assert len(ran.stdout.splitlines()) == 3
    (line,) = [line for line in ran.stderr.splitlines() if "Alertmanager" in line]
    assert line.startswith(f"the silences of Alertmanager {bad.url.removeprefix('http://')} are not known: ")


def test_a_missing_token_is_one_line(asked, monkeypatch):
    """Its variable is named."""
    monkeypatch.delenv("AM_TOKEN")
    ran = asked("http://127.0.0.1:9")
    assert ran.exit_code == 0
    assert "the variable AM_TOKEN, which must hold a secret, is not set" in ran.stderr


@pytest.mark.slow
def test_a_real_alertmanager_shows_its_silences(asked, tmp_path):
    """A silence that was made by its API is shown with its id, end, author and comment; an ended one is not."""
    now = datetime.now(UTC)
    times = {"startsAt": now.isoformat(), "endsAt": (now + timedelta(hours=4)).isoformat()}
    matcher = {"name": "model", "value": "bus-.*", "isRegex": True, "isEqual": True}
    silence = {**times, "matchers": [matcher], "createdBy": "eve", "comment": "roadworks"}
    with alertmanager(tmp_path, "http://127.0.0.1:9") as url:
        known, ended = (
            called("POST", f"{url}/api/v2/silences", {**silence, "createdBy": name})["silenceID"]
            for name in ("eve", "mallory")
        )
        called("DELETE", f"{url}/api/v2/silence/{ended}")
        ran = asked(url)
    assert ran.exit_code == 0
    (row,) = ran.stdout.splitlines()[2:]
    assert row == f'{now + timedelta(hours=4):%Y-%m-%d %H:%M}  model=~"bus-.*"  {known}  eve  roadworks'


def called(method, url, body=None):
    """The answer of a server on this machine."""
    data, headers = body and json.dumps(body).encode(), {"content-type": "application/json"}
    asking = urllib.request.Request(url, data, headers, method=method)  # noqa: S310
    with urllib.request.urlopen(asking, timeout=10) as answer:  # noqa: S310
        return json.loads(answer.read() or "{}")
