"""Categories: the shares of the last values of a series against those of a fixed reference, judged at every event.

The test is the likelihood ratio test of homogeneity (the G-test; S. S. Wilks, 1938), which is the chi-square test of
`scipy.stats.chi2_contingency(..., correction=False, lambda_="log-likelihood")`. It is preferred to Pearson's form
because its tail stays true where few values are expected: against a reference of 20,000 values and at a level of 1e-4,
ten categories with 1 in 2,000 values each took Pearson's form over its threshold in 2.6 % of windows of 200, and this
one in none of 300,000.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from detectors.arrays.alarm_list import Evidence
from detectors.arrays.bounds import require_between, require_inside
from detectors.arrays.onset import newest_regime
from detectors.arrays.scan_bank import ScanBank
from detectors.arrays.types import F64, I64
from detectors.base import UNSEEN_CATEGORY
from detectors.categories.kernels import (
    DRIFTED,
    HEAD,
    KNOWN,
    OLDEST,
    SHARED,
    SIZE,
    UNIT,
    CategoryRules,
    CategoryState,
    advance,
    judged,
    start_comparing,
    table_of_h,
)
from detectors.reference import Reference

SIZE_MAX = 1 << 20
SLOTS_MAX = 255  # a slot is kept in one byte
CATEGORY_END = 1 << 53  # categories lie below; so far floats hold whole numbers exactly


@dataclass(frozen=True, slots=True)
class CategoryWindowSettings:
    """Settings of the windowed test of shares. ValueError when one is out of range.

    window: values that stand for now, 2 to 1,048,576.
    reference_size: values that stand for before, 2 to 1,048,576; a larger training sample is thinned to so many.
    alpha: level of a single test, in (0, 1). There is one test an event and one reference for ever, so it must be
        small. At the default 1 of 6,000 unchanging series of 20,000 values, with references learnt from 500, raised an
        alarm (15 laws of 2 to 300 categories: even, Zipf, geometric, rare); at 1e-6, 10 did, at 1e-5, 54. A share that
        goes from 0.1 to 0.25 is seen after 410 values among 2 categories, after 440 among 5; among 30 only in 4 of 10
        series within 1,000 values (1e-6: 370, 415, in 5 of 10). The test takes values to be independent: of categories
        that come in long runs, a window must hold many runs.
    categories_max: categories of the reference that are told apart, 1 to 255; all others, seen later or beyond this
        number, count as one category, the unseen.
    """

    window: int = 500
    reference_size: int = 500
    alpha: float = 1e-7
    categories_max: int = 32

    def __post_init__(self) -> None:
        sizes = (2, SIZE_MAX)
        require_between(self, "category_window", window=sizes, reference_size=sizes, categories_max=(1, SLOTS_MAX))
        require_inside(self, "category_window", alpha=(0, 1))


class CategoryWindowBank(ScanBank):
    """The categories of the last `window` values of each series against those of its reference.

    Values are ids of categories: whole numbers from 0 up. A series is given its reference by `set_reference`, else its
    first `reference_size` values are taken; then the window must fill before the first decision. An alarm is the moment
    the decision becomes drift; a series can alarm again once it has been the other way. Categories with fewer than 10
    values in window and reference together are judged as one. What the reference has but once counts as unseen.

    An alarm's effect is the total variation distance between reference and window: the part of the values that would
    have to be another category to undo the change, 0 to 1. As a sudden change is seen long before it fills the window,
    it is the distance between before and after if that is more. `category` is the one whose share moved most for its
    size (the largest term of Pearson's statistic), `UNSEEN_CATEGORY` for the unseen; before is its share in the
    reference, after its share in the window from the onset on. The onset is the most likely change point of that share.

    About 1 KB a series under default settings.

    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> bank = CategoryWindowBank(CategoryWindowSettings(window=200), rows=1)
    >>> bank.set_reference(0, rng.choice(3, 5000, p=[0.7, 0.2, 0.1]))
    >>> values = np.concatenate([rng.choice(3, 1000, p=[0.7, 0.2, 0.1]), rng.choice(3, 200, p=[0.3, 0.2, 0.5])])
    >>> alarms = bank.update(np.zeros(1200, np.int64), values, np.zeros(1200, np.int64))
    >>> alarms.at.tolist(), (alarms.at - alarms.onset_ago).tolist(), alarms.category.tolist()
    ([1060], [1002], [2])
    """

    effect_unit: ClassVar[str] = "tv_distance"
    takes: ClassVar[str] = "categories"
    takes_reference: ClassVar[bool] = True

    def __init__(self, settings: CategoryWindowSettings, rows: int) -> None:
        self.settings = settings
        slots = settings.categories_max + 1
        layout = {
            "head": (np.int32, (HEAD,)),
            "total": (np.int64, (1,)),
            "category": (np.float64, (slots - 1,)),
            "reference": (np.int32, (slots,)),
            "current": (np.int32, (slots,)),
            "ring": (np.uint8, (settings.window,)),
        }
        super().__init__(layout, rows)
        self._rules = CategoryRules(
            table_of_h(settings.window + settings.reference_size), _critical(slots, settings.alpha)
        )

    def set_reference(self, row: int, values: F64) -> None:
        """Compare a series with this sample of categories from now on; its window starts to fill anew.

        A sample of more than `settings.reference_size` values is thinned to so many; the most frequent categories are
        told apart. ValueError when it is empty, or holds what can't be a category.
        """
        sample = Reference.of(values, self.settings.reference_size).values
        require_categories("category_window", sample)
        categories, counts = np.unique(sample, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        apart, others = np.split(order, [self.settings.categories_max])
        # Without one of its values, a category that is no more frequent than the others would not be told apart.
        certain = np.where(counts[apart] > counts[others].max(initial=0) + 1, counts[apart], 0)
        self._store.reset(np.array([row]))
        state = CategoryState(**self._store.arrays)
        state.category[row, : len(apart)] = categories[apart]
        state.reference[row, 1 : 1 + len(apart)] = certain
        state.reference[row, SHARED] = len(sample) - certain.sum()
        state.head[row, KNOWN] = len(apart)
        start_comparing(state, row)

    def drifted(self, row: int) -> bool:
        """The decision as it stands: whether the window of a series differs from its reference now."""
        return bool(self._store.arrays["head"][row, DRIFTED])

    def _checked(self, rows: I64, values: F64) -> tuple[I64, F64]:
        rows, values = super()._checked(rows, values)
        require_categories("category_window", values)
        return rows, values

    def _advance(self, rows: I64, values: F64, start: int) -> int:
        return advance(CategoryState(**self._store.arrays), self._rules, rows, values, start)

    def _evidence(self, row: int) -> Evidence:
        state = CategoryState(**self._store.arrays)
        size, window = int(state.head[row, SIZE]), self.settings.window
        statistic, critical = judged(state, self._rules, row)
        reference, current = state.reference[row].astype(np.int64), state.current[row].astype(np.int64)
        moved = current * size - reference * window
        slot = int(np.argmax(moved.astype(np.float64) ** 2 / np.maximum(reference + current, 1)))
        before = int(reference[slot]) / size
        is_it = np.roll(state.ring[row], -int(state.head[row, OLDEST])) == slot
        newest = newest_regime(is_it, before, size)
        after = np.count_nonzero(is_it[-newest:]) / newest
        distance = float(np.abs(moved).sum()) / (2 * size * window)
        return Evidence(
            statistic=statistic / UNIT,
            threshold=critical / UNIT,
            effect=max(distance, abs(after - before)),
            before=before,
            after=after,
            onset_ago=newest - 1,
            n_reference=size,
            n_current=newest,
            category=UNSEEN_CATEGORY if slot == SHARED else int(state.category[row, slot - 1]),
        )


def _critical(slots: int, alpha: float) -> I64:
    """What the statistic must reach, in units of 1 / UNIT, by degrees of freedom; of 0 degrees, more than it can."""
    from scipy.special import chdtri  # costs a quarter of a second, so only when it is needed

    reached = np.ceil(chdtri(np.arange(1, slots), alpha) * UNIT).astype(np.int64)
    return np.concatenate([[np.iinfo(np.int64).max], reached])


def require_categories(detector: str, values: F64) -> None:
    """ValueError, in the detector's name, unless all can be ids of categories."""
    if len(values) and not (values.min() >= 0 and values.max() < CATEGORY_END and (np.floor(values) == values).all()):
        raise ValueError(f"{detector} takes ids of categories: whole numbers from 0, below 2**53")
