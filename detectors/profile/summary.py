"""The summary of a closed interval: moments, percentiles, cells, and how far they are from the reference.

PSI is the population stability index over the cells, sum of (p - q) ln(p / q), with half a value added to each cell.
KS is the largest difference of the distribution functions at the edges of the cells; of categories, which have no
order, half the sum of the differences of their shares (total variation).

What chance alone gives, in 95 of 100 intervals at most: without drift, n * PSI * N / (n + N) is chi-square with one
degree less than there are cells (B. Yurdakul, "Statistical properties of population stability index", 2018), and the
distance follows A. N. Kolmogorov (1933), for two samples of n and N values. Both hold for values that do not depend on
each other.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from detectors.arrays.jit import kernel
from detectors.arrays.types import F64, I64
from detectors.profile.kernels import sort_ties, tie_at
from detectors.profile.layout import (
    ATOM_COUNT,
    CELL,
    CELLS,
    CENTRE,
    EDGE,
    EDGES,
    FAULTS,
    FIXED,
    HALVED,
    ID,
    ID_SHARE,
    MISSING,
    MODE,
    NAMES,
    OF_ID,
    RAW,
    SCALE,
    SHARE,
    SIZE,
    SLOTS,
    SPREAD,
    SQUARES,
    SUM,
    TARGETS,
    TIES,
    TOTAL,
    USED,
    N,
    State,
    distribution_of,
    quantile_at,
    value_of,
)  # fmt: skip

DECILES: Final = EDGES + 1
WHOLE: Final = 65_535.0  # of shares
MEAN, SD, QUANTILE, PSI, KS, STATS = 0, 1, 2, 7, 8, 9  # columns of the statistics of a row
KS_95: Final = 1.3581  # the 95th percentile of Kolmogorov's distribution


def chance_of(n: F64, size: F64, cells: I64, is_number: Any) -> tuple[F64, F64]:
    """PSI and KS [k] that 95 of 100 intervals of n [k] values stay below without drift; NaN without a reference."""
    with np.errstate(divide="ignore", invalid="ignore"):
        each = 1.0 / n + 1.0 / size
        psi = np.where(cells >= 2, chi_square_95(np.maximum(cells - 1, 1)) * each, 0.0)
        ks = np.where(is_number, KS_95 * np.sqrt(each), np.sqrt(psi) / 2)
    is_compared = (cells > 0) & (n > 0)
    return np.where(is_compared, psi, np.nan), np.where(is_compared, np.minimum(ks, 1.0), np.nan)


def chi_square_95(freedom: I64) -> F64:
    """The 95th percentile of chi-square for these degrees of freedom, 1 to 9."""
    table = np.array([3.8415, 5.9915, 7.8147, 9.4877, 11.0705, 12.5916, 14.0671, 15.5073, 16.919])
    return np.asarray(table[freedom - 1], np.float64)


@kernel
def summarise(state: State, rows: I64, stats: F64, cells: Any, compared: Any, ids: F64) -> None:
    """The summaries of these rows [k], whose intervals end.

    stats [k, 9] as named above, NaN without numbers; cells [k, 10] in thousandths; compared [k]: cells against which
    PSI and KS are taken, 0 without a reference; ids [k, 8] of categories, NaN for none.
    """
    f, i, _, _, _, b, _ = state
    for k in range(len(rows)):
        row = rows[k]
        stats[k], cells[k], compared[k], ids[k] = np.nan, 0, 0, np.nan
        mode, n = b[row, MODE], float(i[row, N])
        if n == 0:
            continue
        if mode == NAMES:
            _summarise_names(state, row, stats[k], cells, compared, ids[k], k)
        elif mode in (TIES, SPREAD):
            beyond = f[row, SUM] / n
            stats[k, MEAN] = f[row, CENTRE] + beyond
            stats[k, SD] = math.sqrt(max(f[row, SQUARES] / n - beyond * beyond, 0.0))
            _summarise_numbers(state, row, stats[k], cells, compared, k)


@kernel
def _distance(p: F64, q: F64, n: float, size: float, stats: F64) -> int:
    """PSI of shares p and q, with half a value added to each cell; returns the cells that are in use."""
    used = 0
    for j in range(len(p)):
        used += 1 if p[j] > 0 or q[j] > 0 else 0
    psi = 0.0
    for j in range(len(p)):
        if p[j] > 0 or q[j] > 0:
            a, c = (p[j] * n + 0.5) / (n + 0.5 * used), (q[j] * size + 0.5) / (size + 0.5 * used)
            psi += (a - c) * math.log(a / c)
    stats[PSI] = psi
    return used


@kernel
def _summarise_numbers(state: State, row: int, stats: F64, cells: Any, compared: Any, k: int) -> None:
    f, _, g, h, s, b, _ = state
    below_edge = np.zeros(DECILES)
    if b[row, MODE] == TIES:
        total = float(sort_ties(state, row))
        for j in range(5):
            stats[QUANTILE + j] = value_of(tie_at(state, row, TARGETS[j] * total), f[row, CENTRE], g[row, SCALE])
        for a in range(b[row, USED]):
            for j in range(EDGES):
                if s[row, ATOM_COUNT - 11 + a] <= s[row, EDGE + j]:
                    below_edge[j] += h[row, ATOM_COUNT + a]
    else:
        at, below = np.empty(CELLS + 1, np.int64), np.empty(CELLS + 1)
        total = float(distribution_of(state, row, at, below))
        for j in range(5):
            code, _ = quantile_at(at, below, TARGETS[j] * total)
            stats[QUANTILE + j] = value_of(code, f[row, CENTRE], g[row, SCALE])
        _below_edges(state, row, below_edge)
    if b[row, SIZE] > 0 and total > 0:
        below_edge[EDGES] = total
        _compare_numbers(state, row, below_edge / total, stats, cells, compared, k)


@kernel
def _below_edges(state: State, row: int, below_edge: F64) -> None:
    """How much of a row of cells lies up to each edge of the reference: exact but for counts that were divided."""
    h, s = state[3], state[4]
    for j in range(EDGES):
        rank = j
        for m in range(5):
            rank += 1 if s[row, CELL - 6 + m] <= s[row, EDGE + j] else 0
        for m in range(j + 1, EDGES):  # equal edges
            rank += 1 if s[row, EDGE + m] == s[row, EDGE + j] else 0
        for c in range(rank + 1):
            below_edge[j] += h[row, CELL + c]


@kernel
def _compare_numbers(state: State, row: int, below: F64, stats: F64, cells: Any, compared: Any, k: int) -> None:
    i, h, b = state[1], state[3], state[5]
    p, q, ks = np.empty(DECILES), np.empty(DECILES), 0.0
    for j in range(DECILES):
        share = 1.0 if j == EDGES else h[row, SHARE + j] / WHOLE
        before = 0.0 if j == 0 else h[row, SHARE + j - 1] / WHOLE
        p[j], q[j] = below[j] - (0.0 if j == 0 else below[j - 1]), share - before
        cells[k, j] = math.floor(p[j] * 1000.0 + 0.5)
        ks = max(ks, abs(below[j] - share))
    compared[k] = _distance(p, q, float(i[row, N]), 2.0 ** (b[row, SIZE] / 8.0), stats)
    stats[KS] = ks


@kernel
def _summarise_names(state: State, row: int, stats: F64, cells: Any, compared: Any, ids: F64, k: int) -> None:
    f, i, _, h, _, b, _ = state
    total, fixed = float(max(i[row, TOTAL], 1)), int(b[row, FIXED])
    p, q, ks = np.zeros(fixed + 1), np.zeros(fixed + 1), 0.0
    for j in range(b[row, USED]):
        share = min(h[row, OF_ID + j] / total, 1.0)
        ids[j], cells[k, j] = f[row, ID + j], math.floor(share * 1000.0 + 0.5)
        if j < fixed:
            p[j], q[j] = share, h[row, ID_SHARE + j] / WHOLE
    if b[row, SIZE] > 0:
        p[fixed], q[fixed] = max(1.0 - p.sum(), 0.0), max(1.0 - q.sum(), 0.0)
        for j in range(fixed + 1):
            ks += abs(p[j] - q[j]) / 2
        compared[k] = _distance(p, q, float(i[row, N]), 2.0 ** (b[row, SIZE] / 8.0), stats)
        stats[KS] = min(ks, 1.0)


@kernel
def begin_interval(state: State, rows: I64, learn_min: int) -> None:
    """Begin the next interval of these rows; one without a reference takes its last one, of `learn_min` values."""
    f, i, _, h, _, b, _ = state
    for row in rows:
        mode = b[row, MODE]
        if b[row, SIZE] == 0 and i[row, N] >= learn_min and (mode in (TIES, SPREAD)):
            _learn_numbers(state, row)
        elif b[row, SIZE] == 0 and i[row, N] >= learn_min and mode == NAMES:
            _learn_names(state, row)
        i[row, N], i[row, MISSING], i[row, FAULTS], b[row, HALVED] = 0, 0, 0, 0
        if mode == NAMES:
            i[row, TOTAL], b[row, USED] = 0, b[row, FIXED]
            for j in range(SLOTS):
                h[row, OF_ID + j] = 0
            for j in range(int(b[row, FIXED]), SLOTS):
                f[row, ID + j] = 0.0
        else:
            b[row, USED] = 0
            if mode != RAW:
                f[row, SUM], f[row, SQUARES] = 0.0, 0.0
                h[row, ATOM_COUNT - 11 :] = 0
                b[row, MODE] = min(mode, TIES)
            else:
                h[row, EDGE:] = 0


@kernel
def size_code(n: float) -> int:
    """The size of a reference as eight times its binary logarithm, 1 or more."""
    return max(math.floor(8.0 * math.log(n) / math.log(2.0) + 0.5), 1)


@kernel
def _learn_numbers(state: State, row: int) -> None:
    i, h, s, b = state[1], state[3], state[4], state[5]
    below = np.zeros(DECILES)
    if b[row, MODE] == TIES:
        total = float(sort_ties(state, row))
        for j in range(EDGES):
            s[row, EDGE + j] = tie_at(state, row, (j + 1) * 0.1 * total)
            for a in range(b[row, USED]):
                if s[row, ATOM_COUNT - 11 + a] <= s[row, EDGE + j]:
                    below[j] += h[row, ATOM_COUNT + a]
    else:
        total = 0.0
        for j in range(CELLS):
            total += h[row, CELL + j]
        _below_edges(state, row, below)
    for j in range(EDGES):
        h[row, SHARE + j] = math.floor(below[j] / max(total, 1.0) * WHOLE + 0.5)
    b[row, SIZE] = size_code(float(i[row, N]))


@kernel
def _learn_names(state: State, row: int) -> None:
    """Keep the most frequent categories, but for two slots; equal counts stay in order of arrival."""
    f, i, _, h, _, b, _ = state
    used, total = int(b[row, USED]), float(max(i[row, TOTAL], 1))
    for j in range(1, used):
        name, count, k = f[row, ID + j], h[row, OF_ID + j], j - 1
        while k >= 0 and h[row, OF_ID + k] < count:
            f[row, ID + k + 1], h[row, OF_ID + k + 1] = f[row, ID + k], h[row, OF_ID + k]
            k -= 1
        f[row, ID + k + 1], h[row, OF_ID + k + 1] = name, count
    b[row, FIXED] = min(used, SLOTS - 2)
    for j in range(int(b[row, FIXED])):
        h[row, ID_SHARE + j] = math.floor(min(h[row, OF_ID + j] / total, 1.0) * WHOLE + 0.5)
    b[row, SIZE] = size_code(float(i[row, N]))
