"""Who receives incidents: Alertmanagers, which hold the open ones, and a webhook, which gets each change once.

A receiver gives the next call to make, and takes its result in. Calls run in threads, one a receiver at a time.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any, Final, Protocol
from urllib.parse import urlsplit

import msgspec

from retrain.messages.patterns import first_match
from streamer.clock import Clock
from streamer.events import time_of
from streamer.launch.base import TargetDown, TargetRefused, Tools
from streamer.launch.http import HttpProblem
from streamer.launch.notify.board import CLOSED, Board, Notice, OpenIncident, Spot
from streamer.launch.notify.settings import AlertmanagerSettings, NotifySettings, Severity
from streamer.launch.targets.rest import bearer, named
from streamer.launch.targets.webhook import WebhookSettings, post

ALERTS_MAX: Final = 200  # of one call to Alertmanager
WAITING_MAX: Final = 10_000  # notices that wait for a webhook; beyond, the oldest are dropped
NAME: Final = "DriftlineIncident"
NAME_OF_MANY: Final = "DriftlineIncidents"
OUR_NAMES: Final = "Driftline"  # the names of all our alerts begin with it
OUR_LABELS: Final = frozenset({"model", "incident_id"})

Call = Callable[[], Any]
Picture = Callable[[bytes], str]  # of a record: an SVG text, or ""


class Receiver(Protocol):
    """Gets calls. `name` is its label in metrics."""

    name: str
    dropped: int  # notices that gave way to newer ones

    def add(self, notice: Notice) -> None:
        """Take in a change."""
        ...

    def next_call(self) -> tuple[Call, int] | None:
        """The next call, and how many incidents it is about; None if there is nothing to send now."""
        ...

    def done(self) -> None:
        """Take in that the last call has ended: accepted, or refused for good."""
        ...

    def unsent(self) -> Mapping[Spot | None, int]:
        """The first offset at each spot whose notice is not sent; the key None for those without an offset."""
        ...

    @property
    def waiting(self) -> int:
        """Incidents or notices that wait to be sent."""
        ...


@dataclass(frozen=True, slots=True)
class _Sent:
    """An alert that an Alertmanager has accepted."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime
    at_s: float  # monotonic


class AlertmanagerReceiver:
    """One Alertmanager, by `POST /api/v2/alerts`. An alert is known by its labels, which never change.

    Source: github.com/prometheus/alertmanager, api/v2/openapi.yaml.
    """

    def __init__(self, url: str, settings: NotifySettings, board: Board, tools: Tools, clock: Clock) -> None:
        self._url = f"{url.rstrip('/')}/api/v2/alerts"
        self._settings, self._board, self._tools, self._clock = settings, board, tools, clock
        token = settings.alertmanager.token_env if settings.alertmanager else None
        self._login = bearer(tools, token)
        self._sent: dict[str, _Sent] = {}
        self._sending: dict[str, _Sent | None] = {}  # None: it is over
        self._called_s = -settings.resend_s  # without alerts, an empty call shows that it answers
        self.name = urlsplit(url).netloc.rpartition("@")[2]
        self.dropped = 0

    def add(self, notice: Notice) -> None:
        """An incident that was closed while no process ran is over for Alertmanager too."""
        if notice.type == CLOSED and notice.incident_id not in self._sent:
            closed = msgspec.json.decode(notice.record, type=OpenIncident)
            self._sent[notice.incident_id] = self._of(closed, self._clock.monotonic_s())

    def unsent(self) -> Mapping[Spot | None, int]:
        return {}  # a new process sends all that is open

    @property
    def waiting(self) -> int:
        return len(self._due())

    def next_call(self) -> tuple[Call, int] | None:
        due, now_s = dict(list(self._due().items())[:ALERTS_MAX]), self._clock.monotonic_s()
        if not due and now_s - self._called_s < self._settings.resend_s:
            return None
        self._sending, self._called_s = due, now_s
        now = time_of(int(self._clock.now_s() * 1000))
        body = [
            self._alert(one or self._sent[key], now if one is None else now + timedelta(seconds=self._settings.hold_s))
            for key, one in due.items()
        ]
        return partial(self._post, json.dumps(body, separators=(",", ":")).encode()), len(due)

    def done(self) -> None:
        """What is open and refused is sent again when it is due; Alertmanager keeps the valid alerts of a call."""
        for key, one in self._sending.items():
            if one is not None:
                self._sent[key] = one
            else:
                self._sent.pop(key, None)
        self._sending = {}

    def _post(self, body: bytes) -> None:
        headers = {"content-type": "application/json", **self._login()}
        try:
            self._tools.http.call("POST", self._url, body, headers)
        except HttpProblem as problem:
            raise named(problem) from problem

    def _due(self) -> dict[str, _Sent | None]:
        """The alerts to send now: new, changed or not sent for `resend_s`; and those that are over."""
        now_s, current = self._clock.monotonic_s(), self._current()
        due: dict[str, _Sent | None] = {key: None for key in self._sent if key not in current}
        for key, one in current.items():
            sent = self._sent.get(key)
            is_same = sent is not None and sent.annotations == one.annotations
            if not is_same or (sent is not None and now_s - sent.at_s >= self._settings.resend_s):
                due[key] = one
        return due

    def _current(self) -> dict[str, _Sent]:
        """The alerts that hold, by incident; that for all others by ""."""
        now_s = self._clock.monotonic_s()
        found = {one.incident_id: self._of(one, now_s) for one in self._board.announced()}
        if (first := self._board.oldest_beyond) is not None:
            most = self._settings.incidents_max
            summary = f"{self._board.beyond:,} incidents are open beyond the {most:,} that are sent one by one"
            labels = {"alertname": NAME_OF_MANY, "kind": "fleet", "severity": self._severity("fleet:*")}
            found[""] = _Sent(labels, {"summary": summary}, first.opened_at, now_s)
        return found

    def _of(self, one: OpenIncident, now_s: float) -> _Sent:
        labels = {
            "alertname": NAME, "incident_id": one.incident_id, "model": one.model_id, "kind": one.kind,
            "severity": self._severity(one.model_id),
        }  # fmt: skip
        annotations = {"summary": f"{one.model_id}: {one.summary or 'it drifts'}"}
        if one.model_count > 1:
            annotations["models"] = str(one.model_count)
        if one.request_id:
            approval = "; approval required" if self._board.approval_of(one.request_id) == "required" else ""
            annotations["request"] = f"{one.request_id}{approval}"
        if link := self._settings.link_of(one.incident_id, one.model_id):
            annotations["link"] = link
        return _Sent(labels, annotations, one.opened_at, now_s)

    def _severity(self, model_id: str) -> str:
        return str(first_match(self._settings.severity, model_id) or Severity.WARNING)

    @staticmethod
    def _alert(one: _Sent, ends_at: datetime) -> dict[str, Any]:
        """An event time that is ahead would begin after its end, which Alertmanager refuses."""
        starts_at = min(one.starts_at, ends_at)
        about = {"labels": one.labels, "annotations": one.annotations}
        times = {"startsAt": starts_at.isoformat(), "endsAt": ends_at.isoformat()}
        return {**about, **times, "generatorURL": one.annotations.get("link", "")}


class LabelMatcher(msgspec.Struct, frozen=True, rename="camel"):
    """A condition on a label; regular expressions match whole values."""

    name: str
    value: str
    is_regex: bool = False
    is_equal: bool = True

    def __str__(self) -> str:
        sign = {(False, True): "=", (True, True): "=~", (False, False): "!=", (True, False): "!~"}
        return f'{self.name}{sign[self.is_regex, self.is_equal]}"{self.value}"'

    def fits_our_names(self) -> bool:
        """Whether it lets some `alertname` of ours through; one in doubt does."""
        if not self.is_equal or OUR_NAMES in self.value:
            return True
        try:
            return self.is_regex and any(re.fullmatch(self.value, name) for name in (NAME, NAME_OF_MANY))
        except re.error:  # Alertmanager has another syntax
            return True


class _State(msgspec.Struct, frozen=True):
    state: str


class TheirSilence(msgspec.Struct, frozen=True, rename="camel"):
    """A silence of Alertmanager, as its API v2 has it; `ends_at` is of the clock of the machine, not event time."""

    id: str
    ends_at: Annotated[datetime, msgspec.Meta(tz=True)]
    matchers: tuple[LabelMatcher, ...]
    status: _State
    created_by: str = ""
    comment: str = ""

    def is_ours(self) -> bool:
        """Whether it is active and about our alerts: it names one of our labels, and no other alert's name."""
        names = [one for one in self.matchers if one.name == "alertname"]
        is_named = any(one.is_equal and (one.name in OUR_LABELS or one.name == "alertname") for one in self.matchers)
        return self.status.state == "active" and is_named and all(one.fits_our_names() for one in names)


def their_silences(settings: AlertmanagerSettings, tools: Tools) -> tuple[list[TheirSilence], list[str]]:
    """The silences about our alerts by their end, each once, and a sentence on each Alertmanager that has none to show.

    By `GET /api/v2/silences`. An Alertmanager that is away is no failure.
    """
    found, problems, login = dict[str, TheirSilence](), list[str](), bearer(tools, settings.token_env)
    for url in settings.urls:
        name = urlsplit(url).netloc.rpartition("@")[2]
        try:
            answer = tools.http.call("GET", f"{url.rstrip('/')}/api/v2/silences", headers=login())
            silences = msgspec.json.decode(answer.body, type=list[TheirSilence])
        except (HttpProblem, TargetDown, TargetRefused, msgspec.MsgspecError) as problem:
            problems.append(f"the silences of Alertmanager {name} are not known: {problem}")
        else:
            found |= {one.id: one for one in silences if one.is_ours()}
    return sorted(found.values(), key=lambda one: (one.ends_at, one.id)), problems


@dataclass(slots=True)
class WebhookReceiver:
    """A receiver of signed messages by Standard Webhooks, one for each notice; see `targets/webhook.py`."""

    webhook: WebhookSettings
    settings: NotifySettings
    tools: Tools
    clock: Clock
    picture: Picture
    name: str = "webhook"
    dropped: int = 0
    _queue: deque[Notice] = field(default_factory=deque)

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def add(self, notice: Notice) -> None:
        """Send it after the others."""
        self._queue.append(notice)
        if len(self._queue) > WAITING_MAX:
            del self._queue[1 if len(self._queue) > 1 else 0]  # the first may be on its way
            self.dropped += 1

    def next_call(self) -> tuple[Call, int] | None:
        return (partial(self._post, self._queue[0]), 1) if self._queue else None

    def done(self) -> None:
        self._queue.popleft()

    def unsent(self) -> Mapping[Spot | None, int]:
        found: dict[Spot | None, int] = {}
        for one in self._queue:
            found[one.spot] = min(found.get(one.spot, one.offset), one.offset)
        return found

    def _post(self, notice: Notice) -> None:
        secret = self.tools.secret(self.webhook.secret_env)
        post(self.tools.http, self.webhook.url, notice.notice_id, self._body(notice), secret, self.clock)

    def _body(self, notice: Notice) -> bytes:
        """The message: `type` and `timestamp` as Standard Webhooks has them, and the record as it is on its topic."""
        about = {"incident_id": notice.incident_id, "model_id": notice.model_id}
        if link := self.settings.link_of(notice.incident_id, notice.model_id):
            about["link"] = link
        if picture := self.picture(notice.record):
            about["picture"] = picture
        data = {**about, "record": msgspec.Raw(notice.record)}
        return msgspec.json.encode({"type": notice.type, "timestamp": notice.at, "data": data})


def receivers_of(
    settings: NotifySettings, board: Board, tools: Tools, clock: Clock, picture: Picture
) -> list[Receiver]:
    """The receivers that the settings name; `picture` draws what moved, for messages."""
    urls = settings.alertmanager.urls if settings.alertmanager else ()
    found: list[Receiver] = [AlertmanagerReceiver(url, settings, board, tools, clock) for url in urls]
    if settings.webhook is not None:
        found.append(WebhookReceiver(settings.webhook, settings, tools, clock, picture))
    return found
