"""What one call of `update` takes in a notebook, beside river's detectors: `python -m benchmarks.throughput.one_value`.

The same values go through the same loop, round after round in turn. A figure is the least process time of all rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from river import drift

from detectors import detector
from detectors.registry import DETECTORS

WARM = 3000  # values before the clock runs: windows are full, and baselines are learned
TIMED = 2000  # values of a round
ROUNDS = 25
STEPPED = ("shiryaev_roberts", "adwin", "ks_window", "category_rates", "rate")


def contestants() -> dict[str, Callable[[float], object]]:
    """The `update` of each, by its name in the table."""
    ours = {name: detector(name).update for name in STEPPED if name in DETECTORS}
    return {**ours, "river ADWIN": drift.ADWIN().update, "river PageHinkley": drift.PageHinkley().update}


def seconds() -> dict[str, float]:
    """Of one value, by contestant."""
    random = np.random.default_rng(1)
    numbers, marks = random.normal(size=WARM + TIMED), (random.random(WARM + TIMED) < 0.05).astype(np.float64)
    streams = {name: (marks if name in ("rate", "category_rates") else numbers).tolist() for name in contestants()}
    updates = contestants()
    for name, update in updates.items():
        _run(update, streams[name][:WARM])
    least = dict.fromkeys(updates, float("inf"))
    for _ in range(ROUNDS):
        for name, update in updates.items():
            least[name] = min(least[name], _run(update, streams[name][WARM:]) / TIMED)
    return least


def _run(update: Callable[[float], object], values: list[float]) -> float:
    start = time.process_time()
    for value in values:
        update(value)
    return time.process_time() - start


def main() -> None:
    found = seconds()
    print("| detector | ns a value | river's ADWIN = 1 |\n| --- | --- | --- |")
    for name, each in found.items():
        print(f"| {name} | {each * 1e9:.0f} | {each / found['river ADWIN']:.1f} |")


if __name__ == "__main__":
    main()
