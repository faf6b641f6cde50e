"""`approve`, `reject`, `result`, `promote` and `requests`, with the broker played by the test."""

from __future__ import annotations

import msgspec
import pytest
from cli_kit import cli
from service_kit import play

from retrain.engine.engine import Engine
from retrain.messages.control import Control
from retrain.messages.request import Approval
from retrain.policy.settings import RetrainSettings
from streamer.audit.requests import RequestLedger
from streamer.commands.views import requests
from streamer.contracts.topics import OutputTopics
from streamer.decide import DecideFold
from streamer.eventlog.base import Records
from streamer.eventlog.kafka import transfer as kafka_transfer
from streamer.testing.alerts import firing, moment, ready, said

AT = ("--at", "2026-01-01T02:00:00Z")
ID = "retrain-bus-099-140b0b1df4d7fa2a"


@pytest.fixture
def service(monkeypatch):
    """A service that asked for one retrain, at 2h, which waits for approval."""
    service = play(monkeypatch, approval_by_model={"*": "both"}, distinct_actors=True)
    service.publish(ready("2h", "1h"))
    assert service.requested() == ID
    return service


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("approve", ID), said("approve", ID, "2h")),
        (("reject", ID, "--comment", "holiday"), said("reject", ID, "2h", comment="holiday")),
        (("result", ID, "started"), said("started", ID, "2h")),
        (("result", ID, "failed"), said("failed", ID, "2h")),
        (
            ("result", ID, "trained", "--version", "8", "--champion", "mae=61", "--challenger", "a=b=4e1"),
            said("trained", ID, "2h", model_version="8", champion={"mae": 61.0}, challenger={"a=b": 40.0}),
        ),
        (("promote", ID, "--version", "8"), said("promote", ID, "2h", model_version="8")),
    ],
)
def test_what_is_typed_is_said(config, service, arguments, word):
    """Each command writes one control record under the id of its request, with who, when and why."""
    ran = cli(*arguments, "--actor", "ann", *AT, "--no-wait")
    assert ran.exit_code == 0, ran.stderr
    (output,) = service.sent
    assert (output.topic, output.key) == ("driftline.control", ID.encode())
    assert msgspec.json.decode(output.value, type=Control) == word
    assert ran.stdout == f"sent: {word.kind} {ID}; `driftline explain {ID}` shows the answer\n"


def test_the_answer_of_the_service_is_printed(config, service):
    """From approval to promotion: the new state and its end; a repeated command changes nothing and is no error."""
    steps = [
        (("approve", ID), "approved: {} of bus-099 is approved until 2026-01-08 02:00"),
        (("approve", ID), "no change: {} of bus-099 is approved until 2026-01-08 02:00 already"),
        (("result", ID, "started"), "training: {} of bus-099 is training until 2026-01-08 02:00"),
        (("result", ID, "trained"), "trained: {} of bus-099 is awaiting_review until 2026-01-08 02:00"),
        (("promote", ID), "promoted: {} of bus-099 is watching until 2026-01-08 02:00"),
    ]
    for actor, (arguments, line) in zip(["ann", "ann", "airflow", "airflow", "bob"], steps, strict=True):
        ran = cli(*arguments, "--actor", actor, *AT)
        assert (ran.exit_code, ran.stdout, ran.stderr) == (0, line.format(ID) + "\n", "")


@pytest.mark.parametrize(
    ("before", "arguments", "why"),
    [
        ([], ("promote", ID), "not_approved (a person must approve it first: `driftline approve`)"),
        (["approve"], ("promote", ID), "not_trained (it has no trained challenger yet: `driftline result "),
        (["approve", "trained"], ("promote", ID), "same_actor (the same actor approved or reported its training, so "),
        (
            ["approve"],
            ("result", ID, "trained", "--version", "7"),
            "same_version (this version serves already and has drifted; name the retrained one with --version). ",
        ),
        (["reject"], ("approve", ID), "too_late (it is beyond the state for this command). "),
    ],
)
def test_a_refused_command_ends_with_7_and_its_reason(config, service, before, arguments, why):
    """And with the state of the request."""
    service.publish(*(said(kind, ID, "2h") for kind in before))
    ran = cli(*arguments, "--actor", "ann", *AT)
    assert (ran.exit_code, ran.stdout) == (7, "")
    word = "trained" if "trained" in arguments else arguments[0]
    assert ran.stderr.startswith(f"driftline: {word} of {ID} was refused: {why}")
    assert f"{ID} of bus-099 is " in ran.stderr


def test_an_unknown_request_is_not_sent(config, service):
    """Exit code 2 and near ids; for the incident of a model, its request."""
    for arguments in (("approve",), ("reject",), ("promote",), ("result", "started")):
        name, *rest = arguments
        ran = cli(name, ID[:-1] + "x", *rest, "--actor", "ann")
        assert (ran.exit_code, ran.stdout) == (2, "")
        word = rest[0] if rest else name
        expected = f"driftline: {word} was not sent: there is no request, held storm or held source {ID[:-1]}x; "
        assert ran.stderr == f"{expected}did you mean {ID}?\n"
    assert "; `driftline requests --all` lists them\n" in cli("approve", "z", "--actor", "ann").stderr
    incident = msgspec.json.decode(service.held["driftline.incidents"][-1][1])["incident_id"]
    assert f"{incident} is an incident; its request is {ID}" in cli("approve", incident, "--actor", "ann").stderr
    assert service.sent == []


def test_a_held_storm_is_released_by_its_incident(config, monkeypatch):
    """Its id is known as long as its records are kept; a second person comes too late."""
    service = play(monkeypatch, storm_models_min=3)
    service.publish(*(firing("1h", name) for name in "abc"))
    incidents = [msgspec.json.decode(value) for _, value in service.held["driftline.incidents"]]
    (storm,) = {one["incident_id"] for one in incidents if one["model_id"] == "fleet:headway_s"}
    ran = cli("approve", storm, "--actor", "ann", *AT)
    assert (ran.exit_code, ran.stdout) == (0, f"storm_released: {storm} of fleet:headway_s is approved\n")
    ran = cli("reject", storm, "--actor", "bob", *AT)
    assert ran.exit_code == 7
    assert "too_late" in ran.stderr


def test_a_service_that_does_not_answer_is_named(config, service):
    """The command is in the log, so the sentence differs from a refusal, and so does the exit code."""
    service.is_running = False
    ran = cli("approve", ID, "--actor", "ann", "--wait-s", "1")
    assert (ran.exit_code, ran.stdout) == (8, "")
    assert ran.stderr.startswith(
        f"driftline: approve of {ID} was sent, but the service has not answered within 1 s. Is it running? "
    )
    assert len(service.sent) == 1


def test_only_the_answer_to_this_command_counts(config, service, monkeypatch):
    """Another person's command about the same request may be answered first."""
    send = service.send
    monkeypatch.setattr(
        kafka_transfer, "send", lambda c, outputs: (service.publish(said("reject", ID, "2h", "bob")), send(c, outputs))
    )
    ran = cli("approve", ID, "--actor", "ann", *AT)
    assert ran.exit_code == 7
    assert "too_late" in ran.stderr


def test_who_says_it_may_stand_in_a_variable(config, service, monkeypatch):
    """`DRIFTLINE_ACTOR` names a pipeline once for all its calls; without either, nothing is said. The time is now."""
    assert cli("approve", ID).exit_code == 2
    monkeypatch.setenv("DRIFTLINE_ACTOR", "airflow")
    assert cli("approve", ID, "--no-wait").exit_code == 0
    control = msgspec.json.decode(service.sent[0].value, type=Control)
    assert control.actor == "airflow"
    assert control.at.year >= 2026


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("approve", ID, "--actor", " "), "approve was not sent: actor or request_id is empty"),
        (("approve", ID, "--actor", "a", "--at", "yesterday"), "approve was not sent: Invalid RFC3339"),
        (("approve", ID, "--actor", "a", "--at", "9999-01-01T00:00:00Z"), "approve was not sent: at is later than"),
        (("result", ID, "started", "--actor", "a", "--version", "8"), "go with `trained` only"),
        (
            ("result", ID, "trained", "--actor", "a", "--champion", "mae"),
            "'mae' must have the form NAME=NUMBER",
        ),
        (("result", ID, "done", "--actor", "a"), "'done' is not one of 'started', 'trained', 'failed'"),
    ],
)
def test_what_can_not_be_said_is_not_sent(config, service, arguments, complaint):
    """A record that the service could not read is refused here, with exit code 2."""
    ran = cli(*arguments)
    assert ran.exit_code == 2
    assert complaint in ran.stderr
    assert service.sent == []


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
