"""Streams with a drift whose place is known, and streams without one: what detectors are fed to measure them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter

from detectors.arrays.types import F64

Draw = Callable[[np.random.Generator, F64], F64]  # a value each, given how far the drift has come, 0 to 1

HORIZON = 1000  # values after a drift is complete within which it must be seen
CONTROL = 5000  # values of a stream without drift
RAMP = np.linspace(0.0, 1.0, 1000)  # how far a drift has come that takes its time


class Stream(NamedTuple):
    """Values in order, and what happens to them."""

    values: F64
    drifts: list[tuple[int, int]]  # where each begins, and how many values it takes to be complete; 0: at once


def normal(r: np.random.Generator, s: F64) -> F64:
    return r.standard_normal(len(s))


def coin(before: float, after: float) -> Draw:
    return lambda r, s: (r.random(len(s)) < before + (after - before) * s).astype(np.float64)


def mixture(r: np.random.Generator, s: F64) -> F64:
    return normal(r, s) + 4.0 * (r.random(len(s)) < 0.1 + 0.15 * s)


def two_humps(r: np.random.Generator, s: F64) -> F64:  # as below, mean 0 and variance 1 before and after
    humps = np.where(r.random(len(s)) < 0.5, 0.9, -0.9) + math.sqrt(0.19) * normal(r, s)
    return np.where(s > 0, humps, normal(r, s))


def heavy_tails(r: np.random.Generator, s: F64) -> F64:
    return np.where(s > 0, r.standard_t(3, len(s)) / math.sqrt(3), normal(r, s))


FAMILIES: dict[str, tuple[Draw, str]] = {
    "normal, mean +0.25": (lambda r, s: normal(r, s) + 0.25 * s, "abrupt"),
    "normal, mean +0.5": (lambda r, s: normal(r, s) + 0.5 * s, "abrupt"),
    "normal, mean +1": (lambda r, s: normal(r, s) + s, "abrupt"),
    "normal, mean +1, old and new mixed": (lambda r, s: normal(r, s) + s, "mixed"),
    "normal, mean +1, slowly": (lambda r, s: normal(r, s) + s, "slow"),
    "normal, mean +1, back and again": (lambda r, s: normal(r, s) + s, "recurring"),
    "normal × 10,000, mean +1 sd": (lambda r, s: 1e4 * (normal(r, s) + s), "abrupt"),
    "normal, sd × 1.5": (lambda r, s: normal(r, s) * (1 + 0.5 * s), "abrupt"),
    "normal, sd × 0.6": (lambda r, s: normal(r, s) * (1 - 0.4 * s), "abrupt"),
    "normal to two humps": (two_humps, "abrupt"),
    "normal to t of 3 degrees": (heavy_tails, "abrupt"),
    "uniform, +0.1": (lambda r, s: r.random(len(s)) + 0.1 * s, "abrupt"),
    "lognormal, median × 1.5": (lambda r, s: np.exp(normal(r, s) + math.log(1.5) * s), "abrupt"),
    "mixture, share .1 to .25": (mixture, "abrupt"),
    "0/1, share .2 to .3": (coin(0.2, 0.3), "abrupt"),
    "0/1, share .2 to .4, mixed": (coin(0.2, 0.4), "mixed"),
}
CONTROLS: dict[str, Draw] = {
    "normal": normal,
    "normal × 10,000": lambda r, s: 1e4 * normal(r, s),
    "uniform": lambda r, s: r.random(len(s)),
    "lognormal": lambda r, s: np.exp(normal(r, s)),
    "Poisson of mean 3": lambda r, s: r.poisson(3, len(s)).astype(np.float64),
    "0/1, share .2": coin(0.2, 0.2),
}
DEPENDENT: dict[str, Draw] = {
    "AR(1) of .5": lambda r, s: lfilter([1], [1, -0.5], normal(r, s)),
    "AR(1) of .9": lambda r, s: lfilter([1], [1, -0.9], normal(r, s)),
    "cycle of 288 values": lambda r, s: normal(r, s) + np.sin(np.arange(len(s)) * 2 * math.pi / 288),
}
COINS = "0/1"  # how the names of streams of zeros and ones begin


def drifting(family: str, seed: int) -> Stream:
    """The stream of a family with this seed; where its drift begins is drawn too, so nothing can be tuned to it."""
    draw, kind = FAMILIES[family]
    r = np.random.default_rng([1, seed, list(FAMILIES).index(family)])
    start = int(r.integers(1500, 2501))
    if kind == "recurring":
        drifts, after = [(start + HORIZON * k, 0) for k in range(4)], np.repeat([1.0, 0.0, 1.0, 0.0], HORIZON)
    elif kind == "abrupt":
        drifts, after = [(start, 0)], np.ones(HORIZON)
    else:
        come = r.random(1000) < RAMP if kind == "mixed" else RAMP
        drifts, after = [(start, 1000)], np.concatenate([come, np.ones(HORIZON)])
    return Stream(draw(r, np.concatenate([np.zeros(start), after])), drifts)


def steady(draw: Draw, seed: int) -> Stream:
    """A stream without drift."""
    return Stream(draw(np.random.default_rng([2, seed]), np.zeros(CONTROL)), [])
