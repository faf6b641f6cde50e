"""The kernels of `bank.py`: from rows of columns to the evidence of a block for a change of dependence.

    rows ─► block is full ─► ranks within the block ─► two scores a column ─► correlations ─► `_weigh` ─► evidence

The scores of a value are the first two Legendre polynomials of its rank among those of its column in the block: its
place (P1), and its distance from the middle (P2). Their correlations between two columns, P1 with P1 (Spearman's), P2
with P2, P1 with P2 and P2 with P1, are the first terms of an expansion of the copula. Score column 2 c + p holds
P(p + 1) of column c; the correlation of score columns a < b is at index b (b - 1) / 2 + a. Two indices that would pair
a column with itself hold the statistics of all pairs: 0 the mean residual of the P1 correlations, 5 their size.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.jit import kernel
from detectors.arrays.types import F32, F64, I64

LEARNING_BLOCKS = 8  # one less than the blocks before evidence counts; twice as many with each alarm soon after another
DOUBLINGS_MAX = 4
SOON = 64  # an alarm is soon after another within so many times the learned blocks
COUNTED_MAX = 2048.0  # blocks in a mean, at most; then its weight is halved, so that the past fades
SMALL, LARGE = 0.8, 2.4  # alternatives, in standard deviations; the one is three times the other
BOUND = 4.0  # of a residual, so that a single strange block is not enough
PRESENT_MIN = 8  # rows with both columns, and a third of the block
VARIED_MIN = 0.4  # of the variance of scores without ties; below, a column does not count in this block
CORRELATION_MAX = 0.99  # beyond, correlations count as this
SPREAD_MIN = 0.5  # of a correlation over blocks, as a share of that of independent values
NEWEST = 0.25  # weight of the newest block in the latest mean
PROVEN, OWN_PROVEN = 3.0, 2.0  # standard errors that are subtracted from the estimated dependence of blocks
OWN_LAG_MAX = 1.5  # bound of a product of residuals, so that drift is not mistaken for dependence
PLAIN, OTHER, WHOLE = 0.4, 0.4 / 3.0, 0.1  # weights of the P1 correlations, each other kind, and each of the two of all
MEAN_OF_ALL, SPREAD_OF_ALL = 0, 5
# State.head
FILLED = 0  # rows that wait in the block
BLOCKS = 1  # blocks since it began
WIDTH = 2  # columns with values so far
ALARMS = 3  # alarms soon after one another
HEAD = 4

# State.facts: products of residuals with those of the block before, averaged over all correlations; summed over blocks
LAG, LAG_SQUARED, LAG_N, EVIDENCE = 0, 1, 2, 3
FACTS = 4

# State.stats, by correlation
MEAN, SPREAD, WEIGHT, COUNT = 0, 1, 2, 3  # mean, sum of squares around it, and blocks behind it: weighted, and counted
LATEST, LAST, OWN_LAG = 4, 5, 6  # mean of the latest blocks; last residual; sum of residuals times the one before
SUMS, AGED = 8, 12  # Shiryaev-Roberts, and the same times the age of the onset: up and down by little, then by much
MOVES = 4
STATS = 16  # a cache line


class JointState(NamedTuple):
    """All models, row by row."""

    head: I64  # [rows, HEAD]
    facts: F64  # [rows, FACTS]
    waiting: F64  # [rows, block, columns] infinite where missing
    stats: F32  # [rows, correlations, STATS]


class Block(NamedTuple):
    """Work space: a block as scores, whose squares add up to 1 in each column."""

    scores: F32  # [block, 2 columns]; 0 where missing
    having: I64  # [columns] rows that have the column, and
    present: NDArray[np.uint64]  # [columns] which
    says: NDArray[np.bool_]  # [2 columns] whether the scores vary enough to count
    product: F32  # [2 columns, 2 columns]
    order: I64  # [block]
    value: F64  # [block]


def correlations(columns: int) -> int:
    """The number of correlations among the scores of so many columns."""
    return columns * (2 * columns - 1)


@kernel
def advance(state: JointState, threshold: F64, rows: I64, values: F64, start: int) -> int:
    """Process rows of columns from index `start` on; returns the index of the first alarm, or the number of rows."""
    size, columns = state.waiting.shape[1], state.waiting.shape[2]
    block = Block(
        np.zeros((size, 2 * columns), np.float32), np.zeros(columns, np.int64), np.zeros(columns, np.uint64),
        np.zeros(2 * columns, np.bool_), np.zeros((2 * columns, 2 * columns), np.float32),
        np.zeros(size, np.int64), np.zeros(size),
    )  # fmt: skip
    for i in range(start, len(rows)):
        r = rows[i]
        filled = state.head[r, FILLED]
        for c in range(columns):
            state.waiting[r, filled, c] = values[i, c] if math.isfinite(values[i, c]) else math.inf
        state.head[r, FILLED] = (filled + 1) % size
        if filled + 1 == size:
            state.head[r, BLOCKS] += 1
            _score(state, r, block)
            _multiply(block, state.head[r, WIDTH])
            if _weigh(state, r, block) >= threshold[i]:
                return i
    return len(rows)


@kernel
def _score(state: JointState, r: int, block: Block) -> None:
    """Rank each column within the block, and compute its two scores."""
    size, columns = state.waiting.shape[1], state.waiting.shape[2]
    value, order = block.value, block.order
    for c in range(columns):
        n = 0
        block.present[c] = np.uint64(0)
        block.says[2 * c] = False
        block.says[2 * c + 1] = False
        for t in range(size):
            block.scores[t, 2 * c] = 0.0
            block.scores[t, 2 * c + 1] = 0.0
            x = state.waiting[r, t, c]
            if not math.isfinite(x):
                continue
            block.present[c] |= np.uint64(1) << np.uint64(t)
            k = n
            while k > 0 and value[k - 1] > x:
                value[k] = value[k - 1]
                order[k] = order[k - 1]
                k -= 1
            value[k] = x
            order[k] = t
            n += 1
        block.having[c] = n
        if n > 0:
            state.head[r, WIDTH] = max(state.head[r, WIDTH], c + 1)
        if n >= PRESENT_MIN:
            _score_column(block, c, n)


@kernel
def _score_column(block: Block, c: int, n: int) -> None:
    """The scores of a column whose `n` values stand in order."""
    scores, order = block.scores, block.order
    first, squares = 0, 0.0
    while first < n:
        end = first
        while end < n and block.value[end] == block.value[first]:
            end += 1
        v = (first + end) / n - 1.0
        for k in range(first, end):
            scores[order[k], 2 * c] = v
        squares += (end - first) * v * v
        first = end
    fourths = 0.0
    for k in range(n):
        v = scores[order[k], 2 * c]
        p = v * v - squares / n
        scores[order[k], 2 * c + 1] = p
        fourths += p * p
    block.says[2 * c] = squares >= VARIED_MIN * n / 3.0
    block.says[2 * c + 1] = block.says[2 * c] and fourths >= VARIED_MIN * n * 4.0 / 45.0
    one, two = 1.0 / math.sqrt(max(squares, 1e-9)), 1.0 / math.sqrt(max(fourths, 1e-9))
    for k in range(n):
        scores[order[k], 2 * c] *= one
        scores[order[k], 2 * c + 1] *= two


@kernel
def _multiply(block: Block, width: int) -> None:
    """The products of all scores: each is added up in the order of rows, many of them side by side."""
    m = 2 * width
    scores, product = block.scores, block.product
    for b in range(m):
        for a in range(b):
            product[b, a] = 0.0
    for t in range(len(scores)):
        for b in range(m):
            x = scores[t, b]
            for a in range(b):
                product[b, a] += x * scores[t, a]


@kernel
def _weigh(state: JointState, r: int, block: Block) -> float:
    """Update the sums of all correlations with the block; returns the evidence, their weighted sum."""
    head, facts = state.head[r], state.facts[r]
    width, size = head[WIDTH], len(block.scores)
    learning_blocks = LEARNING_BLOCKS << min(head[ALARMS], DOUBLINGS_MAX)
    if head[BLOCKS] == SOON * learning_blocks:
        head[ALARMS] = 0
    shared, lag, n_lag, evidence = _dependence(facts), 0.0, 0, 0.0
    n_plain, all_z, all_zz = 0, 0.0, 0.0
    for b in range(2, 2 * width):
        for a in range(2 * (b // 2)):
            one, is_plain = state.stats[r, b * (b - 1) // 2 + a], (a | b) & 1 == 0
            both = _both(block, a, b)
            if both > 0:
                y = _fisher(block.product[b, a] * math.sqrt(block.having[a // 2] * block.having[b // 2]) / both)
                before = one[LAST]
                z = _update_mean(one, y, (both - 3.0) / (size - 3.0), size - 3.0, learning_blocks, shared)
                lag += z * before
                n_lag += 1 if z != 0.0 and before != 0.0 else 0
                if is_plain:
                    n_plain += 1
                    all_z += z
                    all_zz += z * z
            evidence += _summed(one) * (PLAIN if is_plain else OTHER)
    pairs = max(width * (width - 1) // 2, 1)
    evidence /= pairs
    if n_lag > 0:
        facts[LAG] += lag / n_lag
        facts[LAG_SQUARED] += (lag / n_lag) ** 2
        facts[LAG_N] += 1.0
    if width > 2:
        if all_zz > 0.0 and 4 * n_plain >= 3 * pairs:  # few of them would spread more
            far = math.log(max(all_zz / n_plain, 1e-3))
            _update_mean(state.stats[r, MEAN_OF_ALL], all_z / n_plain, 1.0, 1e12, learning_blocks, shared)
            _update_mean(state.stats[r, SPREAD_OF_ALL], far, 1.0, 1e12, learning_blocks, shared)
        evidence += WHOLE * (_summed(state.stats[r, MEAN_OF_ALL]) + _summed(state.stats[r, SPREAD_OF_ALL]))
    else:
        evidence /= PLAIN + 3.0 * OTHER
    facts[EVIDENCE] = evidence
    return float(evidence)


@kernel
def _both(block: Block, a: int, b: int) -> int:
    """The number of rows with the columns of both scores; 0 where those or their variance are too small."""
    if not (block.says[a] and block.says[b]):
        return 0
    left, n = block.present[a // 2] & block.present[b // 2], 0
    while left != np.uint64(0):
        left &= left - np.uint64(1)
        n += 1
    return n if n >= PRESENT_MIN and 3 * n >= len(block.scores) else 0


@kernel
def _summed(one: F32) -> float:
    return float((one[SUMS] + one[SUMS + 1] + (one[SUMS + 2] + one[SUMS + 3])) / MOVES)


@kernel
def _fisher(correlation: float) -> float:
    """Fisher's z: a scale on which the spread of a correlation hardly depends on where it lies."""
    bounded = max(-CORRELATION_MAX, min(CORRELATION_MAX, correlation))
    return 0.5 * math.log((1.0 + bounded) / (1.0 - bounded))


@kernel
def _dependence(facts: F64) -> float:
    """Correlation of a block's residuals with those of the block before, less its standard errors."""
    n = facts[LAG_N]
    if n < 4.0:
        return 0.0
    mean = facts[LAG] / n
    error = math.sqrt(max(facts[LAG_SQUARED] / n - mean * mean, 0.0) / n)
    return float(max(0.0, min(0.95, mean - PROVEN * error)))


@kernel
def _update_mean(one: F32, y: float, w: float, freedom_y: float, learning_blocks: int, shared: float) -> float:
    """Update mean, spread and sums with one block's `y`, of weight `w`; returns the residual as a normal value.

    The residual is 0 while mean and spread are learned; the spread is at least that of `freedom_y` values.
    """
    total, freedom, z = float(one[WEIGHT]), float(one[COUNT]) - 1.0, 0.0
    one[COUNT] += 1.0
    if freedom < 0.0:
        one[MEAN], one[LATEST], one[WEIGHT] = y, y, w
        return 0.0
    e = y - one[MEAN]
    squared = e * e * w * total / (w + total)
    if freedom >= learning_blocks:
        variance = max(one[SPREAD] / freedom, SPREAD_MIN * SPREAD_MIN / freedom_y)
        z = math.sqrt(freedom * math.log1p(squared / variance / freedom))
        z *= (8.0 * freedom + 1.0) / (8.0 * freedom + 3.0)  # Student's t to a normal value: D. L. Wallace, 1959
        z = math.copysign(min(z, BOUND), e)
        one[OWN_LAG] += max(-OWN_LAG_MAX, min(OWN_LAG_MAX, z * one[LAST]))
        _update_sums(one, z, shared, learning_blocks)
    one[SPREAD] += squared
    one[MEAN] += e * w / (w + total)
    one[WEIGHT] = total + w
    one[LATEST] += NEWEST * (y - one[LATEST])
    one[LAST] = z
    if one[COUNT] >= COUNTED_MAX:
        for k in (SPREAD, WEIGHT, COUNT, OWN_LAG):
            one[k] *= 0.5
    return float(z)


@kernel
def _update_sums(one: F32, z: float, shared: float, learning_blocks: int) -> None:
    """Update the sums over all onsets with the likelihood ratios of a residual.

    Where residuals are proven to depend on the one before by phi, ratios are raised to (1 - phi) / (1 + phi), the
    inverse of the inflated variance of their sum.
    """
    n = one[COUNT] - learning_blocks
    own = min(0.95, one[OWN_LAG] / n - OWN_PROVEN / math.sqrt(n))
    phi = max(shared, own)
    power = (1.0 - phi) / (1.0 + phi) if phi > 0.0 else 1.0
    small = math.exp(power * SMALL * z)
    large = small * small * small
    calm_small, calm_large = math.exp(-0.5 * power * SMALL * SMALL), math.exp(-0.5 * power * LARGE * LARGE)
    for k, ratio in (
        (0, small * calm_small), (1, calm_small / small), (2, large * calm_large), (3, calm_large / large),
    ):  # fmt: skip
        one[AGED + k] = (one[AGED + k] + one[SUMS + k]) * ratio
        one[SUMS + k] = (one[SUMS + k] + 1.0) * ratio
