"""What the ring of recent values costs a value: a bank of `adwin` with the ring beside it, and with the ring off.

Values come as events bring them: the columns of one model after another, of random models. Both ways run in turns over
the same batches, in an order that alternates. The cost is the median difference, in CPU time of the process.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Final

import numpy as np

from detectors.arrays.types import F64, I64
from detectors.recovery.recent_values import RecentValues
from detectors.registry import bank, settings_of

SERIES: Final = (1_200, 192_000)
COLUMNS: Final = 12  # of an event
EVENTS: Final = 5_000  # of a batch
BATCHES: Final = 400


def main() -> None:
    """Print the nanoseconds a value."""
    for series in SERIES:
        on, off = measured(series)
        print(f"{series:9,} series: {on:6.1f} ns a value with the ring, {off:6.1f} without: {on - off:5.1f} ns")


def measured(series: int, batches: int = BATCHES) -> tuple[float, float]:
    """Nanoseconds a value with the ring, and without it."""
    rng = np.random.default_rng(series)
    banks = [bank("adwin", settings_of("adwin"), series) for _ in range(2)]
    recent = RecentValues(np.float32, 564)
    recent.grow(series)
    count = rng.integers(64, 5_000, series // COLUMNS).repeat(COLUMNS)
    times: tuple[list[float], list[float]] = [], []
    for number in range(batches):
        rows, values, sequence = _batch(rng, series)
        numbers = _numbers(count, rows)  # those that routing has given the values
        for k in (number % 2, 1 - number % 2):
            started_ns = time.process_time_ns()
            banks[k].update(rows, values, sequence)
            if k == 0:
                recent.add(rows, values, numbers, sequence)
            times[k].append((time.process_time_ns() - started_ns) / len(rows))
    half = batches // 2  # the first half fills the windows
    apart = median(on - off for on, off in zip(times[0][half:], times[1][half:], strict=True))
    without = median(times[1][half:])
    return without + apart, without


def _batch(rng: np.random.Generator, series: int) -> tuple[I64, F64, I64]:
    """Rows, values and the numbers of events."""
    models = rng.integers(0, series // COLUMNS, EVENTS)
    rows = (models[:, None] * COLUMNS + np.arange(COLUMNS)).ravel()
    return rows, rng.normal(size=len(rows)), np.repeat(np.arange(EVENTS), COLUMNS)


def _numbers(count: I64, rows: I64) -> I64:
    """The number of each value in its row; counts [series] go on."""
    found = np.empty(len(rows), np.int64)
    for i, row in enumerate(rows.tolist()):
        found[i] = count[row]
        count[row] += 1
    return found


if __name__ == "__main__":
    main()
