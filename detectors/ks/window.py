"""Kolmogorov-Smirnov: the last values of a series against a fixed reference, tested exactly at every value.

The decision after each value is that of `scipy.stats.ks_2samp(reference, last values, method="asymp")`, ties included.
The incremental test of D. dos Reis, P. Flach, S. Matwin and G. Batista, "Fast unsupervised online drift detection using
incremental Kolmogorov-Smirnov test", KDD 2016, is not exact for ties.

One property makes it cheap: a value moves the distance by at most one step of the window. So a test whose distance is g
steps away from the critical one decides for the next g values too. Until then a value is merely stored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.alarm_list import Evidence
from detectors.arrays.bounds import require_between, require_inside
from detectors.arrays.jit import step_kernel
from detectors.arrays.onset import mean, median, newest_regime
from detectors.arrays.scan_bank import ScanBank
from detectors.arrays.stepping import QUIET, REFUSED, STOPPED, Stepper, carray, pointer
from detectors.arrays.types import F64, I64
from detectors.base import Standing
from detectors.ks.critical import p_value, scale_of
from detectors.ks.kernels import (
    DRIFT,
    DRIFTED,
    HEAD,
    LANES,
    NEXT,
    RECENT,
    SIZE,
    KsRules,
    KsState,
    advance,
    advance_within,
    insert_waiting,
    slots_in_order,
    start_comparing,
    widest,
)
from detectors.reference import Reference

SIZE_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class KsWindowSettings:
    """Settings of the windowed Kolmogorov-Smirnov test. ValueError when one is out of range.

    window: size of the current window, in values, 2 to 1,048,576.
    reference_size: size of the reference, in values, 2 to 1,048,576; a larger training sample is thinned to it.
    alpha: level of a single test, in (0, 1). Every value is a test against one reference, so it must be small. At the
        default none of 6,000 stable series of 20,000 values, with references learned from 500, raised an alarm; at
        1e-6, 7 did, at 1e-5, 19. A shift by 1 standard deviation is detected after 207 values (1e-6: 195).
    sliding: compare the last `window` values with the `reference_size` values before them, not with a fixed reference.
    """

    window: int = 500
    reference_size: int = 500
    alpha: float = 1e-7
    sliding: bool = False

    def __post_init__(self) -> None:
        require_between(self, "ks_window", window=(2, SIZE_MAX), reference_size=(2, SIZE_MAX))
        require_inside(self, "ks_window", alpha=(0, 1))


class KsWindowBank(ScanBank):
    """The last `window` values of each series against its reference.

    `set_reference` gives a series its reference; else its first `reference_size` values are the reference. Then the
    window must fill before the first decision. A series alarms when the decision becomes drift, and can alarm again
    after the distance has fallen below half the critical one.

    An alarm's statistic and effect are the distance D, its threshold the critical distance. The onset is the most
    likely change point of the share of values at or below the point of D, against the share of the reference there.
    Before is the median of the reference, after that of the window from the onset on. After is read off the slots, so
    it is exact to the spacing of the reference's values; beyond their range it is the median of the last values of the
    new regime, at most 64. Where the medians are equal, as for shares of zeros and ones, both are means.

    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> bank = KsWindowBank(KsWindowSettings(window=200), rows=1)
    >>> bank.set_reference(0, rng.normal(0.0, 1.0, 5000))
    >>> values = np.concatenate([rng.normal(0.0, 1.0, 1000), rng.normal(1.0, 1.0, 200)])
    >>> alarms = bank.update(np.zeros(1200, np.int64), values, np.zeros(1200, np.int64))
    >>> alarms.at.tolist(), (alarms.at - alarms.onset_ago).tolist(), alarms.n_reference.tolist()
    ([1089], [994], [500])
    """

    effect_unit: ClassVar[str] = "ks_distance"
    takes_reference: ClassVar[bool] = True

    def __init__(self, settings: KsWindowSettings, rows: int) -> None:
        self.settings = settings
        steps = -(-(settings.reference_size + 1) // LANES)
        places = steps * 2 * LANES
        count_type = np.int16 if settings.window < 1 << 14 else np.int32
        layout = {
            "head": (np.int32, (HEAD,)),
            "reference": (np.float64, (settings.reference_size,)),
            "tally": (count_type, (places,)),
            "ring": (np.int16 if places < 1 << 15 else np.int32, (settings.window,)),
            "recent": (np.float64, (RECENT,)),
        }
        super().__init__(layout, rows)
        hidden = 1 << (14 if count_type is np.int16 else 30)
        self._rules = KsRules(steps, hidden, np.zeros((settings.reference_size + 1, 4), np.int64))
        self._ensure_scale(settings.reference_size)

    def set_reference(self, row: int, values: F64) -> None:
        """Compare a series with this sample [n] from now on; its window starts empty.

        A sample of more than `settings.reference_size` finite values is thinned to it; a smaller one is used in full.
        ValueError when it holds no finite value.
        """
        sample = Reference.of(values, self.settings.reference_size).values
        self._ensure_scale(len(sample))
        self._store.reset(np.array([row]))
        state = KsState(**self._store.arrays)
        state.reference[row, : len(sample)] = sample
        start_comparing(state, self._rules, row, len(sample))

    def load(self, rows: slice, arrays: Mapping[str, NDArray[Any]]) -> None:
        super().load(rows, arrays)
        self._ensure_scales(arrays)

    def adopt(self, rows: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        super().adopt(rows, arrays)
        self._ensure_scales(arrays)

    def drifted(self, row: int) -> bool:
        """The current decision: whether the window of a series differs from its reference."""
        return bool(self._store.arrays["head"][row, DRIFTED] == DRIFT)

    def standing(self, row: int) -> Standing:
        """The distance of the last `window` values, the critical one, and the p-value of a single test."""
        state = KsState(*(array[row : row + 1].copy() for array in self._store.arrays.values()))
        size = int(state.head[0, SIZE])
        if not size:
            return Standing(math.nan, math.nan)
        insert_waiting(state, self._rules, 0, np.empty(RECENT, np.int64))
        critical, unit, _, _ = self._rules.scales[size].tolist()
        if not state.ring[0].all():
            return Standing(math.nan, critical / unit)
        distance = widest(state, self._rules, 0)[0] / unit
        return Standing(distance, critical / unit, p_value(distance, size, self.settings.window))

    def stepper(self) -> Stepper:
        """See `detectors.arrays.stepping`."""
        state = KsState(**self._store.arrays)
        numbers = (*(array.shape[1] for array in (state.reference, state.tally, state.ring)), *self._rules[:2])
        vectors = (np.zeros(1, np.int64), np.zeros(1))  # row 0, and its value
        work = (np.empty(3 * LANES, np.int64), np.empty(RECENT, np.int64))
        step = STEPS[state.tally.dtype.itemsize, state.ring.dtype.itemsize]
        return Stepper(step, (*numbers, self._rules.scales, *vectors, *work, *state))

    def _advance(self, rows: I64, values: F64, start: int) -> int:
        return advance(KsState(**self._store.arrays), self._rules, rows, values, start)

    def _evidence(self, row: int) -> Evidence:
        state = KsState(**self._store.arrays)
        size = int(state.head[row, SIZE])
        critical, unit, _, _ = self._rules.scales[size].tolist()
        distance, rank, kind = widest(state, self._rules, row)
        slots = slots_in_order(state, self._rules, row)
        current = newest_regime(slots <= 2 * rank + kind, (rank + kind) / size, size)
        reference = state.reference[row, :size]
        last = np.roll(state.recent[row], -int(state.head[row, NEXT]))[-current:]
        before, after = median(reference), _median_of_slots(reference, np.sort(slots[-current:]))
        if after is None:
            after = median(np.sort(last))
        if before == after:
            before, after = mean(reference), mean(_values_of_slots(reference, slots[-current:], last))
        return Evidence(distance / unit, critical / unit, distance / unit, before, after, current - 1, size, current)

    def _ensure_scales(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        for size in np.unique(arrays["head"][:, SIZE]).tolist():
            if size:
                self._ensure_scale(size)

    def _ensure_scale(self, size: int) -> None:
        if not self._rules.scales[size, 0]:
            self._rules.scales[size] = scale_of(size, self.settings.window, self.settings.alpha)


@step_kernel
def _step(address: int, value: float, count_type: Any, place_type: Any) -> int:
    if not math.isfinite(value):
        return REFUSED
    block = carray(pointer(address), (15,), np.int64)
    size, places, window = block[0], block[1], block[2]
    rules = KsRules(block[3], block[4], carray(pointer(block[5]), (size + 1, 4), np.int64))
    rows, values = carray(pointer(block[6]), (1,), np.int64), carray(pointer(block[7]), (1,), np.float64)
    values[0] = value
    state = KsState(
        carray(pointer(block[10]), (1, HEAD), np.int32),
        carray(pointer(block[11]), (1, size), np.float64),
        carray(pointer(block[12]), (1, places), count_type),
        carray(pointer(block[13]), (1, window), place_type),
        carray(pointer(block[14]), (1, RECENT), np.float64),
    )
    lanes = carray(pointer(block[8]), (3, LANES), np.int64)
    at = advance_within(state, rules, rows, values, 0, lanes, carray(pointer(block[9]), (RECENT,), np.int64))
    return STOPPED if at == 0 else QUIET


@step_kernel
def _step_22(address: int, value: float, time_ms: int) -> int:  # noqa: ARG001 -- counts values, not time
    return _step(address, value, np.int16, np.int16)


@step_kernel
def _step_24(address: int, value: float, time_ms: int) -> int:  # noqa: ARG001
    return _step(address, value, np.int16, np.int32)


@step_kernel
def _step_42(address: int, value: float, time_ms: int) -> int:  # noqa: ARG001
    return _step(address, value, np.int32, np.int16)


@step_kernel
def _step_44(address: int, value: float, time_ms: int) -> int:  # noqa: ARG001
    return _step(address, value, np.int32, np.int32)


STEPS = {(2, 2): _step_22, (2, 4): _step_24, (4, 2): _step_42, (4, 4): _step_44}  # by bytes of a count and of a place


def _median_of_slots(reference: F64, ordered: I64) -> float | None:
    """The median of values known by their slots; None when it lies beyond the reference.

    A slot stands for a value of the reference, or for the middle between two.
    """
    low, high = int(ordered[(len(ordered) - 1) // 2]), int(ordered[len(ordered) // 2])
    if low == 0 or high == 2 * len(reference):
        return None
    ends = [0.5 * reference[(slot - 1) // 2] + 0.5 * reference[slot // 2] for slot in (low, high)]
    return float(0.5 * ends[0] + 0.5 * ends[1])


def _values_of_slots(reference: F64, slots: I64, last: F64) -> F64:
    """The values of these slots; one beyond the reference is the mean of the last values that lie there, if any do."""
    padded = np.concatenate([reference[:1], reference, reference[-1:]])
    values: F64 = 0.5 * padded[(slots + 1) // 2] + 0.5 * padded[slots // 2 + 1]
    for slot, beyond in ((0, last[last < reference[0]]), (2 * len(reference), last[last > reference[-1]])):
        if len(beyond):
            values[slots == slot] = mean(beyond)
    return values
