"""What is produced while workers and brokers are hurt: predictions, late labels, and records that can't be read.

The clock of one model's producer jumps now and again, and dates its records as wrongly as its events.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import numpy as np
from confluent_kafka import Producer

MODELS = 48
PARTITIONS = 6
START_MS = 1_782_889_200_000
POISON_EVERY = 997
PATIENCE_S = 120
STEP_MS = 40  # of event time, from one prediction to the next
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
WRONG = 9  # the model whose producer has a wrong clock; it is one that drifts
JUMPS_MS = (0, HOUR_MS, 0, 3 * DAY_MS, 3650 * DAY_MS, 0, -30 * DAY_MS, 30 * DAY_MS)
JUMP_EVERY = 7_000  # predictions of all models


def records(seed: int) -> Iterator[tuple[str, int, int, bytes]]:
    """(predictions or labels, partition, time in ms, value) without end; every third model drifts now and again."""
    rng = np.random.default_rng(seed)
    i = 0
    while True:
        model = int(rng.integers(MODELS))
        moved = 3.0 * (model % 3 == 0 and i // 40_000 % 2)
        x, time_ms = float(rng.normal()) + moved, START_MS + STEP_MS * i
        if model == WRONG:
            time_ms += JUMPS_MS[i // JUMP_EVERY % len(JUMPS_MS)]
        of = {"model_id": f"m{model}", "prediction_id": str(i), "event_time": time_ms}
        value = json.dumps(of | {"features": {"x": x, "y": float(rng.gamma(2.0))}, "prediction": x}).encode()
        yield "predictions", model % PARTITIONS, time_ms, value
        if i % 3 == 0:
            late = json.dumps(of | {"event_time": time_ms + 1000, "label": x + float(rng.normal())}).encode()
            yield "labels", model % PARTITIONS, time_ms + 1000, late
        if i % POISON_EVERY == 0:
            yield "predictions", model % PARTITIONS, START_MS + STEP_MS * i, b'{"broken": %d' % i
        i += 1


class Load:
    """Produces so many records a second, all of them acknowledged in the end."""

    def __init__(self, bootstrap: str, topics: dict[str, str], per_second: int, seed: int) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "enable.idempotence": True})
        self._topics = topics
        self._per_second = per_second
        self._records = records(seed)
        self._began = time.monotonic()
        self.produced = 0

    def __call__(self) -> None:
        """Produce what is due."""
        due = int((time.monotonic() - self._began) * self._per_second) - self.produced
        for _ in range(min(due, self._per_second)):
            what, partition, time_ms, value = next(self._records)
            self._producer.produce(self._topics[what], value, None, partition, timestamp=time_ms)
            self.produced += 1
        self._producer.poll(0)

    def finish(self) -> None:
        assert self._producer.flush(PATIENCE_S) == 0
