"""Callbacks: signed messages by HTTP about a training run, from its trainer or its target.

    POST /callbacks, signed by Standard Webhooks     {"request_id": ...}                     a hint: look at the run now
                                                     {"request_id": ..., "kind": "trained"}  a report, for the topic

A hint decides nothing, as the target is looked at. The answer to a report is sent once the report is in the log, so
what a crash leaves unanswered is sent again. Threads of the server only read and wait; the launcher decides.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING, Any, Final

import msgspec

from retrain.messages.control import ControlKind
from retrain.messages.request import RequestState
from streamer.clock import Clock
from streamer.contracts.alert_reader import Unreadable
from streamer.contracts.control_reader import read_control
from streamer.errors import UsageError
from streamer.launch.base import TargetDown, Tools
from streamer.launch.launcher import Launcher, log
from streamer.launch.ledger import TO_CANCEL, Report, Task
from streamer.launch.settings import CallbackSettings
from streamer.launch.targets.webhook import key_of, why_unsigned
from streamer.telemetry.http import Endpoint

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

PATH: Final = "/callbacks"
BODY_BYTES_MAX: Final = 262_144
WAITING_MAX: Final = 100
ANSWER_S: Final = 8.0  # the server ends a client after 10 s
IDS_MAX: Final = 10_000  # message ids whose answer is remembered, the newest
REPORTS: Final = frozenset({ControlKind.TRAINED, ControlKind.FAILED})
_S = RequestState


class CallbackAnswer(msgspec.Struct, frozen=True):
    """The answer to a callback."""

    status: int
    outcome: str
    detail: str = ""


_BUSY: Final = CallbackAnswer(503, "busy", "the launcher has not answered in time; send it again")


class _Message(msgspec.Struct):
    request_id: str
    kind: str | None = None
    run: str = ""


@dataclass(slots=True)
class _Caller:
    """A message whose sender waits."""

    message_id: str
    body: bytes
    answer: CallbackAnswer = _BUSY
    done: threading.Event = field(default_factory=threading.Event)


class Callbacks:
    """The receiver. Its server listens from the creation until `stop`; `turn` decides what has come."""

    def __init__(self, settings: CallbackSettings, launcher: Launcher, tools: Tools, clock: Clock) -> None:
        """Raises `UsageError` for a secret that is missing or none, and for a port that is taken."""
        self._launcher, self._clock = launcher, clock
        try:
            self._secrets = tools.secret(str(settings.secret_env)).split()
            for secret in self._secrets:
                key_of(secret)
        except TargetDown as problem:
            raise UsageError(f"callbacks.secret_env: {problem}") from None
        self._waiting: Queue[_Caller] = Queue(WAITING_MAX)
        self._answered: dict[str, CallbackAnswer] = {}
        purpose = "callbacks", "Set callbacks.host and callbacks.port"
        self._endpoint = Endpoint(settings.host, settings.port, {PATH: self._application}, purpose)
        self.url = f"{self._endpoint.url}{PATH}"
        log.info("callbacks at %s", self.url)

    def turn(self) -> None:
        """Decide all that has come, let the log have the reports, and answer."""
        decided: list[_Caller] = []
        reports: list[Report] = []
        while len(decided) < WAITING_MAX:
            try:
                one = self._waiting.get_nowait()
            except Empty:
                break
            one.answer, found = self._decide(one)
            reports += found
            decided.append(one)
        self._launcher.publish(reports)
        for one in decided:
            if one.answer.status < 300:
                self._answered[one.message_id] = one.answer
                if len(self._answered) > IDS_MAX:
                    del self._answered[next(iter(self._answered))]
            one.done.set()

    def stop(self) -> None:
        """Stop listening."""
        self._endpoint.stop()

    def _decide(self, waiting: _Caller) -> tuple[CallbackAnswer, list[Report]]:
        if (known := self._answered.get(waiting.message_id)) is not None:
            return known, []
        try:
            message = msgspec.json.decode(waiting.body, type=_Message)
        except msgspec.MsgspecError as problem:
            return CallbackAnswer(400, "unreadable", str(problem)), []
        ledger = self._launcher.ledger
        task = ledger.tasks.get(message.request_id)
        state = task.state if task else ledger.ended_as(message.request_id)
        if why := self._why_not(message, task, state):
            return why, []
        if message.kind is None:
            self._launcher.look_now(message.request_id)
            return CallbackAnswer(202, "looking"), []
        control = read_control(waiting.body, int(self._clock.now_s() * 1000))
        if isinstance(control, Unreadable):
            return CallbackAnswer(400, "unreadable", control.detail), []
        reports = self._launcher.reports_of(message.request_id, waiting.body)
        return CallbackAnswer(200, "reported" if reports else "no_change"), reports

    def _why_not(self, message: _Message, task: Task | None, state: RequestState | None) -> CallbackAnswer | None:
        """Why there is nothing to report or to look at; None if there is."""
        run = task.run if task else None
        if message.kind is not None and message.kind not in REPORTS:  # its secret is that of trainers
            return CallbackAnswer(
                403, "not_allowed", f"a callback may report trained or failed, and not {message.kind}"
            )
        if state is None:
            return CallbackAnswer(404, "unknown_request", f"there is no request {message.request_id}")
        if message.run and run is not None and message.run not in (run.ref, run.bare.ref):
            return CallbackAnswer(409, "another_run", f"the run of this request is {run.ref}, and not {message.run}")
        if state in TO_CANCEL:
            return CallbackAnswer(409, "too_late", f"the request is {state}")
        if state is _S.REQUESTED:
            return CallbackAnswer(409, "not_approved", "a person must approve the request first")
        is_under_way = state in {_S.APPROVED, _S.TRAINING}
        return None if is_under_way else CallbackAnswer(200, "no_change", f"the request is {state}")

    def _application(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        answer = self._received(environ)
        is_fine = answer.status < 300
        self._launcher.counts["callback" if is_fine else "callback_refused"] += 1
        if not is_fine:
            log.warning("a callback is not accepted: %s: %s", answer.outcome, answer.detail)
        start_response(
            f"{answer.status} {HTTPStatus(answer.status).phrase}",
            [("Content-Type", "application/json"), ("Cache-Control", "no-store")],
        )
        return [json.dumps({"outcome": answer.outcome, "detail": answer.detail}).encode() + b"\n"]

    def _received(self, environ: Mapping[str, Any]) -> CallbackAnswer:
        """The answer on a request, once the launcher has it. Only what is signed comes that far."""
        if environ["REQUEST_METHOD"] != "POST":
            return CallbackAnswer(405, "unreadable", "a callback is a POST")
        length = str(environ.get("CONTENT_LENGTH") or "")
        if not length.isascii() or not length.isdigit():
            return CallbackAnswer(411, "unreadable", "the header content-length is missing")
        if int(length[:9]) > BODY_BYTES_MAX:
            return CallbackAnswer(413, "unreadable", f"a callback has at most {BODY_BYTES_MAX} bytes")
        body = environ["wsgi.input"].read(int(length))
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        headers = {name: str(environ.get("HTTP_" + name.upper().replace("-", "_"), "")) for name in names}
        if why := why_unsigned(headers, body, self._secrets, self._clock.now_s()):
            return CallbackAnswer(401, "unsigned", why)
        waiting = _Caller(headers["webhook-id"], body)
        try:
            self._waiting.put_nowait(waiting)
        except Full:
            return _BUSY
        waiting.done.wait(ANSWER_S)
        return waiting.answer if waiting.done.is_set() else _BUSY
