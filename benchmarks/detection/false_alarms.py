"""False alarms of `shiryaev_roberts` as a multiple of those that were asked for, on laws that never change."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.detection.drifts import CONTROLS, Draw, two_humps
from detectors.registry import bank, settings_of

LAWS: dict[str, Draw] = {
    **CONTROLS,
    "Cauchy": lambda r, s: r.standard_cauchy(len(s)),
    "t of 2 degrees": lambda r, s: r.standard_t(2, len(s)),
    "normal, rounded to halves": lambda r, s: np.round(2.0 * r.standard_normal(len(s))) / 2.0,
    "lognormal, 7 of 10 are 0": lambda r, s: np.where(r.random(len(s)) < 0.7, 0.0, np.exp(r.standard_normal(len(s)))),
    "0/1, share .02": lambda r, s: (r.random(len(s)) < 0.02).astype(np.float64),
    "0/1, share .003": lambda r, s: (r.random(len(s)) < 0.003).astype(np.float64),
    "Poisson of mean .1": lambda r, s: r.poisson(0.1, len(s)).astype(np.float64),
    "ten whole numbers": lambda r, s: r.integers(0, 10, len(s)).astype(np.float64),
    "exponential": lambda r, s: r.standard_exponential(len(s)),
    "Laplace": lambda r, s: r.laplace(size=len(s)),
    "Pareto of 1.1": lambda r, s: r.pareto(1.1, len(s)),
    "two humps": lambda r, s: two_humps(r, np.ones(len(s))),
}
ASKED = (1e3, 1e4, 1e5)  # values to a false alarm
ALARMS = 200  # asked for, at least, by the length of what is fed
VALUES = 1_000_000  # fed, at least
COLUMNS = ("law", *(f"1 in {asked:,.0f}" for asked in ASKED), "1 in 10,000, reference of 200")


def lines() -> Iterator[list[str]]:
    """A line a law."""
    for number, (law, draw) in enumerate(LAWS.items()):
        ratios = [ratio(draw, asked, number) for asked in ASKED]
        ratios.append(ratio(draw, 1e4, number, reference=200))
        yield [law, *(f"{found:.2f}" for found in ratios)]


def ratio(draw: Draw, asked: float, seed: int, reference: int = 0) -> float:
    """Alarms raised over alarms asked for, in series of ten times the asked length."""
    random = np.random.default_rng([3, seed])
    length = int(10 * asked)
    rows = int(max(VALUES, ALARMS * asked)) // length
    one = bank("shiryaev_roberts", settings_of("shiryaev_roberts", arl0=asked), rows)
    found = 0
    for row in range(rows):
        if reference:
            one.set_reference(row, draw(random, np.zeros(reference)))
        where = np.full(length, row)
        found += len(one.update(where, draw(random, np.zeros(length)), where))
    return found * asked / (rows * length)
