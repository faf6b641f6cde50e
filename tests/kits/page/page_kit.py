"""The server of the page in a thread, over records of a played service, and a client that sends any request."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from html.parser import HTMLParser
from random import Random
from typing import Any
from urllib.parse import urlencode

import msgspec
from driftline_process import DRIFTLINE, PATIENCE_S
from service_kit import TOPICS, PlayedService

from retrain.messages.alert import AlertKind
from retrain.messages.distribution import Distribution
from retrain.policy.settings import RetrainSettings
from streamer.audit.source import PROFILE, kinds_of
from streamer.clock import ManualClock
from streamer.page.access import Access
from streamer.page.answers import Answers, FileAnswers
from streamer.page.desk import Desk
from streamer.page.follow import Follower, from_source
from streamer.page.reader import Reader
from streamer.page.serve import listen, server_of
from streamer.page.server import Site
from streamer.page.store import Store
from streamer.testing.alerts import START, firing, place, ready

MOVED = Distribution((0.7, 0.2, 0.1), (0.1, 0.2, 0.7), 1000, 400, (300.0, 400.0, 500.0, 600.0))
LOCAL = Access("127.0.0.1", "ann")
GROUPS = {"bus-": 200, "tram-": 48, "subway-": 152, "vehicle-": 1_600, **{f"stop-{side}-": 2_800 for side in (
    "centre", "east", "north", "south", "west")}}  # fmt: skip
MODELS = [f"{prefix}{i:04}" for prefix, n in GROUPS.items() for i in range(1, n + 1)]
COLUMNS = ("prediction", "error", "headway_s", "dwell_time_s", "temperature_c", "hour", "boardings", "door_count",
           "speed", "stops", "load", "delay_s")  # fmt: skip
DAY = timedelta(days=1)


class Parsed(HTMLParser):
    """The text of a page, its tags, and what they link to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags, self.links = "", [], []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag == "a":
            self.links.append(dict(attributes)["href"])

    def handle_data(self, data: str) -> None:
        self.text += data


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Served:
    """A server under test."""

    port: int
    site: Site
    sent: list[tuple[bytes, bytes]] = field(default_factory=list)  # control records

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        """One request; underscores in names of headers are hyphens."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            client.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            found = client.getresponse()
            received = {name.lower(): value for name, value in found.getheaders()}
            return Answer(found.status, received, found.read().decode())
        finally:
            client.close()

    def post(self, form: dict[str, str], **headers: str) -> Answer:
        """A form as a browser sends it from a page of the server."""
        given = {"sec_fetch_site": "same-origin", "content_type": "application/x-www-form-urlencoded"} | headers
        return self.get("/act", "POST", urlencode(form).encode(), **given)

    def token(self, **headers: str) -> str:
        """The token of the forms of this user."""
        page = self.get("/act?kind=silence", **headers).text
        return page.partition('name="token" value="')[2].partition('"')[0]


def published(service: PlayedService) -> list[tuple[str, bytes]]:
    """The records of a service."""
    kinds = kinds_of(TOPICS)
    return [(kinds[topic], value) for topic, held in service.held.items() if topic in kinds for _, value in held]


@contextmanager
def serving(
    records: Iterable[tuple[str, bytes]],
    access: Access = LOCAL,
    send: Callable[[bytes, bytes], None] | None = None,
    title: str = "a test",
    login: Callable[[str], Any] | None = None,
    settings: RetrainSettings | None = None,
    answers: Callable[[], Answers] = Answers,
) -> Iterator[Served]:
    """A server over these records on a free port. Control records are kept, or go to `send`; `login` gets its URL."""
    store = Store()
    kept = list(records)
    arrivals = from_source(lambda: iter(kept))
    if isinstance(answers, FileAnswers):
        arrivals = answers.without_letters(arrivals)
    follower = Follower(store, TOPICS, arrivals)
    follower.load()
    listener = listen("127.0.0.1", 0)
    sent: list[tuple[bytes, bytes]] = []
    desk = Desk(send or (lambda key, value: sent.append((key, value))), ManualClock(1_767_300_000.0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    site = Site(
        Reader(store.path, settings), follower.progress, access, title, desk, login(url) if login else None, answers
    )
    server = server_of(site)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield Served(listener.getsockname()[1], site, sent)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
        site.reader.close()
        store.close()


def small_fleet(**retrain: Any) -> PlayedService:
    """One model whose retrain waits for approval, one with an incident, and one with a fault."""
    service = PlayedService(**{"approval_by_model": {"*": "training"}, **retrain})
    service.publish(
        firing("1h", "bus-1", effect=0.6, effect_unit="ks_distance", before=411.5, after=529.25, onset=place("30m")),
        ready(
            "3h", "1h", "bus-1", effect=0.7, effect_unit="ks_distance", before=412.5, after=530.75, onset=place("30m"),
            distribution=MOVED, summary="headway_s moved up by about 118.", effect_se=0.02,
        ),
        firing("4h", "tram-1", "dwell_s", effect=0.1),
        firing("5h", "tram-2", "doors", kind=AlertKind.MISSING, effect=0.4, effect_unit="rate"),
    )  # fmt: skip
    return service


def decided(seed: int = 1) -> list[tuple[str, bytes]]:
    """Alerts of some hundred models, and what the service makes of them."""
    random = Random(seed)
    service = PlayedService(approval_by_model={"*": "training"}, storm_models_min=100, storm_window_s=7200.0)
    alerts = [
        one
        for model in random.sample(MODELS, 120)
        for one in _drift(model, random.choice(COLUMNS), random.randrange(1, 500), random)
    ]
    faulty = {"effect": 0.37, "effect_unit": "rate", "before": 0.01, "after": 0.38}
    alerts += [
        firing(f"{500 + i // 40}h {i % 40}m", model, "door_count", kind=AlertKind.MISSING, **faulty)
        for i, model in enumerate(name for name in MODELS if name.startswith("stop-east-01"))
    ]
    sentence = "temperature_c moved by 45: 17 before, 62 after."
    storm_of = {"effect": 0.9, "effect_unit": "ks_distance", "before": 17.0, "after": 62.0, "summary": sentence}
    storm = [model for model in MODELS if model.startswith("bus-")]
    alerts += [firing(f"600h {i % 60}m", model, "temperature_c", **storm_of) for i, model in enumerate(storm)]
    service.publish(*sorted(alerts, key=lambda one: (one.event_time, one.alert_id)))
    return published(service)


def _drift(model: str, column: str, hour: int, random: Random) -> Iterator[Any]:
    effect = 0.2 + 0.7 * random.random()
    of = {"effect_unit": "ks_distance", "effect": effect, "before": 412.0, "after": 412.0 + 300 * effect}
    yield firing(f"{hour}h", model, column, **of)
    if random.random() < 0.5:
        sentence = f"{column} is {1 + effect:.2g} times as large."
        yield ready(f"{hour + 24}h", f"{hour}h", model, column, distribution=MOVED, summary=sentence, **of)


def profiles(days: int, columns: int = len(COLUMNS)) -> Iterator[tuple[str, bytes]]:
    """A line for each column of each model and day, as a replay writes them."""
    random = Random(2)
    for day in range(days):
        start, end = START + day * DAY, START + (day + 1) * DAY
        for model in MODELS:
            for column in COLUMNS[:columns]:
                yield PROFILE, msgspec.json.encode(_profile(model, column, start, end, random))


def _profile(model: str, column: str, start: Any, end: Any, random: Random) -> dict[str, Any]:
    middle = 400 + 10 * random.random()
    return {
        "unit": "detect-0", "start": start, "end": end, "model_id": model, "model_version": "7", "segment": "",
        "topic": "predictions", "column": column, "intervals": 1, "count": 720, "missing": 0, "faults": 0,
        "mean": middle, "sd": 50.0, "p05": middle - 80, "p25": middle - 30, "p50": middle, "p75": middle + 30,
        "p95": middle + 80, "compared": 10, "trained": True, "psi": 0.02, "ks": 0.02, "n_reference": 1000.0,
        "psi_chance": 0.05, "ks_chance": 0.07, "kind": "number", "cells": [0.1] * 10,
    }  # fmt: skip


@contextmanager
def page_of(*arguments: str) -> Iterator[str]:
    """The address of a running page, once it has read everything that was there."""
    process = subprocess.Popen([*DRIFTLINE, "ui", "--port", "0", *arguments], stdout=subprocess.PIPE, text=True)
    try:
        url = re.match(r"(http://\S+)/ shows ", process.stdout.readline())[1]
        deadline_s = time.monotonic() + PATIENCE_S
        while status_of(f"{url}/readyz") != 200:
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
        process.stdout.close()


def status_of(url: str) -> int:
    try:
        return urllib.request.urlopen(url, timeout=10).status  # noqa: S310 - a loopback address
    except urllib.error.HTTPError as answer:
        return answer.code
