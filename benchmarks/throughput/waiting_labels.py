"""How fast labels meet their predictions where five million predictions wait, and what memory that takes.

Run in a process of its own, as memory is measured by the most that the process has ever had: the join and nothing else.
"""

from __future__ import annotations

import multiprocessing
import re
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from streamer.detect.label_join import LabelJoin
from streamer.detect.settings import LabelSettings
from streamer.events import EventBatch, EventKind

OPEN = 5_000_000
BATCH = 50_000
LABELS = 1_000_000


class Waiting(NamedTuple):
    """What was measured."""

    labels_per_s: float  # in process time
    bytes: int  # of memory, at most, while predictions came in, waited and left


def measure() -> Waiting:
    """In a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure)


def _measure() -> Waiting:
    join = LabelJoin(LabelSettings(open_max=OPEN))
    random = np.random.default_rng(0)
    keys = random.integers(1, 1 << 63, OPEN).astype(np.uint64)
    _tell(join, EventKind.PREDICTION, keys[:BATCH])  # compiles
    before = _most_memory()
    for start in range(BATCH, OPEN, BATCH):
        _tell(join, EventKind.PREDICTION, keys[start : start + BATCH])
    labelled = random.permutation(keys)[:LABELS]
    started_s = time.process_time()
    matched = sum(_tell(join, EventKind.LABEL, labelled[i : i + BATCH]) for i in range(0, LABELS, BATCH))
    took_s = time.process_time() - started_s
    if matched != LABELS:
        raise RuntimeError(f"{matched:,} of {LABELS:,} labels met their prediction")
    return Waiting(LABELS / took_s, _most_memory() - before)


def _most_memory() -> int:
    """Bytes that this process has had resident at most (VmHWM, see proc(5))."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError("/proc/self/status has no line VmHWM: memory can't be measured here")
    return int(found[1]) * 1024


def _tell(join: LabelJoin, kind: EventKind, keys: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> int:
    """Predictions, or labels, of one model; returns how many labels met theirs."""
    n = len(keys)
    ids, numbers = np.zeros(n, np.int32), np.arange(n)
    absent = np.full(n, np.nan)
    outcome = numbers / n
    batch = EventBatch(
        topic="t", partition=0, kind=np.full(n, kind, np.uint8), model=ids, version=ids, event_time_ms=numbers * 0,
        offset=numbers, row=ids, join_id=keys, prediction=outcome if kind == EventKind.PREDICTION else absent,
        label=outcome if kind == EventKind.LABEL else absent, start=np.zeros(n + 1, np.int64), column=ids[:0],
        number=absent[:0], category=ids[:0],
    )  # fmt: skip
    return len(join.join(batch, numbers * 0, numbers, ["model"]).event)
