"""Tempering: likelihood ratios count for less where values depend on earlier ones, or may, as far as is known.

Their power is 1 / long-run variance. Before that is asked anew of a whitened series, its coefficients are revised.
"""

from __future__ import annotations

import math

from detectors.arrays.jit import kernel
from detectors.arrays.types import I64
from detectors.shiryaev_roberts.arma import PHI_MAX, THETA_MAX
from detectors.shiryaev_roberts.dependence import SLOW, TOO_MANY
from detectors.shiryaev_roberts.state import Record, Series

DOUBT = 1.5  # by which each alarm too many divides the power
QUIET = 65_536  # values of a whitened series without an alarm, after which one too many is forgotten
LEAST = 256.0  # ranks for which the error of a long-run variance is taken, at least


@kernel
def revise(series: Series, rows: I64) -> None:
    """Move the coefficients of these whitened series by what the values since the last time say, and temper anew."""
    for k in range(len(rows)):
        one = series[rows[k]]
        if one.n % QUIET == 0:
            one.alarms = max(0, one.alarms - 1)
        _revise(one)
        _temper(one)


@kernel
def temper(series: Series, rows: I64) -> None:
    """Set the power of the likelihood ratios of these series."""
    for k in range(len(rows)):
        _temper(series[rows[k]])


@kernel
def _revise(one: Record) -> None:
    """A Gauss-Newton step."""
    pp, pq, qq = one.known[0], one.known[1], one.known[2]
    p, q, area = one.steps[0], one.steps[1], pp * qq - pq * pq
    if one.theta == 0.0 or area <= 1e-6 * pp * qq:
        one.phi = max(-PHI_MAX, min(PHI_MAX, one.phi + p / (pp + 1.0)))
    else:
        one.phi = max(-PHI_MAX, min(PHI_MAX, one.phi + (qq * p - pq * q) / area))
        one.theta = max(-THETA_MAX, min(THETA_MAX, one.theta + (pp * q - pq * p) / area))
    one.steps[:] = 0.0


@kernel
def _temper(one: Record) -> None:
    """1 / long-run variance of the ranks, at most 1.

    A plain series takes three standard errors off that variance, so it pays nothing unless dependence is proven. A
    whitened one takes the estimate, or what an error of two standard errors in its coefficients leaves, if that is
    more: they whiten a slow change as far as (1 - phi) / (1 + theta) is right.
    """
    n = max(LEAST, float(one.pairs))
    error = 2.0 * SLOW / math.sqrt((2.0 * SLOW - 1.0) * n)
    slow = max(one.qq_slow / max(one.qq, 1e-9), one.pp_slow / max(one.pp, 1e-9))
    variance = max(1.0, 1.0 + 2.0 * SLOW * slow - (0.0 if one.whitened else 3.0 * error))
    if one.whitened:
        pp, pq, qq = one.known[0] + 1.0, one.known[1], one.known[2]
        x = 1.0 / (1.0 - abs(one.phi))
        squared = x * x / pp  # error of the logarithm of (1 - phi) / (1 + theta)
        if one.theta != 0.0:
            y, area = 1.0 / (1.0 + one.theta), max(pp * qq - pq * pq, 1e-3 * pp * qq)
            squared = (qq * x * x - 2.0 * pq * x * y + pp * y * y) / area
        inflated = 1.0 + 2.0 * math.sqrt(max(squared, 0.0))
        variance = max(variance, 1.05 * inflated * inflated)
    one.power = 1.0 / (variance * DOUBT ** max(0, one.alarms - TOO_MANY))
