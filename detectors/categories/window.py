"""Categories: the shares of the last values of a series against those of a fixed reference, tested at every value.

The test is the likelihood ratio test of homogeneity, or G-test (S. S. Wilks, "The large-sample distribution of the
likelihood ratio for testing composite hypotheses", Annals of Mathematical Statistics, 1938). It equals
`scipy.stats.chi2_contingency(..., correction=False, lambda_="log-likelihood")`. Pearson's form is less reliable where
few values are expected: against a reference of 20,000 values at a level of 1e-4, ten categories with 1 in 2,000 values
each raised it above its threshold in 2.6 % of windows of 200, and the G-test in none of 300,000.
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
    DRIFT,
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
CATEGORY_END = 1 << 53  # ids lie below, where floats hold whole numbers exactly


@dataclass(frozen=True, slots=True)
class CategoryWindowSettings:
    """Settings of the windowed test of shares. ValueError when one is out of range.

    window: size of the current window, in values, 2 to 1,048,576.
    reference_size: size of the reference, in values, 2 to 1,048,576; a larger training sample is thinned to it.
    alpha: level of a single test, in (0, 1). Every value is a test against one reference, so it must be small. At the
        default 1 of 6,000 stable series of 20,000 values, with references learned from 500, raised an alarm (15 laws of
        2 to 300 categories: even, Zipf, geometric, rare); at 1e-6, 10 did, at 1e-5, 54. A share that rises from 0.1 to
        0.25 is detected after 410 values among 2 categories, after 440 among 5; among 30 only in 4 of 10 series within
        1,000 values (1e-6: 370, 415, in 5 of 10). The test assumes independent values: of categories that occur in long
        runs, a window must hold many runs.
    categories_max: categories of the reference with a count of their own, 1 to 255; all others, seen later or beyond
        this number, count as one category, the unseen.
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

    Values are ids of categories: whole numbers from 0. `set_reference` gives a series its reference; else its first
    `reference_size` values are the reference. Then the window must fill before the first decision. A series alarms when
    the decision becomes drift, and can alarm again after the shares have moved back half of the way.
    Categories with fewer than 10 values in window and reference together are judged as one. A category that the
    reference holds once is unseen.

    An alarm's effect is the total variation distance between reference and window, 0 to 1: the part of the values that
    would have to change their category to undo the change. A sudden change is detected long before it fills the window,
    so the difference between before and after is the effect where it is greater. `category` is the one with the largest
    term of Pearson's statistic, `UNSEEN_CATEGORY` for the unseen. Before is its share in the reference, after its share
    in the window from the onset on. The onset is the most likely change point of that share.

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
        """Compare a series with this sample of categories [n] from now on; its window starts empty.

        A sample of more than `settings.reference_size` values is thinned to it; the most frequent categories get counts
        of their own. ValueError when it is empty, or holds a value that is no id.
        """
        sample = Reference.of(values, self.settings.reference_size).values
        require_categories("category_window", sample)
        categories, counts = np.unique(sample, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        apart, others = np.split(order, [self.settings.categories_max])
        # Without one of its values, a category that is no more frequent than the others would have no count of its own.
        certain = np.where(counts[apart] > counts[others].max(initial=0) + 1, counts[apart], 0)
        self._store.reset(np.array([row]))
        state = CategoryState(**self._store.arrays)
        state.category[row, : len(apart)] = categories[apart]
        state.reference[row, 1 : 1 + len(apart)] = certain
        state.reference[row, SHARED] = len(sample) - certain.sum()
        state.head[row, KNOWN] = len(apart)
        start_comparing(state, row)

    def drifted(self, row: int) -> bool:
        """The current decision: whether the window of a series differs from its reference."""
        return bool(self._store.arrays["head"][row, DRIFTED] == DRIFT)

    def _checked(self, rows: I64, values: F64) -> tuple[I64, F64]:
        rows, values = super()._checked(rows, values)
        require_categories("category_window", values)
        return rows, values

    def _advance(self, rows: I64, values: F64, start: int) -> int:
        return advance(CategoryState(**self._store.arrays), self._rules, rows, values, start)

    def _evidence(self, row: int) -> Evidence:
        state = CategoryState(**self._store.arrays)
        size, window = int(state.head[row, SIZE]), self.settings.window
        statistic, critical, _ = judged(state, self._rules, row)
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
    """The critical statistic by degrees of freedom [slots], in units of 1 / UNIT; for 0 degrees, out of reach."""
    from scipy.special import chdtri  # costs a quarter of a second, so only when it is needed

    reached = np.ceil(chdtri(np.arange(1, slots), alpha) * UNIT).astype(np.int64)
    return np.concatenate([[np.iinfo(np.int64).max], reached])


def require_categories(detector: str, values: F64) -> None:
    """ValueError, in the detector's name, unless all values are ids of categories."""
    if len(values) and not (values.min() >= 0 and values.max() < CATEGORY_END and (np.floor(values) == values).all()):
        raise ValueError(f"{detector} takes ids of categories: whole numbers from 0, below 2**53")
