"""The kernels of `bank.py` over the rows of a bank.

With p the bound on the baseline's rate and q a higher rate, a one multiplies the likelihood ratio by e = q / p, and a
zero by a = (1 - q) / (1 - p). R is the Shiryaev-Roberts sum over all values at which the change may have begun, E the
sum of its terms times their age, and C the sum of its terms times the ones since then. With each value R <- (R + 1) e
and E <- (E + R) e; with a one C <- (C + R + 1) e. Zeros multiply by the same a < 1, so m of them are processed at once:

    R <- a^m R + s,  E <- a^m (E + m R) + (a s - m a^(m+1)) / (1 - a),  C <- a^m C,  s = a (1 - a^m) / (1 - a)

That is done at the next one, because zeros never raise an alarm. So the arithmetic of a row depends on its values
alone, and a series without ones costs nothing but counting.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from detectors.arrays.jit import kernel, prefetch
from detectors.arrays.types import F64, I64

STEPS = 6  # alternatives: q is p plus a part of 1 - p
BOUND_LOG_ODDS = math.log(1e4)  # the bound on the baseline's rate is too low for one in so many series
CLUMP_GAP = 8  # ones with fewer zeros than this between them are one clump
WEIGHT_MIN = 0.005  # of a one, however long the runs

AHEAD = 16  # a row is prefetched so many values ahead of its use
LINE = 64  # bytes in a cache line

# State.head
TOTAL = 0  # values so far
START = 1  # number of the baseline's first value
NEXT = 2  # number of the first value that is not processed yet
ONES = 3  # ones in the baseline ...
RUNS = 4  # ... the runs that they form, one right after the other ...
CLUMPS = 5  # ... and the clumps
BASE = 6  # values of the baseline; 0 while it is learned
HEAD = 7

# State.facts
USUAL = 0  # p
WEIGHT = 1  # exponent of the likelihood ratios
REFERENCE_SIZE = 2  # values of a reference whose runs are being learned ...
REFERENCE_ONES = 3  # ... and the ones in it
FACTS = 4

# State.evidence
SUM = 0  # R
AGE = 1  # E
COUNT = 2  # C


class RateState(NamedTuple):
    """All series, row by row."""

    head: I64  # [rows, HEAD]
    facts: F64  # [rows, FACTS]
    evidence: F64  # [rows, 3, STEPS]


class RateRules(NamedTuple):
    """The settings as kernels need them."""

    baseline_size: int
    tolerance: float
    arl0: float


@kernel
def advance(state: RateState, rules: RateRules, rows: I64, values: F64, numbers: I64, multiple: F64, start: int) -> int:
    """Process values from index `start` on; returns the index of the first alarm, or the number of values.

    `numbers[i]` is the value's number in its series, from 0; -1: it is the next. An alarm needs evidence of `arl0`,
    so many times.
    """
    head = state.head
    n = len(rows)
    for i in range(start, n):
        if i + AHEAD < n:
            _prefetch_row(state, rows[i + AHEAD], values[i + AHEAD])
        row = rows[i]
        number = numbers[i] if numbers[i] >= 0 else head[row, TOTAL]
        head[row, TOTAL] = number + 1
        if values[i] == 0.0:
            continue
        if head[row, BASE] == 0 and number - head[row, START] >= rules.baseline_size:
            ones = head[row, ONES]
            settle(state, rules, row, rules.baseline_size, ones)
            head[row, NEXT] = head[row, START] + rules.baseline_size
        if head[row, BASE] == 0:
            zeros = number - head[row, NEXT] if head[row, ONES] > 0 else CLUMP_GAP
            head[row, RUNS] += zeros > 0
            head[row, CLUMPS] += zeros >= CLUMP_GAP
            head[row, ONES] += 1
            head[row, NEXT] = number + 1
        elif _one(state, row, number - head[row, NEXT]) >= STEPS * rules.arl0 * multiple[i]:
            head[row, NEXT] = number + 1
            return i
        else:
            head[row, NEXT] = number + 1
    return n


@kernel
def _prefetch_row(state: RateState, row: int, value: float) -> None:
    """Prefetch what this value of the row reads."""
    prefetch(state.head.ctypes.data + 8 * HEAD * row)
    if value != 0.0:
        prefetch(state.facts.ctypes.data + 8 * FACTS * row)
        evidence = state.evidence.ctypes.data + 8 * 3 * STEPS * row
        for line in range(0, 8 * 3 * STEPS, LINE):
            prefetch(evidence + line)


@kernel
def settle(state: RateState, rules: RateRules, row: int, size: int, ones: int) -> None:
    """Set the baseline: so many ones among `size` values; or a given rate, with the runs of those ones."""
    head, facts = state.head, state.facts
    weight = 1.0
    if head[row, RUNS] > 0:
        weight = min(_weight(ones, size, head[row, RUNS], 1), _weight(ones, size, head[row, CLUMPS], CLUMP_GAP))
    if facts[row, REFERENCE_SIZE] > 0:
        size, ones = int(facts[row, REFERENCE_SIZE]), int(facts[row, REFERENCE_ONES])
        head[row, ONES] = ones
    head[row, BASE] = size
    facts[row, WEIGHT] = weight
    facts[row, USUAL] = min(1.0, _bound(ones / size, size * weight) + rules.tolerance)


@kernel
def _weight(ones: int, size: int, runs: int, gap: int) -> float:
    """The weight of a one: in a chain that leaves ones with probability s, the variance of a count is (2 - s) / s.

    Under chance, each one begins a run (`gap` zeros or more after the one before) with the probability of those zeros.
    """
    by_chance = ones * (1.0 - ones / size) ** gap
    s = min(1.0, (runs + 1.0) / (by_chance + 1.0))
    return max(WEIGHT_MIN, s / (2.0 - s))


@kernel
def restart(state: RateState, row: int, number: int) -> None:
    """Learn the baseline again, from value `number` of the row on."""
    state.head[row, :] = 0
    state.head[row, TOTAL] = number
    state.head[row, START] = number
    state.head[row, NEXT] = number
    state.facts[row, :] = 0.0
    state.evidence[row, :, :] = 0.0


@kernel
def _one(state: RateState, row: int, zeros: int) -> float:
    """Process so many zeros and then a one; returns the sum of the evidence over the alternatives."""
    p, weight = state.facts[row, USUAL], state.facts[row, WEIGHT]
    evidence = state.evidence
    total = 0.0
    if p >= 1.0:
        return total
    for step in range(STEPS):
        q = p + (1.0 - p) * (0.01, 0.03, 0.1, 0.3, 0.6, 0.95)[step]
        a, e = (1.0 - q) / (1.0 - p), q / p
        if weight != 1.0:
            a, e = a**weight, e**weight
        r, age, count = evidence[row, SUM, step], evidence[row, AGE, step], evidence[row, COUNT, step]
        if zeros > 0:
            power = _power(a, zeros)
            s = a * (1.0 - power) / (1.0 - a)
            age = power * (age + zeros * r) + (a * s - zeros * a * power) / (1.0 - a)
            r = power * r + s
            count = power * count
        evidence[row, COUNT, step] = (count + r + 1.0) * e
        evidence[row, AGE, step] = (age + r) * e
        evidence[row, SUM, step] = (r + 1.0) * e
        total += (r + 1.0) * e
    return total


@kernel
def _power(a: float, n: int) -> float:
    """`a` to a whole power by squaring: multiplications alone, so the same bits on every machine."""
    result = 1.0
    while n > 0:
        if n & 1:
            result *= a
        a *= a
        n >>= 1
    return result


@kernel
def _bound(rate: float, size: float) -> float:
    """The highest probability under which so low a rate among `size` values is likely enough (Chernoff's bound)."""
    low, high = rate, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        distance = (1.0 - rate) * math.log((1.0 - rate) / (1.0 - middle)) if rate < 1.0 and middle < 1.0 else np.inf
        distance += rate * math.log(rate / middle) if rate > 0.0 else 0.0
        if size * distance > BOUND_LOG_ODDS:
            high = middle
        else:
            low = middle
    return high
