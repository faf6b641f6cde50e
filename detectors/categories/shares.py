"""The kernels of `rates.py`: evidence that the share of a category has changed, either way.

Each category is a stream of ones and zeros beside the others, compared with all values so far, its own included. Let p
be the share of ones among them. If nothing changes, each of the values is equally likely to be the last one, so the
last is a one with probability p, whatever the law. An alternative multiplies the odds of a one by r. Its likelihood
ratio is r / (1 + (r - 1) p) at a one and 1 / (1 + (r - 1) p) at a zero, whose mean is 1. So the baseline grows with the
values, and no confidence bound on it is needed.

The evidence of a category is the mean over the alternatives of Shiryaev-Roberts sums, over all possible onsets. A
second sum takes p as far towards the alternative as `tolerance` allows; it has to reach `BEYOND`, or a tenth of the
asked evidence.

Ones in runs: in a chain that leaves ones with probability s, the variance of a count is (2 - s) / s times that of
chance. Ratios are raised to the inverse of that, where the runs prove it. The same is done where the counts of blocks
spread more than by chance: shares that follow the hour or the day.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.jit import kernel, lean_kernel, prefetch
from detectors.arrays.types import F64, I64

# Odds after a change, as a multiple of those before: rises, then falls.
ODDS = np.array([1.4, 2.0, 4.0, 12.0, 60.0, 1 / 1.4, 0.5, 0.2], np.float32)
MORE = ODDS - np.float32(1.0)
SIDE = np.sign(MORE)
UNIT, NIL = np.float32(1.0), np.float32(0.0)
# Sums to 1. A small change takes long to show, so it pays least for the company of the others.
WEIGHT = np.array([0.3, 0.22, 0.1, 0.04, 0.02, 0.18, 0.1, 0.04], np.float32)
ALTERNATIVES = len(ODDS)
RISES = 5  # of the alternatives, from the first on
SHARED = 0  # the slot of all categories that have none of their own ...
SHARED_WEIGHT = 0.25  # ... and its weight among the others: what is new shows soon
BEYOND = 1e4  # evidence that a change is larger than the tolerance; a tenth of the asked one, if that is less
STILL = 6.0  # times as long as it has drifted a series stood still before the onset, or the drift is slow
SLOW_MANY, SLOW_MAX = 3, 16  # alarms on slow drift that count for nothing, and alarms that are counted
DOUBT = 1.5  # by which each further one divides the weight
FEW = 8  # ones, or zeros, of which a category that has fewer hardly varies ...
BEGUN_MAX = np.float32(1000.0)  # ... and the sum at which no further onset is added then
EVIDENCE_MIN = 50.0  # of an alarm, however short the asked time
SUM_MAX = np.float32(1e36)  # of a sum in single precision
COUNTED_MAX = 1 << 20  # values counted; then all counts are halved

CLUMP_GAP = 8  # ones with fewer zeros than this between them are one clump
WEIGHT_MIN = 0.005  # of a one, however long the runs
PROVEN_Z = 3.0  # standard errors by which runs are rarer than chance, or counts spread more, if that counts
SHORT, LONG = 64, 512  # values of a block
EXPECTED_MIN = 2.0  # ones in a block, if a category is to show how counts spread
CALM = 0.01  # of the asked evidence, under which a block shows how counts spread

AHEAD = 8  # a row is prefetched so many values ahead of its use
LINE = 64  # bytes in a cache line

# State.seen
COUNT = 0  # values so far
NAMED = 1  # categories that have a slot
SINCE = 2  # number of the value with which learning began
TOTAL = 3  # values counted
WEIGHED = 4  # values since then at which runs were last looked at; 0: the baseline is learned
REFERRED = 5  # 1: the baseline is a reference
SLOW = 6  # alarms on slow drift, less the others
SEEN = 7

# State.tally
COUNTED = 0  # ones counted
ONES = 1  # ones since learning began ...
RUNS = 2  # ... the runs that they form, one right after the other ...
CLUMPS = 3  # ... and the clumps
LAST = 4  # 1 + number of the last one
AT_BLOCK = 5  # ones at the end of the last short block, and of the last long one
TALLY = 7

# State.spread: chi squared of short blocks and of long ones, then their degrees of freedom
SPREAD = 4

# State.evidence: where the sums over the alternatives begin
SUM = 0  # Shiryaev-Roberts sums
AGE = 8  # the same, times the age of the onset
KEPT = 16  # the same, times the ones since the onset
FURTHER = 24  # sums against "within the tolerance"
SUMS = 32


class ShareState(NamedTuple):
    """All series, row by row."""

    category: F64  # [rows, slots - 1] the category of slot 1, 2, ...
    seen: I64  # [rows, SEEN]
    tally: I64  # [rows, slots, TALLY]
    weight: NDArray[np.float32]  # [rows, slots] exponent of the likelihood ratios
    evidence: NDArray[np.float32]  # [rows, slots, SUMS]
    spread: F64  # [rows, SPREAD] of the counts of blocks; an alarm halves it


class ShareRules(NamedTuple):
    """The settings as kernels need them."""

    baseline_size: int
    tolerance: float
    arl0: float


@lean_kernel
def advance(state: ShareState, rules: ShareRules, rows: I64, values: F64, multiple: F64, start: int) -> int:
    """Process values from index `start` on; returns the index of the first alarm, or the number of values."""
    seen = state.seen
    n = len(rows)
    for i in range(start, n):
        if i + AHEAD < n:
            _prefetch_row(state, rows[i + AHEAD])
        row = rows[i]
        slot = _slot_of(state, rules, row, values[i])
        since = seen[row, COUNT] - seen[row, SINCE]
        seen[row, COUNT] += 1
        if since >= rules.baseline_size and since >= 2 * seen[row, WEIGHED]:
            weigh_runs(state, row, since)
        _follow_runs(state, row, slot)
        arl0 = rules.arl0 * multiple[i]
        held = since + 1 if seen[row, REFERRED] == 1 and since < rules.baseline_size else 0
        if held == 0:
            _count(state, row, slot)
        evidence = 0.0
        if held > 0 or since >= rules.baseline_size:
            evidence, is_alarm = _judge(state, rules, arl0, row, slot, held)
            if is_alarm:
                return i
        if (since + 1) % SHORT == 0:
            _end_blocks(state, row, since + 1, evidence < CALM * arl0)
    return n


@lean_kernel
def _prefetch_row(state: ShareState, row: int) -> None:
    """Prefetch what a value of this row reads first."""
    slots = state.tally.shape[1]
    prefetch(state.seen.ctypes.data + 8 * SEEN * row)
    prefetch(state.category.ctypes.data + 8 * (slots - 1) * row)
    for slot in range(slots if slots < 4 else 4):
        prefetch(state.tally.ctypes.data + 8 * TALLY * (slots * row + slot))
        evidence = state.evidence.ctypes.data + 4 * SUMS * (slots * row + slot)
        prefetch(evidence)
        prefetch(evidence + LINE)


@lean_kernel
def _slot_of(state: ShareState, rules: ShareRules, row: int, value: float) -> int:
    """The slot of a value; a category that comes first in a learned baseline gets one, while there are any."""
    category, seen = state.category, state.seen
    named = seen[row, NAMED]
    for k in range(named):
        if category[row, k] == value:
            return k + 1
    is_learned = seen[row, REFERRED] == 0 and seen[row, COUNT] - seen[row, SINCE] < rules.baseline_size
    if is_learned and named < category.shape[1]:
        category[row, named] = value
        seen[row, NAMED] = named + 1
        return int(named + 1)
    return SHARED


@lean_kernel
def _follow_runs(state: ShareState, row: int, slot: int) -> None:
    """Count a one, and whether it begins a run or a clump."""
    tally, number = state.tally, state.seen[row, COUNT]
    last = tally[row, slot, LAST]
    zeros = number - last - 1 if last > 0 else CLUMP_GAP
    tally[row, slot, ONES] += 1
    tally[row, slot, RUNS] += zeros > 0
    tally[row, slot, CLUMPS] += zeros >= CLUMP_GAP
    tally[row, slot, LAST] = number


@kernel
def weigh_runs(state: ShareState, row: int, size: int) -> None:
    """Set the weight of each category by the runs among `size` values; one of few ones counts as all together do."""
    tally, weight = state.tally, state.weight
    together = 1.0
    for kind, gap in ((RUNS, 1), (CLUMPS, CLUMP_GAP)):
        runs, by_chance = 0.0, 0.0
        for slot in range(state.seen[row, NAMED] + 1):
            runs += tally[row, slot, kind]
            by_chance += _runs_by_chance(tally[row, slot, ONES], size, gap)
        together = min(together, _weight(runs, by_chance))
    for level in range(2):
        together = min(together, 1.0 / dispersion(state.spread[row, level], state.spread[row, 2 + level]))
    doubt = DOUBT ** max(0, state.seen[row, SLOW] - SLOW_MANY)
    for slot in range(state.seen[row, NAMED] + 1):
        weight[row, slot] = together
        for kind, gap in ((RUNS, 1), (CLUMPS, CLUMP_GAP)):
            alone = _weight(float(tally[row, slot, kind]), _runs_by_chance(tally[row, slot, ONES], size, gap))
            weight[row, slot] = min(weight[row, slot], np.float32(alone))
        weight[row, slot] /= np.float32(doubt)
    state.seen[row, WEIGHED] = size


@kernel
def _runs_by_chance(ones: int, size: int, gap: int) -> float:
    """Each one begins a run (`gap` zeros or more after the one before) with the probability of those zeros."""
    return float(ones * (1.0 - ones / size) ** gap)


@kernel
def _weight(runs: float, by_chance: float) -> float:
    """The weight of a one: 1, unless runs are rarer than chance beyond doubt."""
    s = (runs + 1.0) / (by_chance + 1.0)
    if (1.0 - s) * np.sqrt(by_chance + 1.0) < PROVEN_Z:
        return 1.0
    return max(WEIGHT_MIN, s / (2.0 - s))


@lean_kernel
def dispersion(chi_squared: float, freedom: float) -> float:
    """The variance of counts as a multiple of that by chance: 1, unless it is larger beyond doubt.

    The bound on chi squared is that of B. Laurent and P. Massart, Annals of Statistics, 2000.
    """
    if chi_squared <= freedom + PROVEN_Z * np.sqrt(2.0 * freedom) + PROVEN_Z * PROVEN_Z:
        return 1.0
    return float(min(chi_squared / freedom, 1.0 / WEIGHT_MIN))


@lean_kernel
def _end_blocks(state: ShareState, row: int, size: int, is_calm: bool) -> None:
    """Add the counts of the blocks that end after `size` values to the spread, unless much speaks for a change."""
    tally, seen, spread = state.tally, state.seen, state.spread
    for level in range(2):
        length = SHORT if level == 0 else LONG
        if size % length != 0:
            continue
        own = 1.0 - length / seen[row, TOTAL] if seen[row, REFERRED] == 0 else 1.0  # the block is counted itself
        for slot in range(seen[row, NAMED] + 1):
            ones = float(tally[row, slot, ONES] - tally[row, slot, AT_BLOCK + level])
            tally[row, slot, AT_BLOCK + level] = tally[row, slot, ONES]
            share = tally[row, slot, COUNTED] / max(seen[row, TOTAL], 1)
            expected = length * share
            if is_calm and own > 0.25 and expected >= EXPECTED_MIN and share < 1.0:
                spread[row, level] += (ones - expected) ** 2 / expected / own
                spread[row, 2 + level] += 1.0 - share


@lean_kernel
def _count(state: ShareState, row: int, slot: int) -> None:
    """Count a value; where there are too many, halve the counts, so that the past fades and numbers stay small."""
    state.tally[row, slot, COUNTED] += 1
    state.seen[row, TOTAL] += 1
    if state.seen[row, TOTAL] <= COUNTED_MAX:
        return
    total = 0
    for slot in range(state.seen[row, NAMED] + 1):
        state.tally[row, slot, COUNTED] = (state.tally[row, slot, COUNTED] + 1) // 2
        total += state.tally[row, slot, COUNTED]
    state.seen[row, TOTAL] = total


@lean_kernel
def _judge(state: ShareState, rules: ShareRules, arl0: float, row: int, one: int, held: int) -> tuple[float, bool]:
    """Let the evidence of the categories grow by a value of slot `one`; what it is, and whether it is an alarm.

    `held`: so many values beside a reference are not counted in it yet, and only the unseen are judged.
    """
    found, further = 0.0, 0.0
    for slot in range(1 if held > 0 else state.seen[row, NAMED] + 1):
        _grow_slot(state, rules, row, slot, slot == one, held)
        part, sums = SHARED_WEIGHT if slot == SHARED else 1.0, state.evidence[row, slot]
        found, further = found + part * _weighted(sums, SUM), further + part * _weighted(sums, FURTHER)
    many = state.seen[row, NAMED] + SHARED_WEIGHT
    asked = asked_evidence(arl0, 0 if state.seen[row, REFERRED] == 1 else rules.baseline_size)
    is_alarm = found >= asked * many and further >= min(BEYOND, 0.1 * arl0) * many
    return found / many, bool(is_alarm)


@lean_kernel
def _grow_slot(state: ShareState, rules: ShareRules, row: int, slot: int, is_one: bool, held: int) -> None:
    """Let the sums of a category grow by a one or a zero."""
    counted, total = state.tally[row, slot, COUNTED], state.seen[row, TOTAL] + held
    if held > 0:
        counted += state.tally[row, slot, ONES]
    share, ones, tolerance = np.float32(counted / total), np.float32(is_one), np.float32(rules.tolerance)
    begun_max = SUM_MAX if min(counted, total - counted) >= FEW else BEGUN_MAX
    weight = state.weight[row, slot]
    if is_one and counted == 1:  # before a category first came, all its onsets are as likely: it is dated no earlier
        for k in range(ALTERNATIVES):
            state.evidence[row, slot, AGE + k] = -state.evidence[row, slot, SUM + k]  # which grow older by a value next
    if weight == UNIT:
        _grow(state.evidence[row, slot], ones, share, tolerance, begun_max)
    else:
        _grow_tempered(state.evidence[row, slot], ones, share, tolerance, begun_max, weight)


@lean_kernel
def asked_evidence(arl0: float, blind: int) -> float:
    """The evidence of an alarm: the asked number of values, less those that were learned from."""
    return max(arl0 - blind, EVIDENCE_MIN)


@lean_kernel
def _grow(
    one: NDArray[np.float32], ones: np.float32, share: np.float32, tolerance: np.float32, begun_max: np.float32
) -> None:
    """Let the sums of a category [SUMS] grow by a one (1) or a zero (0); no onset is added above `begun_max`."""
    for k in range(ALTERNATIVES):
        gain = UNIT + ones * MORE[k]
        ratio = gain / (UNIT + MORE[k] * share)
        moved = gain / (UNIT + MORE[k] * min(max(share + SIDE[k] * tolerance, NIL), UNIT))
        old = one[SUM + k]
        begun = old + (UNIT if old < begun_max else NIL)
        one[KEPT + k] = min((one[KEPT + k] + ones * begun) * ratio, SUM_MAX)
        one[AGE + k] = min((one[AGE + k] + old) * ratio, SUM_MAX)
        one[SUM + k] = min(begun * ratio, SUM_MAX)
        one[FURTHER + k] = min((one[FURTHER + k] + UNIT) * moved, SUM_MAX)


@lean_kernel
def _grow_tempered(
    one: NDArray[np.float32],
    ones: np.float32,
    share: np.float32,
    tolerance: np.float32,
    begun_max: np.float32,
    weight: np.float32,
) -> None:
    """`_grow` with likelihood ratios raised to this power."""
    for k in range(ALTERNATIVES):
        gain = UNIT + ones * MORE[k]
        ratio = (gain / (UNIT + MORE[k] * share)) ** weight
        moved = (gain / (UNIT + MORE[k] * min(max(share + SIDE[k] * tolerance, NIL), UNIT))) ** weight
        old = one[SUM + k]
        begun = old + (UNIT if old < begun_max else NIL)
        one[KEPT + k] = min((one[KEPT + k] + ones * begun) * ratio, SUM_MAX)
        one[AGE + k] = min((one[AGE + k] + old) * ratio, SUM_MAX)
        one[SUM + k] = min(begun * ratio, SUM_MAX)
        one[FURTHER + k] = min((one[FURTHER + k] + UNIT) * moved, SUM_MAX)


@lean_kernel
def _weighted(one: NDArray[np.float32], first: int) -> float:
    """The weighted sum over the alternatives, added up in a fixed order."""
    w = WEIGHT
    even = (w[0] * one[first] + w[4] * one[first + 4]) + (w[2] * one[first + 2] + w[6] * one[first + 6])
    odd = (w[1] * one[first + 1] + w[5] * one[first + 5]) + (w[3] * one[first + 3] + w[7] * one[first + 7])
    return float(even + odd)
