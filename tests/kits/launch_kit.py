"""A launcher with its log in memory: requests, decisions and control records, and a service that answers them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from streamer.clock import ManualClock
from streamer.contracts.topics import OutputTopics
from streamer.eventlog.base import Records
from streamer.launch.base import LaunchRequest, Run, RunState, RunStatus, TargetDown, TargetRefused, Tools
from streamer.launch.http import Http
from streamer.launch.launcher import Launcher
from streamer.launch.ledger import Ledger
from streamer.launch.settings import LaunchRule, TrainSection

TOPICS = OutputTopics()
AT = "2026-03-01T00:00:00Z"
NOW_S = datetime.fromisoformat(AT).timestamp()
STATE_AFTER = {"started": "training", "trained": "trained", "failed": "failed", "promote": "watching"}
PATIENCE_S = 60.0


def record(request_id: str = "retrain-bus-1-aa", model: str = "bus-1", approval: str = "not_required") -> bytes:
    """A retrain request as JSON."""
    about = {"request_id": request_id, "model_id": model, "model_version": "7", "approval": approval}
    return msgspec.json.encode({**about, "evidence": [], "training_window": []})


def asked(request_id: str = "retrain-bus-1-aa", model: str = "bus-1") -> LaunchRequest:
    """The same as a target gets it."""
    return LaunchRequest.of(record(request_id, model))


def tools(folder: Path, **secrets: str) -> Tools:
    """What targets work with, and these variables."""
    return Tools(Http(timeout_s=5.0), folder, "", secrets)


@dataclass
class Topics:
    """The records of the three topics, kept as a broker would."""

    values: dict[str, list[bytes]] = field(default_factory=dict)

    def append(self, topic: str, value: bytes) -> None:
        self.values.setdefault(topic, []).append(value)

    def ledger(self) -> Ledger:
        """What a new process finds in them."""
        ledger = Ledger(TOPICS)
        for topic, values in self.values.items():
            ledger.add(stretch(topic, values))
        return ledger

    def request(self, *args: str) -> None:
        self.append(TOPICS.requests, record(*args))

    def decide(self, request_id: str, state: str, reason: str = "approved", **more: Any) -> bytes:
        """A decision of the service about a request."""
        about = {"request_id": request_id, "model_id": "bus-1", "state": state, "reason": reason, "at": AT}
        value = msgspec.json.encode({**about, **more})
        self.append(TOPICS.decisions, value)
        return value

    def said(self) -> list[dict[str, Any]]:
        """The control records."""
        return [msgspec.json.decode(one) for one in self.values.get(TOPICS.control, [])]


def stretch(topic: str, values: list[bytes]) -> Records:
    return Records.build(topic, 0, [(i, -1, None, value, ()) for i, value in enumerate(values)])


class Loop:
    """A launcher that turns until something is so. What it reports is answered as the service would."""

    def __init__(
        self, topics: Topics, rule: LaunchRule | Mapping[str, LaunchRule], folder: Path, **secrets: str
    ) -> None:
        self.topics, self.clock = topics, ManualClock(NOW_S)
        rules = {"*": rule} if isinstance(rule, LaunchRule) else rule
        self.launcher = Launcher(topics.ledger(), rules, tools(folder, **secrets), self.clock, self.report)

    def report(self, reports: list[dict[str, Any]]) -> None:
        for one in reports:
            value = one.get("raw") or msgspec.json.encode(one)
            self.topics.append(TOPICS.control, value)
            said = msgspec.json.decode(value)
            self.launcher.ledger.add(stretch(TOPICS.control, [value]))
            numbers = {name: said[name] for name in ("champion", "challenger", "model_version") if name in said}
            self.decide(said["request_id"], STATE_AFTER[said["kind"]], **numbers)

    def decide(self, request_id: str, state: str, **more: Any) -> None:
        self.launcher.ledger.add(stretch(TOPICS.decisions, [self.topics.decide(request_id, state, **more)]))

    def until(self, what: Callable[[], Any], step_s: float = 0.0, patience_s: float = PATIENCE_S) -> None:
        """Turn until it is so; the clock advances by `step_s` with each turn."""
        deadline = time.monotonic() + patience_s
        while not what():
            assert time.monotonic() < deadline, f"not within {patience_s} s; said: {self.topics.said()}"
            self.launcher.turn()
            self.clock.advance(step_s)
            time.sleep(0.005)

    def kinds(self) -> list[str]:
        return [one["kind"] for one in self.topics.said()]


@dataclass
class PlayedTarget:
    """A target that a test plays: it counts, and follows the script of the test."""

    settings: Any = None
    tools: Any = None
    launched: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    status: RunStatus = field(default_factory=lambda: RunStatus(RunState.RUNNING))
    down: list[Exception] = field(default_factory=list)  # raised by the next calls

    has_handle = True

    def launch(self, request: LaunchRequest) -> Run:
        self._fail()
        self.launched.append(request.request_id)
        return Run(request.request_id, f"http://runs/{request.request_id}")

    def look(self, run: Run) -> RunStatus:  # noqa: ARG002
        self._fail()
        return self.status

    def cancel(self, run: Run) -> None:
        self._fail()
        self.cancelled.append(run.ref)

    def _fail(self) -> None:
        if self.down:
            raise self.down.pop(0)


def played(monkeypatch: Any) -> PlayedTarget:
    """Play the target `command`."""
    target = PlayedTarget()
    monkeypatch.setattr("streamer.launch.launcher.target_class", lambda _name: lambda _settings, _tools: target)
    return target


def rule(**more: Any) -> LaunchRule:
    """A rule that trains by a command, unless `train` is another target."""
    return LaunchRule(**{"train": TrainSection(command=["true"]), **more})


__all__ = [
    "Loop", "PlayedTarget", "Run", "RunState", "RunStatus", "TargetDown", "TargetRefused", "Topics", "asked", "played",
    "record", "rule", "tools",
]  # fmt: skip
