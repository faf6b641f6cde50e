"""Kolmogorov-Smirnov with two sliding windows: the last values of a series against those just before them.

For series without a training sample whose first values should not remain the reference. The decision after each value
is that of `scipy.stats.ks_2samp(values before, last values, method="asymp")`, ties included. A value moves the distance
by at most one step of either window, so a test far from the critical distance decides for many values, as in
`window.py`.

    ring, in order of arrival:   | reference values | window values |
    order:                       the same places, sorted by the value they hold

A test takes one pass: it merges the values since the last test into `order`, and drops those that they replaced.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.alarm_list import Evidence
from detectors.arrays.jit import kernel, lean_kernel, prefetch, step_kernel
from detectors.arrays.onset import locations, newest_regime
from detectors.arrays.scan_bank import ScanBank
from detectors.arrays.stepping import QUIET, REFUSED, STOPPED, Stepper, carray, pointer
from detectors.arrays.types import F64, I64
from detectors.base import Standing
from detectors.ks.critical import KsScale, p_value, scale_of
from detectors.ks.kernels import DRIFT, NO_DRIFT, decided
from detectors.ks.window import KsWindowBank, KsWindowSettings

WAITING_MAX = 64  # values merged at once, at most
LINE = 64  # bytes in a cache line
FETCHED = 128 * LINE  # bytes of one array fetched ahead, at most

# State.head
SORTED = 0  # places in `order`
NEXT = 1  # place in the ring of the next value
WAITING = 2  # values in the ring that are not in `order` yet
DUE = 3  # values until the next test; 0 in a fresh row
DRIFTED = 4  # the decision of the last test, as in `kernels.py`
HEAD = 5


class SlidingState(NamedTuple):
    """All series, row by row."""

    head: NDArray[np.int32]  # [rows, HEAD]
    ring: F64  # [rows, reference + window] the last values
    order: NDArray[Any]  # [rows, reference + window] places in the ring, sorted by value


def ks_bank(settings: KsWindowSettings, rows: int) -> KsWindowBank | KsSlidingBank:
    """The bank of these settings: sliding or with a fixed reference."""
    return KsSlidingBank(settings, rows) if settings.sliding else KsWindowBank(settings, rows)


class KsSlidingBank(ScanBank):
    """The last `window` values of each series against the `reference` values before them.

    This is `ks_window` with `sliding=True`.

    The first decision follows value number `reference_size + window`. Alarms, statistic, threshold, effect and onset
    are those of `KsWindowBank`; before and after are exact medians, or means where these are equal. Once the new regime
    fills both windows, the decision is no drift again.

    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> values = np.concatenate([rng.normal(0.0, 1.0, 1500), rng.normal(3.0, 1.0, 1500)])
    >>> bank = KsSlidingBank(KsWindowSettings(sliding=True), rows=1)
    >>> alarms = bank.update(np.zeros(3000, np.int64), values, np.zeros(3000, np.int64))
    >>> alarms.at.tolist(), (alarms.at - alarms.onset_ago).tolist(), bank.drifted(0)
    ([1592], [1500], False)
    """

    effect_unit: ClassVar[str] = "ks_distance"
    takes_reference: ClassVar[bool] = False

    def __init__(self, settings: KsWindowSettings, rows: int) -> None:
        self.settings = settings
        length = settings.reference_size + settings.window
        layout = {
            "head": (np.int32, (HEAD,)),
            "ring": (np.float64, (length,)),
            "order": (np.int16 if length < 1 << 15 else np.int32, (length,)),
        }
        super().__init__(layout, rows)
        self._scale = scale_of(settings.reference_size, settings.window, settings.alpha)

    def set_reference(self, row: int, values: F64) -> None:
        raise NotImplementedError("ks_window with sliding=True takes no reference: it compares with its own past")

    def drifted(self, row: int) -> bool:
        """The current decision: whether the two windows of a series differ."""
        return bool(self._store.arrays["head"][row, DRIFTED] == DRIFT)

    def standing(self, row: int) -> Standing:
        """The distance of the two windows, the critical one, and the p-value of a single test."""
        state = SlidingState(*(array[row : row + 1].copy() for array in self._store.arrays.values()))
        critical, length = self._scale.critical / self._scale.unit, state.ring.shape[1]
        if state.head[0, SORTED] + state.head[0, WAITING] < length:
            return Standing(math.nan, critical)
        _insert_waiting(state, 0, np.empty(WAITING_MAX, np.int64), np.empty(length, np.int64))
        distance = _widest(state, self.settings.window, self._scale, 0)[0] / self._scale.unit
        return Standing(distance, critical, p_value(distance, self.settings.reference_size, self.settings.window))

    def stepper(self) -> Stepper:
        """See `detectors.arrays.stepping`."""
        state = SlidingState(**self._store.arrays)
        length = state.ring.shape[1]
        vectors = (np.zeros(1, np.int64), np.zeros(1))  # row 0, and its value
        work = (np.empty(length, np.int64), np.empty(WAITING_MAX, np.int64))
        step = _step_short if state.order.dtype == np.int16 else _step_long
        return Stepper(step, (length, self.settings.window, *self._scale, *vectors, *work, *state))

    def _advance(self, rows: I64, values: F64, start: int) -> int:
        return advance(SlidingState(**self._store.arrays), self.settings.window, self._scale, rows, values, start)

    def _evidence(self, row: int) -> Evidence:
        state = SlidingState(**self._store.arrays)
        reference, window = self.settings.reference_size, self.settings.window
        distance, value, below = _widest(state, window, self._scale, row)
        values = np.roll(state.ring[row], -int(state.head[row, NEXT]))
        current = newest_regime(values[reference:] <= value, below / reference, reference)
        before, after = locations(values[:reference], values[-current:])
        unit = self._scale.unit
        return Evidence(
            distance / unit,
            self._scale.critical / unit,
            distance / unit,
            before,
            after,
            current - 1,
            reference,
            current,
        )


@kernel
def advance(state: SlidingState, window: int, scale: KsScale, rows: I64, values: F64, start: int) -> int:
    """Process values from index `start` on, until a decision becomes drift, and a new one.

    Returns the index of that value, or the number of values.
    """
    merged, arrived = np.empty(state.ring.shape[1], np.int64), np.empty(WAITING_MAX, np.int64)
    return _advance_within(state, window, scale, rows, values, start, merged, arrived)


@kernel
def _advance_within(
    state: SlidingState, window: int, scale: KsScale, rows: I64, values: F64, start: int, merged: I64, arrived: I64
) -> int:
    """The same, with work space that the caller made: [length of the ring] and [WAITING_MAX]."""
    head, ring, order = state
    n = len(rows)
    length = ring.shape[1]
    head_at, ring_at, order_at, order_bytes = (
        head.ctypes.data,
        ring.ctypes.data,
        order.ctypes.data,
        order.itemsize * length,
    )
    for i in range(start, n):
        if i + 32 < n:
            prefetch(head_at + 4 * HEAD * rows[i + 32])
        if i + 3 < n and head[rows[i + 3], DUE] == 1:
            for line in range(0, min(8 * length, FETCHED), LINE):
                prefetch(ring_at + 8 * length * rows[i + 3] + line)
            for line in range(0, min(order_bytes, FETCHED), LINE):
                prefetch(order_at + order_bytes * rows[i + 3] + line)
        row = rows[i]
        place = head[row, NEXT]
        ring[row, place] = values[i]
        head[row, NEXT] = place + 1 if place + 1 < length else 0
        waiting = head[row, WAITING] + 1
        head[row, WAITING] = waiting
        due = (head[row, DUE] if head[row, DUE] else length) - 1
        head[row, DUE] = due
        if due > 0 and waiting < WAITING_MAX:
            continue
        _insert_waiting(state, row, arrived, merged)
        if due == 0 and _test(state, window, scale, row):
            return i
    return n


@step_kernel
def _step_short(address: int, value: float, time_ms: int) -> int:  # noqa: ARG001 -- counts values, not time
    return _step(address, value, np.int16)


@step_kernel
def _step_long(address: int, value: float, time_ms: int) -> int:  # noqa: ARG001 -- counts values, not time
    return _step(address, value, np.int32)


@step_kernel
def _step(address: int, value: float, place_type: Any) -> int:
    if not math.isfinite(value):
        return REFUSED
    block = carray(pointer(address), (13,), np.int64)
    length, window = block[0], block[1]
    scale = KsScale(block[2], block[3], block[4], block[5])
    rows, values = carray(pointer(block[6]), (1,), np.int64), carray(pointer(block[7]), (1,), np.float64)
    values[0] = value
    merged = carray(pointer(block[8]), (length,), np.int64)
    arrived = carray(pointer(block[9]), (WAITING_MAX,), np.int64)
    state = SlidingState(
        carray(pointer(block[10]), (1, HEAD), np.int32),
        carray(pointer(block[11]), (1, length), np.float64),
        carray(pointer(block[12]), (1, length), place_type),
    )
    at = _advance_within(state, window, scale, rows, values, 0, merged, arrived)
    return STOPPED if at == 0 else QUIET


@lean_kernel
def _insert_waiting(state: SlidingState, row: int, arrived: I64, merged: I64) -> None:
    """Merge waiting values into the order, and remove the places that they overwrote."""
    head, ring, order = state
    length = ring.shape[1]
    waiting = int(head[row, WAITING])
    newest = (head[row, NEXT] - 1) % length
    _sort_arrived(ring, row, newest, waiting, arrived)
    n = 0
    j = 0
    for k in range(head[row, SORTED]):
        place = np.int64(order[row, k])
        age = newest - place
        if age < 0:
            age += length
        if age < waiting:
            continue
        while j < waiting and ring[row, arrived[j]] < ring[row, place]:
            merged[n] = arrived[j]
            n += 1
            j += 1
        merged[n] = place
        n += 1
    while j < waiting:
        merged[n] = arrived[j]
        n += 1
        j += 1
    for k in range(n):
        order[row, k] = merged[k]
    head[row, SORTED] = n
    head[row, WAITING] = 0


@lean_kernel
def _sort_arrived(ring: F64, row: int, newest: int, waiting: int, arrived: I64) -> None:
    """Sort the places of waiting values by value, by insertion."""
    length = ring.shape[1]
    for j in range(waiting):
        place = newest - j
        if place < 0:
            place += length
        k = j
        while k > 0 and ring[row, arrived[k - 1]] > ring[row, place]:
            arrived[k] = arrived[k - 1]
            k -= 1
        arrived[k] = place


@lean_kernel
def _test(state: SlidingState, window: int, scale: KsScale, row: int) -> bool:
    """Test now and plan the next test; True when the decision has become drift, and a new one."""
    head = state.head
    distance, _, _ = _widest(state, window, scale, row)
    before = head[row, DRIFTED]
    step = scale.reference_step + scale.window_step
    head[row, DRIFTED], head[row, DUE] = decided(distance, scale.critical, step, before)
    return bool(before == NO_DRIFT and head[row, DRIFTED] == DRIFT)


@lean_kernel
def _widest(state: SlidingState, window: int, scale: KsScale, row: int) -> tuple[int, float, int]:
    """The distance in units of the scale, the value after which it is attained, the reference's values up to there."""
    head, ring, order = state
    length = ring.shape[1]
    newest = (head[row, NEXT] - 1) % length
    widest, widest_value, widest_below = -1, 0.0, 0
    ahead, below = 0, 0
    previous = ring[row, order[row, 0]]
    for k in range(length):
        place = np.int64(order[row, k])
        value = ring[row, place]
        if value != previous:  # the distance exists between different values only
            if abs(ahead) > widest:
                widest, widest_value, widest_below = abs(ahead), previous, below
            previous = value
        age = newest - place
        if age < 0:
            age += length
        if age < window:
            ahead += scale.window_step
        else:
            ahead -= scale.reference_step
            below += 1
    if widest < 0:  # all values are equal
        return 0, previous, below
    return widest, widest_value, widest_below
