"""Since when: the change point inside a window that a Kolmogorov-Smirnov test found to have drifted.

Where the two distribution functions are furthest apart, the question has become a coin: does a value lie at or below
that point? The new regime is the stretch of newest values for which another coin than the reference's is the most
likely, by the Bernoulli log likelihood ratio against the reference's share (E. S. Page, "Continuous inspection
schemes", 1954, looks back from an alarm in the same way).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.jit import kernel
from detectors.arrays.types import F64


@kernel
def newest_regime(below: NDArray[np.bool_], share: float, size: int) -> int:
    """How many of the newest values belong to the new regime, at least 1.

    `below` says of each value of the window, in order of arrival, whether it lies at or below the point; `share` is the
    part of the reference, of `size` values, that does. A share of 0 or 1 is taken as half a value away from it.
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
    """The median of sorted values; the middle of the two in the middle is taken without overflow."""
    return 0.5 * float(ordered[(len(ordered) - 1) // 2]) + 0.5 * float(ordered[len(ordered) // 2])
