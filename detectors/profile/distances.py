"""How far two samples, or two counts of the same cells, lie apart: the numbers that a review of a model asks for.

Each function returns a `Distance`: the value, what chance alone gives on average if nothing has changed, and the size
of both samples. A value is to be read beside `by_chance`: a PSI of 0.1 between 100 and 100 values in ten cells shows
less than chance does. `by_chance` is a large-sample mean for independent values.

Sources: KS, N. V. Smirnov 1948, whose mean is sqrt(pi / 2) log 2; PSI, B. Yurdakul and J. Naranjo 2020: chi squared
times (1/n + 1/m); Jensen-Shannon, J. Lin 1991, an eighth of that near equality; Wasserstein, S. S. Vallender 1974,
whose mean is that of the absolute difference of two distribution functions, integrated.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from detectors.base import F64

CELLS: Final = 10  # into which samples are cut, at quantiles of the first
EMPTY: Final = 0.5  # values that an empty cell counts as
KS_MEAN: Final = math.sqrt(math.pi / 2.0) * math.log(2.0)


class Distance(NamedTuple):
    """A distance between two samples."""

    value: float
    by_chance: float  # its mean if both samples are of one law
    n_before: int
    n_after: int


def ks(before: ArrayLike, after: ArrayLike) -> Distance:
    """The greatest distance of the distribution functions of two samples, 0 to 1. ValueError unless finite numbers."""
    old, new = _sample(before), _sample(after)
    points = np.concatenate([old, new])
    below_old, below_new = (np.searchsorted(x, points, side="right") / len(x) for x in (old, new))
    return _ks(float(np.abs(below_old - below_new).max()), len(old), len(new))


def ks_of_cells(before: ArrayLike, after: ArrayLike) -> Distance:
    """The same of counts [cells] in order; at most that of the samples. By chance, it is at most `by_chance`."""
    old, new = _counts(before, after)
    apart = np.cumsum(old) / old.sum() - np.cumsum(new) / new.sum()
    return _ks(float(np.abs(apart).max()), int(old.sum()), int(new.sum()))


def psi(before: ArrayLike, after: ArrayLike, cells: int = CELLS) -> Distance:
    """The population stability index of two samples, in cells at quantiles of the first. ValueError as `ks`."""
    return psi_of_cells(*cut(before, after, cells))


def psi_of_cells(before: ArrayLike, after: ArrayLike) -> Distance:
    """The same of counts [cells]: the sum of (q - p) log(q / p). An empty cell counts as half a value."""
    old, new = _counts(before, after)
    p, q = np.maximum(old, EMPTY) / old.sum(), np.maximum(new, EMPTY) / new.sum()
    value = float(((q - p) * np.log(q / p)).sum())
    return Distance(value, _freedom(old, new) * _spread(old.sum(), new.sum()), int(old.sum()), int(new.sum()))


def jensen_shannon(before: ArrayLike, after: ArrayLike, cells: int = CELLS) -> Distance:
    """The Jensen-Shannon distance of two samples, in cells at quantiles of the first. ValueError as `ks`."""
    return jensen_shannon_of_cells(*cut(before, after, cells))


def jensen_shannon_of_cells(before: ArrayLike, after: ArrayLike) -> Distance:
    """The same of counts [cells]: the root of the divergence in bits, 0 to 1, as scipy has it with base 2."""
    old, new = _counts(before, after)
    p, q = old / old.sum(), new / new.sum()
    middle = 0.5 * (p + q)
    divergence = 0.0
    for share in (p, q):
        there = share > 0.0
        divergence += 0.5 * float((share[there] * np.log2(share[there] / middle[there])).sum())
    freedom = _freedom(old, new)
    root = math.sqrt(2.0) * math.exp(math.lgamma(0.5 * freedom + 0.5) - math.lgamma(0.5 * freedom)) if freedom else 0.0
    by_chance = root * math.sqrt(_spread(old.sum(), new.sum()) / (8.0 * math.log(2.0)))
    return Distance(math.sqrt(max(divergence, 0.0)), by_chance, int(old.sum()), int(new.sum()))


def wasserstein(before: ArrayLike, after: ArrayLike) -> Distance:
    """The area between the distribution functions of two samples, in the column's unit. ValueError as `ks`."""
    old, new = _sample(before), _sample(after)
    points = np.unique(np.concatenate([old, new]))
    widths = np.diff(points)
    below_old = np.searchsorted(old, points[:-1], side="right")
    below_new = np.searchsorted(new, points[:-1], side="right")
    apart = np.abs(below_old / len(old) - below_new / len(new))
    share = (below_old + below_new) / (len(old) + len(new))
    mean = math.sqrt(2.0 / math.pi * _spread(len(old), len(new)))
    by_chance = mean * float((np.sqrt(share * (1.0 - share)) * widths).sum())
    return Distance(float((apart * widths).sum()), by_chance, len(old), len(new))


def cut(before: ArrayLike, after: ArrayLike, cells: int = CELLS) -> tuple[F64, F64]:
    """Counts [cells, or fewer where values repeat] of two samples, in cells whose edges are quantiles of the first.

    ValueError unless both are finite numbers, and `cells` lies between 2 and 1,000.
    """
    if not 2 <= cells <= 1000:
        raise ValueError(f"cells must lie between 2 and 1,000, got {cells}")
    old, new = _sample(before), _sample(after)
    edges = np.unique(np.quantile(old, np.arange(1, cells) / cells, method="inverted_cdf"))
    return _counted(edges, old), _counted(edges, new)


def _counted(edges: F64, sample: F64) -> F64:
    """How many values lie in each cell; a value at an edge belongs to the cell below it."""
    return np.bincount(np.searchsorted(edges, sample, side="left"), minlength=len(edges) + 1).astype(np.float64)


def _ks(value: float, n: int, m: int) -> Distance:
    return Distance(value, min(1.0, KS_MEAN * math.sqrt(_spread(n, m))), n, m)


def _spread(n: float, m: float) -> float:
    return 1.0 / float(n) + 1.0 / float(m)


def _freedom(old: F64, new: F64) -> int:
    return max(int(np.count_nonzero(old + new)) - 1, 0)


def _sample(values: ArrayLike) -> F64:
    """The values, sorted."""
    sample = np.asarray(values, np.float64)
    if sample.ndim != 1 or not len(sample) or not np.isfinite(sample).all():
        raise ValueError(f"a sample is one finite number or more in one row, got shape {sample.shape}, or NaN")
    return np.sort(sample)


def _counts(before: ArrayLike, after: ArrayLike) -> tuple[F64, F64]:
    old, new = np.asarray(before, np.float64), np.asarray(after, np.float64)
    if old.ndim != 1 or old.shape != new.shape or min(old.min(initial=0.0), new.min(initial=0.0)) < 0.0:
        raise ValueError(f"counts are two rows of one length, none negative; got shapes {old.shape} and {new.shape}")
    if not (0.0 < old.sum() < math.inf and 0.0 < new.sum() < math.inf):
        raise ValueError("counts of both samples must hold at least one value")
    return old, new
