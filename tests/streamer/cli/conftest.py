"""An application that does what a test says, in place of the real one."""

from __future__ import annotations

import signal
import sys
import types
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

import streamer.app
from streamer.app.record import Extent
from streamer.eventlog.base import Output


@dataclass
class FakeApp:
    """Records what it is called with, publishes `outputs`, and raises `fails_with` if there is one."""

    outputs: list[Output] = field(default_factory=list)
    fails_with: Exception | None = None
    ahead: int = 0  # of the summary
    calls: dict[str, object] = field(default_factory=dict)

    def replay(self, config, recordings, topic, publish, progress, selection):
        self.calls |= {"config": config, "recordings": recordings, "topic": topic, "selection": selection}
        if self.fails_with is not None:
            raise self.fails_with
        for done, output in enumerate(self.outputs):
            publish(output)
            progress(done + 1, len(self.outputs))
        first = datetime(2026, 11, 23, 7, 16, tzinfo=UTC)
        return types.SimpleNamespace(
            labels={},
            value_fates={"watched": 14_807_000, "missing": 900, "faulty": 60, "dropped": 40},
            records=1234567,
            events=1234000,
            values=14808000,
            understood=14808000,
            dead_letters=567,
            eventless=0,
            models=50,
            series=600,
            alarms=12,
            alerts=5,
            incidents=5,
            requests=1,
            ahead=self.ahead,
            first_event_time=first,
            last_event_time=first.replace(day=30),
            seconds=2.0,
            warnings=(),
        )

    def run(self, config, stop, *, worker, progressed):
        self.calls |= {"config": config, "stop": stop, "worker": worker, "progressed": progressed}
        if self.fails_with is not None:
            raise self.fails_with

    Extent = Extent

    def record(self, connection, topics, out, _clock, **options):
        self.calls |= {"connection": connection, "topics": topics, "out": out, **options}
        return 1000


SMALL = "kafka: {bootstrap: 'localhost:9092'}\ntopics: {bus: {}, tram: {}}\n"


@pytest.fixture
def config(tmp_path, monkeypatch):
    """`driftline.yaml` in the working directory, and signal handlers as they were."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "driftline.yaml").write_text(SMALL)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield tmp_path / "driftline.yaml"
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def fake_app(monkeypatch):
    app = FakeApp()
    for module in ("replay", "record"):
        monkeypatch.setitem(sys.modules, f"streamer.app.{module}", app)
        monkeypatch.setattr(streamer.app, module, app, raising=False)
    return app


@pytest.fixture
def fake_live(monkeypatch):
    live = FakeApp()
    monkeypatch.setitem(sys.modules, "streamer.app.run", live)
    monkeypatch.setattr(streamer.app, "run", live, raising=False)
    return live
