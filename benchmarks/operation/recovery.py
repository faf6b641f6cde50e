"""From `kill -9` to the first decision again, with the state of 16,000 models with 12 numeric columns.

`python -m benchmarks.operation.recovery` starts a broker and the service, kills the worker, and waits until the worker
that its parent has started in its place has folded and committed records that came after the kill. Takes about two
minutes.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from kafka import KafkaProducer

from benchmarks.operation.watched_service import COMMAND, Service, service
from streamer.testing.kafka import Broker

MODELS, COLUMNS, PARTITIONS = 16_000, 12, 4
START_MS = 1_782_889_200_000
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
                first_s, all_s = killed_and_back(running, producer, rng)
                print(f"kill -9 to the first decision: {first_s:.2f} s, of all units: {all_s:.2f} s", flush=True)
        producer.close()


def killed_and_back(running: Service, producer: Any, rng: np.random.Generator) -> tuple[float, float]:
    """Seconds from the kill until one unit, and every unit, has committed an epoch of records that came after it."""
    before = {unit: n for unit, n in epochs(running.page()).items() if unit != "decide"}
    running.url, began_s = "", time.perf_counter()
    os.kill(running.worker, signal.SIGKILL)
    produce(producer, rng, range(100))
    running.wait_for(lambda page: any(epochs(page).get(unit, 0) > n for unit, n in before.items()))
    first_s = time.perf_counter() - began_s
    running.wait_for(lambda page: all(epochs(page).get(unit, 0) > n for unit, n in before.items()))
    return first_s, time.perf_counter() - began_s


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


if __name__ == "__main__":
    main()
