"""What a drift may do to the ranks of values: a table of alternatives, shared by all series.

As long as nothing changes, the rank of a value among those before it, divided by their number, is uniform on (0, 1).
The alternatives are densities of the rank after a drift: what becomes of a standard normal's ranks when location, scale
or both change, and shapes for skew, humps, peaks and tails. They are generic: ranks know no units, and a law that is
not normal has a normal score too. Each is mixed with 5 % of the uniform, so no single value can take a series' evidence
away.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import F64
from detectors.shiryaev_roberts.calendar import waves

STEPS = 512  # of the table, over (0, 1)
_FINE = 64  # points in a step at which a density is averaged
_UNIFORM = 0.05
_RATIO_MAX = 50.0


class Tables(NamedTuple):
    """The alternatives as kernels want them, in single precision."""

    distribution: NDArray[np.float32]  # [STEPS + 1, alternatives] of the rank, at the steps
    density: NDArray[np.float32]  # [STEPS, alternatives] its mean over each step
    weight: NDArray[np.float32]  # [alternatives] sums to 1
    weight_beyond: NDArray[np.float32]  # [alternatives] the same, but 0 for those within the tolerance
    fine: NDArray[np.float32]  # [alternatives] the share of it that may be mixed into the uniform and is no drift yet
    waves: NDArray[np.float32]  # [places of a week, CALENDAR]


@cache
def tables(tolerance: float = 0.0) -> Tables:
    """The table of alternatives, some of which lie within the tolerance, a distance of distribution functions.

    A weight is proportional to 1 / Kullback-Leibler divergence from the uniform, the time an alternative takes to be
    seen: so each of them pays the same share of its delay for the company of the others.
    """
    u = (np.arange(STEPS * _FINE) + 0.5) / (STEPS * _FINE)
    fine = np.array([(1.0 - _UNIFORM) * f / f.mean() + _UNIFORM for f in _densities(u)])
    weight = 1.0 / (fine * np.log(fine)).mean(axis=1)
    density = fine.reshape(len(fine), STEPS, _FINE).mean(axis=2).T
    distribution = np.concatenate([np.zeros((1, len(fine))), np.cumsum(density, axis=0) / STEPS])
    apart = np.abs(distribution - np.linspace(0.0, 1.0, STEPS + 1)[:, np.newaxis]).max(axis=0)
    beyond = np.where(apart <= tolerance, 0.0, weight)
    weights = (weight / weight.sum(), beyond / beyond.sum())
    made = (distribution, density, *weights, np.minimum(tolerance / apart, 1.0), waves())
    return Tables(*(np.ascontiguousarray(a, np.float32) for a in made))


def _densities(u: F64) -> Iterator[F64]:
    """The densities at ranks `u`, up to a factor: 10 of location, 6 of scale, 4 of both, 4 of shape, 8 of tails."""
    from scipy.special import ndtri  # costs a quarter of a second, so only when it is needed

    z = ndtri(u)
    for apart in (0.2, 0.35, 0.6, 1.0, 1.7):
        yield from (_moved(z, sign * apart, 1.0) for sign in (1, -1))
    yield from (_moved(z, 0.0, scale) for scale in (0.45, 0.65, 0.8, 1.25, 1.6, 2.3))
    for scale in (0.7, 1.45):
        yield from (_moved(z, apart, scale) for apart in (0.7, -0.7))
    for order in (3, 4):  # orthonormal Legendre polynomials: skew, then humps and peaks
        shape = math.sqrt(2 * order + 1) * np.polynomial.legendre.Legendre.basis(order)(2.0 * u - 1.0)
        yield from (np.exp(half * shape) for half in (0.5, -0.5))
    for v in (u, 1.0 - u):  # one tail holds more than its share
        yield from (
            np.where(v < p, more / p, (1 - more) / (1 - p)) for p, more in ((0.1, 0.2), (0.03, 0.1), (0.002, 0.05))
        )
    yield np.where(np.minimum(u, 1.0 - u) < 0.001, 25.0, 0.95 / 0.998)  # both far tails do
    t3 = (1.0 + z * z) ** -2 * (2.0 / math.pi)  # Student's t of 3 degrees, scaled to variance 1
    yield np.minimum(t3 / _normal(z, 0.0, 1.0), _RATIO_MAX)  # peaked, with heavy tails


def _normal(z: F64, mean: float, sd: float) -> F64:
    return np.exp(-0.5 * ((z - mean) / sd) ** 2) / (sd * math.sqrt(2.0 * math.pi))


def _moved(z: F64, mean: float, sd: float) -> F64:
    """Likelihood ratio of a normal of this mean and deviation to the standard one."""
    return _normal(z, mean, sd) / _normal(z, 0.0, 1.0)
