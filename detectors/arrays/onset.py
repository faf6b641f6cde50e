"""The onset of a drift inside a window, after a Kolmogorov-Smirnov test.

At the point where the two distribution functions are furthest apart, each value is a coin flip: it lies at or below the
point, or above. The new regime is the stretch of newest values for which another coin than the reference's is the most
likely, by the Bernoulli log likelihood ratio against the reference's share. Looking back from an alarm in this way is
due to E. S. Page, "Continuous inspection schemes", Biometrika, 1954.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.jit import kernel
from detectors.arrays.types import F64


@kernel
def newest_regime(below: NDArray[np.bool_], share: float, size: int) -> int:
    """The number of newest values that belong to the new regime, from 1.

    `below` [window]: whether each value, in order of arrival, lies at or below the point. `share`: the part of the
    reference, of `size` values, that does; 0 and 1 count as half a value away.
    """
    share = min(max(share, 0.5 / size), 1.0 - 0.5 / size)
    best, best_length = -1.0, 1
    under = 0
    for length in range(1, len(below) + 1):
        under += 1 if below[len(below) - length] else 0
        over = length - under
        ratio = under * math.log(under / (length * share)) if under else 0.0
        ratio += over * math.log(over / (length * (1.0 - share))) if over else 0.0
        if ratio > best:
            best, best_length = ratio, length
    return best_length


def median(ordered: F64) -> float:
    """The median of sorted values; the mean of the two middle ones cannot overflow."""
    return 0.5 * float(ordered[(len(ordered) - 1) // 2]) + 0.5 * float(ordered[len(ordered) // 2])


def mean(values: F64) -> float:
    """The mean; it cannot overflow."""
    return float((values / len(values)).sum())


def locations(old: F64, new: F64) -> tuple[float, float]:
    """Where two samples lie: their medians or, where these are equal, their means."""
    before, after = median(np.sort(old)), median(np.sort(new))
    return (before, after) if before != after else (mean(old), mean(new))
