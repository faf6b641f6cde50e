"""Cells: where the values of a series are counted, from which the rank of the next one is read.

Edges stand at order statistics of a sample, denser in the tails, with one cell beyond either end. They depend on the
sample by its order alone: an increasing map of all values changes no cell. Values that are equal share a cell. In the
lower half of the sample edges stand just above its values, in the upper half at them, so that turning the sample round
turns the cells round.
"""

from __future__ import annotations

from sys import float_info

import numpy as np

from detectors.base import F64
from detectors.jit import kernel
from detectors.rank_state import Record, Series

# Which quantiles are edges, in 256ths.
QUANTILES = np.array([1, 2, 4, *np.rint(np.linspace(8, 248, 54)).astype(np.int64).tolist(), 252, 254, 255])
COUNTED_MAX = 1 << 20  # values counted, at most; then all counts are halved


def edges_of(ordered: F64) -> F64:
    """Edges of the cells for a sorted sample, increasing: at most three more than there are quantiles."""
    n = len(ordered)
    at = (QUANTILES * n + 128) // 256
    at = at[(at >= 1) & (at < n)]
    lower = at[2 * at <= n]
    above = np.nextafter(np.append(ordered[lower - 1], ordered[-1]), np.inf)
    return np.unique(np.concatenate([ordered[:1], above, ordered[at[2 * at >= n]]]))


def settle(series: Series, row: int, ordered: F64) -> None:
    """Give a series the cells of this sorted sample, with the sample counted in them and no evidence."""
    one = series[row]
    edges = edges_of(ordered)
    counts = np.bincount(np.searchsorted(edges, ordered, side="right"), minlength=len(edges) + 1)
    for name in ("edges", "counts", "sums", "aged"):
        one[name][...] = 0
    one["edges"][: len(edges)] = edges
    one["counts"][: len(counts)] = counts
    one["used"], one["total"], one["largest"] = len(edges), counts.sum(), counts.max()
    one["middle"] = 0.5 * ordered[(len(ordered) - 1) // 2] + 0.5 * ordered[len(ordered) // 2]
    one["settled"], one["learning"], one["filled"], one["recent_n"] = 1, 0, 0, 0
    one["evidence"], one["power"] = 0.0, 1.0


def quantile(one: Record, share: float) -> float:
    """The value that has so much of the values at or below it: the middle of its cell."""
    used = int(one["used"])
    cell = int(np.searchsorted(np.cumsum(one["counts"][: used + 1]), share * int(one["total"])))
    low, high = float(one["edges"][max(cell - 1, 0)]), float(one["edges"][min(cell, used - 1)])
    return 0.5 * low + 0.5 * min(high, float_info.max)


def halve(series: Series, row: int) -> None:
    """Halve the counts of a series, so that the past fades and numbers stay small."""
    one = series[row]
    used = int(one["used"]) + 1
    one["counts"][:used] = (one["counts"][:used] + 1) // 2
    one["total"], one["largest"] = one["counts"].sum(), one["counts"].max()


@kernel
def scores(values: F64) -> F64:
    """The middle rank of each value among all of them, scaled to (-1, 1), in their order."""
    n = len(values)
    order = np.argsort(values)
    found = np.empty(n)
    first = 0
    while first < n:
        end = first
        while end < n and values[order[end]] == values[order[first]]:
            end += 1
        for k in range(first, end):
            found[order[k]] = (first + end) / n - 1.0
        first = end
    return found
