"""From `kill -9` to the first decision again, with the state of 16,000 models with 12 numeric columns.

`python -m benchmarks.recovery` starts a broker and the service, kills the worker, and waits until the worker that its
parent has started in its place has folded and committed records that came after the kill. Takes about two minutes.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from kafka import KafkaProducer

from streamer.testing.kafka import Broker

MODELS, COLUMNS, PARTITIONS = 16_000, 12, 4
START_MS = 1_782_889_200_000
PATIENCE_S = 180
KILLS = 3
CONFIG = """
kafka: {{bootstrap: '{bootstrap}'}}
topics: {{events: {{}}}}
checkpoints: {{interval_s: 10}}
metrics: {{port: 0}}
"""


def main() -> None:
    with Broker() as broker, tempfile.TemporaryDirectory() as folder:
        broker.create_topics({"events": PARTITIONS})
        config = Path(folder) / "driftline.yaml"
        config.write_text(CONFIG.format(bootstrap=broker.bootstrap))
        subprocess.run([*COMMAND, "topics", "--create", "--config", str(config)], check=True, stdout=subprocess.DEVNULL)
        producer = KafkaProducer(bootstrap_servers=broker.bootstrap, linger_ms=20)
        rng = np.random.default_rng(1)
        with service(config) as running:
            for _ in range(2):
                produce(producer, rng, range(MODELS))
            running.wait_for(lambda page: page.get("driftline_series", 0) == MODELS * COLUMNS)
            running.wait_for(lambda page: all(kept(page, p) for p in range(PARTITIONS)))
            print(f"{MODELS:,} models x {COLUMNS} columns on {PARTITIONS} partitions", flush=True)
            print(f"{sizes(Path(folder)):.2f} GB in the newest checkpoints", flush=True)
            for _ in range(KILLS):
                print(f"kill -9 to the first decision: {killed_and_back(running, producer, rng):.2f} s", flush=True)
        producer.close()


def killed_and_back(running: Service, producer: Any, rng: np.random.Generator) -> float:
    """Seconds from the kill until every unit has committed an epoch of records that came after it."""
    before = epochs(running.page())
    running.url = ""
    began_s = time.perf_counter()
    os.kill(running.worker, signal.SIGKILL)
    produce(producer, rng, range(100))
    running.wait_for(lambda page: all(epochs(page).get(unit, 0) > n for unit, n in before.items() if unit != "decide"))
    return time.perf_counter() - began_s


class Service:
    """The parent and its worker."""

    def __init__(self, config: Path) -> None:
        self.parent = subprocess.Popen([*COMMAND, "run", "--config", str(config)], stderr=subprocess.PIPE, text=True)
        self.url = ""
        self.said: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def worker(self) -> int:
        """The process id of the worker."""
        return int(Path(f"/proc/{self.parent.pid}/task/{self.parent.pid}/children").read_text().split()[0])

    def page(self) -> dict[str, float]:
        """What it says of itself; nothing while it does not answer."""
        try:
            text = urllib.request.urlopen(self.url, timeout=5).read().decode()  # noqa: S310 - a loopback address
        except (OSError, ValueError):
            return {}
        return {k: float(v) for k, v in (line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")}

    def wait_for(self, condition: Any) -> None:
        end_s = time.perf_counter() + PATIENCE_S
        while not ((page := self.page()) and condition(page)):
            if time.perf_counter() > end_s:
                raise TimeoutError("".join(self.said[-20:]))
            time.sleep(0.02)

    def _listen(self) -> None:
        for line in self.parent.stderr or ():
            self.said.append(line)
            if found := re.search(r"http://\S+/metrics", line):
                self.url = found[0]


@contextmanager
def service(config: Path) -> Any:
    running = Service(config)
    try:
        yield running
    finally:
        running.parent.terminate()
        running.parent.wait(PATIENCE_S)


def produce(producer: Any, rng: np.random.Generator, models: range) -> None:
    """One event of each of these models."""
    names = [f"c{c}" for c in range(COLUMNS)]
    values = rng.normal(size=(len(models), COLUMNS)).round(4)
    for m in models:
        features = dict(zip(names, values[m].tolist(), strict=True))
        event = {"model_id": f"m{m}", "event_time": START_MS, "features": features}
        producer.send("events", json.dumps(event).encode(), partition=m % PARTITIONS)
    producer.flush(60)


def kept(page: dict[str, float], partition: int) -> bool:
    """Whether the unit's last epoch is in a checkpoint."""
    unit = f'{{unit="detect-{partition}"}}'
    return page.get(f"driftline_checkpoint_epoch{unit}", -1) == page.get(f"driftline_epoch{unit}")


def epochs(page: dict[str, float]) -> dict[str, float]:
    found = {re.search(r'"(.+)"', k): v for k, v in page.items() if k.startswith("driftline_epoch{")}
    return {match[1]: v for match, v in found.items() if match}


def sizes(folder: Path) -> float:
    """GB of the newest checkpoint of each unit."""
    newest: dict[Path, Path] = {}
    for path in sorted(folder.rglob("*.arrow")):
        newest[path.parent] = path
    return sum(path.stat().st_size for path in newest.values()) / 1e9


COMMAND = [sys.executable, "-m", "streamer.cli"]

if __name__ == "__main__":
    main()
