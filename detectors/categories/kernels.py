"""The kernels of `window.py` over the rows of a bank.

A series keeps a slot for each category of its reference; the first slot holds all others. A value of the window is kept
as its slot. So a new value changes the counts of two slots at most: its own, and that of the value that leaves.

With w and r the counts of a slot in window and reference, n = w + r, and W, R, N the sums over all slots, the
likelihood ratio statistic is

    G = 2 (sum of h(w) + h(r) - h(n) over the slots + h(N) - h(W) - h(R)),   h(x) = x ln x.

With h in a table of whole numbers (units of 1 / UNIT), G is updated by adding and subtracting, and stays exact. Slots
with n < POOLED count as one.

A reference has fewer unseen categories than any later stretch, because its own values decide what is unseen. With 300
equally frequent categories, that alone raised an alarm in every other series. So each value of the reference is counted
as if the slots had been assigned without it: a category's first value has its slot only if a second one would have got
it. This is leave-one-out, the estimate of the unseen of I. J. Good, "The population frequencies of species and the
estimation of population parameters", Biometrika, 1953.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.jit import kernel, lean_kernel, prefetch
from detectors.arrays.types import F64, I64

UNIT = 1 << 36  # of h and of what is summed from it; the largest h, of 2**21 values, stays below 2**61
POOLED = 10  # values in window and reference together below which a slot is not judged alone
SHARED = 0  # the slot of all categories that have none of their own

# State.head
SIZE = 0  # values in the reference; 0 while it is learned
LEARNED = 1  # values learned so far
KNOWN = 2  # categories that have a slot
OLDEST = 3  # place in the ring of the oldest value of the window
FILLED = 4  # values in the window
DRIFTED = 5  # the last decision: NO_DRIFT, DRIFT, or FADING
ALONE = 6  # slots that are judged alone
FEW_REFERENCE = 7  # values of the other slots: in the reference ...
FEW_WINDOW = 8  # ... and in the window
OVERFLOWED = 9  # 1: all slots were in use when a new category arrived, while the reference was learned
HEAD = 10

# State.head[DRIFTED]
NO_DRIFT = 0
DRIFT = 1
FADING = 2  # no drift, but the statistic has not fallen as `is_over` wants it: no new drift yet


class CategoryState(NamedTuple):
    """All series, row by row."""

    head: NDArray[np.int32]  # [rows, HEAD]
    total: I64  # [rows, 1] sum of h(w) + h(r) - h(n) over the slots that are judged alone
    category: F64  # [rows, slots - 1] the category of slot 1, 2, ...
    reference: NDArray[np.int32]  # [rows, slots]
    current: NDArray[np.int32]  # [rows, slots] values of the window
    ring: NDArray[np.uint8]  # [rows, window] slots of the values of the window, in turn


class CategoryRules(NamedTuple):
    """The constants of the kernels."""

    h: I64  # [window + reference + 1]
    critical: I64  # [slots] by degrees of freedom


def table_of_h(largest: int) -> I64:
    """h(0) to h(largest), in units of 1 / UNIT."""
    return np.array([0, *(round(x * math.log(x) * UNIT) for x in range(1, largest + 1))], np.int64)


@kernel
def advance(state: CategoryState, rules: CategoryRules, rows: I64, values: F64, start: int) -> int:
    """Process values from index `start` on, until a decision becomes drift, and a new one.

    Returns the index of that value, or the number of values.
    """
    head, ring = state.head, state.ring
    n, window = len(rows), ring.shape[1]
    head_at = head.ctypes.data
    for i in range(start, n):
        if i + 24 < n:
            prefetch(head_at + 4 * HEAD * rows[i + 24])
        if i + 8 < n:
            _prefetch_row(state, rows[i + 8])
        row = rows[i]
        if head[row, SIZE] == 0:
            _learn(state, rules, row, values[i])
            continue
        slot = _slot_of(state, row, values[i])
        oldest = head[row, OLDEST]
        head[row, OLDEST] = oldest + 1 if oldest + 1 < window else 0
        if head[row, FILLED] == window:
            leaving = int(ring[row, oldest])
            if leaving == slot:  # the window is as it was, and so is the decision
                continue
            _count(state, rules, row, leaving, -1)
        else:
            head[row, FILLED] += 1
        ring[row, oldest] = slot
        _count(state, rules, row, slot, 1)
        if head[row, FILLED] < window:
            continue
        statistic, critical, freedom = judged(state, rules, row)
        before = head[row, DRIFTED]
        if statistic >= critical:
            head[row, DRIFTED] = DRIFT
            if before == NO_DRIFT:
                return i
        elif before == NO_DRIFT or is_over(statistic, critical, freedom):
            head[row, DRIFTED] = NO_DRIFT
        else:
            head[row, DRIFTED] = FADING
    return n


@lean_kernel
def _prefetch_row(state: CategoryState, row: int) -> None:
    """Prefetch what a value of this row reads."""
    slots, window = state.current.shape[1], state.ring.shape[1]
    prefetch(state.category.ctypes.data + 8 * (slots - 1) * row)
    prefetch(state.reference.ctypes.data + 4 * slots * row)
    prefetch(state.current.ctypes.data + 4 * slots * row)
    prefetch(state.total.ctypes.data + 8 * row)
    prefetch(state.ring.ctypes.data + window * row + state.head[row, OLDEST])


@lean_kernel
def _learn(state: CategoryState, rules: CategoryRules, row: int, value: float) -> None:
    head = state.head
    reference = state.reference
    slot = _slot_of(state, row, value)
    reference[row, slot] += 1
    if slot == SHARED and head[row, KNOWN] < state.category.shape[1]:
        state.category[row, head[row, KNOWN]] = value
        head[row, KNOWN] += 1
    elif slot == SHARED:
        head[row, OVERFLOWED] = 1
    elif (
        reference[row, slot] == 1 and head[row, OVERFLOWED] == 0
    ):  # the second one: the first has been counted as shared
        reference[row, SHARED] -= 1
        reference[row, slot] = 2
    head[row, LEARNED] += 1
    if head[row, LEARNED] == len(rules.h) - 1 - state.ring.shape[1]:
        start_comparing(state, row)


@lean_kernel
def start_comparing(state: CategoryState, row: int) -> None:
    """Begin to compare with the counts in `reference`; the window is empty."""
    head = state.head
    size = 0
    for slot in range(state.reference.shape[1]):
        count = int(state.reference[row, slot])
        size += count
        if count >= POOLED:
            head[row, ALONE] += 1
        else:
            head[row, FEW_REFERENCE] += count
    head[row, SIZE] = size


@lean_kernel
def _slot_of(state: CategoryState, row: int, value: float) -> int:
    for place in range(state.head[row, KNOWN]):
        if state.category[row, place] == value:
            return place + 1
    return SHARED


@lean_kernel
def _count(state: CategoryState, rules: CategoryRules, row: int, slot: int, change: int) -> None:
    """Add (1) or remove (-1) a value of this slot."""
    h = rules.h
    r = int(state.reference[row, slot])
    old = int(state.current[row, slot])
    new = old + change
    state.current[row, slot] = new
    least = r + min(old, new)
    if least >= POOLED:
        state.total[row, 0] += h[new] - h[old] + h[r + old] - h[r + new]
    elif least + 1 < POOLED:
        state.head[row, FEW_WINDOW] += change
    else:
        _cross(state, h, row, r, least - r, change)


@lean_kernel
def _cross(state: CategoryState, h: I64, row: int, r: int, few: int, change: int) -> None:
    """Judge a slot alone from its value number `few + 1` in the window on (1), or no longer (-1).

    It has r values in the reference.
    """
    alone = few + 1
    state.total[row, 0] += change * (h[alone] + h[r] - h[alone + r])
    state.head[row, ALONE] += change
    state.head[row, FEW_REFERENCE] -= change * r
    state.head[row, FEW_WINDOW] -= change * few


@lean_kernel
def is_over(statistic: int, critical: int, freedom: int) -> bool:
    """Whether a drift has ended: the statistic lies a quarter of the way from its mean without drift to the critical
    one, or below. It is quadratic in the change of shares, which is then half as large as at the alarm.
    """
    return 4 * (statistic - freedom * UNIT) < critical - freedom * UNIT


@lean_kernel
def judged(state: CategoryState, rules: CategoryRules, row: int) -> tuple[int, int, int]:
    """The statistic of a full window, its critical value, both in units of 1 / UNIT, and its degrees of freedom."""
    head, h = state.head, rules.h
    size, window = np.int64(head[row, SIZE]), state.ring.shape[1]
    r, w = np.int64(head[row, FEW_REFERENCE]), np.int64(head[row, FEW_WINDOW])
    total = state.total[row, 0] + h[w] + h[r] - h[w + r] + h[size + window] - h[size] - h[window]
    cells = head[row, ALONE] + (1 if r + w > 0 else 0)
    return 2 * total, rules.critical[cells - 1], cells - 1
