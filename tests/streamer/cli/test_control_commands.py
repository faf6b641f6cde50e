"""`approve`, `reject`, `result`, `promote` and `requests`, with the broker played by the test."""

from __future__ import annotations

import msgspec
import pytest
from cli_kit import cli

from retrain.engine.engine import Engine
from retrain.messages.control import Control
from retrain.messages.request import Approval
from retrain.policy.settings import RetrainSettings
from streamer.audit.requests import RequestLedger
from streamer.commands import requests
from streamer.contracts.topics import OutputTopics
from streamer.decide import DecideFold
from streamer.eventlog.base import Records
from streamer.eventlog.kafka import send as kafka_send
from streamer.testing.alerts import firing, moment, ready, said

AT = ("--at", "2026-01-01T02:00:00Z")


@pytest.fixture
def sent(monkeypatch):
    """The records that commands send."""
    found = []
    monkeypatch.setattr(kafka_send, "send", lambda _connection, outputs: found.extend(outputs))
    return found


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("approve", "r-1"), said("approve", "r-1", "2h")),
        (("reject", "r-1", "--comment", "holiday"), said("reject", "r-1", "2h", comment="holiday")),
        (("result", "r-1", "started"), said("started", "r-1", "2h")),
        (("result", "r-1", "failed"), said("failed", "r-1", "2h")),
        (
            ("result", "r-1", "trained", "--version", "8", "--champion", "mae=61", "--challenger", "a=b=4e1"),
            said("trained", "r-1", "2h", model_version="8", champion={"mae": 61.0}, challenger={"a=b": 40.0}),
        ),
        (("promote", "r-1", "--version", "8"), said("promote", "r-1", "2h", model_version="8")),
    ],
)
def test_what_is_typed_is_said(config, sent, arguments, word):
    """Each command writes one control record under the id of its request, with who, when and why."""
    ran = cli(*arguments, "--actor", "ann", *AT)
    assert ran.exit_code == 0, ran.stderr
    (output,) = sent
    assert (output.topic, output.key) == ("driftline.control", b"r-1")
    assert msgspec.json.decode(output.value, type=Control) == word
    assert ran.stderr == f"sent: {word.kind} r-1; `driftline requests` shows the result\n"


def test_who_says_it_may_stand_in_a_variable(config, sent, monkeypatch):
    """`DRIFTLINE_ACTOR` names a pipeline once for all its calls; without either, nothing is said. The time is now."""
    assert cli("approve", "r-1").exit_code == 2
    monkeypatch.setenv("DRIFTLINE_ACTOR", "airflow")
    assert cli("approve", "r-1").exit_code == 0
    control = msgspec.json.decode(sent[0].value, type=Control)
    assert control.actor == "airflow"
    assert control.at.year >= 2026


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("approve", "r-1", "--actor", " "), "approve was not sent: actor or request_id is empty"),
        (("approve", "r-1", "--actor", "a", "--at", "yesterday"), "approve was not sent: Invalid RFC3339"),
        (("approve", "r-1", "--actor", "a", "--at", "9999-01-01T00:00:00Z"), "approve was not sent: at is later than"),
        (("result", "r-1", "started", "--actor", "a", "--version", "8"), "go with `trained` only"),
        (
            ("result", "r-1", "trained", "--actor", "a", "--champion", "mae"),
            "'mae' must have the form NAME=NUMBER",
        ),
        (("result", "r-1", "done", "--actor", "a"), "'done' is not one of 'started', 'trained', 'failed'"),
    ],
)
def test_what_can_not_be_said_is_not_sent(config, sent, arguments, complaint):
    """A record that the service could not read is refused here, with exit code 2."""
    ran = cli(*arguments)
    assert ran.exit_code == 2
    assert complaint in ran.stderr
    assert sent == []


def ledger_of(*records) -> RequestLedger:
    """The ledger of what the decide fold publishes of these records; decisions are read before requests."""
    fold, topics = DecideFold(RetrainSettings(approval=Approval.REQUIRED, storm_models_min=3)), OutputTopics()
    outputs = []
    for record in records:
        topic = topics.control if isinstance(record, Control) else topics.alerts
        outputs += fold.step([Records.build(topic, 0, [(0, -1, None, msgspec.json.encode(record), ())])])
    ledger = RequestLedger(topics)
    for topic in (topics.decisions, topics.requests, topics.incidents):
        rows = [(i, -1, o.key, o.value, ()) for i, o in enumerate(o for o in outputs if o.topic == topic)]
        ledger.read([Records.build(topic, 0, rows)])
    return ledger


def test_requests_lists_how_they_stand(config, monkeypatch):
    """Those under way by default, all on request; an answer that changed nothing does not count as a change."""
    (bus, tram) = (ready("1h", "1h"), ready("2h", "2h", "tram-1"))
    ids = [action.request.request_id for alert in (bus, tram) for action in Engine(RetrainSettings()).handle(alert)[1:]]
    ledger = ledger_of(
        bus,
        tram,
        said("approve", ids[0], "3h"),
        said("approve", ids[0], "4h", "bob"),
        said("reject", ids[1], "5h"),
        firing("5h"),
        said("approve", "unknown", "5h"),
    )
    approved, rejected = ledger.statuses()
    assert (approved.state, approved.since, approved.actor) == ("approved", moment("3h"), "ann")
    assert (rejected.state, rejected.since, rejected.answer_by) == ("rejected", moment("5h"), None)
    monkeypatch.setattr(requests, "_statuses", lambda _config: ledger.statuses())
    assert cli("requests").stdout.splitlines() == [
        "state     since             until             model    request                           by",
        f"approved  2026-01-01 03:00  2026-01-08 03:00  bus-099  {ids[0]}  ann",
    ]
    assert len(cli("requests", "--all").stdout.splitlines()) == 3
    assert cli("requests", "--all", "--model", "tram-1", "--json").stdout.startswith(f'{{"request_id":"{ids[1]}"')
    ran = cli("requests", "--model", "nothing")
    assert (ran.exit_code, ran.stdout, ran.stderr) == (
        0,
        "",
        "no open request; --all also lists those that have ended\n",
    )


def test_a_held_storm_stands_among_the_requests():
    """It waits for a person under the id of its incident, and is gone once somebody has spoken."""
    alerts = [firing("1h", name) for name in "abc"]
    (held,) = ledger_of(*alerts).statuses()
    assert (held.model_id, held.state, held.comment) == ("fleet:headway_s", "requested", "3 models")
    assert not held.is_over
    for word in ("approve", "reject"):
        assert ledger_of(*alerts, said(word, held.request_id, "2h")).statuses() == []
