"""A launcher that is killed again and again on a real broker: each approved request gives one run.

`DRIFTLINE_LAUNCHER_KILLS=200 pytest tests/streamer/launch/test_launcher_kills.py -s` is the long form.
"""

from __future__ import annotations

import base64
import json
import os
import random
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from driftline_process import PATIENCE_S, Place
from http_kit import Sent, serving
from training_kit import request, window

from streamer.eventlog.base import Output
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.eventlog.kafka.transfer import send

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(5400)]

KILLS = int(os.environ.get("DRIFTLINE_LAUNCHER_KILLS", "5"))
OF_A_LIFE = 4  # requests that come with each start of a launcher: for the hook, and the last for a command
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
FORKS = get_context("forkserver")  # its server imports once what every launcher needs; each launcher is a process
NEEDED = ("config", "eventlog.kafka.reader", "eventlog.kafka.transfer", "launch.callbacks", "telemetry.metrics")
FORKS.set_forkserver_preload([__name__, *(f"streamer.{one}" for one in NEEDED)])
COUNT = "import os, sys; open(sys.argv[1], 'a').write(os.environ['DRIFTLINE_REQUEST_ID'] + '\\n')"


@dataclass
class Killer:
    """A receiver that keeps ids, and kills the launcher: before it counts a call, before its answer, and after."""

    dice: random.Random = field(default_factory=lambda: random.Random(18))
    calls: Counter[str] = field(default_factory=Counter)  # by webhook-id
    kills: Counter[str] = field(default_factory=Counter)  # by point
    launcher: BaseProcess | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, sent: Sent) -> tuple[int, object] | None:
        with self.lock:
            point = self.dice.choice(("before", "between", "after", "")) if self.is_at_work else ""
            if point != "before":
                self.calls[sent.headers["webhook-id"]] += 1
            if point:
                self.kill(point, self.dice.uniform(0.0, 2.0) if point == "after" else 0.0)
        return None if point in {"before", "between"} else (202, {})

    @property
    def is_at_work(self) -> bool:
        return sum(self.kills.values()) < KILLS

    def kill(self, point: str, after_s: float) -> None:
        """Kill the launcher of now, once."""
        process, self.launcher = self.launcher, None
        if process is not None:
            self.kills[point] += 1
            threading.Timer(after_s, process.kill).start()


class Requests:
    """Requests that come by and by. Every tenth waits for a person, and is never launched."""

    def __init__(self, place: Place) -> None:
        self.place, self.names, self.approved = place, list[str](), list[str]()

    def publish(self) -> None:
        outputs = []
        for i in range(len(self.names), len(self.names) + OF_A_LIFE):
            model = f"{'tram' if i % OF_A_LIFE == OF_A_LIFE - 1 else 'bus'}-{i}"
            name, waits = f"retrain-{model}", i % 10 == 9
            asked = request(window(0, 1, self.place.events), request_id=name, model_id=model)
            asked |= {"approval": "required"} if waits else {}
            outputs.append(Output(self.place.outputs["requests"], model.encode(), msgspec.json.encode(asked)))
            self.names.append(name)
            self.approved += [] if waits else [name]
        send(KafkaConnection(bootstrap=(self.place.bootstrap,)), outputs)


def launched_through_kills(place: Place, killer: Killer, requests: Requests) -> list[dict[str, Any]]:
    """The control records, once every approved request has started; a launcher that died is started again."""
    log, patience = place.folder / "launch.log", Progress()
    arguments = ["--config", str(place.config), "--runs", str(place.folder / "runs"), "--metrics-port", "0"]
    process: BaseProcess | None = None
    try:
        while True:
            if process is None or not process.is_alive():
                requests.publish() if killer.is_at_work else None
                process = killer.launcher = FORKS.Process(target=launch, args=(arguments, str(log)))
                process.start()
                if killer.is_at_work and killer.dice.random() < 0.1:
                    killer.kill("start", killer.dice.uniform(0.0, 2.0))
            said = [] if killer.is_at_work else place.jsons("control")
            if said and {one["request_id"] for one in said} >= {*requests.approved}:
                return said
            patience.check((dict(killer.kills), len(killer.calls), len(said)), log)
            process.join(0.1)
    finally:
        if process is not None:
            process.kill()
            process.join(PATIENCE_S)


def launch(arguments: list[str], log: str) -> None:
    """`driftline launch` in a process of its own, with its log in a file."""
    os.environ["HOOK"] = SECRET
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    from streamer.commands.service.launch import launch as command

    command.main(arguments)


class Progress:
    """A deadline that each change moves."""

    def __init__(self) -> None:
        self._before, self._deadline = None, 0.0

    def check(self, now: Any, log: Path) -> None:
        if now != self._before:
            print(*now, flush=True)
            self._before, self._deadline = now, time.monotonic() + PATIENCE_S
        assert time.monotonic() < self._deadline, log.read_text()[-5000:]


def test_killed_again_and_again_each_request_is_launched_once(kafka_broker, tmp_path):
    """Kills at the start, before a call, before its answer, and while it is reported, lose and double nothing."""
    place, killer = Place(kafka_broker.bootstrap, tmp_path, partitions=1), Killer()
    requests, count = Requests(place), tmp_path / "count"
    with serving(killer) as server:
        hook = {"webhook": {"url": server.url, "secret_env": "HOOK"}}
        rules = {"bus-*": {"train": hook}, "tram-*": {"train": {"command": [sys.executable, "-c", COUNT, str(count)]}}}
        rules = {name: {**rule, "running_max": 10_000, "poll_s": 600} for name, rule in rules.items()}
        place.config.write_text(f"{place.config.read_text()}launch: {json.dumps(rules)}\n")
        said = launched_through_kills(place, killer, requests)
    print(f"{dict(killer.kills)}: {sum(killer.calls.values())} calls for {len(killer.calls)} requests of the hook")
    assert sum(killer.kills.values()) == KILLS
    started = Counter(one["request_id"] for one in said if one["kind"] == "started")
    assert started == Counter(requests.approved), "one `started` for each approved request"
    by_command = [name for name in requests.approved if "tram" in name]
    assert sorted(count.read_text().split()) == sorted(by_command), "one process each"
    assert sorted(killer.calls) == sorted({*requests.approved} - {*by_command}), "one id each, and no other"
