"""16,000 retrains of one storm: released by a person, made by priority within a budget, launched over HTTP.

`python -m benchmarks.operation.launching` takes about two minutes. The decide fold and the launcher are real, and so is
the webhook target; the topics between them are in memory, and each run reports `trained` at once.
"""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from retrain.policy.settings import RetrainSettings
from streamer.clock import SystemClock
from streamer.contracts.topics import OutputTopics
from streamer.decide import DecideFold
from streamer.eventlog.base import Output, Records
from streamer.launch.base import Tools
from streamer.launch.http import Http
from streamer.launch.launcher import Launcher
from streamer.launch.ledger import Ledger, Report
from streamer.launch.settings import LaunchRule, TrainSection
from streamer.launch.targets.webhook import WebhookSettings
from streamer.testing.alerts import firing, ready, said

MODELS: Final = 16_000
RUNNING_MAX: Final = 500
TOPICS: Final = OutputTopics()
SECRET: Final = {"SECRET": "whsec_" + "MDEy" * 8}


class Receiver(BaseHTTPRequestHandler):
    """Takes any run, and keeps the order."""

    protocol_version = "HTTP/1.1"
    seen: list[str] = []  # noqa: RUF012 - of the process

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.seen.append(self.headers["webhook-id"])
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def receive(pipe: Connection) -> None:
    """Serve until the other end asks for the order."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pipe.send(server.server_port)
    pipe.recv()
    pipe.send(Receiver.seen)


class Topics:
    """Decide fold and launcher, and the records between them."""

    def __init__(self, url: str, folder: Path) -> None:
        self.fold = DecideFold(RetrainSettings(running_max=RUNNING_MAX, requests_per_hour_max=None))
        self.ledger, self.made, self.fold_s = Ledger(TOPICS), list[str](), 0.0
        self._offsets = dict[str, int]()
        rule = LaunchRule(train=TrainSection(webhook=WebhookSettings(url, "SECRET")), running_max=RUNNING_MAX)
        tools = Tools(Http(), folder, "", SECRET)
        self.launcher = Launcher(self.ledger, {"*": rule}, tools, SystemClock(), self.report)

    def step(self, topic: str, values: Sequence[bytes]) -> None:
        """Fold records, and give what comes of them to the launcher."""
        began_s = time.thread_time()
        outputs = self.fold.step([self._records(topic, values)])
        self.fold_s += time.thread_time() - began_s
        for name in (TOPICS.requests, TOPICS.decisions):
            found = [one.value or b"" for one in outputs if one.topic == name]
            if found:
                self.ledger.add(self._records(name, found))
        self.made += [_id_of(one) for one in outputs if one.topic == TOPICS.requests]

    def report(self, reports: list[Report]) -> None:
        """Append what the launcher says; each trainer has done its work by then."""
        values = [msgspec.json.encode(one) for one in reports]
        ended = [{**one, "kind": "trained", "actor": "trainer"} for one in reports if one["kind"] == "started"]
        values += [msgspec.json.encode({k: v for k, v in one.items() if k not in ("run", "link")}) for one in ended]
        if values:
            self.ledger.add(self._records(TOPICS.control, values))
            self.step(TOPICS.control, values)

    def _records(self, topic: str, values: Sequence[bytes]) -> Records:
        first = self._offsets.get(topic, 0)
        self._offsets[topic] = first + len(values)
        return Records.build(topic, 0, [(first + i, -1, None, value, ()) for i, value in enumerate(values)])


def _id_of(output: Output) -> str:
    return str(msgspec.json.decode(output.value or b"")["request_id"])


@contextmanager
def receiver() -> Iterator[tuple[str, Connection]]:
    """The address of a receiver in a process of its own, and the pipe that gives the order of its runs."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=receive, args=(theirs,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}/runs", ours
    finally:
        process.terminate()


def main() -> None:
    """Print what it takes."""
    rng = np.random.default_rng(1)
    effects = dict(zip((f"bus-{i:05}" for i in range(MODELS)), (0.5 + rng.random(MODELS)).tolist(), strict=True))
    with tempfile.TemporaryDirectory() as folder, receiver() as (url, pipe):
        topics = Topics(url, Path(folder))
        for state in (
            (firing("1h", model) for model in effects),
            (ready("2h", "1h", model, effect=effect) for model, effect in effects.items()),
        ):
            topics.step(TOPICS.alerts, [msgspec.json.encode(one) for one in state])
        (storm,) = topics.fold._engine.state.storms.values()
        approve = said("approve", storm.incident.incident_id, "3h")
        topics.step(TOPICS.control, [msgspec.json.encode(approve)])
        before_s, before_mb = time.process_time() - topics.fold_s, _resident_mb()
        began_s = time.perf_counter()
        while len(topics.made) < MODELS or topics.launcher.counts["launched"] < MODELS:
            topics.launcher.turn()
            time.sleep(0.005)
        took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - topics.fold_s - before_s
        topics.launcher.close()
        pipe.send("end")
        launched = pipe.recv()
    strongest = sorted(effects, key=lambda model: -effects[model])
    in_order = [model_of(request_id) for request_id in topics.made] == strongest
    print(f"{len(launched):,} runs, {len(set(launched)):,} of them different; requests by priority: {in_order}")
    print(f"{took_s:.1f} s, {MODELS / took_s:,.0f} runs/s; CPU of the launcher {1000 * cpu_s / MODELS:.2f} ms a run")
    print(f"memory grew by {_resident_mb() - before_mb:.0f} MB, with all topics in memory")


def model_of(request_id: str) -> str:
    """The model in the id of a request."""
    return request_id.removeprefix("retrain-").rpartition("-")[0]


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


if __name__ == "__main__":
    main()
