"""Events at a steady rate, each followed by its label: 200 models with 12 numeric columns that do not drift."""

from __future__ import annotations

import threading
import time
from itertools import count
from pathlib import Path

import numpy as np
from confluent_kafka import Producer

from streamer.testing.kafka import Broker

TOPIC, PARTITIONS = "events", 4
MODELS, COLUMNS = 200, 12
LABEL_SHARE = 0.5  # of the records
CONFIG = """
kafka: {{bootstrap: '{bootstrap}', group: '{group}', start: latest}}
topics: {{{topic}: {{}}}}
outputs: {{prefix: '{group}.'}}
checkpoints: {{url: '{folder}/checkpoints', interval_s: {checkpoint_s}}}
metrics: {{port: 0}}
"""


def write_config(broker: Broker, folder: Path, group: str = "driftline", checkpoint_s: float = 60) -> Path:
    """The configuration of a service that reads the load."""
    path = folder / f"{group}.yaml"
    values = {"group": group, "topic": TOPIC, "folder": folder, "checkpoint_s": checkpoint_s}
    path.write_text(CONFIG.format(bootstrap=broker.bootstrap, **values))
    return path


class SteadyLoad:
    """Produces from a thread of its own until `stop`. It must be the only producer of the topic."""

    def __init__(self, bootstrap: str, records_per_s: float) -> None:
        self.sent_s: list[list[float]] = [[] for _ in range(PARTITIONS)]  # by partition and offset
        self._rate = records_per_s
        self._stopped = threading.Event()
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "compression.type": "lz4"})
        values = np.random.default_rng(1).normal(size=(4096, COLUMNS)).round(4).tolist()
        names = [f"c{c}" for c in range(COLUMNS)]
        self._features = [",".join(f'"{name}":{x}' for name, x in zip(names, row, strict=True)) for row in values]
        self._thread = threading.Thread(target=self._produce, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        self._producer.flush(60)

    def _produce(self) -> None:
        start_s, numbers = time.monotonic(), count()
        for number in numbers:
            while number >= (time.monotonic() - start_s) * self._rate:
                self._producer.poll(0)
                if self._stopped.wait(0.002):
                    return
            model = number // 2 % MODELS
            partition, now_s = model % PARTITIONS, time.time()
            self._producer.produce(TOPIC, self._value(number, model, int(now_s * 1000)), partition=partition)
            self.sent_s[partition].append(now_s)

    def _value(self, number: int, model: int, time_ms: int) -> bytes:
        event = number // 2
        ids = f'{{"model_id":"m{model}","prediction_id":"p{event}","event_time":{time_ms}'
        if number % 2:
            return f'{ids},"label":{event % 7}}}'.encode()
        features = self._features[event % len(self._features)]
        return f'{ids},"model_version":"1","features":{{{features}}},"prediction":{event % 7}}}'.encode()
