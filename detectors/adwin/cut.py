"""The onset of a change that ADWIN found: the least-squares change point of its window.

That is the boundary between buckets with the greatest variance between its sides, among those that prove the change.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from detectors.adwin.kernels import SPREAD, TOTAL, WIDTH, AdwinRules, AdwinState
from detectors.arrays.jit import kernel, lean_kernel
from detectors.arrays.types import F64


class Cut(NamedTuple):
    """The best cut of a window. Its sides are the values before it and after it."""

    apart: float  # difference in mean of its sides ...
    epsilon: float  # ... and its bound under chance
    mean_before: float
    mean_after: float
    before: float  # values
    after: float
    deviation: float  # standard deviation of the values before it; of the whole window where those are constant


def best_cut(window: AdwinState, rules: AdwinRules) -> Cut:
    """The best cut of a window with a change in it, given as a state of one row without waiting values."""
    best = np.zeros(len(Cut._fields))
    _find(window, rules, best)
    return Cut(*best.tolist())


@kernel
def _find(window: AdwinState, rules: AdwinRules, best: F64) -> None:
    """Fill `best` with the fields of a Cut. The arithmetic of a cut is that of `kernels.py`."""
    held, bucket = window.held, window.bucket
    total_after, width = window.moments[0, TOTAL], window.moments[0, WIDTH]
    variance = window.moments[0, SPREAD] / width
    log_term = math.log(2.0 * math.log(width) / rules.delta)
    before, total_before, greatest = 0.0, 0.0, -1.0
    for level in range(held.shape[1] - 1, -1, -1):
        for j in range(np.int64(held[0, level])):
            total = bucket[0, level - 1, TOTAL, j] if level > 0 else window.buffer[0, j]
            before += float(1 << level)
            total_before += total
            total_after -= total
            after = width - before
            if before < rules.least or after < rules.least:
                continue
            means = total_before / before, total_after / after
            apart = abs(means[0] - means[1])
            harmonic = 1.0 / (before - rules.least + 1.0) + 1.0 / (after - rules.least + 1.0)
            epsilon = math.sqrt(2.0 * harmonic * variance * log_term) + 2.0 / 3.0 * log_term * harmonic
            between = before * after / width * apart * apart
            if apart > epsilon and between > greatest:
                greatest = between
                best[0], best[1], best[2], best[3] = apart, epsilon, means[0], means[1]
                best[4], best[5] = before, after
    variance_before = _variance_of_oldest(window, best[4], best[2])
    best[6] = math.sqrt(variance_before if variance_before > 0.0 else variance)


@lean_kernel
def _variance_of_oldest(window: AdwinState, n: float, mean: float) -> float:
    """Variance of the oldest n values of the window, whose mean is `mean`; n ends at a boundary of buckets."""
    held, bucket = window.held, window.bucket
    spread = 0.0
    seen = 0.0
    for level in range(held.shape[1] - 1, -1, -1):
        size = float(1 << level)
        for j in range(np.int64(held[0, level])):
            if seen < n:
                seen += size
                total = bucket[0, level - 1, TOTAL, j] if level > 0 else window.buffer[0, j]
                apart = total / size - mean
                inside = bucket[0, level - 1, SPREAD, j] if level > 0 else 0.0
                spread += inside + size * apart * apart
    return spread / n
