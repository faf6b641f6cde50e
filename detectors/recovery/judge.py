"""Whether a series that has drifted is back to what it was, whatever detector has said that it drifted.

    alarm ─► the first window after it shows how far it has gone ─► window after window:  further than ever? remember
                                                                     back for `need` windows in a row? `RECOVERED`
                                                                     not so for `LIFE_WINDOWS`?        `SETTLED`

Values are counted in at most nine cells, made of the values before the drift: eight quantiles of numbers, the eight
commonest categories and the rest, or zero and one; `rule.py` says which window is back. The weaker the
drift, the longer the windows. What has not come back for so long is the usual from then on. After a further alarm a
window begins afresh and tells whether that was `NEW_SHIFT` drift, which takes the place of the first, or the
`SAME_SHIFT`.

Only rows that are watched cost anything: 500 bytes each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.jit import kernel
from detectors.arrays.types import F64, I64
from detectors.recovery.rule import Z_BACK, Z_CLEAR, along, distance, is_within

CELLS = 9
WINDOW_MIN, WINDOW_MAX = 128, 2048
LIFE_WINDOWS = 100  # values of a new regime until it counts as usual, in windows
NEED_MIN = 3  # windows in a row that must be back; doubled with each time that the row came back only to drift again
FLAPS_MAX = 5  # doublings
CALM = 10  # a row that was calm for so many times what its last way back took has not flapped

# columns of `head`: whose it is, the window's length, its values so far, windows since the alarm, those in a row that
# were back, how many must be, whether cells are in order, the numbers of the alarm's and the latest value, and whether
# the window looks into an alarm
ROW, WINDOW, N, WINDOWS, GOOD, NEED, ORDERED, START, SEEN, ASKED = range(10)
HEAD = 10
# columns of `facts`: distance at the height, 1 / values from before, distance of the last window
FAR, PER_VALUE, LAST = range(3)
NOTHING, RECOVERED, SETTLED, NEW_SHIFT, SAME_SHIFT = range(5)
FREE = -1


class Finding(NamedTuple):
    """A row is watched no longer, or an alarm has been looked into."""

    at: int  # index of the value, within the call
    row: int
    # `RECOVERED`; `SETTLED`: the new regime has lasted so long that it is usual; `NEW_SHIFT`, `SAME_SHIFT`
    why: int
    distance: float  # of the last window from before
    far: float  # the same of the drift at its height


class RecoveryState(NamedTuple):
    """The arrays of the rows that are watched, one entry a place."""

    head: I64  # [places, HEAD]
    facts: F64  # [places, 3]
    cells: F64  # [places, CELLS - 1] edges, increasing; or ids of categories, NaN: none
    before: F64  # [places, CELLS] shares
    drift: F64  # [places, CELLS] the same at the drift's height
    former: F64  # [places, CELLS] the same of the drift whose place it took; zeros: none
    counts: I64  # [places, CELLS] of the window so far


@dataclass(frozen=True, slots=True)
class Before:
    """What a row was before it drifted, as shares of cells."""

    cells: F64  # [CELLS - 1]
    shares: F64  # [CELLS]
    per_value: float  # 1 / the values they are of; 0: they are exact
    window: int
    is_ordered: bool


def numbers_before(values: F64, gone: float) -> Before:
    """Of a sample of numbers, where the drift has gone this far (a distance, 0 to 1)."""
    ordered = np.sort(values.astype(np.float32).astype(np.float64))
    cells = ordered[np.arange(1, CELLS) * len(ordered) // CELLS]
    counted = np.bincount(np.searchsorted(cells, ordered, side="left"), minlength=CELLS)
    window = _window(8.0, gone)
    return Before(cells, counted / len(values), 1 / len(values), window, is_ordered=True)


def categories_before(values: F64, gone: float) -> Before:
    """The same of a sample of categories."""
    ids, counts = np.unique(values, return_counts=True)
    commonest = np.argsort(-counts, kind="stable")[: CELLS - 1]
    cells = np.full(CELLS - 1, np.nan)
    cells[: len(commonest)] = ids[commonest]
    shares = np.zeros(CELLS)
    shares[: len(commonest)] = counts[commonest] / len(values)
    shares[-1] = 1.0 - shares[:-1].sum()
    window = _window(8.0, gone)
    return Before(cells, shares, 1 / len(values), window, is_ordered=False)


def rate_before(before: float, after: float) -> Before:
    """Of marks, zeros and ones, whose rate has gone from `before` to `after`."""
    cells = np.full(CELLS - 1, np.nan)
    cells[:2] = 0.0, 1.0
    shares = np.zeros(CELLS)
    shares[:2] = 1.0 - before, before
    most = max(before, after)
    window = _window(32.0 * max(most * (1.0 - most), 0.001), abs(after - before))
    return Before(cells, shares, 0.0, window, is_ordered=False)


def _window(scale: float, gone: float) -> int:
    return round(min(max(scale / max(gone, 1e-3) ** 2, WINDOW_MIN), WINDOW_MAX))


class RecoveryJudge:
    """The rows that have drifted and are not back. How a stretch is cut changes neither ends nor state."""

    def __init__(self) -> None:
        self._place = dict[int, int]()  # row -> place
        # Of rows that were watched: flaps, the number from which on it was calm, and that with which it became usual.
        self._past = dict[int, tuple[int, int, int]]()
        self._state = _room(0)
        self._of_row = np.empty(0, np.int64)  # row -> place, FREE

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, row: int) -> bool:
        return row in self._place

    def watched(self, rows: I64) -> NDArray[np.bool_]:
        """Which of these rows are watched."""
        if not self._place:
            return np.zeros(len(rows), bool)
        self._hold_rows(int(rows.max(initial=-1)) + 1)
        found: NDArray[np.bool_] = self._of_row[rows] != FREE
        return found

    def since(self, row: int) -> int:
        """The number of the value with which a row's usual regime began, as far as is known."""
        return self._past.get(row, (0, 0, 0))[2]

    def is_known(self, row: int, category: float, share: float) -> bool:
        """Whether a watched row had nearer to this share of a category before it drifted, or is not judged yet."""
        place, state = self._place[row], self._state
        cell = _cell(state.cells[place], category, 0)
        before, drift = state.before[place, cell], state.drift[place, cell]
        return bool(state.facts[place, FAR] == 0.0 or abs(share - before) < abs(share - drift))

    def begin(self, row: int, number: int, before: Before) -> None:
        """Watch a row from the value after `number` of its life on."""
        flaps, calm_from, since = self._past.get(row, (-1, 0, 0))
        flaps = min(flaps + 1, FLAPS_MAX) if number < calm_from else 0
        place = len(self._place)
        if place == len(self._state.head):
            self._state = RecoveryState(
                *(_longer(a, b) for a, b in zip(self._state, _room(max(64, place)), strict=True))
            )
        self._hold_rows(row + 1)
        self._place[row], self._of_row[row], self._past[row] = place, place, (flaps, 0, since)
        state = self._state
        state.head[place] = row, before.window, 0, 0, 0, NEED_MIN << flaps, before.is_ordered, number, number, 0
        state.facts[place] = 0.0, before.per_value, 0.0
        state.cells[place], state.before[place] = before.cells, before.shares
        state.drift[place], state.former[place], state.counts[place] = 0.0, 0.0, 0

    def ask(self, row: int) -> None:
        """A watched row has alarmed again: say by the next values, as many as a window has, whether it drifts anew."""
        head, place = self._state.head, self._place[row]
        if head[place, WINDOWS] and not head[place, ASKED]:
            head[place, ASKED], head[place, N] = 1, 0
            self._state.counts[place] = 0

    def feed(self, rows: I64, values: F64) -> list[Finding]:
        """Judge by these values, in order; those of rows that are not watched, or not any more, are passed over."""
        found = list[Finding]()
        self._hold_rows(int(rows.max(initial=-1)) + 1)
        at, why = _feed(self._state, self._of_row, rows, values, 0)
        while why != NOTHING:
            row = int(rows[at])
            facts = self._state.facts[self._place[row]]
            found.append(Finding(at, row, why, float(facts[LAST]), float(facts[FAR])))
            if why in (RECOVERED, SETTLED):
                self._end(row, settled=why == SETTLED)
            at, why = _feed(self._state, self._of_row, rows, values, at + 1)
        return found

    def dump(self) -> dict[str, NDArray[Any]]:
        n = len(self._place)
        past = np.array([(row, *known) for row, known in sorted(self._past.items())], np.int64).reshape(-1, 4)
        order = np.argsort(self._state.head[:n, ROW])  # where a row's place is, is chance
        return {"past": past} | {name: a[:n][order] for name, a in self._state._asdict().items()}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._past = {row: (flaps, calm, since) for row, flaps, calm, since in arrays["past"].tolist()}
        self._state = RecoveryState(*(arrays[name].copy() for name in RecoveryState._fields))
        rows = self._state.head[:, ROW]
        self._place = {row: place for place, row in enumerate(rows.tolist())}
        self._of_row = np.full(0, FREE, np.int64)
        self._hold_rows(int(rows.max(initial=-1)) + 1)
        self._of_row[rows] = np.arange(len(rows))

    def _end(self, row: int, *, settled: bool) -> None:
        """Watch a row no longer; the last place takes its place."""
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

    def _hold_rows(self, rows: int) -> None:
        if rows > len(self._of_row):
            more = np.full(max(rows, 2 * len(self._of_row)) - len(self._of_row), FREE, np.int64)
            self._of_row = np.concatenate([self._of_row, more])


def _room(places: int) -> RecoveryState:
    shapes = ((HEAD,), (3,), (CELLS - 1,), (CELLS,), (CELLS,), (CELLS,), (CELLS,))
    types = (np.int64, *(np.float64,) * 5, np.int64)
    return RecoveryState(*(np.zeros((places, *shape), kind) for shape, kind in zip(shapes, types, strict=True)))


def _longer(array: NDArray[Any], more: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([array, more])


@kernel
def _feed(state: RecoveryState, of_row: I64, rows: I64, values: F64, start: int) -> tuple[int, int]:
    """Count values from `start` on, up to the first that ends a row; returns where, and why."""
    head, counts = state.head, state.counts
    for i in range(start, len(rows)):
        place = of_row[rows[i]]
        if place == FREE:
            continue
        counts[place, _cell(state.cells[place], values[i], head[place, ORDERED])] += 1
        head[place, N] += 1
        head[place, SEEN] += 1
        if head[place, N] == head[place, WINDOW]:
            why = _judge(state, place)
            if why != NOTHING:
                return i, why
    return len(rows), NOTHING


@kernel
def _cell(cells: F64, value: float, is_ordered: int) -> int:
    for c in range(len(cells)):
        if (is_ordered and np.float64(np.float32(value)) <= cells[c]) or value == cells[c]:
            return c
    return len(cells)


@kernel
def _judge(state: RecoveryState, place: int) -> int:
    """What a whole window says."""
    head, facts = state.head[place], state.facts[place]
    now = state.counts[place] / head[N]
    before, drift, former, ordered = state.before[place], state.drift[place], state.former[place], head[ORDERED]
    per_before, per_now = facts[PER_VALUE], 1.0 / head[N]
    facts[LAST] = distance(now, before, ordered)
    is_asked = head[ASKED]
    state.counts[place] = 0
    head[N] = head[ASKED] = 0
    head[WINDOWS] += 1
    if (
        is_asked
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
    return SAME_SHIFT if is_asked else NOTHING
