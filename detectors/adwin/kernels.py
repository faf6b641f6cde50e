"""The kernels of ADWIN over the rows of a bank; see `bank.py` for the method.

A window is an exponential histogram: level l holds up to `max_buckets` buckets of 2**l values. Where a level overflows,
its two oldest become one bucket of the next. Operations and their order are those of river's implementation. Buckets of
level 0 are single values and stay in the buffer, in front of the values that wait for the next test.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.jit import kernel, lean_kernel, prefetch
from detectors.arrays.types import F64, I64

TOTAL, SPREAD, WIDTH = range(3)  # of the window: sum, sum of squared deviations from the mean, number of values
LINE = 64  # bytes in a cache line


class AdwinState(NamedTuple):
    """All series, row by row."""

    buffer: F64  # [rows, max_buckets + values that may wait] level 0 of the window, then waiting values
    filled: NDArray[np.int16]  # [rows] values in the buffer
    since_look: NDArray[np.int32]  # [rows] values since the last test
    drifted: NDArray[np.uint8]  # [rows] 1: the last test cut the window, so the next value starts a fresh one
    moments: F64  # [rows, 3] TOTAL, SPREAD, WIDTH
    held: NDArray[np.uint8]  # [rows, levels] how many buckets of 2**level values
    bucket: F64  # [rows, levels - 1, 2, max_buckets] TOTAL and SPREAD of each bucket from level 1 on, oldest first


class AdwinRules(NamedTuple):
    """The settings as kernels need them."""

    delta: float
    clock: int
    least: float  # min_window_length
    grace: float


class Cuts(NamedTuple):
    """Work space: the cuts of one window, oldest first."""

    before: F64  # values on the old side
    total_before: F64
    total_after: F64


@kernel
def advance(state: AdwinState, rules: AdwinRules, rows: I64, values: F64, start: int, past: AdwinState) -> int:
    """Process values from index `start` on; returns the index of the first alarm, or the number of values.

    `past`, of one row, receives the window before the alarm cut it.
    """
    sizes = state.held.shape[1] * state.bucket.shape[3]
    cuts = Cuts(np.empty(sizes), np.empty(sizes), np.empty(sizes))
    scratch = np.empty((2, 2, state.bucket.shape[3] + state.buffer.shape[1]))
    return advance_within(state, rules, rows, values, start, past, cuts, scratch)


@kernel
def advance_within(
    state: AdwinState, rules: AdwinRules, rows: I64, values: F64, start: int, past: AdwinState, cuts: Cuts, scratch: F64
) -> int:
    """The same, with work space that the caller made."""
    buffer, filled, since_look = state.buffer, state.filled, state.since_look
    slots = buffer.shape[1]
    n = len(rows)
    for i in range(start, n):
        if i + 24 < n:  # the line the value will be stored in
            ahead = rows[i + 24]
            prefetch(buffer.ctypes.data + 8 * (ahead * slots + filled[ahead]))
        if i + 6 < n and since_look[rows[i + 6]] == rules.clock - 1:
            _prefetch_row(state, rows[i + 6])
        row = rows[i]
        at = filled[row]
        buffer[row, at] = values[i]
        filled[row] = at + 1
        since = since_look[row] + 1
        since_look[row] = since
        if at + 1 < slots and since < rules.clock:
            continue
        insert_waiting(state, row, scratch)
        if since == rules.clock:
            since_look[row] = 0
            if _test_cuts(state, rules, row, cuts, past):
                state.drifted[row] = 1
                return i
    return n


@lean_kernel
def _prefetch_row(state: AdwinState, row: int) -> None:
    """Prefetch the whole row, because a test is near."""
    buffer, bucket = state.buffer, state.bucket
    row_bytes = 16 * bucket.shape[1] * bucket.shape[3]
    for line in range(0, row_bytes, LINE):
        prefetch(bucket.ctypes.data + row_bytes * row + line)
    for line in range(0, 8 * buffer.shape[1], LINE):
        prefetch(buffer.ctypes.data + 8 * buffer.shape[1] * row + line)
    prefetch(state.moments.ctypes.data + 8 * 3 * row)
    prefetch(state.held.ctypes.data + state.held.shape[1] * row)
    prefetch(state.drifted.ctypes.data + row)


@lean_kernel
def insert_waiting(state: AdwinState, row: int, scratch: F64) -> None:
    """Move the waiting values of a series into its window, exactly as one insertion after the other would.

    `scratch` is work space: [2 sides, TOTAL and SPREAD, max_buckets + length of a buffer].
    """
    buffer, filled, drifted, moments, held = state.buffer, state.filled, state.drifted, state.moments, state.held
    if drifted[row]:
        drifted[row] = 0
        moments[row, :] = 0.0
        first = np.int64(held[row, 0])
        held[row, :] = 0
        filled[row] -= first
        for j in range(filled[row]):
            buffer[row, j] = buffer[row, first + j]
    _add_moments(state, row, scratch)
    _add_buckets(state, row, _add_values(state, row, scratch), scratch)


@lean_kernel
def _add_moments(state: AdwinState, row: int, scratch: F64) -> None:
    """Welford's update for n values. Three loops instead of one: divisions that don't wait for each other overlap."""
    buffer, moments = state.buffer, state.moments
    first = np.int64(state.held[row, 0])
    n = np.int64(state.filled[row]) - first
    width = moments[row, WIDTH]
    total = moments[row, TOTAL]
    for j in range(n):
        scratch[0, TOTAL, j] = total
        total += buffer[row, first + j]
    for j in range(n):
        seen = width + j
        deviation = buffer[row, first + j] - scratch[0, TOTAL, j] / seen
        scratch[0, SPREAD, j] = seen * deviation * deviation / (seen + 1.0) if seen > 0.0 else 0.0
    spread = moments[row, SPREAD]
    for j in range(n):
        spread += scratch[0, SPREAD, j]
    moments[row, TOTAL] = total
    moments[row, SPREAD] = spread
    moments[row, WIDTH] = width + n


@lean_kernel
def _add_values(state: AdwinState, row: int, scratch: F64) -> int:
    """Turn waiting values into buckets of level 0; excess values become buckets of level 1, in pairs.

    Returns the number of the latter; they stand in side 0 of `scratch` from entry `max_buckets` on.
    """
    buffer, filled = state.buffer, state.filled
    most = state.bucket.shape[3]
    n = np.int64(filled[row])
    merges = max(0, (n - most + 1) // 2)
    for j in range(merges):
        value_0 = buffer[row, 2 * j]
        value_1 = buffer[row, 2 * j + 1]
        apart = value_0 - value_1
        scratch[0, TOTAL, most + j] = value_0 + value_1
        scratch[0, SPREAD, most + j] = 0.5 * apart * apart
    left = n - 2 * merges
    for j in range(left):
        buffer[row, j] = buffer[row, 2 * merges + j]
    filled[row] = left
    state.held[row, 0] = left
    return int(merges)


@lean_kernel
def _add_buckets(state: AdwinState, row: int, n: int, scratch: F64) -> None:
    """Add n buckets of two values; where a level overflows, its two oldest become one of the next level.

    New buckets of a level stand in `scratch` from entry `most` on; the old ones are copied right before them.
    """
    held, bucket = state.held, state.bucket
    most = bucket.shape[3]
    side = 0
    size = 2.0
    share = 0.5  # 1 / size, exactly, as it is a power of two
    for level in range(1, held.shape[1]):
        if n == 0:
            return
        place = level - 1
        kept = np.int64(held[row, level])
        first = most - kept
        for j in range(kept):
            scratch[side, TOTAL, first + j] = bucket[row, place, TOTAL, j]
            scratch[side, SPREAD, first + j] = bucket[row, place, SPREAD, j]
        merges = max(0, (kept + n - most + 1) // 2)
        for j in range(merges):
            a = first + 2 * j
            total_0 = scratch[side, TOTAL, a]
            total_1 = scratch[side, TOTAL, a + 1]
            apart = total_0 * share - total_1 * share
            scratch[1 - side, TOTAL, most + j] = total_0 + total_1
            spreads = scratch[side, SPREAD, a] + scratch[side, SPREAD, a + 1]
            scratch[1 - side, SPREAD, most + j] = spreads + size * 0.5 * apart * apart
        left = kept + n - 2 * merges
        for j in range(left):
            bucket[row, place, TOTAL, j] = scratch[side, TOTAL, first + 2 * merges + j]
            bucket[row, place, SPREAD, j] = scratch[side, SPREAD, first + 2 * merges + j]
        held[row, level] = left
        n = merges
        side = 1 - side
        size *= 2.0
        share *= 0.5
    for j in range(n):  # past the last level: the window has reached its bound
        _subtract(state, row, size, scratch[side, TOTAL, most + j], scratch[side, SPREAD, most + j])


@lean_kernel
def _subtract(state: AdwinState, row: int, size: float, total: float, spread: float) -> None:
    """Subtract one bucket from the moments of the window."""
    moments = state.moments
    width = moments[row, WIDTH] - size
    moments[row, WIDTH] = width
    moments[row, TOTAL] -= total
    apart = total / size - moments[row, TOTAL] / width
    moments[row, SPREAD] -= spread + size * width * apart * apart / (size + width)


@lean_kernel
def _drop_oldest(state: AdwinState, row: int) -> None:
    """Drop the oldest bucket; no value waits."""
    held = state.held
    level = held.shape[1] - 1
    while held[row, level] == 0:
        level -= 1
    left = np.int64(held[row, level]) - 1
    held[row, level] = left
    totals, spreads = state.bucket[row, level - 1, TOTAL], state.bucket[row, level - 1, SPREAD]
    if level == 0:
        totals = state.buffer[row]
        state.filled[row] = left
    _subtract(state, row, float(1 << level), totals[0], spreads[0] if level > 0 else 0.0)
    for j in range(left):
        totals[j] = totals[j + 1]
        if level > 0:
            spreads[j] = spreads[j + 1]


@kernel
def _test_cuts(state: AdwinState, rules: AdwinRules, row: int, cuts: Cuts, past: AdwinState) -> bool:
    """Drop the oldest bucket as long as some cut proves a change; True if one did."""
    moments = state.moments
    if moments[row, WIDTH] <= rules.grace:
        return False
    found = False
    while True:
        n = _list_cuts(state, row, cuts)
        if not _any_cut(state, rules, row, cuts, n):
            return found
        if not found:
            _copy_window(state, row, past)
        found = True
        _drop_oldest(state, row)


@lean_kernel
def _list_cuts(state: AdwinState, row: int, cuts: Cuts) -> int:
    """Fill `cuts` with every boundary between buckets; returns how many there are."""
    moments, held, bucket, buffer = state.moments, state.held, state.bucket, state.buffer
    before = 0.0
    total_before = 0.0
    total_after = moments[row, TOTAL]
    n = 0
    for level in range(held.shape[1] - 1, 0, -1):
        size = float(1 << level)
        for j in range(np.int64(held[row, level])):
            before += size
            total_before += bucket[row, level - 1, TOTAL, j]
            total_after -= bucket[row, level - 1, TOTAL, j]
            cuts.before[n] = before
            cuts.total_before[n] = total_before
            cuts.total_after[n] = total_after
            n += 1
    for j in range(np.int64(held[row, 0])):
        before += 1.0
        total_before += buffer[row, j]
        total_after -= buffer[row, j]
        cuts.before[n] = before
        cuts.total_before[n] = total_before
        cuts.total_after[n] = total_after
        n += 1
    return n - 1  # behind the last bucket nothing is left to compare with


@lean_kernel
def _any_cut(state: AdwinState, rules: AdwinRules, row: int, cuts: Cuts, n: int) -> bool:
    """Whether some cut proves a change. Which one does not matter, so the loop has no early exit."""
    moments = state.moments
    width = moments[row, WIDTH]
    variance = moments[row, SPREAD] / width
    log_term = math.log(2.0 * math.log(width) / rules.delta)
    least = rules.least
    hit = 0
    for k in range(n):
        before = cuts.before[k]
        after = width - before
        apart = abs(cuts.total_before[k] / before - cuts.total_after[k] / after)
        harmonic = 1.0 / (before - least + 1.0) + 1.0 / (after - least + 1.0)
        epsilon = math.sqrt(2.0 * harmonic * variance * log_term) + 2.0 / 3.0 * log_term * harmonic
        hit |= int(apart > epsilon) & int(before >= least) & int(after >= least)
    return hit != 0


@kernel
def _copy_window(state: AdwinState, row: int, past: AdwinState) -> None:
    """Copy the window."""
    past.buffer[0, :] = state.buffer[row]
    past.moments[0, :] = state.moments[row]
    past.held[0, :] = state.held[row]
    past.bucket[0] = state.bucket[row]
