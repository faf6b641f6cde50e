"""A change measured: where it began, how far the values moved, and how certain that is.

The same measurement serves alarms of every detector. It takes the values before a change, from the training reference
or the history of the series, and the values around the alarm in order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import F64, I64
from detectors.base import UNSEEN_CATEGORY

DISTINCT_MAX: Final = 10  # numbers with so few different values are located by their mean
ONSET_CELLS: Final = 8
CELLS_MAX: Final = 24
CATEGORIES_MAX: Final = 20
GOLDEN: Final = 0x9E3779B97F4A7C15  # 2 to the power of 64 by the golden ratio, odd
FOLDS: Final = 5  # parts of the values, of which each is counted by what the others show
RESOLVED_MIN: Final = 1000  # values that single precision must tell apart within the range


class Measured(NamedTuple):
    """A change in numbers."""

    before: float  # location of the old regime; the share of `category` where there is one
    after: float  # the same of the new regime
    effect: float
    effect_se: float | None  # standard error of the effect
    shift_sd: float | None  # in standard deviations of the old regime
    n_before: int
    n_after: int
    category: float | None = None  # whose share `before` and `after` are


class Cells(NamedTuple):
    """The shares of both regimes in a few cells."""

    cells: F64  # bounds of `k` cells of numbers [k + 1]; or ids of categories [k], the last one NaN for the rest
    before: F64  # [k]
    after: F64  # [k]


def onset_in(before: F64, window: F64, is_ordered: bool, first: float = 1.0) -> int:
    """The index of the value of `window` [m] with which a new regime began, the likeliest one.

    Counted in cells, values before and after a change have multinomial distributions with unknown shares. The evidence
    of each place is the marginal likelihood under Dirichlet priors (D. Barry and J. A. Hartigan, "Product partition
    models for change point problems", Annals of Statistics, 1992).

    first: how many times as likely as any other place the first one is, before the values are seen.
    """
    cell, cells = _cells_of(before, window, is_ordered)
    of_before = np.bincount(cell[: len(before)], minlength=cells)
    is_in = np.zeros((len(window) + 1, cells), np.int64)
    is_in[np.arange(1, len(window) + 1), cell[len(before) :]] = 1
    passed = np.cumsum(is_in, axis=0)
    evidence = _marginal(of_before + passed[:-1]) + _marginal(passed[-1] - passed[:-1])
    evidence[0] += math.log(first)
    return int(np.argmax(evidence))


def _marginal(counts: I64) -> F64:
    """The log marginal likelihood of counts [m, cells], up to a constant, under a prior of one half a cell."""
    number = np.arange(int(counts.sum(axis=1).max()))
    of_cell = np.concatenate([[0.0], np.cumsum(np.log(number + 0.5))])
    of_all = np.concatenate([[0.0], np.cumsum(np.log(number + 0.5 * counts.shape[1]))])
    found: F64 = of_cell[counts].sum(axis=1) - of_all[counts.sum(axis=1)]
    return found


def _cells_of(before: F64, window: F64, is_ordered: bool) -> tuple[I64, int]:
    """The cell of each value, those before first. What lies outside the values before has cells of its own."""
    both = np.concatenate([before, window])
    if not is_ordered:
        _, cell, counts = np.unique(both, return_inverse=True, return_counts=True)
        rank = np.argsort(np.argsort(-counts, kind="stable"))
        return np.minimum(rank[cell], 2 * ONSET_CELLS - 1), min(len(counts), 2 * ONSET_CELLS)
    ordered = np.sort(before)
    inner = ordered[np.arange(1, ONSET_CELLS) * len(ordered) // ONSET_CELLS]
    low, high = min(ordered[0], window.min()), max(ordered[-1], window.max())
    far = [(low + ordered[0]) / 2, (ordered[-1] + high) / 2]  # what is just outside differs from what is far away
    edges = np.unique(np.concatenate([[ordered[0]], inner, [np.nextafter(ordered[-1], np.inf)], far]))
    return np.searchsorted(edges, both, side="right"), len(edges) + 1


def numbers_measured(before: F64, after: F64, unit: str) -> Measured | None:
    """The change of numbers, with its effect in `ks_distance` or `sd`.

    None where single precision, in which values are kept, does not resolve them, and for other units.
    """
    low, high = min(before.min(), after.min()), max(before.max(), after.max())
    if high > low and max(abs(low), abs(high)) * 2.0**-24 * RESOLVED_MIN > high - low:
        return None
    effect, se = _distance(before, after) if unit == "ks_distance" else _in_sd(before, after)
    if not math.isfinite(effect):
        return None
    is_discrete = len(np.unique(before)) <= DISTINCT_MAX and len(np.unique(after)) <= DISTINCT_MAX
    location = np.mean if is_discrete or unit == "sd" else np.median
    was, now, spread = float(location(before)), float(location(after)), float(before.std())
    shift = (now - was) / spread if spread > 0 else None
    return Measured(was, now, effect, se, shift, len(before), len(after))


def _distance(before: F64, after: F64) -> tuple[float, float]:
    """The Kolmogorov-Smirnov distance and its standard error, as a difference of two shares.

    The place of the greatest distance is found in a part of the values and the distance there measured in the others.
    """
    return _crossed(before, after, _farthest)


def _farthest(before: F64, after: F64) -> Callable[[F64], NDArray[np.bool_]]:
    """Which values lie on that side of the place of the greatest distance where more of them lie after."""
    points = np.unique(np.concatenate([before, after]))
    gone = _upto(after, points) * len(before) - _upto(before, points) * len(after)  # whole numbers: ties are exact
    at = int(np.argmax(np.abs(gone)))
    place, is_down = points[at], gone[at] > 0
    return lambda values: (values <= place) == is_down


def _upto(values: F64, points: F64) -> I64:
    return np.searchsorted(np.sort(values), points, side="right")


def _crossed(
    before: F64, after: F64, find: Callable[[F64, F64], Callable[[F64], NDArray[np.bool_]]]
) -> tuple[float, float]:
    """How much greater the share of some values is after than before, and its standard error.

    find: which values, from a part of those before and of those after. Each fifth is counted by what the others show:
    counted by what they show themselves, chance alone would add to the effect.
    """
    n, m = len(before), len(after)
    if min(n, m) < 2:
        mine = find(before, after)
        p, q = float(mine(before).mean()), float(mine(after).mean())
        return q - p, _share_se(p, n, q, m)
    of_before, of_after, was, now = _fold_of(n), _fold_of(m), 0, 0
    for fold in range(FOLDS):
        mine = find(before[of_before != fold], after[of_after != fold])
        was += int(np.count_nonzero(mine(before[of_before == fold])))
        now += int(np.count_nonzero(mine(after[of_after == fold])))
    return max(now / m - was / n, 0.0), _share_se(was / n, n, now / m, m)


def _fold_of(n: int) -> I64:
    """The fold of each of `n` values: of five in a row each is in another, in an order that follows no cycle."""
    place = np.arange(n)
    turned = ((place // FOLDS).astype(np.uint64) * np.uint64(GOLDEN) >> np.uint64(61)).astype(np.int64)
    return (place + turned) % FOLDS


def _in_sd(before: F64, after: F64) -> tuple[float, float]:
    """The difference of means in standard deviations of before, and its standard error by the delta method.

    The variance after counts one value more, as far off as those before are: of few values alone it would be too small.
    """
    sd, n, m = float(before.std()), len(before), len(after)
    if sd == 0.0:
        return math.nan, math.nan
    apart, off = (float(after.mean()) - float(before.mean())) / sd, (before - before.mean()) / sd
    skew, kurtosis = float(np.mean(off**3)), float(np.mean(off**4))
    of_after = (float(after.var()) / sd**2 + 1.0 / m) / m
    of_before = (1.0 + apart * skew + apart**2 * (kurtosis - 1.0) / 4) / n
    return abs(apart), math.sqrt(of_after + max(of_before, 0.0))


def _share_se(p: float, n: int, q: float, m: int) -> float:
    """The standard error of the difference of shares p of n and q of m; neither counts as certain."""
    p, q = (p * n + 0.5) / (n + 1), (q * m + 0.5) / (m + 1)
    return math.sqrt(p * (1 - p) / n + q * (1 - q) / m)


def categories_measured(before: F64, after: F64, category: float | None = None) -> Measured:
    """The change of categories, with its effect as a total variation distance.

    before and after: ids. category: whose share is given; None: the one whose share moved most; -2: all that the old
    regime lacks. The categories that gained are found in a part of the values and measured in the others: else chance
    alone would add to the distance, the more categories there are the more.
    """
    ids = np.unique(np.concatenate([before, after]))
    was, now = _shares(before, ids), _shares(after, ids)
    if category is None:
        category = float(ids[int(np.argmax(np.abs(now - was)))])
    mine = was == 0.0 if category == UNSEEN_CATEGORY else ids == category
    effect, se = _crossed(before, after, partial(_gaining, ids))
    return Measured(float(was[mine].sum()), float(now[mine].sum()), effect, se, None, len(before), len(after), category)


def _gaining(ids: F64, before: F64, after: F64) -> Callable[[F64], NDArray[np.bool_]]:
    """Which values are of categories whose share is greater after."""
    gained = ids[_shares(after, ids) > _shares(before, ids)]
    return lambda values: np.isin(values, gained)


def _shares(values: F64, ids: F64) -> F64:
    return np.bincount(np.searchsorted(ids, values), minlength=len(ids)) / len(values)


def cells_of_numbers(before: F64, after: F64) -> Cells:
    """Shares in at most 24 cells: one a value where there are few, else between quantiles of both regimes."""
    points = np.unique(np.concatenate([before, after]))
    if len(points) <= CELLS_MAX:
        inner = (points[1:] + points[:-1]) / 2
    else:
        steps = CELLS_MAX // 2
        inner = np.concatenate([_quantiles(one, steps) for one in (before, after)])
    inner = np.unique(np.array([float(f"{edge:.6g}") for edge in inner]))
    inner = inner[(inner > points[0]) & (inner <= points[-1])] if len(points) > CELLS_MAX else inner
    ends = [float(np.format_float_positional(np.float32(one))) for one in (points[0], points[-1])]
    edges = np.concatenate([[min([ends[0], *inner[:1]])], inner, [max([ends[1], *inner[-1:]])]])
    shares = [
        np.bincount(np.searchsorted(inner, one, side="right"), minlength=len(inner) + 1) / len(one)
        for one in (before, after)
    ]
    return Cells(edges, *shares)


def _quantiles(values: F64, steps: int) -> F64:
    ordered = np.sort(values)
    return ordered[np.arange(1, steps) * len(ordered) // steps]


def cells_of_categories(before: F64, after: F64, most: int = CATEGORIES_MAX) -> Cells:
    """Shares of the `most` most frequent categories of both regimes, and of the rest if there are others."""
    ids = np.unique(np.concatenate([before, after]))
    was, now = _shares(before, ids), _shares(after, ids)
    order = np.argsort(-(was + now), kind="stable")
    kept, rest = order[:most], order[most:]
    cells, was, now = ids[kept], was[kept], now[kept]
    if len(rest):
        cells, was, now = (
            np.append(one, x) for one, x in ((cells, np.nan), (was, 1 - was.sum()), (now, 1 - now.sum()))
        )
    return Cells(cells, was, now)
