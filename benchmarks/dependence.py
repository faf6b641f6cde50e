"""False alarms of `shiryaev_roberts` on laws that never change, but whose values depend on earlier ones."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy.signal import lfilter

from benchmarks.drifts import Draw
from detectors.base import F64
from detectors.jit import kernel
from detectors.registry import bank, settings_of

ASKED = 1e5  # values to a false alarm
ROWS, VALUES = 20, 50_000
SHIFTED, SEEN_IN = 5000, 3000  # where a real change comes, and values within which it must be seen
COLUMNS = ("law", "false in 10,000", "mean + 2 sd seen", "sd × 2 seen", "sd × 0.5 seen")


def inert(phi: float, noise: float = 0.0) -> Draw:
    """AR(1) of variance 1, under white noise."""
    burn = 1000

    def draw(r: np.random.Generator, s: F64) -> F64:
        steps = math.sqrt(1.0 - phi * phi) * r.standard_normal(len(s) + burn)
        return lfilter([1.0], [1.0, -phi], steps)[burn:] + noise * r.standard_normal(len(s))

    return draw


def cycle(period: int, height: float = 1.0) -> Draw:
    """Under noise of variance 1, begun anywhere."""
    return lambda r, s: (
        r.standard_normal(len(s)) + height * np.sin((np.arange(len(s)) + r.integers(period)) * 2.0 * math.pi / period)
    )


def clustered(alpha: float, beta: float) -> Draw:
    """GARCH(1,1) of variance 1."""
    return lambda r, s: _clustered(r.standard_normal(len(s)), alpha, beta)


@kernel
def _clustered(z: F64, alpha: float, beta: float) -> F64:
    h, values = 1.0, np.empty(len(z))
    for t in range(len(z)):
        values[t] = math.sqrt(h) * z[t]
        h = 1.0 - alpha - beta + alpha * values[t] ** 2 + beta * h
    return values


LAWS: dict[str, Draw] = {
    **{f"AR(1) of {phi:g}": inert(phi) for phi in (0.5, 0.9, 0.95, 0.97)},
    "AR(1) of .95 under as much noise": inert(0.95, 1.0),
    "AR(1) of .9 under twice as much noise": inert(0.9, 2.0),
    "MA(1) of .8": lambda r, s: lfilter([1.0, 0.8], [1.0], r.standard_normal(len(s))),
    "AR(2) of 1.2, -.5": lambda r, s: lfilter([1.0], [1.0, -1.2, 0.5], r.standard_normal(len(s))),
    "exponential of AR(1) of .7": lambda r, s: np.exp(inert(0.7)(r, s)),
    "Poisson, rate e to an AR(1) of .95": lambda r, s: r.poisson(np.exp(1.0 + 0.5 * inert(0.95)(r, s))).astype(float),
    **{f"cycle of {period:,} values": cycle(period) for period in (24, 288, 700, 1440, 10_080)},
    "cycle of 288 values, height .3": cycle(288, 0.3),
    "GARCH of .1, .85": clustered(0.1, 0.85),
    "GARCH of .2, .75": clustered(0.2, 0.75),
    "GARCH of .05, .94": clustered(0.05, 0.94),
    "ARCH of .5": clustered(0.5, 0.0),
    "scale e to an AR(1) of .95": lambda r, s: r.standard_normal(len(s)) * np.exp(0.5 * inert(0.95)(r, s)),
}


def lines() -> Iterator[list[str]]:
    """A line a law."""
    for number, (law, draw) in enumerate(LAWS.items()):
        seen = [seen_of(draw, number, moved, scaled) for moved, scaled in ((2.0, 1.0), (0.0, 2.0), (0.0, 0.5))]
        yield [law, f"{false_10k(draw, number):.2f}", *(f"{100 * share:.0f} %" for share in seen)]


def false_10k(draw: Draw, seed: int) -> float:
    """False alarms in 10,000 values."""
    random = np.random.default_rng([4, seed])
    return 1e4 * len(_alarms(np.array([draw(random, np.zeros(VALUES)) for _ in range(ROWS)]))) / (ROWS * VALUES)


def seen_of(draw: Draw, seed: int, moved: float, scaled: float) -> float:
    """The share of series in which a change of the law is seen."""
    random = np.random.default_rng([5, seed])
    series = np.array([draw(random, np.zeros(SHIFTED + SEEN_IN)) for _ in range(ROWS)])
    series[:, SHIFTED:] = scaled * series[:, SHIFTED:] + moved * series.std()
    at, row = np.divmod(_alarms(series), SHIFTED + SEEN_IN)[::-1]
    return len(np.unique(row[at >= SHIFTED])) / ROWS


def _alarms(series: F64) -> F64:
    one = bank("shiryaev_roberts", settings_of("shiryaev_roberts", arl0=ASKED), len(series))
    rows = np.repeat(np.arange(len(series)), series.shape[1])
    return one.update(rows, series.reshape(-1), np.zeros_like(rows)).at
