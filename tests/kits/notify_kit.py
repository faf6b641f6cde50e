"""A notifier with its log in memory, and receivers that a test plays."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from launch_kit import TOPICS, stretch, tools

from streamer.clock import ManualClock
from streamer.eventlog.base import Records
from streamer.launch.http import Http
from streamer.launch.notify.board import Board, Notice
from streamer.launch.notify.notifier import Notifier
from streamer.launch.notify.receivers import receivers_of
from streamer.launch.notify.settings import AlertmanagerSettings, NotifySettings
from streamer.launch.targets.webhook import WebhookSettings
from streamer.page.charts import picture_of
from streamer.telemetry.metrics import Metrics
from streamer.telemetry.table import NOTIFY_TABLE

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
PATIENCE_S = 60.0
NOW_S = 1_775_001_600.0  # 2026-04-01T00:00:00Z


def incident(n: int = 0, model: str = "", **more: Any) -> bytes:
    """The record of an incident, the `n`th to open."""
    about = {"incident_id": f"incident-{n:016x}", "state": "open", "model_id": model or f"bus-{n}"}
    times = {"opened_at": f"2026-03-01T{n // 60:02}:{n % 60:02}:00Z", "last_alert_at": "2026-03-02T00:00:00Z"}
    return msgspec.json.encode({**about, **times, "summary": "headway_s up: 699 -> 882", "alerts": 1, **more})


def request(n: int = 0, **more: Any) -> bytes:
    """The record of a retrain request of the `n`th incident."""
    about = {"request_id": f"retrain-bus-{n}-aa", "model_id": f"bus-{n}", "incident_id": f"incident-{n:016x}"}
    return msgspec.json.encode({**about, "requested_at": "2026-03-01T05:00:00Z", "approval": "required", **more})


def board(*values: bytes, most: int = 100) -> tuple[Board, list[Notice]]:
    """A board that has read these incidents, and their notices."""
    made = Board(TOPICS, most)
    return made, made.add(stretch(TOPICS.incidents, list(values)))


def settings(url: str = "", hook: str = "", **more: Any) -> NotifySettings:
    """Settings with an Alertmanager and a webhook, where they are given."""
    manager = AlertmanagerSettings([url]) if url else None
    return NotifySettings(manager, WebhookSettings(hook, "HOOK") if hook else None, **more)


@dataclass
class Desk:
    """The topics, and the offsets that a notifier has committed; `start` is a new process."""

    settings: NotifySettings
    folder: Path
    values: dict[str, list[bytes]] = field(default_factory=dict)
    committed: dict[tuple[str, int], int] = field(default_factory=dict)
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW_S))
    timeout_s: float = 5.0

    def start(self) -> None:
        """A new process, which has read what the topics hold."""
        self.metrics = Metrics(self.clock, table=NOTIFY_TABLE)
        self.board = Board(TOPICS, self.settings.incidents_max)
        with_secret = tools(self.folder, HOOK=SECRET)
        object.__setattr__(with_secret, "http", Http(self.timeout_s))
        receivers = receivers_of(self.settings, self.board, with_secret, self.clock, picture_of)
        ends = {(topic, 0): len(self.values.get(topic, ())) for topic in (TOPICS.incidents, TOPICS.requests)}
        self.notifier = Notifier(self.board, receivers, self.committed, ends, self.metrics, self._commit)
        for topic, values in self.values.items():
            self.notifier.add(stretch(topic, values))
        self.notifier.begin()

    def publish(self, *values: bytes, topic: str = TOPICS.incidents) -> None:
        """More records, which a running process reads at once."""
        known = self.values.setdefault(topic, [])
        at = len(known)
        known += values
        if hasattr(self, "notifier"):
            rows = [(at + i, -1, None, value, ()) for i, value in enumerate(values)]
            self.notifier.add(Records.build(topic, 0, rows))

    def until(self, what: Callable[[], bool], step_s: float = 0.0) -> None:
        """Turn until it is so; the clock advances with each turn."""
        deadline = time.monotonic() + PATIENCE_S
        while not what():
            assert time.monotonic() < deadline, f"not within {PATIENCE_S} s"
            self.notifier.turn()
            self.clock.advance(step_s)
            time.sleep(0.005)

    def settle(self) -> None:
        """Turn until nothing waits and progress is committed."""
        ends = {(topic, 0): len(values) for topic, values in self.values.items()}
        self.until(lambda: ends.items() <= self.committed.items() and not self._waits(), step_s=0.2)

    def shown(self, name: str) -> dict[str, float]:
        """The series of a metric on the page."""
        rows = [line.rsplit(" ", 1) for line in self.metrics.expose().decode().splitlines() if line.startswith(name)]
        return {series: float(value) for series, value in rows}

    def _waits(self) -> bool:
        return any(self.shown("driftline_notifications_waiting").values())

    def _commit(self, offsets: Mapping[tuple[str, int], int]) -> None:
        self.committed = dict(offsets)
