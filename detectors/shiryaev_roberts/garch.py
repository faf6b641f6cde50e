"""Scale that clusters: a GARCH(1,1) of the innovations of a series.

    h[t] = omega + alpha min(e[t-1]^2, BOUND h[t-1]) + beta h[t-1],   e[t] = sqrt(h[t]) z[t]

(T. Bollerslev, "Generalized autoregressive conditional heteroskedasticity", Journal of Econometrics 1986.) Squares are
bounded, so that one outlier doesn't hide what comes after it. omega never moves once it is fitted: a scale that changes
for good stays in the z, smaller but for ever, and so is seen.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from detectors.arrays.jit import kernel
from detectors.arrays.types import F64

BOUND = 16.0
SETTLING = 32  # first innovations that are left out, as the values before them are not known
CHANCE_Z = 4.0  # standard errors under which clusters are put down to chance
SLOW = 16.0  # values over which the average of the last squares reaches
PERSISTENCES = np.array([0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995])  # alpha + beta
ALPHAS = np.array([0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.45])


class GarchScale(NamedTuple):
    """The model, and h at the value after the last."""

    omega: float
    alpha: float
    beta: float
    h: float


def fit(e: F64) -> tuple[GarchScale, F64, bool]:
    """The scale of innovations, what is left of them, and whether it clusters."""
    settled = e[SETTLING:]
    variance = max(float(settled @ settled) / len(settled), 1e-9)
    clusters = clustering(np.minimum(settled * settled / variance, BOUND)) > CHANCE_Z
    alpha, beta = _fit(settled, variance, PERSISTENCES, ALPHAS) if clusters else (0.0, 0.0)
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
def _fit(e: F64, variance: float, persistences: F64, alphas: F64) -> tuple[float, float]:
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
