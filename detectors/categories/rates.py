"""Category rates: whether one category has become more frequent in a series, with a stated false-alarm rate.

Each category is a stream of zeros and ones beside the others, judged by the counting test of `detectors/rate`. Shares
add up to 1, so every change of them makes at least one category more frequent; it may be one that is new.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.alarm_list import AlarmList
from detectors.arrays.bounds import require_between
from detectors.arrays.jit import lean_kernel
from detectors.arrays.rows import RowBank
from detectors.arrays.types import F64, I64
from detectors.base import NO_CATEGORY, UNSEEN_CATEGORY, Alarms
from detectors.categories.window import require_categories
from detectors.rate.bank import SIZE_MAX, rise_of
from detectors.rate.kernels import (
    FACTS,
    HEAD,
    REFERENCE_ONES,
    REFERENCE_SIZE,
    STEPS,
    RateRules,
    RateState,
    advance,
    restart,
    settle,
)
from detectors.reference import Reference

SHARED = 0  # the slot of all categories that have none of their own
SLOTS_MAX = 255

# columns of `seen`
COUNT, NAMED, SINCE = range(3)  # values so far; categories that have a slot; the value with which learning began


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
    """Whether a category comes more often than it did in each series.

    Values are ids of categories: whole numbers from 0 up. The baseline of a series is given by `set_reference`, else
    it is its first `baseline_size` values. After an alarm the next values are, so that a change is one alarm. All
    categories that come for the first time later are one, the unseen. One that comes in long runs, such as the weather,
    counts as what it is: each value weighs as much as runs are rarer than chance would have them.

    The asked rate holds for all categories of a series together, whatever law they follow, as long as no share lies
    above the confidence bound of what was usual, and the tolerance. An alarm's `category` is the one that has become
    more frequent, `UNSEEN_CATEGORY` for all that are counted as one; before and after are its shares. The effect is how
    much its share has risen, which the total variation distance is at least.

    3,856 bytes a series under default settings.

    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> bank = CategoryRatesBank(CategoryRatesSettings(), rows=1)
    >>> values = np.concatenate([rng.choice(3, 3000, p=[0.7, 0.2, 0.1]), rng.choice(3, 500, p=[0.4, 0.2, 0.4])])
    >>> alarms = bank.update(np.zeros(3500, np.int64), values.astype(float), np.zeros(3500, np.int64))
    >>> alarms.at.tolist(), (alarms.at - alarms.onset_ago).tolist(), alarms.category.tolist()
    ([3034], [3000], [2])
    """

    effect_unit: ClassVar[str] = "tv_distance"
    takes: ClassVar[str] = "categories"
    takes_reference: ClassVar[bool] = True

    def __init__(self, settings: CategoryRatesSettings, rows: int) -> None:
        self.settings = settings
        self._slots = settings.categories_max + 1
        layout = {
            "category": (np.float64, (settings.categories_max,)),
            "seen": (np.int64, (3,)),
            "head": (np.int64, (self._slots, HEAD)),
            "facts": (np.float64, (self._slots, FACTS)),
            "evidence": (np.float64, (self._slots, 3, STEPS)),
        }
        super().__init__(layout, rows)
        self._rules = RateRules(settings.baseline_size, settings.tolerance, settings.arl0 * self._slots)

    def update(self, rows: I64, values: F64, event_time_ms: I64) -> Alarms:  # noqa: ARG002 -- counts events, not time
        rows, values = self._store.checked(rows, values)
        require_categories("category_rates", values)
        stream, number = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
        self._place(rows, values, stream, number, np.arange(len(rows)))
        state, ones, found = self._state(), np.ones(len(rows)), AlarmList()
        at = advance(state, self._rules, stream, ones, number, 0)
        while at < len(rows):
            row = int(rows[at])
            found.append(at, row, rise_of(state, int(stream[at]), self._rules.arl0, self._category(int(stream[at]))))
            self._begin_again(row, int(number[at]) + 1)
            self._place(rows, values, stream, number, at + 1 + np.flatnonzero(rows[at + 1 :] == row))
            at = advance(state, self._rules, stream, ones, number, at + 1)
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
        arrays, state, first = self._store.arrays, self._state(), row * self._slots
        arrays["category"][row, : len(apart)] = categories[apart]
        arrays["category"][row, len(apart) :] = NO_CATEGORY
        arrays["seen"][row, [NAMED, SINCE]] = self.settings.categories_max, -self.settings.baseline_size
        ones = np.zeros(self._slots, np.int64)
        ones[1 : 1 + len(apart)] = counts[apart]
        ones[SHARED] = len(sample) - ones.sum()
        for slot in range(self._slots):
            if ones[slot] and slot != SHARED:
                state.facts[first + slot, [REFERENCE_SIZE, REFERENCE_ONES]] = len(sample), ones[slot]
            else:
                settle(state, self._rules, first + slot, len(sample), int(ones[slot]))

    @property
    def learning_size(self) -> int:
        """How many values are the baseline, without a reference."""
        return self.settings.baseline_size

    def learning(self, rows: slice = slice(None)) -> NDArray[np.bool_]:
        """Which of these series raise no alarm at present, as they learn what is usual."""
        seen = self._store.arrays["seen"][: self.rows][rows]
        return np.asarray(seen[:, COUNT] - seen[:, SINCE] < self.settings.baseline_size, np.bool_)

    def _state(self) -> RateState:
        """Each category of each series as a stream of its own."""
        arrays = self._store.arrays
        return RateState(*(arrays[name].reshape(-1, *arrays[name].shape[2:]) for name in RateState._fields))

    def _place(self, rows: I64, values: F64, stream: I64, number: I64, of: I64) -> None:
        """Say which stream these values are a one of, and which number they have in it."""
        arrays = self._store.arrays
        _place(arrays["category"], arrays["seen"], self.settings.baseline_size, rows, values, of, stream, number)

    def _category(self, stream: int) -> int:
        row, slot = divmod(stream, self._slots)
        return UNSEEN_CATEGORY if slot == SHARED else int(self._store.arrays["category"][row, slot - 1])

    def _begin_again(self, row: int, number: int) -> None:
        """Learn from value `number` of a series on what is usual, and which categories there are."""
        self._store.arrays["seen"][row] = number, 0, number
        state = self._state()
        for stream in range(row * self._slots, (row + 1) * self._slots):
            restart(state, stream, number)


@lean_kernel
def _place(
    category: F64, seen: I64, baseline_size: int, rows: I64, values: F64, of: I64, stream: I64, number: I64
) -> None:
    for i in of:
        row = rows[i]
        count, named, slot = seen[row, COUNT], seen[row, NAMED], 0
        while slot < named and category[row, slot] != values[i]:
            slot += 1
        if slot == named and named < category.shape[1] and count - seen[row, SINCE] < baseline_size:
            category[row, slot] = values[i]
            named += 1
            seen[row, NAMED] = named
        seen[row, COUNT] = count + 1
        number[i] = count
        stream[i] = row * (category.shape[1] + 1) + (slot + 1 if slot < named else SHARED)
