"""Cells: where the values of a series are counted, from which the rank of the next one is read.

Edges stand at order statistics of a sample, denser in the tails, with one cell beyond either end. They depend on the
sample by its order alone: an increasing map of all values changes no cell. Values that are equal share a cell. In the
lower half of the sample edges stand just above its values, in the upper half at them, so that turning the sample round
turns the cells round.
"""

from __future__ import annotations

from sys import float_info

import numpy as np

from detectors.arrays.jit import kernel
from detectors.arrays.types import F64, I64
from detectors.shiryaev_roberts.state import Record, Series
from detectors.shiryaev_roberts.sums import clear

# Which quantiles are edges, in 256ths.
QUANTILES = np.array([1, 2, 4, *np.rint(np.linspace(8, 248, 54)).astype(np.int64).tolist(), 252, 254, 255])
COUNTED_MAX = 1 << 20  # values counted, at most; then all counts are halved


def settle(series: Series, rows: I64, ordered: F64, carry_over: bool = False) -> None:
    """Give series the cells of their sorted samples, with the samples counted in them, and no evidence, unless what
    there is so far is carried over.

    `ordered` is [rows, values of a sample].
    """
    n = ordered.shape[1]
    at = (QUANTILES * n + 128) // 256
    at = at[(at >= 1) & (at < n)]
    above = np.nextafter(ordered[:, np.append(at[2 * at <= n], n) - 1], np.inf)
    wanted = np.sort(np.concatenate([ordered[:, :1], above, ordered[:, at[2 * at >= n]]], axis=1), axis=1)
    _settle(series, rows, ordered, wanted, carry_over)


@kernel
def _settle(series: Series, rows: I64, ordered: F64, wanted: F64, carry_over: bool) -> None:
    """`settle`, given edges in order, of which equal ones are one."""
    n = ordered.shape[1]
    for k in range(len(rows)):
        one = series[rows[k]]
        one.edges[:] = 0.0
        one.counts[:] = 0
        if not carry_over:
            clear(one)
        used, counted, largest = 0, 0, 0
        for edge in wanted[k]:
            if used > 0 and edge == one.edges[used - 1]:
                continue
            first = counted
            while counted < n and ordered[k, counted] < edge:
                counted += 1
            one.edges[used], one.counts[used] = edge, counted - first
            largest = max(largest, counted - first)
            used += 1
        one.used, one.total, one.largest = used, n, largest  # no value lies at the last edge or beyond
        one.middle = 0.5 * ordered[k, (n - 1) // 2] + 0.5 * ordered[k, n // 2]
        one.settled, one.learning, one.filled, one.recent_n = 1, 0, 0, 0
        one.power = 1.0


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


def scores(samples: F64) -> F64:
    """The middle rank of each value among all of its sample, scaled to (-1, 1), in their order; [samples, values]."""
    return _scores(samples, np.argsort(samples, axis=1))


@kernel
def _scores(samples: F64, order: I64) -> F64:
    found = np.empty(samples.shape)
    n = samples.shape[1]
    for row in range(len(samples)):
        first = 0
        while first < n:
            end = first
            while end < n and samples[row, order[row, end]] == samples[row, order[row, first]]:
                end += 1
            for k in range(first, end):
                found[row, order[row, k]] = (first + end) / n - 1.0
            first = end
    return found
