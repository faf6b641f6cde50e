"""Callbacks: what is signed and about an open run counts once; all else is refused by name."""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
from launch_kit import AT, Loop, RunState, RunStatus, rule, tools

from streamer.errors import BrokerError, UsageError
from streamer.launch import callbacks as module
from streamer.launch.callbacks import Callbacks
from streamer.launch.settings import CallbackSettings
from streamer.launch.targets.webhook import signed

ID = "retrain-bus-1-aa"
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
SETTINGS = CallbackSettings("CALLBACKS", port=0)
PAGE = (Path(__file__).parents[3] / "docs" / "retraining.md").read_text()


class Receiver:
    """A launcher that receives callbacks, and a client of it."""

    def __init__(self, loop: Loop, folder: Path) -> None:
        self.loop = loop
        self.callbacks = Callbacks(SETTINGS, loop.launcher, tools(folder, CALLBACKS=SECRET), loop.clock)

    def post(self, body: bytes, message_id: str = "m1", age_s: int = 0, secret: str = SECRET, **more: str):
        """Status and outcome of a callback, which the launcher decides meanwhile."""
        headers = signed(message_id, int(self.loop.clock.now_s()) - age_s, body, [secret]) | more
        return self.send("POST", body, headers)

    def send(self, method: str, body: bytes | None, headers: dict[str, str]):
        found: list[tuple[int, str]] = []
        sending = threading.Thread(target=lambda: found.append(self._send(method, body, headers)))
        sending.start()
        while sending.is_alive():
            self.callbacks.turn()
            sending.join(0.005)
        return found[0]

    def _send(self, method: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, str]:
        where = urlsplit(self.callbacks.url)
        client = HTTPConnection(str(where.hostname), where.port, timeout=30)
        client.request(method, where.path, body, headers)
        answer = client.getresponse()
        status, text = answer.status, answer.read()
        client.close()
        return status, json.loads(text)["outcome"]


@pytest.fixture
def receiver(target, topics, tmp_path) -> Iterator[Receiver]:
    """The launcher has started a run, and would look at it in an hour again."""
    target.status = RunStatus(RunState.UNKNOWN)
    loop = Loop(topics, rule(poll_s=3600), tmp_path)
    loop.until(lambda: loop.kinds() == ["started"])
    loop.until(lambda: loop.launcher._work[ID].next_s > 3000)
    found = Receiver(loop, tmp_path)
    yield found
    found.callbacks.stop()


def report(kind: str = "trained", request_id: str = ID, **more: object) -> bytes:
    about = {"kind": kind, "request_id": request_id, "at": AT, "actor": "trainer", "model_version": "8"}
    return msgspec.json.encode({**about, **more})


def documented(outcome: str) -> str:
    assert f"`{outcome}`" in PAGE
    return outcome


def test_a_report_is_in_the_log_before_it_is_answered(receiver, topics):
    """A run whose target can't be asked ends by its callback, byte for byte."""
    body = report(champion={"mae": 2.0}, challenger={"mae": 1.0})
    assert receiver.post(body) == (200, documented("reported"))
    assert topics.values["driftline.control"][1] == body
    assert receiver.loop.launcher.ledger.tasks[ID].challenger == {"mae": 1.0}


def test_a_hint_makes_the_launcher_look_at_once(receiver, target, topics):
    """The target decides what has become of the run; the hint says nothing of it."""
    target.status = RunStatus(RunState.FAILED, "exit code 3")
    for _ in range(20):
        receiver.loop.launcher.turn()
    assert receiver.loop.kinds() == ["started"]
    assert receiver.post(msgspec.json.encode({"request_id": ID})) == (202, documented("looking"))
    receiver.loop.until(lambda: receiver.loop.kinds() == ["started", "failed"])
    assert topics.said()[1]["comment"] == "exit code 3"


def test_a_callback_counts_once(receiver, target, topics, tmp_path):
    """A repeat gets the same answer, also of a process that has not seen the first; so does another message."""
    assert receiver.post(report()) == receiver.post(report()) == (200, "reported")
    assert receiver.post(report("failed"), "m2") == (200, documented("no_change"))
    again = Receiver(Loop(topics, rule(poll_s=3600), tmp_path), tmp_path)
    try:
        assert again.post(report()) == (200, "no_change")
        again.loop.decide(ID, "helped")
        assert again.post(report(), "m3") == (200, "no_change")
    finally:
        again.callbacks.stop()
    assert receiver.loop.kinds() == ["started", "trained"]


def test_reports_count_once_before_the_service_has_answered(receiver):
    """The state of the request is still that of before."""
    published = []
    receiver.loop.launcher._report = published.extend
    assert receiver.post(report()) == (200, "reported")
    assert receiver.post(report(), "m2") == (200, "no_change")
    assert len(published) == 1


def test_ids_of_messages_are_bounded(receiver, monkeypatch):
    """Only the newest answers are kept."""
    monkeypatch.setattr(module, "IDS_MAX", 2)
    for i in range(4):
        receiver.post(msgspec.json.encode({"request_id": ID}), f"m{i}")
    assert sorted(receiver.callbacks._answered) == ["m2", "m3"]


@pytest.mark.parametrize(
    ("changes", "status", "outcome"),
    [
        ({"age_s": 301}, 401, "unsigned"), ({"age_s": -301}, 401, "unsigned"),
        ({"secret": "whsec_AAAA"}, 401, "unsigned"), ({"webhook-id": "other"}, 401, "unsigned"),
        ({"webhook-signature": ""}, 401, "unsigned"),
        ({"body": b"{"}, 400, "unreadable"), ({"body": b"[]"}, 400, "unreadable"),
        ({"body": report(at="2026-03-09T00:00:00Z")}, 400, "unreadable"),
        ({"body": report(request_id="retrain-other")}, 404, "unknown_request"),
        ({"body": report(run="command:other")}, 409, "another_run"),
        ({"body": report("promote")}, 403, "not_allowed"), ({"body": report("approve")}, 403, "not_allowed"),
        ({"body": b" " * (module.BODY_BYTES_MAX + 1)}, 413, "unreadable"),
    ],
)  # fmt: skip
def test_what_is_not_to_be_believed_is_refused_by_name(receiver, caplog, changes, status, outcome):
    """Nothing is reported or looked at; the log names the reason, and the counter counts it."""
    with caplog.at_level(logging.WARNING):
        assert receiver.post(**({"body": report()} | changes)) == (status, documented(outcome))
    assert outcome in caplog.text
    assert receiver.loop.kinds() == ["started"]
    assert receiver.loop.launcher.counts["callback_refused"] == 1
    assert receiver.post(report(run=f"command:{ID}"), "m2") == (200, "reported"), "the right one still counts"


def test_only_posts_with_a_length_are_read(receiver):
    """Others are refused before anything is read."""
    assert receiver.send("GET", None, {}) == (405, "unreadable")
    assert receiver.send("POST", None, {"transfer-encoding": "chunked"}) == (411, "unreadable")


@pytest.mark.parametrize(
    ("state", "status", "outcome"),
    [("requested", 409, "not_approved"), ("expired", 409, "too_late"), ("rejected", 409, "too_late"),
     ("withdrawn", 409, "too_late"), ("trained", 200, "no_change"), ("watching", 200, "no_change")],
)  # fmt: skip
def test_a_report_counts_while_its_run_is_under_way(receiver, state, status, outcome):
    """Before the approval and after the end of a request, nothing is reported."""
    receiver.loop.decide(ID, state)
    assert receiver.post(report()) == (status, documented(outcome))
    assert receiver.loop.kinds() == ["started"]


def test_the_version_that_drifted_is_a_failure(receiver, topics):
    """As in a report that the launcher finds."""
    assert receiver.post(report(model_version="7")) == (200, "reported")
    assert receiver.loop.kinds() == ["started", "failed"]


def test_a_launcher_that_does_not_answer_is_busy(receiver, monkeypatch):
    """Until the log has the report, the sender is not thanked, so it sends it again."""
    monkeypatch.setattr(module, "ANSWER_S", 0.05)
    body = report()
    headers = signed("m1", int(receiver.loop.clock.now_s()), body, [SECRET])
    assert receiver._send("POST", body, headers) == (503, documented("busy"))

    def fenced(_reports):
        raise BrokerError("A later process has taken over")

    receiver.loop.launcher._report = fenced
    with pytest.raises(BrokerError):
        receiver.callbacks.turn()
    assert receiver.callbacks._answered == {}


def test_more_than_can_wait_are_busy(receiver, monkeypatch):
    """The queue has a bound."""
    monkeypatch.setattr(module, "ANSWER_S", 0.01)
    body = report()
    headers = signed("m1", int(receiver.loop.clock.now_s()), body, [SECRET])
    answers = [receiver._send("POST", body, headers) for _ in range(module.WAITING_MAX + 2)]
    assert set(answers) == {(503, "busy")}
    assert receiver.callbacks._waiting.qsize() == module.WAITING_MAX


def test_a_receiver_needs_its_secret(receiver, tmp_path):
    """It does not start without one, with one that is none, or at a taken port, and says which setting it is."""
    port = urlsplit(receiver.callbacks.url).port
    for settings, given, words in (
        (SETTINGS, {}, "callbacks.secret_env: the variable CALLBACKS"),
        (SETTINGS, {"CALLBACKS": "hunter2"}, "not whsec_"),
        (CallbackSettings("CALLBACKS", port=port), {"CALLBACKS": SECRET}, "Set callbacks.host and callbacks.port"),
    ):
        with pytest.raises(UsageError, match=words):
            Callbacks(settings, receiver.loop.launcher, tools(tmp_path, **given), receiver.loop.clock)
