"""The time from an event to its alert, and the processor time of a worker, with early epochs and without.

`python -m benchmarks.operation.latency [RECORDS_PER_S] [ROUNDS]` runs a worker each way in turn, on one broker under
one steady load, half of which are labels. Twice a second, a record comes that can't be read. Its dead letter is an
output like an alert, and the moment of its event is known.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer, Producer

from benchmarks.operation.steady_load import PARTITIONS, TOPIC, SteadyLoad, write_config
from benchmarks.operation.watched_service import COMMAND, service
from streamer.testing.kafka import Broker

WAYS = {"once a second": 1.0, "also as soon as no event waits": 0.05}  # commit.output_s
RECORDS_PER_S, ROUNDS = 2_000, 3
SETTLE_S, MEASURED_S = 8.0, 20.0
CPU = "process_cpu_seconds_total"


class DeadLetters:
    """Sends broken records now and then, and notes when the dead letter of each is there for a reader."""

    def __init__(self, bootstrap: str, group: str) -> None:
        self.latency_s: list[float] = []
        self._began_s = time.time()
        self._bootstrap = bootstrap
        settings = {"isolation.level": "read_committed", "auto.offset.reset": "earliest", "fetch.wait.max.ms": 5}
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{group}.reader", **settings})
        self._consumer.subscribe([f"{group}.{TOPIC}-dlt"])
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._send, self._read)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        self._consumer.close()

    def _send(self) -> None:
        producer = Producer({"bootstrap.servers": self._bootstrap, "linger.ms": 0})
        rng = np.random.default_rng(1)
        while not self._stopped.wait(float(rng.uniform(0.25, 0.75))):
            producer.produce(TOPIC, f"broken at {time.time()}".encode(), partition=int(rng.integers(PARTITIONS)))
            producer.poll(0)
        producer.flush(10)

    def _read(self) -> None:
        while not self._stopped.is_set():
            message = self._consumer.poll(0.05)
            if message is not None and not message.error() and b"broken at" in message.value():
                sent_s = float(message.value().split(b"broken at ")[1][:16].decode())
                if sent_s >= self._began_s:
                    self.latency_s.append(time.time() - sent_s)


def main(records_per_s: float = RECORDS_PER_S, rounds: float = ROUNDS) -> None:
    found: dict[str, list[tuple[float, list[float]]]] = defaultdict(list)
    with Broker() as broker, tempfile.TemporaryDirectory() as folder:
        broker.create_topics({TOPIC: PARTITIONS})
        load = SteadyLoad(broker.bootstrap, records_per_s)
        for turn in range(int(rounds)):
            for name, output_s in WAYS.items():
                config = write_config(broker, Path(folder), f"turn-{turn}-{output_s}")
                config.write_text(config.read_text() + f"commit: {{output_s: {output_s}}}\n")
                found[name].append(measured(broker, config))
                print(f"{name}: {found[name][-1][0]:.2f} of a core", flush=True)
        load.stop()
    print(f"\n| at {records_per_s:,.0f} records/s, folds | of a core | event to output, p50 | p99 |\n|---|---|---|---|")
    for name, each in found.items():
        p50, p99 = np.quantile(np.concatenate([latency_s for _, latency_s in each]), [0.5, 0.99]) * 1000
        print(f"| {name} | {np.median([share for share, _ in each]):.2f} | {p50:.0f} ms | {p99:.0f} ms |")


def measured(broker: Broker, config: Path) -> tuple[float, list[float]]:
    """The share of a core that a worker takes, and the seconds from each broken record to its dead letter."""
    subprocess.run([*COMMAND, "topics", "--create", "--config", str(config)], check=True, stdout=subprocess.DEVNULL)
    with service(config, [*COMMAND, "run", "--no-supervise"]) as running:
        running.wait_for(lambda page: page.get("driftline_ready") == 1)
        time.sleep(SETTLE_S)
        letters = DeadLetters(broker.bootstrap, config.stem)
        before = running.page()[CPU]
        time.sleep(MEASURED_S)
        share = (running.page()[CPU] - before) / MEASURED_S
        letters.stop()
    return share, letters.latency_s


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
