"""Whitening: what is left of a series when its level, its cycles, its inertia and its scale are taken away.

Where the gate finds that values depend on earlier ones, the next 1,024 values are stored, and from them is learned: up
to two waves, of 16 to 512 values each, that stand out against the spectrum of an AR(1); inertia (`arma.py`) of the
rest; and how its scale clusters. From then on what is left is watched, and level, height and phase of the waves, and
the coefficients of inertia follow the series.

Units come from the values up to then: a shifted logarithm where they are skewed, then the middle two thirds.

Scale that clusters is a GARCH(1,1) of the innovations:

    h[t] = omega + alpha min(e[t-1]^2, BOUND h[t-1]) + beta h[t-1],   e[t] = sqrt(h[t]) z[t]

(T. Bollerslev, "Generalized autoregressive conditional heteroskedasticity", Journal of Econometrics 1986.) Squares are
bounded, so that one outlier does not hide what comes after it. omega never moves once it is fitted: a scale that
changes for good stays in the z, smaller but for ever, and so is seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from detectors.arrays.jit import kernel
from detectors.base import F64
from detectors.shiryaev_roberts import arma
from detectors.shiryaev_roberts.dependence import TOO_MANY
from detectors.shiryaev_roberts.state import STORED, Record, Series
from detectors.shiryaev_roberts.steps import without_jumps

KEPT = 256  # residuals of the stored values from which cells are made
STANDS_OUT = 14.0  # height over the spectrum that makes a wave: some 1 in 3,000 where there is none
STEP = 0.0625  # of a stored value, in standard units
FAR = 6.0  # standard units in which hardly any value lies
LOWEST, HIGHEST = 8, 256  # waves looked for, in quarter turns over the stored values
TURNS = 4 * STORED  # angles of a full turn that the search uses
_ANGLES = np.arange(TURNS) * (2.0 * math.pi / TURNS)
COSINE, SINE = np.cos(_ANGLES), np.sin(_ANGLES)

# the clusters of the scale
BOUND = 16.0
SETTLING = 32  # first innovations that are left out, as the values before them are not known
CHANCE_Z = 4.0  # standard errors under which clusters count as chance
SLOW = 16.0  # values over which the average of the last squares reaches
PERSISTENCES = np.array([0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995])  # alpha + beta
ALPHAS = np.array([0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.45])


class GarchScale(NamedTuple):
    """The model, and h at the value after the last."""

    omega: float
    alpha: float
    beta: float
    h: float


def know_scale(series: Series, row: int, quantile: Callable[[float], float]) -> None:
    """Learn from the quantiles of a series, by their shares, how its values are standardised."""
    one = series[row]
    low, middle, high = quantile(0.1), quantile(0.5), quantile(0.9)
    one["side"] = 0.0
    up, down = high - middle, middle - low
    if min(up, down) > 0.0 and abs(up - down) > 0.25 * (up + down) and up + down < math.inf:
        # Behind this shift the logarithms of the three lie evenly.
        side, least, most = (1.0, down, up) if up > down else (-1.0, up, down)
        knee = least / (most - least) * least
        if knee > 0.0:
            one["side"], one["shift"], one["knee"] = side, middle - side * (knee + least), knee
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


def has_left(series: Series, row: int) -> bool:
    """Whether the stored values lie where there were hardly any when their units were learned. All that is beyond what
    can be stored looks alike, so nothing can be learned from them.
    """
    return bool(np.mean(np.abs(series["stored"][row]) * STEP > FAR) > 0.5)


def in_units(one: Record, y: float) -> float:
    """A standardised value in the units of the column."""
    value = float(one["centre"]) + y * float(one["spread"])
    side = float(one["side"])
    if side == 0.0:
        return value
    beyond = math.exp(min(side * value, 709.0)) if side * value > 0.0 else 1.0 + side * value
    return float(one["shift"]) + side * beyond * float(one["knee"])


def fit(series: Series, row: int) -> F64 | None:
    """Learn from the stored values; the last residuals, of which cells are to be made, or None if it was chance."""
    one = series[row]
    d = one["stored"] * STEP
    left = without_jumps(d)
    if left is not None and not one["calendar_used"] and not fit_scale(left)[2]:
        one["alarms"] = 0  # none was too many
        return None
    found = _take_out_waves(series, row, d, COSINE, SINE)
    inertia = arma.fit(d, wanders=one["alarms"] >= TOO_MANY)
    e = d if inertia is None else inertia.innovations
    model, residuals, clusters = fit_scale(e)
    if not (found or inertia or clusters or one["calendar_used"]):
        return None
    one["omega"], one["alpha"], one["beta"] = model.omega, model.alpha, model.beta
    one["phi"], one["theta"] = (0.0, 0.0) if inertia is None else (inertia.phi, inertia.theta)
    one["memory"] = len(d)
    _go_on(series, row, d, model.omega / (1.0 - model.alpha - model.beta))
    one["h"] = model.h
    return residuals[-KEPT:]


@kernel
def _take_out_waves(series: Series, row: int, d: F64, cosine: F64, sine: F64) -> bool:
    """Level and waves from the values `d`, which become what these leave of them; whether there are waves."""
    one = series[row]
    one.level = 0.0
    _lower(one, d, d.sum() / len(d))
    one.wave[:] = 0.0
    for k in range(2):
        angle = strongest(d, cosine, sine)
        if angle == 0.0:
            break
        _take_out(one, d, k, angle)
    return bool(one.wave[0, 0] > 0.0)


@kernel
def _go_on(series: Series, row: int, d: F64, variance: float) -> None:
    """Bring innovations and what is known of the coefficients to where they are after the values `d`."""
    one = series[row]
    last, e, by_phi, by_theta, pp, pq, qq = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for t in range(len(d)):
        by_phi, by_theta = last - one.theta * by_phi, e - one.theta * by_theta
        e = d[t] - one.phi * last - one.theta * e
        last = d[t]
        pp, pq, qq = pp + by_phi * by_phi, pq + by_phi * by_theta, qq + by_theta * by_theta
    one.known[0], one.known[1], one.known[2] = pp / variance, pq / variance, qq / variance
    one.slope[0], one.slope[1], one.d_last, one.e_last = by_phi, by_theta, last, e
    one.steps[:] = 0.0


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
    """Linear below the lowest tenth of the values, as a logarithm would tear apart what lies near the shift."""
    side = float(one["side"])
    if side == 0.0:
        return value
    beyond = side * (value - float(one["shift"])) / float(one["knee"])
    return side * (math.log(beyond) if beyond > 1.0 else beyond - 1.0)


def fit_scale(e: F64) -> tuple[GarchScale, F64, bool]:
    """The scale of innovations, what is left of them, and whether it clusters."""
    settled = e[SETTLING:]
    variance = max(float(settled @ settled) / len(settled), 1e-9)
    clusters = clustering(np.minimum(settled * settled / variance, BOUND)) > CHANCE_Z
    alpha, beta = _fit_garch(settled, variance, PERSISTENCES, ALPHAS) if clusters else (0.0, 0.0)
    z = np.empty(len(e))
    omega = (1.0 - alpha - beta) * variance
    h = _scaled(e, omega, alpha, beta, variance, z)
    return GarchScale(omega, alpha, beta, h), z, clusters


@kernel
def clustering(squares: F64) -> float:
    """How many standard errors squares depend on the one before, or on the average of the last ones."""
    mean, n = squares.mean(), len(squares)
    last, slow, power, by_last, by_slow = 0.0, 0.0, 1e-9, 0.0, 0.0
    for t in range(n):
        p = squares[t] - mean
        power, by_last, by_slow = power + p * p, by_last + p * last, by_slow + p * slow
        last = p
        slow += (p - slow) / SLOW
    return max(by_last * math.sqrt(n), by_slow * math.sqrt((2.0 * SLOW - 1.0) * n)) / power


@kernel
def _fit_garch(e: F64, variance: float, persistences: F64, alphas: F64) -> tuple[float, float]:
    """Alpha and beta of the grid that make `e` most likely."""
    best, best_alpha, best_beta = math.inf, 0.0, 0.0
    for persistence in persistences:
        for alpha in alphas:
            if alpha > persistence:
                continue
            beta = persistence - alpha
            found = _unlikely(e, (1.0 - persistence) * variance, alpha, beta, variance)
            if found < best:
                best, best_alpha, best_beta = found, alpha, beta
    return best_alpha, best_beta


@kernel
def _unlikely(e: F64, omega: float, alpha: float, beta: float, h: float) -> float:
    """Twice the negative log likelihood of `e` if it is normal, up to a constant."""
    found, product = 0.0, 1.0
    for t in range(len(e)):
        square = e[t] * e[t]
        product *= h
        if t % 8 == 7:  # a logarithm takes longer than the rest
            found += math.log(product)
            product = 1.0
        found += min(square / h, BOUND)
        h = omega + alpha * min(square, BOUND * h) + beta * h
    return found + math.log(product)


@kernel
def _scaled(e: F64, omega: float, alpha: float, beta: float, h: float, z: F64) -> float:
    for t in range(len(e)):
        z[t] = e[t] / math.sqrt(h)
        h = omega + alpha * min(e[t] * e[t], BOUND * h) + beta * h
    return h
