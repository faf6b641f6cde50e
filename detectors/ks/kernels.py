"""The kernels of `window.py` over the rows of a bank.

A value of the window is kept only as its *slot*: between which values of the reference it lies, or to which it is
equal. The distance depends on nothing else. Slots are counted in LANES interleaved stretches, so the running sum over
them is vector code.

    slots of a reference of n values:   gap 0 | equal to value 0 | gap 1 | equal to value 1 | ... | gap n
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.jit import kernel, lean_kernel, prefetch
from detectors.arrays.types import F64, I64

RECENT = 64  # raw values kept: those not yet in the window, and the newest ones for `after`
LANES = 32
GAP, EQUAL = range(2)
LINE = 64  # bytes in a cache line
FETCHED = 128 * LINE  # bytes of one array fetched ahead, at most

# State.head
SIZE = 0  # values in the reference; 0 while it is learned
LEARNED = 1  # values learned so far
OLDEST = 2  # place in the ring of the oldest value of the window
FIRST = 3  # of `recent`: the first value that is not in the window yet
NEXT = 4  # of `recent`: where the next value goes
DUE = 5  # values until the next test
DRIFTED = 6  # the decision of the last test: NO_DRIFT, DRIFT, or FADING
HEAD = 7

# State.head[DRIFTED]
NO_DRIFT = 0
DRIFT = 1
FADING = 2  # no drift, but the distance has not fallen below half the critical one since: no new drift yet


class KsState(NamedTuple):
    """All series, row by row."""

    head: NDArray[np.int32]  # [rows, HEAD]
    reference: F64  # [rows, reference] sorted, then +inf; unsorted while it is learned
    tally: NDArray[Any]  # [rows, steps * 2 * LANES] values of the window in each slot; see `hidden`
    ring: NDArray[Any]  # [rows, window] 1 + the place in `count` of each value of the window; 0: none yet
    recent: F64  # [rows, RECENT] the last values, in turn


class KsRules(NamedTuple):
    """The constants of the kernels."""

    steps: int  # length of a lane
    hidden: int  # marks a count at which no distance exists: inside a run of equal reference values
    scales: I64  # [reference + 1, 4] a Scale for each size of reference in use


@kernel
def advance(state: KsState, rules: KsRules, rows: I64, values: F64, start: int) -> int:
    """Process values from index `start` on, until a decision becomes drift, and a new one.

    Returns the index of that value, or the number of values.
    """
    return advance_within(state, rules, rows, values, start, np.empty((3, LANES), np.int64), np.empty(RECENT, np.int64))


@kernel
def advance_within(state: KsState, rules: KsRules, rows: I64, values: F64, start: int, lanes: I64, places: I64) -> int:
    """The same, with work space that the caller made: [3, LANES] and [RECENT]."""
    head, recent = state.head, state.recent
    n = len(rows)
    head_at, recent_at = head.ctypes.data, recent.ctypes.data
    for i in range(start, n):
        if i + 32 < n:
            prefetch(head_at + 4 * HEAD * rows[i + 32])
        if i + 16 < n:
            ahead = rows[i + 16]
            prefetch(recent_at + 8 * (RECENT * ahead + head[ahead, NEXT]))
        if i + 3 < n:
            ahead = rows[i + 3]
            if head[ahead, DUE] == 1 or head[ahead, NEXT] == RECENT - 1:
                _prefetch_row(state, ahead)
        row = rows[i]
        if head[row, SIZE] == 0:
            _learn(state, rules, row, values[i])
            continue
        place = head[row, NEXT]
        recent[row, place] = values[i]
        head[row, NEXT] = place + 1
        due = head[row, DUE] - 1
        head[row, DUE] = due
        if due > 0 and place + 1 < RECENT:
            continue
        insert_waiting(state, rules, row, places)
        if due == 0 and _test(state, rules, row, lanes):
            return i
    return n


@lean_kernel
def _prefetch_row(state: KsState, row: int) -> None:
    """Prefetch what a test of this row reads."""
    _, reference, tally, ring, _ = state
    reference_bytes, tally_bytes = reference.itemsize * reference.shape[1], tally.itemsize * tally.shape[1]
    for line in range(0, min(reference_bytes, FETCHED), LINE):
        prefetch(reference.ctypes.data + reference_bytes * row + line)
    for line in range(0, min(tally_bytes, FETCHED), LINE):
        prefetch(tally.ctypes.data + tally_bytes * row + line)
    oldest = ring.shape[1] * row + state.head[row, OLDEST]
    prefetch(ring.ctypes.data + ring.itemsize * oldest)
    prefetch(ring.ctypes.data + ring.itemsize * oldest + LINE)


@kernel
def _learn(state: KsState, rules: KsRules, row: int, value: float) -> None:
    learned = state.head[row, LEARNED]
    state.reference[row, learned] = value
    state.head[row, LEARNED] = learned + 1
    if learned + 1 == state.reference.shape[1]:
        state.reference[row].sort()
        start_comparing(state, rules, row, learned + 1)


@lean_kernel
def _place(steps: int, rank: int, kind: int) -> int:
    """The place of a slot's count: lane `rank // steps`, step `rank % steps`, lanes side by side."""
    return ((rank % steps) * 2 + kind) * LANES + rank // steps


@lean_kernel
def start_comparing(state: KsState, rules: KsRules, row: int, size: int) -> None:
    """Begin to compare with the first `size` values of the row's reference, which are sorted.

    Values equal to a run of equal reference values are counted at the first of the run. The distance exists before a
    run and after it, so it is hidden in between; and past the reference.
    """
    reference, tally = state.reference, state.tally
    reference[row, size:] = np.inf
    for rank in range(rules.steps * LANES):
        starts = rank == 0 or rank == size or (rank < size and reference[row, rank - 1] != reference[row, rank])
        ends = rank < size and (rank + 1 == size or reference[row, rank] != reference[row, rank + 1])
        tally[row, _place(rules.steps, rank, GAP)] = 0 if starts else rules.hidden
        tally[row, _place(rules.steps, rank, EQUAL)] = 0 if ends else rules.hidden
    state.ring[row, :] = 0
    state.head[row, :] = 0
    state.head[row, SIZE] = size
    state.head[row, DUE] = state.ring.shape[1]


@lean_kernel
def insert_waiting(state: KsState, rules: KsRules, row: int, places: I64) -> None:
    """Move waiting values into the window, as slots; as many of the oldest leave it."""
    head, tally, ring = state.head, state.tally, state.ring
    first = head[row, FIRST]
    end = head[row, NEXT]
    _find_places(state.reference, state.recent, row, first, end, head[row, SIZE], rules.steps, places)
    oldest = int(head[row, OLDEST])
    for j in range(end - first):
        leaving = ring[row, oldest]
        if leaving > 0:
            tally[row, leaving - 1] -= 1
        tally[row, places[j]] += 1
        ring[row, oldest] = places[j] + 1
        oldest += 1
        if oldest == ring.shape[1]:
            oldest = 0
    head[row, OLDEST] = oldest
    if end == RECENT:
        end = 0
    head[row, FIRST] = end
    head[row, NEXT] = end


@lean_kernel
def _find_places(
    reference: F64, recent: F64, row: int, first: int, end: int, size: int, steps: int, places: I64
) -> None:
    """Binary search of all waiting values at once, halving in step, so that the processor overlaps them."""
    waiting = end - first
    for j in range(waiting):
        places[j] = 0
    stretch = size
    while stretch > 1:
        half = stretch >> 1
        for j in range(waiting):
            below = reference[row, places[j] + half - 1] < recent[row, first + j]
            places[j] += half if below else 0
        stretch -= half
    for j in range(waiting):
        value = recent[row, first + j]
        rank = places[j] + (1 if reference[row, places[j]] < value else 0)
        equal = rank < size and reference[row, min(rank, size - 1)] == value
        places[j] = _place(steps, rank, EQUAL if equal else GAP)


@lean_kernel
def _test(state: KsState, rules: KsRules, row: int, lanes: I64) -> bool:
    """Test now and plan the next test; True when the decision has become drift, and a new one."""
    head = state.head
    critical, _, reference_step, window_step = rules.scales[head[row, SIZE]]
    distance = _distance(state.tally, row, rules.steps, rules.hidden, reference_step, window_step, lanes)
    before = head[row, DRIFTED]
    head[row, DRIFTED], head[row, DUE] = decided(distance, critical, window_step, before)
    return bool(before == NO_DRIFT and head[row, DRIFTED] == DRIFT)


@lean_kernel
def decided(distance: int, critical: int, step: int, before: int) -> tuple[int, int]:
    """The decision at this distance, given the one before, and after how many values it can be another.

    Around the critical distance, a decision would rise and fall with every few values. So a drift is over only where
    the distance has fallen below half of it.
    """
    if distance >= critical:
        return DRIFT, (distance - critical) // step + 1
    until_drift = (critical - distance + step - 1) // step
    if before == NO_DRIFT or 2 * distance < critical:
        return NO_DRIFT, until_drift
    return FADING, min(until_drift, (2 * distance - critical) // 2 // step + 1)


@lean_kernel
def _distance(
    tally: NDArray[Any], row: int, steps: int, hidden: int, reference_step: int, window_step: int, lanes: I64
) -> int:
    """The greatest |reference - window| of the distribution functions, in units of the scale.

    Each lane sums its own stretch of slots; where a lane begins is known once the lanes before it are summed.
    """
    far = 1 << 60
    for lane in range(LANES):
        lanes[0, lane] = 0
        lanes[1, lane] = -far
        lanes[2, lane] = far
    for step in range(steps):
        gap = step * 2 * LANES
        for lane in range(LANES):
            in_gap = np.int64(tally[row, gap + lane])
            equal = np.int64(tally[row, gap + LANES + lane])
            ahead = lanes[0, lane] + window_step * (in_gap & (hidden - 1))
            high = max(lanes[1, lane], ahead if in_gap < hidden else -far)
            low = min(lanes[2, lane], ahead if in_gap < hidden else far)
            ahead += window_step * (equal & (hidden - 1)) - reference_step
            lanes[1, lane] = max(high, ahead if equal < hidden else -far)
            lanes[2, lane] = min(low, ahead if equal < hidden else far)
            lanes[0, lane] = ahead
    begin = 0
    distance = 0
    for lane in range(LANES):
        distance = max(distance, begin + lanes[1, lane], -(begin + lanes[2, lane]))
        begin += lanes[0, lane]
    return distance


@lean_kernel
def widest(state: KsState, rules: KsRules, row: int) -> tuple[int, int, int]:
    """The distance and the slot after which it is attained, as rank and kind."""
    size = state.head[row, SIZE]
    _, _, reference_step, window_step = rules.scales[size]
    widest, widest_rank, widest_kind = -1, 0, GAP
    ahead = 0
    for rank in range(size):
        for kind in range(2):
            counted = np.int64(state.tally[row, _place(rules.steps, rank, kind)])
            ahead += window_step * (counted & (rules.hidden - 1)) - kind * reference_step
            if counted < rules.hidden and abs(ahead) > widest:
                widest, widest_rank, widest_kind = abs(ahead), rank, kind
    return widest, widest_rank, widest_kind


@kernel
def slots_in_order(state: KsState, rules: KsRules, row: int) -> I64:
    """The slots of the window's values, in order of arrival: 2 * rank + kind."""
    window = state.ring.shape[1]
    slots = np.empty(window, np.int64)
    for j in range(window):
        place = np.int64(state.ring[row, (state.head[row, OLDEST] + j) % window]) - 1
        lane = place % LANES
        step, kind = divmod(place // LANES, 2)
        slots[j] = 2 * (lane * rules.steps + step) + kind
    return slots
