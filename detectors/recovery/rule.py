"""When a window of values is back to what was before a drift, and when it is another regime altogether.

Shares of cells are compared edge by edge: of cells in order the cumulated shares, else the shares. Two are within
tolerance of each other if at no edge they are further apart than a tenth or half of the drift, whichever is less, or
than chance makes so few values: `z` standard errors of the difference of two shares, p the share of both together. Of
many edges one is sooner beyond that than a single one is, so `z` grows with their number, by one at eight.

    back:    within tolerance of before (`Z_BACK`), and less than halfway on the cells that tell of the drift
    another: beyond tolerance (`Z_CLEAR`) of before, of the drift, and of the one before that
"""

from __future__ import annotations

import math

from detectors.arrays.jit import kernel
from detectors.arrays.types import F64

BACK_MAX = 0.1
Z_BACK = 2.0
Z_CLEAR = 3.0
Z_PER_DOUBLING = 1 / 3  # of the number of edges


@kernel
def distance(a: F64, b: F64, is_ordered: int) -> float:
    """Kolmogorov-Smirnov over cells in order, else total variation."""
    below, far, apart = 0.0, 0.0, 0.0
    for c in range(len(a)):
        below += a[c] - b[c]
        far = max(far, abs(below))
        apart += abs(a[c] - b[c]) / 2
    return far if is_ordered else apart


@kernel
def is_within(a: F64, b: F64, per_a: float, per_b: float, far: float, z: float, is_ordered: int) -> bool:
    """Whether shares of 1 / `per_a` and of 1 / `per_b` values are within tolerance, after a drift this `far`."""
    tolerance, share_a, share_b, edges = min(BACK_MAX, far / 2), 0.0, 0.0, 0
    for c in range(len(a)):
        edges += a[c] + b[c] > 0.0
    z += Z_PER_DOUBLING * math.log2(max(edges - 1, 1))
    for c in range(len(a)):
        share_a = a[c] + (share_a if is_ordered else 0.0)
        share_b = b[c] + (share_b if is_ordered else 0.0)
        p = (share_a * per_b + share_b * per_a) / (per_a + per_b)
        chance = z * math.sqrt(max(p * (1.0 - p), 0.0) * (per_a + per_b))
        if abs(share_a - share_b) > max(tolerance, chance):
            return False
    return True


@kernel
def along(now: F64, before: F64, drift: F64, is_ordered: int) -> float:
    """How far `now` has gone from before in the direction of the drift, with the drift as 1."""
    gone, far, best, below, below_now = 0.0, 0.0, 0.0, 0.0, 0.0
    for c in range(len(now)):
        below += drift[c] - before[c]
        below_now += now[c] - before[c]
        if is_ordered and abs(below) > best:
            best, far, gone = abs(below), below, below_now
        elif not is_ordered and drift[c] > before[c]:
            far += drift[c] - before[c]
            gone += now[c] - before[c]
    return gone / far if far != 0.0 else 0.0
