"""The arithmetic of `rate.py` over the rows of a bank.

With p the usual rate and q a higher one, a one multiplies the likelihood ratio by e = q / p, and a zero by
a = (1 - q) / (1 - p). The Shiryaev-Roberts sum R over all values at which the change may have begun goes R <- (R + 1) e
with each value, the sum E of R's terms times their age E <- (E + R) e, and the sum C of the same times the ones since
then C <- (C + R + 1) e with a one. Zeros multiply by the same a < 1 each time, so m of them are folded at once:

    R <- a^m R + s,  E <- a^m (E + m R) + (a s - m a^(m+1)) / (1 - a),  C <- a^m C,  s = a (1 - a^m) / (1 - a)

That is done when the next one comes, as zeros never raise an alarm. So what a row goes through depends on its values
alone, and a series without ones costs nothing but counting.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from detectors.arrays.jit import kernel, prefetch
from detectors.arrays.types import F64, I64

STEPS = 6  # alternatives: the usual rate p and so much of what is above it
UNSURE = math.log(1e4)  # the bound on the usual rate is too low once in so many series
CLUMP_GAP = 8  # ones that are nearer to each other than so many values are of one clump
WEIGHT_MIN = 0.005  # of a one, however long the runs

AHEAD = 16  # a row is asked for so many values ahead of its use
LINE = 64  # bytes in a cache line

# State.head
TOTAL = 0  # values so far
START = 1  # number of the value with which what is usual began to be learnt
NEXT = 2  # number of the first value that is not folded in yet
ONES = 3  # among the values that tell what is usual ...
RUNS = 4  # ... in how many runs they came, one right after the other ...
CLUMPS = 5  # ... and in how many clumps
BASE = 6  # how many those values are; 0 while they are learnt
HEAD = 7

# State.facts
USUAL = 0  # p
WEIGHT = 1  # exponent of the likelihood ratios
GIVEN = 2  # size of a sample that tells what is usual, while its runs are learnt ...
GIVEN_ONES = 3  # ... and the ones in it
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
    """What the kernels know besides the state."""

    baseline_size: int
    tolerance: float
    arl0: float


@kernel
def advance(state: RateState, rules: RateRules, rows: I64, values: F64, numbers: I64, start: int) -> int:
    """Feed values from `start` on; stops where one raises an alarm. Returns its index, or the number of values.

    `numbers[i]` is the value's number in its series; -1: it is the next.
    """
    head = state.head
    n = len(rows)
    for i in range(start, n):
        if i + AHEAD < n:
            _fetch(state, rows[i + AHEAD], values[i + AHEAD])
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
        elif _one(state, row, number - head[row, NEXT]) >= STEPS * rules.arl0:
            head[row, NEXT] = number + 1
            return i
        else:
            head[row, NEXT] = number + 1
    return n


@kernel
def _fetch(state: RateState, row: int, value: float) -> None:
    """Ask for what this value of the row will touch."""
    prefetch(state.head.ctypes.data + 8 * HEAD * row)
    if value != 0.0:
        prefetch(state.facts.ctypes.data + 8 * FACTS * row)
        evidence = state.evidence.ctypes.data + 8 * 3 * STEPS * row
        for line in range(0, 8 * 3 * STEPS, LINE):
            prefetch(evidence + line)


@kernel
def settle(state: RateState, rules: RateRules, row: int, size: int, ones: int) -> None:
    """Take so many ones among `size` values for what is usual; or, where a sample was given, that and their runs."""
    head, facts = state.head, state.facts
    weight = 1.0
    if head[row, RUNS] > 0:
        weight = min(_weight(ones, size, head[row, RUNS], 1), _weight(ones, size, head[row, CLUMPS], CLUMP_GAP))
    if facts[row, GIVEN] > 0:
        size, ones = int(facts[row, GIVEN]), int(facts[row, GIVEN_ONES])
        head[row, ONES] = ones
    head[row, BASE] = size
    facts[row, WEIGHT] = weight
    facts[row, USUAL] = min(1.0, _bound(ones / size, size * weight) + rules.tolerance)


@kernel
def _weight(ones: int, size: int, runs: int, gap: int) -> float:
    """What a one counts for: in a chain that a one leaves with probability s, the variance of a count is (2 - s) / s.

    By chance alone, each one begins a run, `gap` zeros or more after the one before, with the probability of those.
    """
    by_chance = ones * (1.0 - ones / size) ** gap
    s = min(1.0, (runs + 1.0) / (by_chance + 1.0))
    return max(WEIGHT_MIN, s / (2.0 - s))


@kernel
def restart(state: RateState, row: int, number: int) -> None:
    """Learn what is usual anew, from value `number` of the row on."""
    state.head[row, :] = 0
    state.head[row, TOTAL] = number
    state.head[row, START] = number
    state.head[row, NEXT] = number
    state.facts[row, :] = 0.0
    state.evidence[row, :, :] = 0.0


@kernel
def _one(state: RateState, row: int, zeros: int) -> float:
    """Fold so many zeros and then a one; returns the sum of the evidence over the alternatives."""
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
    """The highest probability under which so low a rate of `size` values is not less likely than allowed (Chernoff)."""
    low, high = rate, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        distance = (1.0 - rate) * math.log((1.0 - rate) / (1.0 - middle)) if rate < 1.0 and middle < 1.0 else np.inf
        distance += rate * math.log(rate / middle) if rate > 0.0 else 0.0
        if size * distance > UNSURE:
            high = middle
        else:
            low = middle
    return high
