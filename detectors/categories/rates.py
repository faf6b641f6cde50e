"""Category rates: whether the share of a category has changed in a series, with a stated false-alarm rate.

Each category is a stream of ones and zeros beside the others. All of them are compared with what came before, by the
sequential test of `shares.py`. The test is an e-detector (J. Shin, A. Ramdas and A. Rinaldo, "E-detectors: a
nonparametric framework for sequential change detection", New England Journal of Statistics in Data Science, 2023).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.alarm_list import AlarmList, Evidence
from detectors.arrays.bounds import require_between
from detectors.arrays.jit import step_kernel
from detectors.arrays.rows import RowBank, multiples
from detectors.arrays.scan_bank import scan
from detectors.arrays.stepping import QUIET, REFUSED, STOPPED, Stepper, carray, pointer
from detectors.arrays.types import F64, I64
from detectors.base import UNSEEN_CATEGORY, Alarms, Standing
from detectors.categories.shares import (
    ALTERNATIVES,
    COUNT,
    COUNTED,
    NAMED,
    REFERRED,
    RISES,
    SEEN,
    SHARED,
    SHARED_WEIGHT,
    SINCE,
    SLOW,
    SLOW_MAX,
    SPREAD,
    STILL,
    SUMS,
    TALLY,
    TOTAL,
    WEIGHT,
    ShareRules,
    ShareState,
    advance,
    asked_evidence,
)
from detectors.categories.window import CATEGORY_END, require_categories
from detectors.reference import Reference

SIZE_MAX = 1 << 20
SLOTS_MAX = 255
RISE_SHARE = 0.75  # of the logarithm of the clearest fall's evidence, with which a rise is reported in its place


SCATTERED = 0.9  # share of values outside the counted categories


@dataclass(frozen=True, slots=True)
class CategoryRatesSettings:
    """Settings of the counting of categories. ValueError when one is out of range.

    baseline_size: first values, which are the baseline, 10 to 1,048,576; after an alarm the next ones are.
    tolerance: by how much any share may rise without an alarm, 0.0001 to 0.5.
    arl0: values of a series that pass on average before a false alarm, at the least, 1e3 to 1e12.
    categories_max: categories that are counted one by one, 1 to 254: the first of the baseline, or the most frequent in
        training; all others count as one, the unseen.
    reference_size: values of a training sample that are counted, 2 to 1,048,576; a larger one is thinned to so many.
    """

    baseline_size: int = 1000
    tolerance: float = 0.01
    arl0: float = 1e6
    categories_max: int = 15
    reference_size: int = 2000

    def __post_init__(self) -> None:
        require_between(
            self, "category_rates", baseline_size=(10, SIZE_MAX), tolerance=(0.0001, 0.5), arl0=(1000, 1e12),
            categories_max=(1, SLOTS_MAX - 1), reference_size=(2, SIZE_MAX),
        )  # fmt: skip


class CategoryRatesBank(RowBank):
    """Whether the share of a category has changed in each series, either way.

    Values are ids of categories: whole numbers from 0 up. The baseline of a series is given by `set_reference`, else
    it is its first `baseline_size` values. It grows with the values that follow. After an alarm the next values form a
    new one, so that a change is one alarm. All categories that come for the first time later are one, the unseen. One
    that comes in long runs, such as the weather, counts as what it is: each value weighs as much as runs are rarer
    than chance would have them.

    The asked rate holds for all categories of a series together. It is proven for independent values up to ties, and
    measured for runs. An alarm's `category` is the one whose share changed most clearly, `UNSEEN_CATEGORY` for all that
    are counted as one; a rise is preferred to a fall. Before and after are its shares. The effect is their difference,
    which the total variation distance is at least. Statistic and threshold are natural logarithms of the evidence.

    3,216 bytes a series under default settings.

    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> bank = CategoryRatesBank(CategoryRatesSettings(), rows=1)
    >>> values = np.concatenate([rng.choice(3, 3000, p=[0.7, 0.2, 0.1]), rng.choice(3, 500, p=[0.4, 0.2, 0.4])])
    >>> alarms = bank.update(np.zeros(3500, np.int64), values.astype(float), np.zeros(3500, np.int64))
    >>> alarms.at.tolist(), (alarms.at - alarms.onset_ago).tolist(), alarms.category.tolist()
    ([3017], [2994], [2])
    """

    effect_unit: ClassVar[str] = "tv_distance"
    takes: ClassVar[str] = "categories"
    takes_reference: ClassVar[bool] = True
    shares_rate: ClassVar[bool] = False

    def __init__(self, settings: CategoryRatesSettings, rows: int) -> None:
        self.settings = settings
        slots = settings.categories_max + 1
        layout = {
            "category": (np.float64, (settings.categories_max,)),
            "seen": (np.int64, (SEEN,)),
            "tally": (np.int64, (slots, TALLY)),
            "weight": (np.float32, (slots,)),
            "evidence": (np.float32, (slots, SUMS)),
            "spread": (np.float64, (SPREAD,)),
        }
        super().__init__(layout, rows)
        self._rules = ShareRules(settings.baseline_size, settings.tolerance, settings.arl0)

    def update(self, rows: I64, values: F64, event_time_ms: I64, multiple: F64 | None = None) -> Alarms:  # noqa: ARG002 -- counts events, not time
        """See `detectors.base.RatedBank`."""
        rows, values = self._store.checked(rows, values)
        require_categories("category_rates", values)
        state, needed = ShareState(**self._store.arrays), multiples(multiple, len(rows))
        step = partial(advance, state, self._rules, rows, values, needed)
        return scan(rows, step, lambda row, at: self._evidence(row, self._rules.arl0 * float(needed[at])))

    def standing(self, row: int) -> Standing:
        """The mean evidence of the categories and what an alarm needs, both as natural logarithms.

        An alarm also needs evidence for a change beyond the tolerance, which is not reported here.
        """
        state = ShareState(**self._store.arrays)
        slots, seen = int(state.seen[row, NAMED]) + 1, state.seen[row]
        if seen[COUNT] == 0 or (seen[REFERRED] == 0 and seen[COUNT] - seen[SINCE] <= self.settings.baseline_size):
            return Standing(math.nan, math.nan)
        needed = asked_evidence(self._rules.arl0, 0 if seen[REFERRED] else self._rules.baseline_size)
        sums = WEIGHT.astype(np.float64) * state.evidence[row, :slots].astype(np.float64).reshape(
            slots, -1, ALTERNATIVES
        )
        found = sums[:, 0].sum(axis=1)
        return Standing(evidence_of(found) if found.sum() > 0.0 else -math.inf, math.log(needed))

    def stepper(self) -> Stepper:
        """See `detectors.arrays.stepping`."""
        rules = np.array([self._rules.tolerance, self._rules.arl0])
        vectors = (np.zeros(1, np.int64), np.zeros(1), np.ones(1))  # row 0, its value, once `arl0`
        numbers = (self.settings.categories_max + 1, self._rules.baseline_size)
        return Stepper(_step, (*numbers, rules, *vectors, *self._store.arrays.values()))

    def finish_step(self, value: float, time_ms: int) -> Alarms:  # noqa: ARG002 -- the state holds what they did
        """See `detectors.arrays.stepping`."""
        found = AlarmList()
        found.append(0, 0, self._evidence(0, self._rules.arl0))
        return found.alarms()

    def set_reference(self, row: int, values: F64) -> None:
        """Take a sample of categories as baseline; the series begins again. ValueError when it is empty, or holds what
        can't be a category.

        The most frequent categories are counted one by one. Their runs, which a sample need not show, are learned
        from the first `baseline_size` values; all others, those that the sample lacks among them, are judged from the
        first value on.
        """
        sample = Reference.of(values, self.settings.reference_size).values
        require_categories("category_rates", sample)
        self._store.reset(np.array([row]))
        categories, counts = np.unique(sample, return_counts=True)
        apart = np.argsort(-counts, kind="stable")[: self.settings.categories_max]
        state = ShareState(**self._store.arrays)
        state.category[row, : len(apart)] = categories[apart]
        state.seen[row, [NAMED, TOTAL, REFERRED]] = len(apart), len(sample), 1
        state.tally[row, 1 : 1 + len(apart), COUNTED] = counts[apart]
        state.tally[row, SHARED, COUNTED] = len(sample) - counts[apart].sum()
        state.weight[row, SHARED] = 1.0

    @property
    def learning_size(self) -> int:
        """How many values are the baseline, without a reference."""
        return self.settings.baseline_size

    def learning(self, rows: slice = slice(None)) -> NDArray[np.bool_]:
        """Which of these series raise no alarm at present, as they learn what is usual."""
        seen = self._store.arrays["seen"][: self.rows][rows]
        is_early = seen[:, COUNT] - seen[:, SINCE] < self.settings.baseline_size
        return np.asarray(is_early & (seen[:, REFERRED] == 0), np.bool_)

    def scattered(self, rows: slice = slice(None)) -> NDArray[np.bool_]:
        """Which of these series hold almost nothing but categories that are too many to be counted, such as ids."""
        counted = self._store.arrays["tally"][: self.rows][rows, SHARED, COUNTED]
        total = self._store.arrays["seen"][: self.rows][rows, TOTAL]
        return np.asarray((total >= self.settings.baseline_size) & (counted >= SCATTERED * total), np.bool_)

    def _evidence(self, row: int, arl0: float) -> Evidence:
        state = ShareState(**self._store.arrays)
        evidence = change_of(state, row, self._rules._replace(arl0=arl0))
        count, since, slow = state.seen[row, [COUNT, SINCE, SLOW]].tolist()
        is_slow = count - since - evidence.n_current <= STILL * evidence.n_current
        spread = 0.5 * state.spread[row]
        self._store.reset(np.array([row]))
        state.seen[row, [COUNT, SINCE]] = count
        state.seen[row, SLOW] = min(slow + 1, SLOW_MAX) if is_slow else max(slow - 1, 0)
        state.spread[row] = spread
        return evidence


@step_kernel
def _step(address: int, value: float, time_ms: int) -> int:  # noqa: ARG001 -- counts events, not time
    if not (0.0 <= value < CATEGORY_END and value == math.floor(value)):
        return REFUSED
    block = carray(pointer(address), (12,), np.int64)
    slots, given = block[0], carray(pointer(block[2]), (2,), np.float64)
    rules = ShareRules(block[1], given[0], given[1])
    rows, values = carray(pointer(block[3]), (1,), np.int64), carray(pointer(block[4]), (1,), np.float64)
    values[0] = value
    state = ShareState(
        carray(pointer(block[6]), (1, slots - 1), np.float64),
        carray(pointer(block[7]), (1, SEEN), np.int64),
        carray(pointer(block[8]), (1, slots, TALLY), np.int64),
        carray(pointer(block[9]), (1, slots), np.float32),
        carray(pointer(block[10]), (1, slots, SUMS), np.float32),
        carray(pointer(block[11]), (1, SPREAD), np.float64),
    )
    at = advance(state, rules, rows, values, carray(pointer(block[5]), (1,), np.float64), 0)
    return STOPPED if at == 0 else QUIET


def change_of(state: ShareState, row: int, rules: ShareRules) -> Evidence:
    """The alarm that this row has just raised."""
    slots, seen = int(state.seen[row, NAMED]) + 1, state.seen[row]
    sums = WEIGHT.astype(np.float64) * state.evidence[row, :slots].astype(np.float64).reshape(slots, -1, ALTERNATIVES)
    slot, total, aged, kept = _clearest(sums)
    values = max(1, min(round(aged / total) + 1, int(seen[COUNT] - seen[SINCE])))
    after = min(1.0, kept / (total + aged))
    earlier = max(int(seen[TOTAL]) - values, 1)
    before = min(max(float(state.tally[row, slot, COUNTED]) - after * values, 0.0) / earlier, 1.0)
    return Evidence(
        statistic=evidence_of(sums[:, 0].sum(axis=1)),
        threshold=math.log(asked_evidence(rules.arl0, 0 if seen[REFERRED] else rules.baseline_size)),
        effect=abs(after - before),
        before=before,
        after=after,
        onset_ago=values - 1,
        n_reference=earlier,
        n_current=values,
        category=UNSEEN_CATEGORY if slot == SHARED else int(state.category[row, slot - 1]),
    )


def _clearest(sums: F64) -> tuple[int, float, float, float]:
    """The category whose share changed most clearly, and its sums [slots, kinds of sums, alternatives] in total: as
    they are, times the age of the onset, and times the ones since.
    """
    rises, falls = sums[:, 0, :RISES].sum(axis=1), sums[:, 0, RISES:].sum(axis=1)
    is_rise = rises.max() >= falls.max() ** RISE_SHARE
    slot = int(np.argmax(rises if is_rise else falls))
    total, aged, kept, _ = sums[slot][:, slice(0, RISES) if is_rise else slice(RISES, None)].sum(axis=1).tolist()
    return slot, total, aged, kept


def evidence_of(found: F64) -> float:
    """The natural logarithm of the mean evidence of the categories [slots], as the kernel weighs it."""
    return math.log((found[1:].sum() + SHARED_WEIGHT * found[SHARED]) / (len(found) - 1 + SHARED_WEIGHT))
