"""Detectors of categories: alarms where nothing changes, and how soon a change is reported, and how often.

python -m benchmarks.detection.categories    writes the tables into docs/detectors/measurements.md
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow.parquet as pq

from benchmarks.page import written
from benchmarks.recorded.weeks import SHIPPED
from detectors.arrays.types import I64
from detectors.base import Alarms
from detectors.registry import DEFAULT, bank, settings_of

DETECTORS = ("category_rates", "category_window")
STEADY, VALUES = 40, 50_000  # series, and values of each
CHANGING, BEFORE, AFTER = 40, 4000, 2000
STEADY_COLUMNS = ("values that never change", *(f"{name}: alarms in a million" for name in DETECTORS))
CHANGE_COLUMNS = ("change, after 4,000 values", *(f"{name}: detected, delay, alarms" for name in DETECTORS))
RATE_SERIES, RATE_BEFORE, RATE_AFTER = 200, 2000, 1000
RATES = ((0.2, 0.3), (0.3, 0.2), (0.05, 0.1), (0.1, 0.05), (0.5, 0.4), (0.02, 0.05))
NARROW = {"tolerance": 0.0001}  # the least of `category_rates`
RATE_CONTENDERS: dict[str, tuple[str, dict[str, float]]] = {
    "`category_rates`, `arl0: 1e5`, least tolerance": ("category_rates", {"arl0": 1e5, **NARROW}),
    "`shiryaev_roberts`, `arl0: 1e5`": ("shiryaev_roberts", {"arl0": 1e5}),
    "`category_rates`, default": ("category_rates", DEFAULT["category_rates"]),
    "`shiryaev_roberts`, default": ("shiryaev_roberts", DEFAULT["shiryaev_roberts"]),
}
RATE_COLUMNS = ("share of ones, after 2,000 values", *RATE_CONTENDERS)
Random = np.random.Generator

LAWS: dict[str, Callable[[Random, int], I64]] = {
    "two, 7 to 3": lambda r, n: r.choice(2, n, p=[0.7, 0.3]),
    "Zipf, 30": lambda r, n: np.minimum(r.zipf(1.5, n), 30),
    "three hundred": lambda r, n: r.integers(0, 300, n),
    "two, in runs of 50 on average": lambda r, n: np.cumsum(r.random(n) < 0.02) % 2,
    "four, in runs of 30 on average": lambda r, n: np.repeat(
        r.choice(4, n, p=[0.5, 0.3, 0.15, 0.05]), r.geometric(1 / 30, n)
    )[:n],
}
TEN = (0.3, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05, 0.04, 0.03, 0.03)
CHANGES: dict[str, tuple[Sequence[float], Sequence[float]]] = {
    "of five, one from .1 to .25": ((0.1, 0.3, 0.3, 0.2, 0.1), (0.25, 0.25, 0.25, 0.15, 0.1)),
    "of two, from .3 to .5": ((0.7, 0.3), (0.5, 0.5)),
    "of thirty, one from .03 to .15": ([1 / 30] * 30, [0.15] + [0.85 / 29] * 29),
    "a new one, .05": ((0.5, 0.5, 0.0), (0.475, 0.475, 0.05)),
    "of ten, the shares of six": (TEN, (0.1, 0.1, 0.3, 0.1, 0.05, 0.2, 0.05, 0.04, 0.03, 0.03)),
}


def steady() -> Iterator[list[str]]:
    """A line a law; then the columns of ten years of subway delays, which do change."""
    for number, (law, draw) in enumerate(LAWS.items()):
        random = np.random.default_rng([1, number])
        series = np.array([draw(random, VALUES) for _ in range(STEADY)])
        yield [law, *(f"{1e6 * len(_alarms(name, series)) / series.size:.1f}" for name in DETECTORS)]
    table = pq.read_table(SHIPPED, columns=["line", "code", "bound"])
    for column in table.column_names:
        ids = table[column].combine_chunks().dictionary_encode().indices.fill_null(0).to_numpy()[np.newaxis]
        reported = (len(_alarms(name, ids)) for name in DETECTORS)
        yield [f"*subway, {column}, {ids.size:,} values*", *(f"{alarms} in all" for alarms in reported)]


def changes() -> Iterator[list[str]]:
    """A line a change."""
    for number, (change, (before, after)) in enumerate(CHANGES.items()):
        random = np.random.default_rng([2, number])
        halves = [(len(shares), n, shares) for shares, n in ((before, BEFORE), (after, AFTER))]
        series = np.array([np.concatenate([random.choice(k, n, p=p) for k, n, p in halves]) for _ in range(CHANGING)])
        yield [change, *(_seen(_alarms(name, series)) for name in DETECTORS)]


def rates() -> Iterator[list[str]]:
    """A line a change of the share of ones, seen within 1,000 values; both detectors are fed the same values."""
    for number, (before, after) in enumerate(RATES):
        random = np.random.default_rng([21, number])
        share = np.repeat([before, after], [RATE_BEFORE, RATE_AFTER])
        series = (random.random((RATE_SERIES, len(share))) < share).astype(np.int64)
        cells = []
        for name, options in RATE_CONTENDERS.values():
            alarms = _alarms(name, series, **options)
            at = alarms.at % len(share) - RATE_BEFORE
            first = [at[(alarms.row == row) & (at >= 0)].min(initial=RATE_AFTER) for row in range(RATE_SERIES)]
            seen = np.mean([one < RATE_AFTER for one in first])
            cells.append(f"{100 * seen:.0f} %, {np.median(first):.0f}")
        yield [f"{before:g} to {after:g}", *cells]


def _seen(alarms: Alarms) -> str:
    at = alarms.at % (BEFORE + AFTER) - BEFORE
    first = [at[(alarms.row == row) & (at >= 0)].min(initial=AFTER) for row in range(CHANGING)]
    seen = sum(one < AFTER for one in first)
    return f"{100 * seen / CHANGING:.0f} %, {np.median(first):.0f}, {len(at) / CHANGING:.1f}"


def _alarms(name: str, series: I64, **options: float) -> Alarms:
    one = bank(name, settings_of(name, **options), len(series))
    row = np.repeat(np.arange(len(series)), series.shape[1])
    return one.update(row, series.reshape(-1).astype(np.float64), np.zeros(series.size, np.int64))


if __name__ == "__main__":
    written("categories", STEADY_COLUMNS, steady())
    written("changes of categories", CHANGE_COLUMNS, changes())
    written("changes of rates", RATE_COLUMNS, rates())
