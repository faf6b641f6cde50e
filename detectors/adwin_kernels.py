"""The arithmetic of ADWIN over the rows of a bank; `adwin.py` says what it is for.

A window is an exponential histogram: level l holds up to `max_buckets` buckets of 2**l values, and where a level
overflows, its two oldest become one bucket of the next. Operations and their order are those of river's implementation.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.base import F64, I64
from detectors.jit import kernel, prefetch

TOTAL, SPREAD, WIDTH = range(3)  # of the window: sum, sum of squared deviations from the mean, number of values
PENDING, SINCE_LOOK = range(2)  # values in the buffer; values since a cut was last looked for
# of the best cut: difference in mean and what chance explains of it; mean and size of its sides; sd of a value
APART, EPSILON, MEAN_BEFORE, MEAN_AFTER, BEFORE, AFTER, DEVIATION = range(7)
BEST = 7
LINE = 64  # bytes in a cache line


class State(NamedTuple):
    """All series, row by row."""

    buffer: F64  # [rows, slots] values that wait for the next look
    ticks: NDArray[np.int32]  # [rows, 2] PENDING, SINCE_LOOK
    drifted: NDArray[np.uint8]  # [rows] 1: the last look cut the window, so the next value starts a fresh one
    moments: F64  # [rows, 3] TOTAL, SPREAD, WIDTH
    held: NDArray[np.uint8]  # [rows, levels] how many buckets of 2**level values
    bucket: F64  # [rows, levels, 2, max_buckets] TOTAL and SPREAD of each bucket, oldest first


class Rules(NamedTuple):
    """The settings as the kernels want them."""

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
def advance(state: State, rules: Rules, rows: I64, values: F64, start: int, best: F64) -> int:
    """Feed values from `start` on; stops at the first alarm and returns its index, or the number of values.

    `best` receives the best cut of an alarm.
    """
    buffer, ticks, drifted, moments, _, bucket = state
    n = len(rows)
    slots = buffer.shape[1]
    sizes = bucket.shape[1] * bucket.shape[3]
    cuts = Cuts(np.empty(sizes), np.empty(sizes), np.empty(sizes))
    scratch = scratch_of(state)
    words = sizes * 2
    buffer_at, bucket_at, moments_at = buffer.ctypes.data, bucket.ctypes.data, moments.ctypes.data
    for i in range(start, n):
        if i + 24 < n:  # the line the value will be stored in
            ahead = rows[i + 24]
            prefetch(buffer_at + 8 * (ahead * slots + ticks[ahead, PENDING]))
        if i + 6 < n and ticks[rows[i + 6], PENDING] == slots - 1:  # the whole row, where a look is near
            ahead = rows[i + 6]
            for line in range(0, 8 * words, LINE):
                prefetch(bucket_at + 8 * words * ahead + line)
            for line in range(0, 8 * slots, LINE):
                prefetch(buffer_at + 8 * slots * ahead + line)
            prefetch(moments_at + 8 * 3 * ahead)
        row = rows[i]
        pending = ticks[row, PENDING]
        buffer[row, pending] = values[i]
        pending += 1
        since_look = ticks[row, SINCE_LOOK] + 1
        ticks[row, PENDING] = pending
        ticks[row, SINCE_LOOK] = since_look
        if pending < slots and since_look < rules.clock:
            continue
        take_in(state, row, scratch)
        if since_look == rules.clock:
            ticks[row, SINCE_LOOK] = 0
            if _look(state, rules, row, cuts, best):
                drifted[row] = 1
                return i
    return n


@kernel
def scratch_of(state: State) -> F64:
    """Work space of `take_in`: [2 sides, TOTAL and SPREAD, entries]."""
    buffer, bucket = state.buffer, state.bucket
    return np.empty((2, 2, bucket.shape[3] + buffer.shape[1]))


@kernel
def take_in(state: State, row: int, scratch: F64) -> None:
    """Move the buffered values of a series into its window, exactly as one insertion after the other would."""
    buffer, ticks, drifted, moments, held, bucket = state
    if drifted[row]:
        drifted[row] = 0
        moments[row, :] = 0.0
        held[row, :] = 0
    n = ticks[row, PENDING]
    ticks[row, PENDING] = 0
    _add_moments(state, row, n, scratch)
    entries = bucket.shape[3]
    for j in range(n):
        scratch[0, TOTAL, entries + j] = buffer[row, j]
        scratch[0, SPREAD, entries + j] = 0.0
    _add_buckets(state, row, n, scratch)


@kernel
def _add_moments(state: State, row: int, n: int, scratch: F64) -> None:
    """Welford's update for n values. Three loops instead of one: divisions that don't wait for each other overlap."""
    buffer, moments = state.buffer, state.moments
    width = moments[row, WIDTH]
    total = moments[row, TOTAL]
    for j in range(n):
        scratch[0, TOTAL, j] = total
        total += buffer[row, j]
    for j in range(n):
        seen = width + j
        deviation = buffer[row, j] - scratch[0, TOTAL, j] / seen
        scratch[0, SPREAD, j] = seen * deviation * deviation / (seen + 1.0) if seen > 0.0 else 0.0
    spread = moments[row, SPREAD]
    for j in range(n):
        spread += scratch[0, SPREAD, j]
    moments[row, TOTAL] = total
    moments[row, SPREAD] = spread
    moments[row, WIDTH] = width + n


@kernel
def _add_buckets(state: State, row: int, n: int, scratch: F64) -> None:
    """Put n buckets of one value in; where a level overflows, its two oldest become one of the next level.

    Newcomers of a level stand in `scratch` from entry `most` on; those already there are put right before them.
    """
    held, bucket = state.held, state.bucket
    levels = bucket.shape[1]
    most = bucket.shape[3]
    side = 0
    size = 1.0
    for level in range(levels):
        kept = np.int64(held[row, level])
        first = most - kept
        for j in range(kept):
            scratch[side, TOTAL, first + j] = bucket[row, level, TOTAL, j]
            scratch[side, SPREAD, first + j] = bucket[row, level, SPREAD, j]
        merges = max(0, (kept + n - most + 1) // 2)
        for j in range(merges):
            a = first + 2 * j
            total_0 = scratch[side, TOTAL, a]
            total_1 = scratch[side, TOTAL, a + 1]
            apart = total_0 / size - total_1 / size
            scratch[1 - side, TOTAL, most + j] = total_0 + total_1
            spreads = scratch[side, SPREAD, a] + scratch[side, SPREAD, a + 1]
            scratch[1 - side, SPREAD, most + j] = spreads + size * 0.5 * apart * apart
        left = kept + n - 2 * merges
        for j in range(left):
            bucket[row, level, TOTAL, j] = scratch[side, TOTAL, first + 2 * merges + j]
            bucket[row, level, SPREAD, j] = scratch[side, SPREAD, first + 2 * merges + j]
        held[row, level] = left
        if merges == 0:
            return
        n = merges
        side = 1 - side
        size *= 2.0
    for j in range(n):  # past the last level: the window has reached its bound
        _forget(state, row, size, scratch[side, TOTAL, most + j], scratch[side, SPREAD, most + j])


@kernel
def _forget(state: State, row: int, size: float, total: float, spread: float) -> None:
    """Take one bucket out of the moments of the window."""
    moments = state.moments
    width = moments[row, WIDTH] - size
    moments[row, WIDTH] = width
    moments[row, TOTAL] -= total
    apart = total / size - moments[row, TOTAL] / width
    moments[row, SPREAD] -= spread + size * width * apart * apart / (size + width)


@kernel
def _forget_oldest(state: State, row: int) -> None:
    held, bucket = state.held, state.bucket
    level = bucket.shape[1] - 1
    while held[row, level] == 0:
        level -= 1
    _forget(state, row, float(1 << level), bucket[row, level, TOTAL, 0], bucket[row, level, SPREAD, 0])
    left = np.int64(held[row, level]) - 1
    for j in range(left):
        bucket[row, level, TOTAL, j] = bucket[row, level, TOTAL, j + 1]
        bucket[row, level, SPREAD, j] = bucket[row, level, SPREAD, j + 1]
    held[row, level] = left


@kernel
def _look(state: State, rules: Rules, row: int, cuts: Cuts, best: F64) -> bool:
    """Let the oldest bucket go as long as some cut shows a change; True when one did."""
    moments = state.moments
    if moments[row, WIDTH] <= rules.grace:
        return False
    found = False
    while True:
        n = _list_cuts(state, row, cuts)
        if not _any_cut(state, rules, row, cuts, n):
            return found
        if not found:
            _find_best_cut(state, rules, row, cuts, n, best)
        found = True
        _forget_oldest(state, row)


@kernel
def _list_cuts(state: State, row: int, cuts: Cuts) -> int:
    """Fill `cuts` with every boundary between buckets; returns how many there are."""
    moments, held, bucket = state.moments, state.held, state.bucket
    before = 0.0
    total_before = 0.0
    total_after = moments[row, TOTAL]
    n = 0
    for level in range(bucket.shape[1] - 1, -1, -1):
        size = float(1 << level)
        for j in range(np.int64(held[row, level])):
            before += size
            total_before += bucket[row, level, TOTAL, j]
            total_after -= bucket[row, level, TOTAL, j]
            cuts.before[n] = before
            cuts.total_before[n] = total_before
            cuts.total_after[n] = total_after
            n += 1
    return n - 1  # behind the last bucket nothing is left to compare with


@kernel
def _epsilon(before: float, after: float, least: float, variance: float, log_term: float) -> float:
    """The difference in mean that chance explains between sides of so many values (Bifet and Gavaldà, section 4.1)."""
    harmonic = 1.0 / (before - least + 1.0) + 1.0 / (after - least + 1.0)
    return math.sqrt(2.0 * harmonic * variance * log_term) + 2.0 / 3.0 * log_term * harmonic


@kernel
def _any_cut(state: State, rules: Rules, row: int, cuts: Cuts, n: int) -> bool:
    """Whether some cut shows a change. Which one doesn't matter for what follows, so the loop has no early way out."""
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
        epsilon = _epsilon(before, after, least, variance, log_term)
        hit |= int(apart > epsilon) & int(before >= least) & int(after >= least)
    return hit != 0


@kernel
def _find_best_cut(state: State, rules: Rules, row: int, cuts: Cuts, n: int, best: F64) -> None:
    """Find the best cut among those that show a change."""
    moments = state.moments
    width = moments[row, WIDTH]
    variance = moments[row, SPREAD] / width
    log_term = math.log(2.0 * math.log(width) / rules.delta)
    greatest = -1.0
    for k in range(n):
        before = cuts.before[k]
        after = width - before
        if before < rules.least or after < rules.least:
            continue
        mean_before = cuts.total_before[k] / before
        mean_after = cuts.total_after[k] / after
        apart = abs(mean_before - mean_after)
        epsilon = _epsilon(before, after, rules.least, variance, log_term)
        between = before * after / width * apart * apart
        if apart > epsilon and between > greatest:
            greatest = between
            best[APART], best[EPSILON] = apart, epsilon
            best[BEFORE], best[AFTER] = before, after
            best[MEAN_BEFORE], best[MEAN_AFTER] = mean_before, mean_after
    variance_before = _variance_of_oldest(state, row, best[BEFORE], best[MEAN_BEFORE])
    best[DEVIATION] = math.sqrt(variance_before if variance_before > 0.0 else variance)


@kernel
def _variance_of_oldest(state: State, row: int, n: float, mean: float) -> float:
    """Variance of the oldest n values of the window, whose mean is `mean`; n ends at a boundary of buckets."""
    held, bucket = state.held, state.bucket
    spread = 0.0
    seen = 0.0
    for level in range(bucket.shape[1] - 1, -1, -1):
        size = float(1 << level)
        for j in range(np.int64(held[row, level])):
            if seen < n:
                seen += size
                apart = bucket[row, level, TOTAL, j] / size - mean
                spread += bucket[row, level, SPREAD, j] + size * apart * apart
    return spread / n
