"""When a window of values has recovered, and when it is a new regime.

Shares of cells are compared edge by edge: cumulated shares of cells in order, else the shares. Two distributions are
within tolerance if they differ by no more at any edge than the greater of two bounds: a tenth or half of the drift,
whichever is less; and chance, `z` standard errors of the difference of two shares, where p is the share of both
together. With more edges, one is sooner out of bounds, so `z` grows with their number: by 1 at eight edges.

    recovered: within tolerance of the baseline (`Z_BACK`), and less than halfway along the drift
    new shift: beyond tolerance (`Z_CLEAR`) of the baseline, of the drift, and of the drift before that

The test of two shares is the usual pooled z-test; the rule itself is this project's, see ADR 23.
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
    """The distance of two distributions, 0 to 1: Kolmogorov-Smirnov for cells in order, else total variation."""
    below, far, apart = 0.0, 0.0, 0.0
    for c in range(len(a)):
        below += a[c] - b[c]
        far = max(far, abs(below))
        apart += abs(a[c] - b[c]) / 2
    return far if is_ordered else apart


@kernel
def is_within(a: F64, b: F64, per_a: float, per_b: float, far: float, z: float, is_ordered: int) -> bool:
    """Whether two distributions are within tolerance: of 1 / `per_a` and 1 / `per_b` values, after a drift of `far`."""
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
    """How far `now` is from the baseline along the drift: 0 at the baseline, 1 at the drift."""
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
