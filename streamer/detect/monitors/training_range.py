"""The ranges and categories of training data, so that values outside of them are found at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.growth import ensure_length
from detectors.arrays.types import I64
from detectors.reference import Reference


class Ranges:
    """The range of each row of numbers, and the categories of each row of categories, in training."""

    def __init__(self) -> None:
        self._low = np.empty(0)
        self._high = np.empty(0)
        self._has_categories = np.zeros(0, bool)
        self._known = np.empty(0, np.int64)  # row << 32 | category, sorted
        self._more: list[I64] = []

    def set_numbers(self, rows: int, row: int, reference: Reference) -> None:
        """Set the range of row `row` of `rows`."""
        self._low = ensure_length(self._low, rows, -np.inf)
        self._high = ensure_length(self._high, rows, np.inf)
        self._low[row], self._high[row] = reference.low, reference.high

    def set_categories(self, rows: int, row: int, ids: I64) -> None:
        """Set the categories of row `row` of `rows`."""
        self._has_categories = ensure_length(self._has_categories, rows, False)
        self._has_categories[row] = True
        self._more.append(row << 32 | ids)

    def out_of_range(self, rows: I64, values: NDArray[np.float64]) -> I64:
        """Indices of the values of rows of numbers that lie outside their range."""
        if not len(self._low):
            return np.empty(0, np.int64)
        self._low, self._high = (
            ensure_length(self._low, _end(rows), -np.inf),
            ensure_length(self._high, _end(rows), np.inf),
        )
        return np.flatnonzero((values < self._low[rows]) | (values > self._high[rows]))

    def unseen(self, rows: I64, categories: NDArray[np.float64]) -> I64:
        """Indices of the values of rows of categories that were not in training."""
        if self._more:
            self._known = np.sort(np.concatenate([self._known, *self._more]))
            self._more = []
        self._has_categories = ensure_length(self._has_categories, _end(rows), False)
        at = np.flatnonzero(self._has_categories[rows]) if len(self._known) else np.empty(0, np.int64)
        keys = rows[at] << 32 | categories[at].astype(np.int64)
        place = np.minimum(np.searchsorted(self._known, keys), len(self._known) - 1)
        unseen: I64 = at[self._known[place] != keys]
        return unseen


def _end(rows: I64) -> int:
    return int(rows.max(initial=-1)) + 1
