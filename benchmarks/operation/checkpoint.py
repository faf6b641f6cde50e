"""A checkpoint of 16,000 models with 12 numeric columns, all in one unit: how long folding stands still, and a restart.

`python -m benchmarks.operation.checkpoint` takes about two minutes, most of them to fill the windows.
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
from collections.abc import Iterator
from typing import cast

import numpy as np

from streamer.app.folds import ConfiguredFolds
from streamer.config import Config
from streamer.detect.fold import DetectFold
from streamer.detect.monitors.drift import DriftMonitor
from streamer.eventlog.base import Epoch, Records
from streamer.runtime.checkpoints.store import CheckpointStore, Manifest
from streamer.runtime.checkpoints.writer import CheckpointWriter
from streamer.runtime.snapshot import Snapshot

MODELS, COLUMNS, ROUNDS = 16_000, 12, 1_000
START_MS = 1_782_889_200_000
CONFIG = Config.model_validate_json(json.dumps({"topics": {"events": {}}}))


def main() -> None:
    folds = ConfiguredFolds(CONFIG)
    with tempfile.TemporaryDirectory() as folder:
        store = CheckpointStore(folder, "bench")
        for line in (*written(folds, store), *restored(folds, store)):
            print(line, flush=True)
    own, child = (resource.getrusage(who).ru_maxrss / 1e6 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(f"peak memory {own:.1f} GB, of the child that wrote {child:.1f} GB, most of it shared")


def written(folds: ConfiguredFolds, store: CheckpointStore) -> Iterator[str]:
    """What writing costs."""
    fold = cast(DetectFold, folds.fresh("detect-0", folds.settings))
    rng = np.random.default_rng(1)
    fold.step([events(rng, 0)])
    fill(fold, rng)
    alone_s = timed(fold, rng, 1)
    epoch = Epoch("detect-0", 1, {"events": MODELS}, settings=folds.fingerprint, at=3)
    manifest = Manifest("detect-0", epoch, {"events": 0}, {}, folds.settings, folds.fingerprint, "benchmark")
    began_s = time.perf_counter()
    writer = CheckpointWriter(store, manifest, fold.dump, forks=True)
    paused_s = time.perf_counter() - began_s
    slowed = [timed(fold, rng, 2 + i) / alone_s for i in range(3)]
    writer.wait(300)
    yield f"folding stood still for {paused_s * 1000:.1f} ms; kept after {time.perf_counter() - began_s:.1f} s"
    yield f"epochs of {MODELS:,} events beside it took {', '.join(f'{n:.1f}' for n in slowed)} times as long as alone"


def restored(folds: ConfiguredFolds, store: CheckpointStore) -> Iterator[str]:
    """What a restart costs."""
    (kept,) = store.newest_first("detect-0")
    yield f"{MODELS:,} models x {COLUMNS} columns: {kept.manifest.bytes / 1e9:.2f} GB of state"
    began_s = time.perf_counter()
    snapshot = cast(Snapshot, kept.read())
    folds.fresh("detect-0", folds.settings).load(snapshot)
    yield f"restored in {time.perf_counter() - began_s:.1f} s"


def events(rng: np.random.Generator, number: int) -> Records:
    """One event of each model."""
    values = rng.normal(size=(MODELS, COLUMNS)).round(4)
    names = [f"c{c}" for c in range(COLUMNS)]
    rows = []
    for m in range(MODELS):
        event = {
            "model_id": f"m{m}",
            "event_time": START_MS + number,
            "features": dict(zip(names, values[m].tolist(), strict=True)),
        }
        rows.append((number * MODELS + m, START_MS + number, None, json.dumps(event).encode(), ()))
    return Records.build("events", 0, rows)


def fill(fold: DetectFold, rng: np.random.Generator) -> None:
    """Fill the windows of all series, past the codec: it is memory that counts here."""
    panel = cast(DriftMonitor, fold.monitors[0]).sets[0]
    rows = np.arange(panel.rows)
    for bank in panel.banks.values():
        for _ in range(ROUNDS):
            bank.update(rows, rng.normal(size=len(rows)), np.zeros(len(rows), np.int64))


def timed(fold: DetectFold, rng: np.random.Generator, number: int) -> float:
    stretch = events(rng, number)
    began_s = time.perf_counter()
    fold.step([stretch])
    return time.perf_counter() - began_s


if __name__ == "__main__":
    main()
