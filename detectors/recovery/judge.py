"""Recovery of a series that drifted: a sequential test of its values against those before the drift.

    alarm ─► the first window after it measures the drift ─► each further window:
                 farther than ever                 the drift is measured again
                 recovered `need` times in a row   `RECOVERED`
                 not recovered for `LIFE_WINDOWS`  `SETTLED`: the new regime is the baseline from now on

Values are counted in at most nine cells, made of the values before the drift: between eight quantiles of numbers, or
the eight most frequent categories and the rest. The weaker the drift, the longer the windows. After a further alarm a
new window starts. It decides between a `NEW_SHIFT`, which replaces the drift, and the `SAME_SHIFT`.

Shares of cells are compared edge by edge: cumulated shares of cells in order, else the shares. Two distributions are
within tolerance if they differ by no more at any edge than the greater of two bounds: a tenth or half of the drift,
whichever is less; and chance, `z` standard errors of the difference of two shares, where p is the share of both
together. With more edges, one is sooner out of bounds, so `z` grows with their number: by 1 at eight edges.

    recovered: within tolerance of the baseline (`Z_BACK`), and less than halfway along the drift
    new shift: beyond tolerance (`Z_CLEAR`) of the baseline, of the drift, and of the drift before that

The test of two shares is the usual pooled z-test; the rule itself is this project's, see ADR 23.

The judge does not depend on the detector that raised the alarm. Only watched rows cost memory: 500 bytes each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.growth import ensure_length
from detectors.arrays.jit import kernel
from detectors.arrays.types import F64, I64

CELLS = 9
WINDOW_MIN, WINDOW_MAX = 128, 2048  # values
LIFE_WINDOWS = 100  # after so many windows a new regime is the baseline
NEED_MIN = 3  # recovered windows in a row that end the drift; doubled each time the row drifts again soon after
FLAPS_MAX = 5  # doublings
CALM = 10  # a row that stays calm for so many times the values of its last recovery does not flap
BACK_MAX = 0.1
Z_BACK = 2.0
Z_CLEAR = 3.0
Z_PER_DOUBLING = 1 / 3  # of the number of edges

# columns of `head`: the row, the window's length, its values so far, windows since the alarm, recovered windows in a
# row, how many of those end the drift, whether cells are in order, the numbers of the alarm's and the latest value, and
# whether the window reassesses a further alarm
ROW, WINDOW, N, WINDOWS, GOOD, NEED, ORDERED, START, SEEN, REASSESSED = range(10)
HEAD = 10
# columns of `facts`: the greatest distance, 1 / values of the baseline, distance of the last window
FAR, PER_VALUE, LAST = range(3)
NOTHING, RECOVERED, SETTLED, NEW_SHIFT, SAME_SHIFT = range(5)
FREE = -1


class Finding(NamedTuple):
    """A verdict: the drift of a row has ended, or a further alarm was reassessed."""

    at: int  # index of the value, within the call
    row: int
    verdict: int  # `RECOVERED` and `SETTLED` end the watch; `NEW_SHIFT` and `SAME_SHIFT` follow a further alarm
    distance: float  # of the last window from the baseline, 0 to 1
    distance_max: float  # the greatest of the drift


class RecoveryState(NamedTuple):
    """The arrays of the watched rows, one entry a place."""

    head: I64  # [places, HEAD]
    facts: F64  # [places, 3]
    cells: F64  # [places, CELLS - 1] edges, increasing; or ids of categories, NaN: none
    before: F64  # [places, CELLS] shares
    drift: F64  # [places, CELLS] shares of the window of the greatest distance
    former: F64  # [places, CELLS] the same of the drift that a `NEW_SHIFT` replaced; zeros: none
    counts: I64  # [places, CELLS] of the window so far


@dataclass(frozen=True, slots=True)
class Before:
    """The baseline of a row: its values before the drift, as shares of cells."""

    cells: F64  # [CELLS - 1]
    shares: F64  # [CELLS]
    per_value: float  # 1 / number of values that the shares are of
    window: int  # values a window
    is_ordered: bool  # cells of numbers are in order, those of categories are not


def numbers_before(values: F64, gone: float) -> Before:
    """The baseline of a sample of numbers; `gone` is the effect of the drift, a distance from 0 to 1."""
    ordered = np.sort(values.astype(np.float32).astype(np.float64))
    cells = ordered[np.arange(1, CELLS) * len(ordered) // CELLS]
    counted = np.bincount(np.searchsorted(cells, ordered, side="left"), minlength=CELLS)
    window = _window(8.0, gone)
    return Before(cells, counted / len(values), 1 / len(values), window, is_ordered=True)


def categories_before(values: F64, gone: float) -> Before:
    """The baseline of a sample of categories, as ids; `gone` as for numbers."""
    ids, counts = np.unique(values, return_counts=True)
    commonest = np.argsort(-counts, kind="stable")[: CELLS - 1]
    cells = np.full(CELLS - 1, np.nan)
    cells[: len(commonest)] = ids[commonest]
    shares = np.zeros(CELLS)
    shares[: len(commonest)] = counts[commonest] / len(values)
    shares[-1] = 1.0 - shares[:-1].sum()
    window = _window(8.0, gone)
    return Before(cells, shares, 1 / len(values), window, is_ordered=False)


def _window(scale: float, gone: float) -> int:
    return round(min(max(scale / max(gone, 1e-3) ** 2, WINDOW_MIN), WINDOW_MAX))


class RecoveryJudge:
    """The rows that drifted and have not recovered. Cutting a stretch of values changes neither verdicts nor state."""

    def __init__(self) -> None:
        self._place = dict[int, int]()  # row -> place
        # row -> flaps, the value number from which the row is calm, and the one with which its baseline began
        self._past = dict[int, tuple[int, int, int]]()
        self._state = _empty_state(0)
        self._of_row = np.empty(0, np.int64)  # row -> place, FREE

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, row: int) -> bool:
        return row in self._place

    def watched(self, rows: I64) -> NDArray[np.bool_]:
        """Which of these rows [n] are watched [n]."""
        if not self._place:
            return np.zeros(len(rows), bool)
        self._grow_rows(int(rows.max(initial=-1)) + 1)
        found: NDArray[np.bool_] = self._of_row[rows] != FREE
        return found

    def baseline_since(self, row: int) -> int:
        """The number of the value with which a row's baseline began; 0 as long as no regime has settled."""
        return self._past.get(row, (0, 0, 0))[2]

    def drifted_at(self, row: int) -> int | None:
        """The number of the value with which a watched row alarmed; None for a row that is not watched."""
        place = self._place.get(row)
        return None if place is None else int(self._state.head[place, START])

    def is_known(self, row: int, category: float, share: float) -> bool:
        """Whether a category's share is nearer to the baseline than to the drift, or the drift is not measured yet."""
        place, state = self._place[row], self._state
        cell = _cell(state.cells[place], category, 0)
        before, drift = state.before[place, cell], state.drift[place, cell]
        return bool(state.facts[place, FAR] == 0.0 or abs(share - before) < abs(share - drift))

    def begin(self, row: int, number: int, before: Before) -> None:
        """Watch a row from the value after its value `number`, counted from 0."""
        flaps, calm_from, since = self._past.get(row, (-1, 0, 0))
        flaps = min(flaps + 1, FLAPS_MAX) if number < calm_from else 0
        place = len(self._place)
        if place == len(self._state.head):
            self._state = RecoveryState(*(ensure_length(array, max(64, place + 1), 0) for array in self._state))
        self._grow_rows(row + 1)
        self._place[row], self._of_row[row], self._past[row] = place, place, (flaps, 0, since)
        state = self._state
        state.head[place] = row, before.window, 0, 0, 0, NEED_MIN << flaps, before.is_ordered, number, number, 0
        state.facts[place] = 0.0, before.per_value, 0.0
        state.cells[place], state.before[place] = before.cells, before.shares
        state.drift[place], state.former[place], state.counts[place] = 0.0, 0.0, 0

    def reassess(self, row: int) -> None:
        """After a further alarm of a watched row: let its next window decide whether this is a new shift."""
        head, place = self._state.head, self._place[row]
        if head[place, WINDOWS] and not head[place, REASSESSED]:
            head[place, REASSESSED], head[place, N] = 1, 0
            self._state.counts[place] = 0

    def update(self, rows: I64, values: F64) -> list[Finding]:
        """Count these values [n], in order, and return the verdicts. Rows that are not watched are skipped."""
        found = list[Finding]()
        self._grow_rows(int(rows.max(initial=-1)) + 1)
        at, verdict = _update(self._state, self._of_row, rows, values, 0)
        while verdict != NOTHING:
            row = int(rows[at])
            facts = self._state.facts[self._place[row]]
            found.append(Finding(at, row, verdict, float(facts[LAST]), float(facts[FAR])))
            if verdict in (RECOVERED, SETTLED):
                self._end(row, settled=verdict == SETTLED)
            at, verdict = _update(self._state, self._of_row, rows, values, at + 1)
        return found

    def dump(self) -> dict[str, NDArray[Any]]:
        """The state, rows in order."""
        n = len(self._place)
        past = np.array([(row, *known) for row, known in sorted(self._past.items())], np.int64).reshape(-1, 4)
        order = np.argsort(self._state.head[:n, ROW])  # places depend on the order in which drifts ended
        return {"past": past} | {name: a[:n][order] for name, a in self._state._asdict().items()}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `dump`."""
        self._past = {row: (flaps, calm, since) for row, flaps, calm, since in arrays["past"].tolist()}
        self._state = RecoveryState(*(arrays[name].copy() for name in RecoveryState._fields))
        rows = self._state.head[:, ROW]
        self._place = {row: place for place, row in enumerate(rows.tolist())}
        self._of_row = np.full(0, FREE, np.int64)
        self._grow_rows(int(rows.max(initial=-1)) + 1)
        self._of_row[rows] = np.arange(len(rows))

    def _end(self, row: int, *, settled: bool) -> None:
        """Stop watching a row; the row at the last place moves to its place."""
        place, last = self._place.pop(row), len(self._place)
        head = self._state.head[place]
        flaps, _, since = self._past[row]
        calm_from = int(head[SEEN] + CALM * head[WINDOW] * head[NEED])
        self._past[row] = flaps, calm_from, int(head[START]) if settled else since
        self._of_row[row] = FREE
        if place != last:
            moved = int(self._state.head[last, ROW])
            for array in self._state:
                array[place] = array[last]
            self._place[moved] = self._of_row[moved] = place

    def _grow_rows(self, rows: int) -> None:
        self._of_row = ensure_length(self._of_row, rows, FREE)


def _empty_state(places: int) -> RecoveryState:
    shapes = ((HEAD,), (3,), (CELLS - 1,), (CELLS,), (CELLS,), (CELLS,), (CELLS,))
    types = (np.int64, *(np.float64,) * 5, np.int64)
    return RecoveryState(*(np.zeros((places, *shape), kind) for shape, kind in zip(shapes, types, strict=True)))


@kernel
def _update(state: RecoveryState, of_row: I64, rows: I64, values: F64, start: int) -> tuple[int, int]:
    """Count values from index `start` on; returns the index of the first that brings a verdict, and the verdict."""
    head, counts = state.head, state.counts
    for i in range(start, len(rows)):
        place = of_row[rows[i]]
        if place == FREE:
            continue
        counts[place, _cell(state.cells[place], values[i], head[place, ORDERED])] += 1
        head[place, N] += 1
        head[place, SEEN] += 1
        if head[place, N] == head[place, WINDOW]:
            verdict = _judge(state, place)
            if verdict != NOTHING:
                return i, verdict
    return len(rows), NOTHING


@kernel
def _cell(cells: F64, value: float, is_ordered: int) -> int:
    for c in range(len(cells)):
        if (is_ordered and np.float64(np.float32(value)) <= cells[c]) or value == cells[c]:
            return c
    return len(cells)


@kernel
def _judge(state: RecoveryState, place: int) -> int:
    """The verdict of a full window."""
    head, facts = state.head[place], state.facts[place]
    now = state.counts[place] / head[N]
    before, drift, former, ordered = state.before[place], state.drift[place], state.former[place], head[ORDERED]
    per_before, per_now = facts[PER_VALUE], 1.0 / head[N]
    facts[LAST] = distance(now, before, ordered)
    is_reassessed = head[REASSESSED]
    state.counts[place] = 0
    head[N] = head[REASSESSED] = 0
    head[WINDOWS] += 1
    if (
        is_reassessed
        and not is_within(now, before, per_now, per_before, facts[FAR], Z_CLEAR, ordered)
        and not is_within(now, drift, per_now, per_now, facts[FAR], Z_CLEAR, ordered)
        and not is_within(now, former, per_now, per_now, facts[FAR], Z_CLEAR, ordered)
    ):
        former[:] = drift
        drift[:] = now
        facts[FAR] = facts[LAST]
        head[WINDOWS], head[GOOD], head[START] = 1, 0, head[SEEN] - head[WINDOW]
        return NEW_SHIFT
    if facts[LAST] > facts[FAR]:
        facts[FAR] = facts[LAST]
        if not former.any() or distance(now, former, ordered) >= distance(now, drift, ordered):
            drift[:] = now
    is_back = (
        head[WINDOWS] > 1
        and is_within(now, before, per_now, per_before, facts[FAR], Z_BACK, ordered)
        and along(now, before, drift, ordered) < 0.5
    )
    head[GOOD] = head[GOOD] + 1 if is_back else 0
    if head[GOOD] >= head[NEED]:
        return RECOVERED
    if head[WINDOWS] >= LIFE_WINDOWS:
        return SETTLED
    return SAME_SHIFT if is_reassessed else NOTHING


@kernel
def distance(a: F64, b: F64, is_ordered: int) -> float:
    """The distance of two distributions, 0 to 1: Kolmogorov-Smirnov for cells in order, else total variation."""
    below, far, apart = 0.0, 0.0, 0.0
    for c in range(len(a)):
        below += a[c] - b[c]
        far = max(far, abs(below))
        apart += abs(a[c] - b[c]) / 2
    return far if is_ordered else apart


@kernel
def is_within(a: F64, b: F64, per_a: float, per_b: float, far: float, z: float, is_ordered: int) -> bool:
    """Whether two distributions are within tolerance: of 1 / `per_a` and 1 / `per_b` values, after a drift of `far`."""
    tolerance, share_a, share_b, edges = min(BACK_MAX, far / 2), 0.0, 0.0, 0
    for c in range(len(a)):
        edges += a[c] + b[c] > 0.0
    z += Z_PER_DOUBLING * math.log2(max(edges - 1, 1))
    for c in range(len(a)):
        share_a = a[c] + (share_a if is_ordered else 0.0)
        share_b = b[c] + (share_b if is_ordered else 0.0)
        p = (share_a * per_b + share_b * per_a) / (per_a + per_b)
        chance = z * math.sqrt(max(p * (1.0 - p), 0.0) * (per_a + per_b))
        if abs(share_a - share_b) > max(tolerance, chance):
            return False
    return True


@kernel
def along(now: F64, before: F64, drift: F64, is_ordered: int) -> float:
    """How far `now` is from the baseline along the drift: 0 at the baseline, 1 at the drift."""
    gone, far, best, below, below_now = 0.0, 0.0, 0.0, 0.0, 0.0
    for c in range(len(now)):
        below += drift[c] - before[c]
        below_now += now[c] - before[c]
        if is_ordered and abs(below) > best:
            best, far, gone = abs(below), below, below_now
        elif not is_ordered and drift[c] > before[c]:
            far += drift[c] - before[c]
            gone += now[c] - before[c]
    return gone / far if far != 0.0 else 0.0
