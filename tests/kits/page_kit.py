"""The server of the page in a thread, over records of a played service, and a client that sends what it is told."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from service_kit import TOPICS, PlayedService

from retrain.messages.distribution import Distribution
from streamer.audit.source import kinds_of
from streamer.clock import ManualClock
from streamer.page.access import Access
from streamer.page.desk import Desk
from streamer.page.follow import Follower, from_source
from streamer.page.reader import Reader
from streamer.page.serve import listen, server_of
from streamer.page.server import Site
from streamer.page.store import Store
from streamer.testing.alerts import firing, place, ready

MOVED = Distribution((0.7, 0.2, 0.1), (0.1, 0.2, 0.7), 1000, 400, (300.0, 400.0, 500.0, 600.0))
LOCAL = Access("127.0.0.1", "ann")


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
            told = {name.lower(): value for name, value in found.getheaders()}
            return Answer(found.status, told, found.read().decode())
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
) -> Iterator[Served]:
    """A server over these records on a free port. Control records are kept, or go to `send`."""
    store = Store()
    kept = list(records)
    follower = Follower(store, TOPICS, from_source(lambda: iter(kept)))
    follower.load()
    listener = listen("127.0.0.1", 0)
    sent: list[tuple[bytes, bytes]] = []
    desk = Desk(send or (lambda key, value: sent.append((key, value))), ManualClock(1_767_300_000.0))
    site = Site(Reader(store.path), follower.progress, access, title, desk)
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
    from retrain.messages.alert import AlertKind

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
