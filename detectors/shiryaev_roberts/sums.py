"""The evidence of a series: Shiryaev-Roberts sums of likelihood ratios over all possible onsets.

Two null hypotheses are possible. `sums` are against "as before", and an alarm needs their weighted sum to reach what
was asked. Where a change may be so large and be fine, `beyond` are the same sums against "within the tolerance", whose
weighted sum has to reach `BEYOND`. That there is a change at all has then been shown to the asked standard, so a lower
one does for its size: a tolerance costs hardly any delay, and what stays within it raises an alarm no more often than
asked.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.jit import lean_kernel
from detectors.shiryaev_roberts.alternatives import Tables
from detectors.shiryaev_roberts.kernel_types import LANES, Ranks, Work
from detectors.shiryaev_roberts.state import Record

BEYOND = 1e4  # evidence that a change is larger than may be; a tenth of the asked one, if that is less
VARIES = 3.0  # values outside the largest cell, of a series that is no constant with a few exceptions
EVIDENCE_MIN = 50.0  # of an alarm, however short the asked time


@lean_kernel
def weigh(one: Record, tables: Tables, ranks: Ranks, work: Work) -> None:
    """Let every alternative's sum over possible onsets grow by the likelihood ratio of a value of these ranks.

    The ratio is averaged over the ranks that the value may have within its cell, which is what makes ties exact. A
    start counts in full if 2 % of the values lie outside the largest cell, or a few do, so that a constant gives no
    evidence.
    """
    distribution, density, fine = tables.distribution, tables.density, tables.fine
    sums, aged, ratio = one.sums, one.aged, work.ratio
    steps, alternatives = density.shape
    a, b = ranks.below * steps / ranks.total, (ranks.below + ranks.here) * steps / ranks.total
    ia, ib = min(int(a), steps - 1), min(int(b), steps - 1)
    if ia == ib:
        for d in range(alternatives):
            ratio[d] = density[ia, d]
    else:
        fa, fb, wide = np.float32(a - ia), np.float32(b - ib), np.float32(steps / (b - a))
        scale = np.float32(1.0 / steps)
        for d in range(alternatives):
            upper = distribution[ib, d] + fb * scale * density[ib, d]
            lower = distribution[ia, d] + fa * scale * density[ia, d]
            ratio[d] = (upper - lower) * wide
    apart = ranks.total - ranks.largest
    start = 1.0 if apart >= VARIES else min(1.0, 50.0 * apart / ranks.total)
    if fine[0] > 0.0:
        _weigh_beyond(one, fine, start, ratio)
    if one.power < 1.0:
        power = np.float32(one.power)
        for d in range(alternatives):
            ratio[d] = ratio[d] ** power
    for d in range(alternatives):
        aged[d] = (aged[d] + sums[d]) * ratio[d]
        sums[d] = (sums[d] + np.float32(start)) * ratio[d]
    one.evidence = weighted(tables.weight, sums, work.part)


@lean_kernel
def _weigh_beyond(one: Record, fine: NDArray[np.float32], start: float, ratio: NDArray[np.float32]) -> None:
    """The same for `beyond`: each ratio is that to the change which goes the same way and is as large as may be."""
    beyond, power, tempered = one.beyond, np.float32(one.power), one.power < 1.0
    for d in range(len(ratio)):
        further = ratio[d] / (np.float32(1.0) + fine[d] * (ratio[d] - np.float32(1.0)))
        if tempered:
            further = further**power
        beyond[d] = (beyond[d] + np.float32(start)) * further


@lean_kernel
def reaches(one: Record, tables: Tables, arl0: float, work: Work) -> bool:
    """Whether the evidence for a change is what was asked, and that for one beyond the tolerance, if there is one."""
    if one.evidence < max(arl0 - one.blind, EVIDENCE_MIN):
        return False
    if tables.fine[0] == 0.0:
        return True
    return weighted(tables.weight_beyond, one.beyond, work.part) >= max(min(BEYOND, 0.1 * arl0), EVIDENCE_MIN)


@lean_kernel
def onset_age(one: Record, tables: Tables, work: Work) -> float:
    """Values since the onset: the mean over all possible ones, weighted by the evidence for each."""
    return float(weighted(tables.weight, one.aged, work.part) / one.evidence)


@lean_kernel
def clear(one: Record) -> None:
    """Forget all evidence."""
    one.sums[:] = 0.0
    one.aged[:] = 0.0
    one.beyond[:] = 0.0
    one.evidence = 0.0


@lean_kernel
def weighted(weight: NDArray[np.float32], sums: NDArray[np.float32], part: NDArray[np.float32]) -> float:
    """The weighted sum, added up in a fixed order."""
    for lane in range(LANES):
        part[lane] = 0.0
    for first in range(0, len(weight), LANES):
        for lane in range(LANES):
            part[lane] += weight[first + lane] * sums[first + lane]
    return float(((part[0] + part[4]) + (part[2] + part[6])) + ((part[1] + part[5]) + (part[3] + part[7])))
