"""Inertia: an ARMA(1,1) of what is left of a series without level and waves.

    d[t] = phi d[t-1] + e[t] + theta e[t-1]

With theta = 0 it is an AR(1). With theta < 0 it is an AR(1) under noise, which is seen in how long a small correlation
lasts; and with phi near 1 besides, a level that wanders, as a cycle far longer than what has been seen looks. Fitted by
least squares of the innovations e (G. E. P. Box and G. M. Jenkins, "Time Series Analysis", 1970): a grid, then
Gauss-Newton steps.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from detectors.arrays.jit import kernel
from detectors.arrays.types import F64

PHI_MAX, THETA_MAX = 0.998, 0.98
CHANCE = 12.0  # twice the gain in log likelihood under which inertia counts as chance
WORTH = 10.0  # what a theta must gain
PHIS = np.array([-0.9, -0.6, -0.3, 0.3, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995])
SLOW_PHIS = np.array([0.98, 0.99, 0.998])  # of a level that is known to wander
SLOW_THETAS = np.array([-0.98, -0.96, -0.93, -0.9])
THETAS = np.array([-0.97, -0.95, -0.9, -0.8, -0.65, -0.5, -0.3, 0.3, 0.6])


class Arma(NamedTuple):
    """The model and its innovations."""

    phi: float
    theta: float
    innovations: F64


def fit(d: F64, wanders: bool = False) -> Arma | None:
    """The model of these values, whose mean is 0; None where what shows can be chance.

    Of a series whose level is known to wander, chance still comes out as such a level.
    """
    n = len(d)
    alone = float(d @ d) + 1e-9
    phi = float(d[1:] @ d[:-1]) / alone
    inert = _squares(d, phi, 0.0) + 1e-9
    mixed_phi, mixed_theta = _mixed(d, PHIS, THETAS)
    mixed = _squares(d, mixed_phi, mixed_theta) + 1e-9
    theta = 0.0
    if n * math.log(inert / mixed) > WORTH:
        phi, theta, inert = mixed_phi, mixed_theta, mixed
    if n * math.log(alone / inert) < CHANCE:
        if not wanders:
            return None
        phi, theta = min(((x, y) for x in SLOW_PHIS for y in SLOW_THETAS), key=lambda of: _squares(d, *of))
    phi = max(-PHI_MAX, min(PHI_MAX, phi + (1.0 + 3.0 * phi) / n))  # the bias of the estimate (M. G. Kendall, 1954)
    innovations = np.empty(n)
    _innovations(d, phi, theta, innovations)
    return Arma(phi, theta, innovations)


@kernel
def _innovations(d: F64, phi: float, theta: float, into: F64) -> None:
    last, e = 0.0, 0.0
    for t in range(len(d)):
        e = d[t] - phi * last - theta * e
        last = d[t]
        into[t] = e


@kernel
def _squares(d: F64, phi: float, theta: float) -> float:
    """Sum of the squares of the innovations."""
    last, e, found = 0.0, 0.0, 0.0
    for t in range(len(d)):
        e = d[t] - phi * last - theta * e
        last = d[t]
        found += e * e
    return found


@kernel
def _mixed(d: F64, phis: F64, thetas: F64) -> tuple[float, float]:
    """Coefficients of least squares."""
    phi, theta, least = 0.0, 0.0, math.inf
    for x in phis:
        for y in thetas:
            if x + y != 0.0:
                found = _squares(d, x, y)
                if found < least:
                    phi, theta, least = x, y, found
    for _ in range(12):
        step_phi, step_theta = _step(d, phi, theta)
        for _ in range(6):  # halved until it is one down
            x = max(-PHI_MAX, min(PHI_MAX, phi + step_phi))
            y = max(-THETA_MAX, min(THETA_MAX, theta + step_theta))
            found = _squares(d, x, y)
            if found < least:
                phi, theta, least = x, y, found
                break
            step_phi, step_theta = 0.5 * step_phi, 0.5 * step_theta
        else:
            break
    return phi, theta


@kernel
def _step(d: F64, phi: float, theta: float) -> tuple[float, float]:
    """A Gauss-Newton step."""
    last, e, p, q = 0.0, 0.0, 0.0, 0.0
    pp, pq, qq, pe, qe = 1e-9, 0.0, 1e-9, 0.0, 0.0
    for t in range(len(d)):
        p, q = last - theta * p, e - theta * q
        e = d[t] - phi * last - theta * e
        last = d[t]
        pp, pq, qq, pe, qe = pp + p * p, pq + p * q, qq + q * q, pe + p * e, qe + q * e
    area = pp * qq - pq * pq
    if area <= 1e-9 * pp * qq:
        return 0.0, 0.0
    return (qq * pe - pq * qe) / area, (pp * qe - pq * pe) / area
