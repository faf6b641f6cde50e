"""What a value costs in each detector and how many bytes a series takes, beside the libraries that judge one at a time.

Values go to their series in random order, which is the worst for the caches; and, with many series, as events bring
them, ten columns of a random model after each other. Windows are full before the clock runs. Seconds are process time
of one core.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from detectors.arrays.types import F64, I64
from detectors.registry import bank, settings_of

SERIES = (1, 1_000, 160_000)
WINDOW = 500  # the default of the detectors that have one
COLUMNS = 10  # of an event
WARM = 2 * WINDOW + 24  # values that each series has seen before the clock runs
RIVER_WARM = 64  # the same for river at the greatest number of series: 164 million values would take minutes
CHUNK = 2_000_000
TIMED = 2_000_000
LIBRARY_TIMED = 500_000
TESTS = 300  # calls of ks_2samp that are timed

Draw = Callable[[np.random.Generator, int], F64]


class Cost(NamedTuple):
    """What one detector takes."""

    name: str
    seconds: tuple[float, ...]  # a value, for each of SERIES
    as_events: float  # the same for the greatest number of series, in the order of events
    size: int  # bytes a series


def costs() -> list[Cost]:
    """Of our detectors, one after the other."""
    draws: dict[str, Draw] = dict.fromkeys(
        ("adwin", "ks_window", "shiryaev_roberts"), lambda random, n: random.normal(size=n)
    )
    for name in ("category_rates", "category_window"):
        draws[name] = lambda random, n: np.floor(random.exponential(3.0, n)).clip(0, 9)
    draws["rate"] = lambda random, n: (random.random(n) < 0.02).astype(np.float64)
    return [_cost(name, draw) for name, draw in draws.items()]


def _cost(name: str, draw: Draw) -> Cost:
    seconds = []
    for series in SERIES:
        random = np.random.default_rng(series)
        watching = bank(name, settings_of(name), series)
        for start in range(0, WARM * series, CHUNK):
            _feed(watching, random, random.integers(0, series, min(CHUNK, WARM * series - start)), draw)
        seconds.append(min(_feed(watching, random, random.integers(0, series, TIMED), draw) for _ in range(3)))
    models = [random.integers(0, series // COLUMNS, TIMED // COLUMNS) for _ in range(3)]
    rows = [(one[:, None] * COLUMNS + np.arange(COLUMNS)).ravel() for one in models]
    as_events = min(_feed(watching, random, one, draw) for one in rows)
    size = sum(array.nbytes for array in watching.dump(slice(0, 1)).values())
    return Cost(name, tuple(seconds), as_events, size)


def _feed(watching: Any, random: np.random.Generator, rows: I64, draw: Draw) -> float:
    """Seconds a value for one value of each of these rows, in their order."""
    values = draw(random, len(rows))
    started_s = time.process_time()
    watching.update(rows, values, np.zeros(len(rows), np.int64))
    return (time.process_time() - started_s) / len(rows)


def river_adwin(series: int) -> float:
    """Seconds a value in `river.drift.ADWIN`, an object a series, in random order too."""
    from river.drift import ADWIN

    random = np.random.default_rng(series)
    watching = [ADWIN() for _ in range(series)]
    for timed, n in ((False, (WARM if series < SERIES[-1] else RIVER_WARM) * series), (True, LIBRARY_TIMED)):
        rows, values = random.integers(0, series, n).tolist(), random.normal(size=n).tolist()
        started_s = time.process_time()
        for row, value in zip(rows, values, strict=True):
            watching[row].update(value)
        if timed:
            return (time.process_time() - started_s) / n
    raise AssertionError


def scipy_ks() -> float:
    """Seconds a value where `scipy.stats.ks_2samp` decides at each value, 500 against 500."""
    from scipy.stats import ks_2samp

    values = np.random.default_rng(0).normal(size=2 * WINDOW + TESTS)
    started_s = time.process_time()
    for i in range(TESTS):
        ks_2samp(values[:WINDOW], values[WINDOW + i : 2 * WINDOW + i], method="asymp")
    return (time.process_time() - started_s) / TESTS
