"""How fast a recording is replayed, beside the loop that one would write first over the same file.

200 models with 12 numeric columns each (11 features and the prediction), 1,500 events a model; ADWIN and KS watch every
column. The plain loop reads the file with pyarrow and `json`, and feeds `river.drift.ADWIN` and, once a window of 500
values is full, `scipy.stats.ks_2samp` against the first 500. It is timed on its last events, where its windows are
full; ours on the whole file.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from streamer.eventlog.base import Records
from streamer.eventlog.recordings.recording import RecordingWriter

MODELS = 200
EVENTS = 300_000
FEATURES = 11
WINDOW = 500
WARM = 250_000  # events after which every window of every model is full: 2 * WINDOW * MODELS, and some
PLAIN_EVENTS = 300  # timed of the plain loop


def write_recording(path: Path) -> None:
    """Events of all models in random order, about 450 bytes each."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(EVENTS, FEATURES + 1))
    which = rng.integers(0, MODELS, EVENTS)
    names = [f"feature_{i:02}" for i in range(FEATURES)]
    with RecordingWriter(path) as writer:
        for start in range(0, EVENTS, 50_000):
            rows = []
            for i in range(start, start + 50_000):
                *features, prediction = values[i].tolist()
                event = {
                    "model_id": f"model-{which[i]:03}",
                    "model_version": "3",
                    "event_time": 1_782_889_200_000 + i,
                    "features": dict(zip(names, features, strict=True)),
                    "prediction": prediction,
                }
                rows.append((i, -1, None, json.dumps(event).encode(), ()))
            writer.write(Records.build("predictions", 0, rows))


def driftline(path: Path, detectors: Sequence[str]) -> float:
    """Events a second of `driftline replay` with these detectors, none meaning the default, start-up left out."""
    from streamer.app.replay import replay
    from streamer.config import Config

    def nobody(*_: object) -> None:
        pass

    config = Config.model_validate({"detectors": dict.fromkeys(detectors)} if detectors else {})
    summary = replay(config, [str(path)], None, nobody, nobody)
    return summary.events / summary.seconds


def plain(path: Path) -> float:
    """Events a second of the plain loop, once its windows are full."""
    from river.drift import ADWIN
    from scipy.stats import ks_2samp

    states: dict[tuple[str, str], tuple[ADWIN, list[float], deque[float]]] = {}
    alarms, started_s = 0, 0.0
    for i, raw in enumerate(values_of(path)):
        if i == WARM:
            started_s = time.perf_counter()
        if i == WARM + PLAIN_EVENTS:
            break
        event = json.loads(raw)
        for column, value in (*event["features"].items(), ("prediction", event["prediction"])):
            key = event["model_id"], column
            if key not in states:
                states[key] = ADWIN(), [], deque(maxlen=WINDOW)
            adwin, reference, window = states[key]
            adwin.update(value)
            alarms += adwin.drift_detected
            if len(reference) < WINDOW:
                reference.append(value)
                continue
            window.append(value)
            if len(window) == WINDOW and i >= WARM:  # before, only the state matters
                alarms += ks_2samp(reference, window, method="asymp").pvalue <= 1e-6
    return PLAIN_EVENTS / (time.perf_counter() - started_s)


def values_of(path: Path) -> Iterator[bytes]:
    """The values of the records of a recording."""
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(path).iter_batches(columns=["value"]):
        yield from batch["value"].to_pylist()
