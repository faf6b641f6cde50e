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
from functools import partial
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from detectors.base import F64

CELLS: Final = 10  # into which samples are cut, at quantiles of the first
EMPTY: Final = 0.5  # values that an empty cell counts as
DRAWS: Final = 1000  # of an interval
KS_MEAN: Final = math.sqrt(math.pi / 2.0) * math.log(2.0)


class Distance(NamedTuple):
    """A distance between two samples."""

    value: float
    by_chance: float  # its mean if both samples are of one law
    n_before: int
    n_after: int


class Estimate(NamedTuple):
    """A distance between two samples, and where that of their laws lies."""

    value: float
    low: float  # the distance of the laws lies between low and high, at 95 %
    high: float
    by_chance: float  # the mean of the value if both samples are of one law


def ks(before: ArrayLike, after: ArrayLike) -> Distance:
    """The greatest distance of the distribution functions of two samples, 0 to 1. ValueError unless finite numbers."""
    old, new = _sample(before), _sample(after)
    points = np.concatenate([old, new])
    below_old, below_new = (np.searchsorted(x, points, side="right") / len(x) for x in (old, new))
    return _ks(float(np.abs(below_old - below_new).max()), len(old), len(new))


def ks_of_cells(before: ArrayLike, after: ArrayLike) -> Distance:
    """The same of counts [cells] in order; at most that of the samples. By chance, it is at most `by_chance`."""
    old, new = _counts(before, after)
    return _ks(float(_gap(old, new)), int(old.sum()), int(new.sum()))


def psi(before: ArrayLike, after: ArrayLike, cells: int = CELLS) -> Distance:
    """The population stability index of two samples, in cells at quantiles of the first. ValueError as `ks`."""
    return psi_of_cells(*cut(before, after, cells))


def psi_of_cells(before: ArrayLike, after: ArrayLike) -> Distance:
    """The same of counts [cells]: the sum of (q - p) log(q / p). An empty cell counts as half a value."""
    old, new = _counts(before, after)
    by_chance = _freedom(old, new) * _spread(old.sum(), new.sum())
    return Distance(float(_stability(old, new)), by_chance, int(old.sum()), int(new.sum()))


def jensen_shannon(before: ArrayLike, after: ArrayLike, cells: int = CELLS) -> Distance:
    """The Jensen-Shannon distance of two samples, in cells at quantiles of the first. ValueError as `ks`."""
    return jensen_shannon_of_cells(*cut(before, after, cells))


def jensen_shannon_of_cells(before: ArrayLike, after: ArrayLike) -> Distance:
    """The same of counts [cells]: the root of the divergence in bits, 0 to 1, as scipy has it with base 2."""
    old, new = _counts(before, after)
    freedom = _freedom(old, new)
    root = math.sqrt(2.0) * math.exp(math.lgamma(0.5 * freedom + 0.5) - math.lgamma(0.5 * freedom)) if freedom else 0.0
    by_chance = root * math.sqrt(_spread(old.sum(), new.sum()) / (8.0 * math.log(2.0)))
    return Distance(math.sqrt(float(_divergence(old, new))), by_chance, int(old.sum()), int(new.sum()))


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


def wasserstein_of_cells(before: ArrayLike, after: ArrayLike, edges: ArrayLike) -> Distance:
    """The same of counts [cells], whose values are spread evenly between their edges [cells + 1], which ascend."""
    old, new = _counts(before, after)
    widths = _widths(edges, len(old))
    share = np.cumsum(old + new) / (old.sum() + new.sum())
    middle = share - 0.5 * np.diff(share, prepend=0.0)
    mean = math.sqrt(2.0 / math.pi * _spread(old.sum(), new.sum()))
    by_chance = mean * float((np.sqrt(np.maximum(middle * (1.0 - middle), 0.0)) * widths).sum())
    return Distance(float(_area(old, new, widths)), by_chance, int(old.sum()), int(new.sum()))


def intervals_of_cells(
    before: ArrayLike, after: ArrayLike, edges: ArrayLike = (), level: float = 0.95
) -> dict[str, tuple[float, float]]:
    """Bounds between which distances of the two laws lie, at this level, by counts [cells] of independent values.

    Of `psi` and `jensen_shannon`, and with edges also of `ks` and `wasserstein`. A thousand pairs of samples are drawn
    from the counts, with a fixed seed. PSI, and the square of Jensen-Shannon, have the basic interval of A. C. Davison
    and D. V. Hinkley (1997): 2 T less the quantiles of T among the draws. Where only one count of a cell is 0, that of
    PSI is a lower bound. KS and Wasserstein are metrics, so they are off by no more than the distances of both samples
    from their laws; these intervals are wider than they have to be. ValueError as `psi_of_cells`, for edges of another
    shape, and for a level outside 0 to 1.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"a level lies between 0 and 1, got {level}")
    old, new = _counts(before, after)
    random = np.random.default_rng(0)
    olds, news = (random.multinomial(round(of.sum()), of / of.sum(), DRAWS).astype(np.float64) for of in (old, new))
    sides = [0.5 + 0.5 * level, 0.5 - 0.5 * level]
    low, high = np.maximum(2.0 * _stability(old, new) - np.quantile(_stability(olds, news), sides), 0.0).tolist()
    found = {"psi": (low, high)}
    low, high = np.maximum(2.0 * _divergence(old, new) - np.quantile(_divergence(olds, news), sides), 0.0).tolist()
    found["jensen_shannon"] = math.sqrt(low), min(math.sqrt(high), 1.0)
    if np.size(edges):
        area = partial(_area, widths=_widths(edges, len(old)))
        for name, distance, most in (("ks", _gap, 1.0), ("wasserstein", area, math.inf)):
            value, off = float(distance(old, new)), distance(old, olds) + distance(new, news)
            reach = float(np.quantile(off, level))
            found[name] = max(value - reach, 0.0), min(value + reach, most)
    return found


def cut(before: ArrayLike, after: ArrayLike, cells: int = CELLS) -> tuple[F64, F64]:
    """Counts [cells, or fewer where values repeat] of two samples, in cells whose edges are quantiles of the first.

    ValueError unless both are finite numbers, and `cells` lies between 2 and 1,000.
    """
    if not 2 <= cells <= 1000:
        raise ValueError(f"cells must lie between 2 and 1,000, got {cells}")
    old, new = _sample(before), _sample(after)
    edges = np.unique(np.quantile(old, np.arange(1, cells) / cells, method="inverted_cdf"))
    return _counted(edges, old), _counted(edges, new)


def _gap(old: F64, new: F64) -> F64:
    """The greatest difference of distribution functions, of counts [..., cells]."""
    apart = np.cumsum(old, -1) / _total(old) - np.cumsum(new, -1) / _total(new)
    return np.asarray(np.abs(apart).max(-1))


def _stability(old: F64, new: F64) -> F64:
    p, q = np.maximum(old, EMPTY) / _total(old), np.maximum(new, EMPTY) / _total(new)
    return np.asarray(((q - p) * np.log(q / p)).sum(-1))


def _divergence(old: F64, new: F64) -> F64:
    p, q = old / _total(old), new / _total(new)
    middle = np.maximum(0.5 * (p + q), np.finfo(np.float64).tiny)
    parts = (share * np.log2(np.where(share > 0.0, share / middle, 1.0)) for share in (p, q))
    return np.asarray(np.maximum(0.5 * sum(part.sum(-1) for part in parts), 0.0))


def _area(old: F64, new: F64, widths: F64) -> F64:
    """The area between two distribution functions that are straight within each cell."""
    right = np.cumsum(old, -1) / _total(old) - np.cumsum(new, -1) / _total(new)
    left = np.concatenate([np.zeros_like(right[..., :1]), right[..., :-1]], -1)
    both = np.abs(left) + np.abs(right)
    crossing = (left * left + right * right) / np.maximum(both, np.finfo(np.float64).tiny)
    return np.asarray((0.5 * np.where(left * right < 0.0, crossing, both) * widths).sum(-1))


def _total(counts: F64) -> F64:
    return np.asarray(counts.sum(-1, keepdims=True))


def _widths(edges: ArrayLike, cells: int) -> F64:
    bounds = np.asarray(edges, np.float64)
    if bounds.shape != (cells + 1,) or not np.isfinite(bounds).all() or (np.diff(bounds) < 0.0).any():
        raise ValueError(f"{cells} cells have {cells + 1} finite edges, in order; got shape {bounds.shape}")
    return np.diff(bounds)


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
