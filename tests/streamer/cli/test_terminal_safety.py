"""Texts of records on a terminal: no name or comment moves the cursor, hides text or adds a row."""

from __future__ import annotations

import ast
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from cli_kit import cli
from hypothesis import given
from hypothesis import strategies as st
from service_kit import play

import streamer.app.inspect
import streamer.app.standing
import streamer.commands
from retrain.messages.control import Control
from retrain.messages.request import Approval
from retrain.messages.silence import Matcher
from retrain.policy.settings import RetrainSettings
from streamer.app.inspect import Inspected, WatchedFleet
from streamer.app.standing import ServiceStanding
from streamer.commands.console.text_table import table
from streamer.commands.views import columns
from streamer.contracts.topics import OutputTopics
from streamer.decide import DecideFold
from streamer.detect.inspect import Fates, WatchedColumn, WatchedModel
from streamer.errors import UsageError
from streamer.eventlog.base import Records
from streamer.eventlog.kafka import reader as kafka_reader
from streamer.testing.alerts import firing, moment, ready, said

NASTY = "bus-\x1b[2J\u202e\u2028\x9b1A\n\nrequested  forged"
SHOWN = r"bus-\x1b[2J\u202e\u2028\x9b1A\n\nrequested  forged"
TOPICS = OutputTopics()


def is_clean(line: str) -> bool:
    """Whether a terminal shows this on one line, in the order in which it is written."""
    return not any(c < " " or "\x7f" <= c <= "\x9f" or c in "\u2028\u2029\u202e\u2066\ufeff" for c in line)


@pytest.fixture
def service(config, monkeypatch):
    """A broker with an alert, a request for it, an approval and a silence, whose texts are all nasty."""
    fold = DecideFold(RetrainSettings(approval=Approval.REQUIRED))
    rows: dict[str, list[tuple[object, ...]]] = {}

    def publish(record):
        topic = TOPICS.control if isinstance(record, Control) else TOPICS.alerts
        value = msgspec.json.encode(record)
        rows.setdefault(topic, []).append((len(rows.get(topic, ())), -1, None, value, ()))
        outputs = fold.step([Records.build(topic, 0, [(0, -1, None, value, ())])])
        for output in outputs:
            found = rows.setdefault(output.topic, [])
            found.append((len(found), -1, output.key, output.value, output.headers))
        return outputs

    publish(firing("1h", NASTY, column=NASTY))
    outputs = publish(ready("2h", "1h", NASTY, NASTY))
    (request,) = [output for output in outputs if output.topic == TOPICS.requests]
    request_id = json.loads(request.value)["request_id"]
    publish(said("approve", request_id, "3h", NASTY, comment=NASTY))
    publish(said("silence", "s-1", "3h", NASTY, matcher=Matcher(NASTY, NASTY), until=moment("9h"), comment=NASTY))

    def held(_connection, topics):
        return iter([Records.build(name, 0, found) for name, found in rows.items() if name in topics])

    monkeypatch.setattr(kafka_reader, "read_to_end", held)
    return request_id


@pytest.mark.parametrize(("command", "count"), [("requests", 2), ("silences", 2), ("history", None), ("explain", None)])
def test_what_the_topics_hold_is_shown_without_control_characters(service, command, count):
    """Each row of a table is one line, and the controls are visible."""
    named = {"history": [NASTY], "explain": [service]}.get(command, [])
    ran = cli(command, *named)
    assert ran.exit_code == 0, ran.stderr
    lines = ran.stdout.removesuffix("\n").split("\n")
    assert all(map(is_clean, lines)), lines
    assert SHOWN in ran.stdout
    assert not any(line.startswith("requested") for line in lines)
    assert count in (None, len(lines))


def test_json_holds_the_text_itself(service):
    """A program gets the names as they are; JSON has its own escapes for line feeds."""
    line = cli("requests", "--json").stdout
    assert json.loads(line)["model_id"] == NASTY


def test_columns_are_shown_without_control_characters(config, monkeypatch):
    """Also in the headings, with the version, segment and topic."""
    one = WatchedColumn(
        unit="detect-0", topic=NASTY, model_version=NASTY, segment=NASTY, column=NASTY, kind="numbers", detectors=(),
        reference="", values=1, missing=0, faults=0, last_event_time=datetime(2026, 1, 1, tzinfo=UTC), states=(),
    )  # fmt: skip
    counts = Counter(waiting=1, unknown_model=1, dropped=1), Counter(no_predictions=1)
    fates = Fates(NASTY, counts[0], counts[0], counts[1])
    monkeypatch.setattr(streamer.app.inspect, "columns_of_checkpoints", lambda *_: Inspected([one], fates, []))
    ran = cli("columns", "bus")
    assert len(ran.stdout.removesuffix("\n").split("\n")) == len(columns.table([one])) + 3 == 6
    assert all(map(is_clean, ran.stdout.removesuffix("\n").split("\n")))
    assert json.loads(cli("columns", "bus", "--json").stdout.split("\n")[0])["column"] == NASTY


def test_the_ids_of_commands_are_shown_without_control_characters(config, monkeypatch):
    """An id that was copied from elsewhere, in the answer of the service."""
    service = play(monkeypatch)
    unknown = cli("approve", NASTY, "--actor", "ann")
    assert unknown.exit_code == 2
    service.publish(said("silence", NASTY, "1h", matcher=Matcher(), until=moment("9h")))
    ended = cli("unsilence", NASTY, "--actor", "ann", "--at", "2026-01-01T02:00:00Z")
    assert ended.exit_code == 0
    refused = cli("unsilence", NASTY, "--actor", "bob", "--at", "2026-01-01T02:00:00Z")
    for shown in (unknown.stderr, ended.stdout, refused.stdout):
        assert is_clean(shown.removesuffix("\n"))
        assert SHOWN in shown


def test_lists_of_the_fleet_are_shown_without_control_characters(config, monkeypatch):
    """Names of models, versions, columns and segments, and ids of alerts, stand in cells of one line."""
    service = play(monkeypatch)
    service.publish(firing("1h", NASTY, NASTY, NASTY, segment=NASTY), ready("2h", "1h", NASTY, NASTY, NASTY))
    fleet = WatchedFleet([WatchedModel("detect-0", NASTY, NASTY, NASTY, 1, 1, datetime(2026, 1, 1, tzinfo=UTC))], {})
    monkeypatch.setattr(streamer.app.inspect, "fleet_of_checkpoints", lambda _config: fleet)
    standing = ServiceStanding(NASTY, NASTY, "Stable", 1, None, ())
    monkeypatch.setattr(streamer.app.standing, "standing_of", lambda _config: standing)
    for command in ("alerts", "incidents", "models", "status"):
        lines = cli(command).stdout.removesuffix("\n").split("\n")
        assert all(map(is_clean, lines))
        assert SHOWN in "".join(lines)


def test_names_near_an_unknown_one_are_shown_without_control_characters(service):
    """The names come from records, so a suggestion must not forge a line either."""
    ran = cli("history", NASTY + "x")
    assert ran.exit_code == 2
    assert is_clean(ran.stderr.removesuffix("\n")), ran.stderr
    assert SHOWN in ran.stderr


def test_an_error_keeps_its_lines_and_shows_its_controls(config, fake_app, tmp_path):
    """The problems of a configuration are a line each; whatever else controls a terminal is escaped."""
    fake_app.fails_with = UsageError("first \x1b[2J\nsecond \u202e")
    assert cli("replay", "x.jsonl").stderr == "driftline: first \\x1b[2J\nsecond \\u202e\n"


def test_commands_write_lines_for_people_in_one_way():
    """`click.echo` writes constant text and JSON only; `echo_line` escapes all else."""
    for path in Path(streamer.commands.__file__).parent.rglob("*.py"):
        if path.name == "lines.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"click.echo", "click.secho", "print"}:
                (text,) = node.args
                assert isinstance(text, ast.Constant) or "json" in ast.unparse(text), f"{path}:{node.lineno}"


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1))
def test_a_row_is_one_line_whatever_its_texts_are(rows):
    """Any texts: as many lines as rows, without control characters, and columns that are aligned."""
    lines = list(table(rows))
    assert len(lines) == len(rows)
    assert all(map(is_clean, lines))
