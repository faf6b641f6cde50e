"""Laws of values whose distribution functions are known, and what becomes of them in a change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy import stats

from detectors.arrays.types import F64

Random = np.random.Generator
GRID = 16_001  # points at which a distribution function is taken
REACH_SD = 14.0  # how far from the mean they go
STEP = 10  # values


class Law(NamedTuple):
    """A law of independent numbers."""

    draw: Callable[[Random, int], F64]
    cdf: Callable[[F64], F64]
    mean: float
    sd: float
    kurtosis: float
    whole: bool = False  # whole numbers only
    few: bool = False  # so few different ones that the mean is their location, else the median is


def _of(frozen: stats.rv_continuous, **more: bool) -> Law:
    """A law of scipy."""
    kurtosis = 3.0 + float(frozen.stats("k"))
    drawn: Callable[[Random, int], F64] = lambda r, n: frozen.rvs(n, random_state=r).astype(np.float64)  # noqa: E731
    return Law(drawn, frozen.cdf, float(frozen.mean()), float(frozen.std()), kurtosis, **more)


def _two_humps() -> Law:
    """Three of ten values lie 3 below the others, which are normal about 11 with a deviation of .6."""
    share, low, high, wide = 0.3, 8.0, 11.0, 0.6

    def draw(r: Random, n: int) -> F64:
        return np.where(r.random(n) < share, low, high) + wide * r.standard_normal(n)

    def cdf(x: F64) -> F64:
        found: F64 = share * stats.norm.cdf(x, low, wide) + (1 - share) * stats.norm.cdf(x, high, wide)
        return found

    mean = share * low + (1 - share) * high
    off = np.array([low - mean, high - mean])
    weight = np.array([share, 1 - share])
    variance = float(weight @ (wide**2 + off**2))
    fourth = float(weight @ (off**4 + 6 * off**2 * wide**2 + 3 * wide**4))
    return Law(draw, cdf, mean, variance**0.5, fourth / variance**2)


LAWS: Mapping[str, Law] = {
    "normal": _of(stats.norm(10.0, 1.0)),
    "uniform": _of(stats.uniform(0.0, 3.5)),
    "exponential": _of(stats.expon(scale=1.0)),
    "lognormal": _of(stats.lognorm(0.5, scale=2.0)),
    "gamma of shape 2": _of(stats.gamma(2.0, scale=0.7)),
    "t of 5 degrees": _of(stats.t(5.0, loc=5.0)),
    "Laplace": _of(stats.laplace(20.0, 0.7)),
    "beta of 2 and 5": _of(stats.beta(2.0, 5.0, scale=6.0)),
    "Weibull of shape 1.5": _of(stats.weibull_min(1.5, scale=1.6)),
    "two humps": _two_humps(),
    "Poisson of mean 20": _of(stats.poisson(20.0), whole=True),
    "binomial of 6 and .4": _of(stats.binom(6, 0.4), whole=True, few=True),
}


class Change(NamedTuple):
    """Values move and stretch about the law's mean."""

    move_sd: float = 0.0
    stretch: float = 1.0
    steps: int = 1  # of `STEP` values each, in which it comes


CHANGES: Mapping[str, Change] = {
    "jump by 1 sd": Change(1.0),
    "jump by 2 sd": Change(2.0),
    "jump by 8 sd": Change(8.0),
    "spread × 2": Change(stretch=2.0),
    "spread × 0.5": Change(stretch=0.5),
    "ramp by 2 sd over 200 values": Change(2.0, steps=20),
}


def come(change: Change, n: int) -> F64:
    """How far a change has come with each of the `n` values since it began, 0 to 1."""
    found: F64 = np.minimum(np.arange(n) // STEP + 1, change.steps) / change.steps
    return found


def changed(law: Law, change: Change, values: F64, part: F64) -> F64:
    """Values [n] of a law that has come so far [n] in a change."""
    centre = _centre(law)
    return centre + _stretch(change, part) * (values - centre) + _moved(law, change, part)


def _centre(law: Law) -> float:
    return round(law.mean) if law.whole else law.mean


def _stretch(change: Change, part: F64) -> F64:
    return 1.0 + (change.stretch - 1.0) * part


def _moved(law: Law, change: Change, part: F64) -> F64:
    moved = change.move_sd * law.sd * part
    return np.rint(moved) if law.whole else moved


@cache
def grid_of(name: str) -> F64:
    """The points at which distribution functions of a law and its changes are taken."""
    law = LAWS[name]
    low, high = law.mean - REACH_SD * law.sd, law.mean + REACH_SD * law.sd
    return np.arange(np.floor(low), high, 0.5) if law.whole else np.linspace(low, high, GRID)


@cache
def _cdf(name: str, change: Change, part: float) -> F64:
    """The distribution function, on the grid, of values that have come so far in a change."""
    law, at = LAWS[name], np.array([part])
    centre = _centre(law)
    found: F64 = law.cdf(centre + (grid_of(name) - centre - _moved(law, change, at)) / _stretch(change, at))
    return found


class Regime:
    """The law of values of which each has come some way [n] in a change."""

    def __init__(self, name: str, change: Change, part: F64) -> None:
        parts, counts = np.unique(part, return_counts=True)
        shares = zip(parts.tolist(), (counts / len(part)).tolist(), strict=True)
        self.grid = grid_of(name)
        self.cdf: F64 = sum((share * _cdf(name, change, one) for one, share in shares), np.zeros(len(self.grid)))
        self.is_whole = LAWS[name].whole
        points = self.grid if self.is_whole else self.grid - (self.grid[1] - self.grid[0]) / 2
        weight = np.diff(self.cdf, prepend=0.0)
        self.mean = float(weight @ points)
        self.sd = float(weight @ (points - self.mean) ** 2) ** 0.5

    @property
    def median(self) -> float:
        if self.is_whole:
            return float(self.grid[int(np.searchsorted(self.cdf, 0.5))])
        return float(np.interp(0.5, self.cdf, self.grid))

    def shares(self, value: float) -> tuple[float, float]:
        """The share of values below this one, and of those up to it."""
        if not self.is_whole:
            share = float(np.interp(value, self.grid, self.cdf))
            return share, share
        below, upto = (int(np.searchsorted(self.grid, value, side=side)) - 1 for side in ("left", "right"))
        return float(self.cdf[below]), float(self.cdf[upto])

    def density(self, value: float) -> float:
        """The density about a value."""
        wide = 1.0 if self.is_whole else 0.05 * self.sd
        low, high = self.shares(value - wide), self.shares(value + wide)
        return (high[1] - low[1]) / (2 * wide)


def distance(one: Regime, other: Regime) -> float:
    """The Kolmogorov-Smirnov distance of two regimes of a law."""
    return float(np.abs(one.cdf - other.cdf).max())
