"""Situations in which detectors fail, each by its name: streams whose drifts are known, and streams without one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from benchmarks.detection.dependent_laws import HOUR_MS
from benchmarks.detection.drifts import Draw, Stream
from detectors.arrays.types import F64

MINUTE_MS, DAY_MS = HOUR_MS // 60, 24 * HOUR_MS
STEADY = 40_000  # values of a stream without drift
TIMES = 14  # drifts of a stream that drifts again and again
Random = np.random.Generator


class Situation(NamedTuple):
    """How to draw a stream, and what a detector is given beside its values."""

    draw: Callable[[Random], Stream]
    apart_ms: int = 0  # from one value to the next; 0: times stand still
    reference: int = 0  # values of a training sample, drawn from the whole of another stream
    seen_in: int = 1000  # values within which a drift must be seen, if the next does not come sooner


def stepping(step: Callable[[Random, int], float], every: int, first: int = 3000, times: int = TIMES) -> Situation:
    """A normal whose mean is another from place to place, in deviations: at the k-th drift what `step` says."""

    def draw(r: Random) -> Stream:
        means = np.repeat([0.0, *(step(r, k) for k in range(times))], [first] + [every] * times)
        return Stream(means + r.standard_normal(len(means)), [(first + every * k, 0) for k in range(times)])

    return Situation(draw, seen_in=every)


def to_and_fro(sd: float, every: int) -> Situation:
    """Away and back."""
    return stepping(lambda _, k: sd * (1 - k % 2), every)


def new_levels(every: int) -> Situation:
    """Each 1.5 to 4 deviations from the one before, either way."""

    def draw(r: Random) -> Stream:
        steps = r.uniform(1.5, 4.0, TIMES) * r.choice([-1.0, 1.0], TIMES)
        means = np.repeat(np.append(0.0, np.cumsum(steps)), [3000] + [every] * TIMES)
        return Stream(means + r.standard_normal(len(means)), [(3000 + every * k, 0) for k in range(TIMES)])

    return Situation(draw, seen_in=every)


def one_step(sd: float, at: int, apart_ms: int = 0) -> Situation:
    """One drift, early."""
    return stepping(lambda *_: sd, 1500, at, times=1)._replace(apart_ms=apart_ms)


def two_steps(sd: float, then: float, after: int) -> Situation:
    """A second drift so many values after the first one: only that counts."""
    whole = stepping(lambda _, k: (sd, then)[min(k, 1)], after, times=8)
    return whole._replace(draw=lambda r: whole.draw(r)._replace(drifts=[(3000 + after, 0)]), seen_in=1000)


def steady(draw: Draw, apart_ms: int = 0, reference: int = 0, values: int = STEADY) -> Situation:
    """No drift."""
    return Situation(lambda r: Stream(draw(r, np.zeros(values)), []), apart_ms, reference)


def two_states(dwell: float, mean: float, scale: float = 1.0) -> Situation:
    """To and fro at times of chance."""

    def draw(r: Random) -> Stream:
        changes = r.random(STEADY) < 1.0 / dwell
        state = np.cumsum(changes) % 2
        values = state * mean + scale**state * r.standard_normal(STEADY)
        return Stream(values, [(at, 0) for at in np.flatnonzero(changes).tolist()])

    return Situation(draw)


def bursts(length: int, sd: float) -> Situation:
    """So many values that lie higher, once in 2,000 on average."""

    def draw(r: Random) -> Stream:
        starts = np.flatnonzero(r.random(STEADY) < 1.0 / 2000.0)
        high = np.isin(np.arange(STEADY), np.add.outer(starts, np.arange(length)))
        return Stream(sd * high + r.standard_normal(STEADY), [(at, 0) for at in starts.tolist()])

    return Situation(draw, seen_in=length + 100)


def zero_at_night(r: Random, s: F64) -> F64:
    hour = np.arange(len(s)) % 24
    return np.where((hour >= 6) & (hour < 22), 5.0 + r.standard_normal(len(s)), 0.0)


def year_of_hours(r: Random, s: F64) -> F64:
    return r.standard_normal(len(s)) + np.sin((np.arange(len(s)) + r.integers(8766)) * 2.0 * math.pi / 8766.0)
