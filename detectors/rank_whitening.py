"""Whitening: what is left of a series when its level, its cycles and its inertia are taken away.

Where the gate finds that values depend on earlier ones, the next 1,024 values are stored, and from them is learnt: up
to two waves, of 16 to 512 values each, that stand out against the spectrum of an AR(1); and an AR(1) of the rest. From
then on the residuals are watched, and level, height and phase of the waves follow the series.

Scale comes from the values up to then: a shifted logarithm where they are skewed, then the middle two thirds.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from detectors.base import F64
from detectors.jit import kernel
from detectors.rank_state import STORED, Record, Series

KEPT = 256  # residuals of the stored values from which cells are made
PHI_MAX = 0.98
STANDS_OUT = 14.0  # height over the spectrum that makes a wave: some 1 in 3,000 where there is none
CHANCE_Z = 3.5  # standard errors under which what was learnt is put down to chance
STEP = 0.0625  # of a stored value, in standard units
LOWEST, HIGHEST = 8, 256  # waves looked for, in quarter turns over the stored values
TURNS = 4 * STORED  # angles of a full turn that the search uses
_ANGLES = np.arange(TURNS) * (2.0 * math.pi / TURNS)
COSINE, SINE = np.cos(_ANGLES), np.sin(_ANGLES)


def know_scale(series: Series, row: int, quantile: Callable[[float], float]) -> None:
    """Learn from the quantiles of a series, by their shares, how its values are standardised."""
    one = series[row]
    low, middle, high = quantile(0.1), quantile(0.5), quantile(0.9)
    one["side"], one["shift"] = 0.0, 0.0
    up, down = high - middle, middle - low
    if min(up, down) > 0.0 and abs(up - down) > 0.25 * (up + down) and up + down < math.inf:
        # Behind this shift the logarithms of the three lie evenly.
        one["side"] = 1.0 if up > down else -1.0
        one["shift"] = middle - down / (up - down) * up
    sixth, half, rest = (_logarithm(one, quantile(share)) for share in (0.16, 0.5, 0.84))
    spread = 0.5 * rest - 0.5 * sixth
    if spread <= 0.0:  # more than two thirds of the values are equal
        spread = 0.5 * _logarithm(one, quantile(1.0)) - 0.5 * _logarithm(one, quantile(0.0))
    one["centre"], one["spread"] = half, spread if spread > 0.0 else 1.0


def begin_learning(series: Series, row: int) -> None:
    """Store values from now on, until there are enough to learn dependence from."""
    one = series[row]
    one["learning"], one["whitened"], one["settled"], one["filled"] = 1, 0, 0, 0
    one["evidence"] = 0.0


def in_units(one: Record, y: float) -> float:
    """A standardised value in the units of the column."""
    value = float(one["centre"]) + y * float(one["spread"])
    side = float(one["side"])
    return value if side == 0.0 else float(one["shift"]) + side * math.exp(min(side * value, 709.0))


def fit(series: Series, row: int) -> F64 | None:
    """Learn from the stored values; the last residuals, of which cells are to be made, or None if it was chance."""
    residuals = np.empty(KEPT)
    found = _learn(series, row, series[row]["stored"] * STEP, COSINE, SINE, residuals)
    return residuals if found else None


@kernel
def _learn(series: Series, row: int, d: F64, cosine: F64, sine: F64, residuals: F64) -> bool:
    """Level, waves and coefficient from the values `d`, which become what these leave of them."""
    one = series[row]
    n = len(d)
    one.level = 0.0
    _lower(one, d, d.sum() / n)
    for k in range(2):
        one.wave[k, 0] = 0.0
        one.wave[k, 1] = 0.0
        one.wave[k, 2] = 0.0
    for k in range(2):
        angle = strongest(d, cosine, sine)
        if angle == 0.0:
            break
        _take_out(one, d, k, angle)
    dd, dd_last = _products(d)
    dd += 1e-9
    phi = dd_last / dd
    if one.wave[0, 0] == 0.0 and abs(phi) * math.sqrt(n) < CHANCE_Z:
        return False
    dd_last += dd * (1.0 + 3.0 * phi) / n  # the bias of the estimate (M. G. Kendall, 1954)
    one.dd, one.dd_last, one.d_last, one.memory = dd, dd_last, d[n - 1], float(n)
    one.phi = min(PHI_MAX, dd_last / dd)
    for i in range(KEPT):
        residuals[i] = d[n - KEPT + i] - one.phi * d[n - KEPT + i - 1]
    return True


@kernel
def _lower(one: Record, d: F64, by: float) -> None:
    for t in range(len(d)):
        d[t] -= by
    one.level += by


@kernel
def _products(d: F64) -> tuple[float, float]:
    """Sums of the products of values with themselves and with the one before."""
    dd, dd_last = d[0] * d[0], 0.0
    for t in range(1, len(d)):
        dd += d[t] * d[t]
        dd_last += d[t] * d[t - 1]
    return dd, dd_last


@kernel
def strongest(d: F64, cosine: F64, sine: F64) -> float:
    """Angle a value of the wave that stands out most against an AR(1) spectrum; 0 when none does."""
    n = len(d)
    power, power_last = _products(d)
    power = max(power, 1e-9)
    phi = power_last / power
    greatest, found = STANDS_OUT, 0.0
    for k in range(LOWEST, HIGHEST + 1):
        c, s = 0.0, 0.0
        for t in range(n):
            at = (k * t) & (TURNS - 1)
            c += d[t] * cosine[at]
            s += d[t] * sine[at]
        expected = (1.0 - phi * phi) / (1.0 - 2.0 * phi * cosine[k] + phi * phi)
        height = (c * c + s * s) / (power * expected)
        if height > greatest:
            greatest, found = height, k * (2.0 * math.pi / TURNS)
    return found


@kernel
def _take_out(one: Record, d: F64, k: int, around: float) -> None:
    """Take the wave near this angle that leaves least out of `d`; it becomes wave `k`, as it is at the next value."""
    n = len(d)
    least, angle, offset, a, b = math.inf, around, 0.0, 0.0, 0.0
    for step in range(-10, 11):
        near = around + step * math.pi / 20.0 / n
        left, o, x, y = _fitted(d, near)
        if left < least:
            least, angle, offset, a, b = left, near, o, x, y
    for t in range(n):
        d[t] -= a * math.cos(angle * t) + b * math.sin(angle * t)
    _lower(one, d, offset)
    c, s = math.cos(angle * n), math.sin(angle * n)
    one.wave[k, 0], one.wave[k, 1], one.wave[k, 2] = angle, a * c + b * s, a * s - b * c


@kernel
def _fitted(d: F64, angle: float) -> tuple[float, float, float, float]:
    """Least squares of offset, cosine and sine at this angle: what is left, and the three coefficients."""
    n = len(d)
    c, s, v, cc, ss, cs, cv, sv, vv = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for t in range(n):
        x, y = math.cos(angle * t), math.sin(angle * t)
        c, s, v = c + x, s + y, v + d[t]
        cc, ss, cs = cc + x * x, ss + y * y, cs + x * y
        cv, sv, vv = cv + x * d[t], sv + y * d[t], vv + d[t] * d[t]
    cc, ss, cs = cc - c * c / n, ss - s * s / n, cs - c * s / n
    cv, sv, vv = cv - c * v / n, sv - s * v / n, vv - v * v / n
    area = cc * ss - cs * cs
    a, b = (cv * ss - sv * cs) / area, (sv * cc - cv * cs) / area
    return vv - a * cv - b * sv, (v - a * c - b * s) / n, a, b


def _logarithm(one: Record, value: float) -> float:
    side, shift = float(one["side"]), float(one["shift"])
    return value if side == 0.0 else side * math.log(max(side * (value - shift), 1e-300))
