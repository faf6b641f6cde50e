"""The processor time of a worker, and the time from an event to its commit, by how it waits for records.

`python -m benchmarks.operation.fetching [RECORDS_PER_S]` runs a worker with each wait in turn, several times, on one
broker under one steady load. Takes about six minutes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer

from benchmarks.operation.steady_load import PARTITIONS, TOPIC, SteadyLoad, write_config
from benchmarks.operation.watched_service import COMMAND, service
from streamer.eventlog.history import Epoch, decode_entry
from streamer.testing.kafka import Broker

WAITS = {"a byte or 500 ms": (1, 500), "64 KB or 100 ms": (64 << 10, 100), "256 KB or 100 ms": (256 << 10, 100)}
RECORDS_PER_S = 2_000
ROUNDS = 3
SETTLE_S, MEASURED_S = 8.0, 30.0
CPU = "process_cpu_seconds_total"
WORKER = """
from streamer.eventlog.kafka import clients
clients.FETCH_BYTES_MIN, clients.FETCH_WAIT_MS = {bytes_min}, {wait_ms}
from streamer.cli import main
main()
"""


class Commits:
    """When each epoch of a group became visible to a reader of committed records."""

    def __init__(self, bootstrap: str, group: str) -> None:
        self.seen: dict[str, list[tuple[float, int]]] = defaultdict(list)  # unit -> (time, end of the events)
        settings = {"isolation.level": "read_committed", "auto.offset.reset": "earliest", "fetch.wait.max.ms": 5}
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{group}.reader", **settings})
        self._consumer.subscribe([f"{group}.epochs"])
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        self._consumer.close()

    def _read(self) -> None:
        while not self._stopped.is_set():
            message = self._consumer.poll(0.05)
            if message is None or message.error():
                continue
            entry = decode_entry(message.value())
            if isinstance(entry, Epoch) and TOPIC in entry.ends:
                self.seen[entry.unit].append((time.time(), entry.ends[TOPIC]))


def main(records_per_s: float = RECORDS_PER_S) -> None:
    found: dict[str, list[tuple[float, np.ndarray]]] = defaultdict(list)
    with Broker() as broker, tempfile.TemporaryDirectory() as folder:
        broker.create_topics({TOPIC: PARTITIONS})
        load = SteadyLoad(broker.bootstrap, records_per_s)
        for turn in range(ROUNDS):
            for name, wait in WAITS.items():
                group = f"turn-{turn}-{wait[0]}-{wait[1]}"
                found[name].append(measured(broker, write_config(broker, Path(folder), group), group, wait, load))
                share, latency_s = found[name][-1]
                print(f"{name}: {share:.2f} of a core, {describe(latency_s)}", flush=True)
        load.stop()
    print(
        f"\n| at {records_per_s:,.0f} records/s, wait for | of a core | event to commit, p50 | p99 |\n|---|---|---|---|"
    )
    for name, each in found.items():
        shares, latencies_s = [share for share, _ in each], np.concatenate([latency_s for _, latency_s in each])
        p50, p99 = np.quantile(latencies_s, [0.5, 0.99]) * 1000
        print(f"| {name} | {min(shares):.2f} to {max(shares):.2f} | {p50:.0f} ms | {p99:.0f} ms |")


def measured(
    broker: Broker, config: Path, group: str, wait: tuple[int, int], load: SteadyLoad
) -> tuple[float, np.ndarray]:
    """The share of a core that a worker takes, and the seconds from each event to its commit."""
    subprocess.run([*COMMAND, "topics", "--create", "--config", str(config)], check=True, stdout=subprocess.DEVNULL)
    code = WORKER.format(bytes_min=wait[0], wait_ms=wait[1])
    with service(config, [sys.executable, "-c", code, "run", "--no-supervise"]) as running:
        running.wait_for(lambda page: page.get("driftline_ready") == 1)
        commits = Commits(broker.bootstrap, group)
        time.sleep(SETTLE_S)
        before, began_s = running.page()[CPU], time.time()
        time.sleep(MEASURED_S)
        share = (running.page()[CPU] - before) / MEASURED_S
    commits.stop()
    return share, latencies(commits, load, began_s)


def latencies(commits: Commits, load: SteadyLoad, since_s: float) -> np.ndarray:
    """Seconds from the production of an event to its commit, of all events committed in the measured time."""
    found = []
    for unit, seen in commits.seen.items():
        sent_s = load.sent_s[int(unit.rpartition("-")[2])]
        for (_, begin), (at_s, end) in pairwise(seen):
            if since_s < at_s < since_s + MEASURED_S:
                found += [at_s - sent for sent in sent_s[begin:end]]
    return np.array(found)


def describe(latency_s: np.ndarray) -> str:
    p50, p99 = np.quantile(latency_s, [0.5, 0.99]) * 1000
    return f"event to commit: p50 {p50:.0f} ms, p99 {p99:.0f} ms"


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
