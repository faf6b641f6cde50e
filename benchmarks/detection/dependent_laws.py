"""Laws that never change, but whose values depend on earlier ones."""

from __future__ import annotations

import math

import numpy as np
from scipy.signal import lfilter

from benchmarks.detection.drifts import Draw
from detectors.arrays.jit import kernel
from detectors.arrays.types import F64

HOUR_MS = 3_600_000


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


def chain(rises: float, falls: float) -> Draw:
    """Zeros and ones, each of which depends on the one before: the chances of a one after 0, and of a zero after 1."""
    return lambda r, s: _chain(r.random(len(s)), rises, falls, float(r.random() < rises / (rises + falls)))


@kernel
def _chain(u: F64, rises: float, falls: float, last: float) -> F64:
    values = np.empty(len(u))
    for t in range(len(u)):
        turns = u[t] < (rises if last == 0.0 else falls)
        last = 1.0 - last if turns else last
        values[t] = last
    return values


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
    "0/1, turning 1 time in 50": chain(0.02, 0.02),
    "0/1, turning 7 times in 8": chain(0.875, 0.875),
    "0/1, runs of 10 ones after 100 zeros": chain(0.01, 0.1),
    "0, 1 and 2 in turn, but for 1 in 20": lambda r, s: (np.arange(len(s)) + np.cumsum(r.random(len(s)) < 0.05)) % 3.0,
    "scale e to an AR(1) of .95": lambda r, s: r.standard_normal(len(s)) * np.exp(0.5 * inert(0.95)(r, s)),
}
TIMED: dict[str, tuple[Draw, int]] = {  # and the milliseconds from one value to the next
    "day of hours": (cycle(24), HOUR_MS),
    "week of hours": (cycle(168), HOUR_MS),
    "day of 5 minutes": (cycle(288), HOUR_MS // 12),
    "day of minutes": (cycle(1440), HOUR_MS // 60),
    "week of minutes": (cycle(10_080), HOUR_MS // 60),
    "AR(1) of .97, hours": (inert(0.97), HOUR_MS),
}
