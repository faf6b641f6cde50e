"""ADWIN: a window of adaptive length over the mean of a series.

The window is cut wherever its two sides differ in mean by more than chance allows; the old side is then dropped. The
window is an exponential histogram, so n values take O(log n) memory. Source: A. Bifet and R. Gavaldà, "Learning from
time-changing data with adaptive windowing", SIAM International Conference on Data Mining, 2007. The arithmetic follows
the implementation in river (BSD-3) operation by operation, so alarms and state equal those of `river.drift.ADWIN`, bit
for bit.

Speed comes from batches: cuts are tested at every `clock`-th value only, and until then a value is merely stored. Then
all stored values enter the histogram together, level by level, and one loop tests all cuts.

One addition does not influence the state: at an alarm, the best single cut of the window before it was cut gives the
onset of the change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from sys import float_info
from typing import ClassVar, Final, NamedTuple

import numpy as np

from detectors.adwin.kernels import (
    SPREAD,
    TOTAL,
    WIDTH,
    AdwinRules,
    AdwinState,
    Cuts,
    advance,
    advance_within,
    insert_waiting,
)
from detectors.arrays.alarm_list import Evidence
from detectors.arrays.bounds import require_between, require_inside
from detectors.arrays.jit import kernel, lean_kernel, step_kernel
from detectors.arrays.rows import RowArrays
from detectors.arrays.scan_bank import ScanBank
from detectors.arrays.stepping import QUIET, REFUSED, STOPPED, Stepper, carray, pointer
from detectors.arrays.types import F64, I64
from detectors.base import Standing

COUNT_MAX = 1 << 30
BUFFER = 32  # values that wait for the next test, at most


@dataclass(frozen=True, slots=True)
class AdwinSettings:
    """Settings of ADWIN, under river's names and with its defaults except `delta`. ValueError when out of range.

    delta: significance of a cut, in (0, 1). River's 0.002 suits one series; a fleet needs less. In 40 million values of
        stable series, 0.002 raised 22 false alarms on Gaussian values (1e-6: none) and 2,558 on lognormal ones (1e-6:
        336, 1e-8: 157), because its bound holds for values between 0 and 1 only. It detects a shift by 1 standard
        deviation after 47 values, 1e-6 after 79.
    clock: cuts are tested at every `clock`-th value, from 1.
    max_buckets: buckets of each size, from 2; more give finer cuts and cost memory and time.
    min_window_length: least number of values on each side of a cut, from 1.
    grace_period: windows of so many values or fewer are not tested, from 0.
    levels: sizes of buckets, 1 to 32. Bounds the window at `max_buckets * (2**levels - 1)` values, 40,955 by default;
        beyond it the oldest bucket is dropped. River's window is unbounded: equality with it ends there.
    """

    delta: float = 1e-6
    clock: int = 32
    max_buckets: int = 5
    min_window_length: int = 5
    grace_period: int = 10
    levels: int = 13

    def __post_init__(self) -> None:
        require_inside(self, "adwin", delta=(0, 1))
        require_between(
            self, "adwin", clock=(1, COUNT_MAX), max_buckets=(2, 255), min_window_length=(1, COUNT_MAX),
            grace_period=(0, COUNT_MAX), levels=(1, 32),
        )  # fmt: skip


class AdwinWindow(NamedTuple):
    """The adaptive window of one series."""

    width: float  # values in it
    total: float  # their sum
    variance: float  # sum of their squared deviations from the mean; river's `variance` is this sum too


class Cut(NamedTuple):
    """The best cut of a window. Its sides are the values before it and after it."""

    apart: float  # difference in mean of its sides ...
    epsilon: float  # ... and its bound under chance
    mean_before: float
    mean_after: float
    before: float  # values
    after: float
    deviation: float  # standard deviation of the values before it; of the whole window where those are constant


BEST: Final = len(Cut._fields)


class AdwinBank(ScanBank):
    """ADWIN for many series.

    An alarm's statistic is the difference in mean at the best cut, its threshold the epsilon of that cut. Before and
    after are the means of its sides. The effect is the difference in standard deviations of the old side, or of the
    whole window where the old side is constant. Alarms occur at every `clock`-th value of a series only.

    The method was made for values between 0 and 1. Whatever the unit of the column, a difference in mean below about
    `log(1 / delta) / n` on a side of n values is not detected.

    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> values = np.concatenate([rng.normal(0.0, 1.0, 1000), rng.normal(1.0, 1.0, 200)])
    >>> bank = AdwinBank(AdwinSettings(), rows=1)
    >>> alarms = bank.update(np.zeros(1200, np.int64), values, np.zeros(1200, np.int64))
    >>> alarms.at.tolist(), (alarms.at - alarms.onset_ago).tolist()
    ([1087], [1008])
    """

    effect_unit: ClassVar[str] = "sd"
    takes_reference: ClassVar[bool] = False

    def __init__(self, settings: AdwinSettings, rows: int) -> None:
        self.settings = settings
        self._rules = AdwinRules(
            settings.delta, settings.clock, float(settings.min_window_length), float(settings.grace_period)
        )
        layout = {
            "buffer": (np.float64, (settings.max_buckets + min(settings.clock, BUFFER),)),
            "filled": (np.int16, ()),
            "since_look": (np.int32, ()),
            "drifted": (np.uint8, ()),
            "moments": (np.float64, (3,)),
            "held": (np.uint8, (settings.levels,)),
            "bucket": (np.float64, (settings.levels - 1, 2, settings.max_buckets)),
        }
        super().__init__(layout, rows)
        self._past = AdwinState(**RowArrays(layout, 1).arrays)  # the window that alarmed, as it was before the cut

    def set_reference(self, row: int, values: F64) -> None:
        raise NotImplementedError("adwin takes no reference: it compares a series with its own past")

    def window(self, row: int) -> AdwinWindow:
        """The window of a series, including values that wait for the next test."""
        total, spread, width = self._alone(row).moments[0].tolist()
        return AdwinWindow(width, total, spread)

    def _alone(self, row: int) -> AdwinState:
        """A copy of a series with all its values in the window."""
        alone = AdwinState(**{name: array[row : row + 1].copy() for name, array in self._store.arrays.items()})
        if alone.filled[0] > alone.held[0, 0]:
            insert_waiting(alone, 0, np.empty((2, 2, self.settings.max_buckets + alone.buffer.shape[1])))
        return alone

    def standing(self, row: int) -> Standing:
        """The difference in mean at the cut that is nearest to an alarm, and its bound under chance."""
        alone = self._alone(row)
        if alone.moments[0, WIDTH] <= max(self._rules.grace, 1.0):
            return Standing(math.nan, math.nan)
        return Standing(*_cuts(alone, self._rules)[BEST:])

    def stepper(self) -> Stepper:
        """See `detectors.arrays.stepping`."""
        most, slots = self.settings.max_buckets, self._store.arrays["buffer"].shape[1]
        sizes = self.settings.levels * most
        rules = np.array([self._rules.delta, self._rules.least, self._rules.grace])
        work = np.empty(3 * sizes + 4 * (most + slots))
        vectors = (np.zeros(1, np.int64), np.zeros(1))  # row 0, and its value
        numbers = (self.settings.levels, most, slots, self._rules.clock)
        return Stepper(_step, (*numbers, rules, *vectors, work, *self._store.arrays.values(), *self._past))

    def _advance(self, rows: I64, values: F64, start: int) -> int:
        return advance(AdwinState(**self._store.arrays), self._rules, rows, values, start, self._past)

    def _evidence(self, row: int) -> Evidence:  # noqa: ARG002 -- the kernel has copied the window that alarmed
        return _evidence_of(best_cut(self._past, self._rules))


@step_kernel
def _step(address: int, value: float, time_ms: int) -> int:  # noqa: ARG001 -- counts values, not time
    if not math.isfinite(value):
        return REFUSED
    block = carray(pointer(address), (22,), np.int64)
    levels, most, slots = block[0], block[1], block[2]
    given = carray(pointer(block[4]), (3,), np.float64)
    rules = AdwinRules(given[0], block[3], given[1], given[2])
    rows, values = carray(pointer(block[5]), (1,), np.int64), carray(pointer(block[6]), (1,), np.float64)
    values[0] = value
    sizes = levels * most
    work = carray(pointer(block[7]), (3 * sizes + 4 * (most + slots),), np.float64)
    cuts = Cuts(work[:sizes], work[sizes : 2 * sizes], work[2 * sizes : 3 * sizes])
    scratch = work[3 * sizes :].reshape(2, 2, most + slots)
    state, past = _state_at(block, 8), _state_at(block, 15)
    return STOPPED if advance_within(state, rules, rows, values, 0, past, cuts, scratch) == 0 else QUIET


@step_kernel
def _state_at(block: I64, first: int) -> AdwinState:
    """The state of one row, the addresses of whose arrays stand in the block."""
    levels, most, slots = block[0], block[1], block[2]
    return AdwinState(
        carray(pointer(block[first]), (1, slots), np.float64),
        carray(pointer(block[first + 1]), (1,), np.int16),
        carray(pointer(block[first + 2]), (1,), np.int32),
        carray(pointer(block[first + 3]), (1,), np.uint8),
        carray(pointer(block[first + 4]), (1, 3), np.float64),
        carray(pointer(block[first + 5]), (1, levels), np.uint8),
        carray(pointer(block[first + 6]), (1, levels - 1, 2, most), np.float64),
    )


def _evidence_of(best: Cut) -> Evidence:
    """The alarm that the best cut stands for."""
    # Sums of values near the end of the doubles may be infinite; an alarm's numbers are finite.
    cut = Cut(*(min(max(x, -float_info.max), float_info.max) for x in best))
    # A deviation of 0 despite a difference is rounding in sums beyond 2**53; one near 0 could give an infinite ratio.
    effect = min(cut.apart / cut.deviation, float_info.max) if cut.deviation > 0.0 else 0.0
    return Evidence(
        statistic=cut.apart,
        threshold=cut.epsilon,
        effect=effect,
        before=cut.mean_before,
        after=cut.mean_after,
        onset_ago=int(cut.after) - 1,
        n_reference=int(cut.before),
        n_current=int(cut.after),
    )


def best_cut(window: AdwinState, rules: AdwinRules) -> Cut:
    """The best cut of a window with a change in it, given as a state of one row without waiting values."""
    return Cut(*_cuts(window, rules)[:BEST])


def _cuts(window: AdwinState, rules: AdwinRules) -> list[float]:
    """The fields of the best cut, all 0 without one, and difference in mean and epsilon of the nearest, else NaN."""
    found = np.zeros(BEST + 2)
    found[BEST:] = math.nan
    _find(window, rules, found)
    return list(found.tolist())


@kernel
def _find(window: AdwinState, rules: AdwinRules, best: F64) -> None:
    """Fill `best` with the fields of a Cut, and with difference in mean and epsilon of the cut nearest to an alarm.

    The best cut is the least-squares change point of the window: the boundary between buckets with the greatest
    variance between its sides, among those that prove the change. The nearest has the greatest ratio of difference and
    epsilon. The arithmetic of a cut is that of `kernels.py`.
    """
    held, bucket = window.held, window.bucket
    total_after, width = window.moments[0, TOTAL], window.moments[0, WIDTH]
    variance = window.moments[0, SPREAD] / width
    log_term = math.log(2.0 * math.log(width) / rules.delta)
    before, total_before, greatest, ratio = 0.0, 0.0, -1.0, -1.0
    for level in range(held.shape[1] - 1, -1, -1):
        for j in range(np.int64(held[0, level])):
            total = bucket[0, level - 1, TOTAL, j] if level > 0 else window.buffer[0, j]
            before += float(1 << level)
            total_before += total
            total_after -= total
            after = width - before
            if before < rules.least or after < rules.least:
                continue
            means = total_before / before, total_after / after
            apart = abs(means[0] - means[1])
            harmonic = 1.0 / (before - rules.least + 1.0) + 1.0 / (after - rules.least + 1.0)
            epsilon = math.sqrt(2.0 * harmonic * variance * log_term) + 2.0 / 3.0 * log_term * harmonic
            if apart / epsilon > ratio:
                ratio = apart / epsilon
                best[BEST], best[BEST + 1] = apart, epsilon
            between = before * after / width * apart * apart
            if apart > epsilon and between > greatest:
                greatest = between
                best[0], best[1], best[2], best[3] = apart, epsilon, means[0], means[1]
                best[4], best[5] = before, after
    variance_before = _variance_of_oldest(window, best[4], best[2])
    best[6] = math.sqrt(variance_before if variance_before > 0.0 else variance)


@lean_kernel
def _variance_of_oldest(window: AdwinState, n: float, mean: float) -> float:
    """Variance of the oldest n values of the window, whose mean is `mean`; n ends at a boundary of buckets."""
    held, bucket = window.held, window.bucket
    spread = 0.0
    seen = 0.0
    for level in range(held.shape[1] - 1, -1, -1):
        size = float(1 << level)
        for j in range(np.int64(held[0, level])):
            if seen < n:
                seen += size
                total = bucket[0, level - 1, TOTAL, j] if level > 0 else window.buffer[0, j]
                apart = total / size - mean
                inside = bucket[0, level - 1, SPREAD, j] if level > 0 else 0.0
                spread += inside + size * apart * apart
    return spread / n
