"""The streams of the checks: values of several rows in irregular turns, over two months."""

from __future__ import annotations

import numpy as np

from detectors.arrays.types import F64, I64
from detectors.base import Alarms, Bank

ROWS = 5
VALUES = 2500  # a row: enough to fill the default windows and to detect the change in the middle
APART_MS = 7 * 60_000  # of the values of all rows together; those of a row are half an hour apart, over two months
MONDAY_MS = 1_767_571_200_000


def streams() -> tuple[I64, F64]:
    """Rows [n] and values [n] in irregular turns: two rows shift, one widens, one is stable, and one of small whole
    numbers shifts.
    """
    random = np.random.default_rng(1)
    later = np.arange(VALUES) >= VALUES // 2
    series = random.normal(size=(ROWS, VALUES))
    series[0, later] += 3.0
    series[1, later] -= 3.0
    series[2, later] *= 4.0
    series[4] = np.round(series[4] + 3.0 * later)
    rows = random.permutation(np.repeat(np.arange(ROWS), VALUES))
    values = np.empty(len(rows))
    for row in range(ROWS):
        values[rows == row] = series[row]
    return rows, values


def feed(bank: Bank, rows: I64, values: F64, at: int | I64 = 0) -> Alarms:
    """The alarms of these values of the stream; `at` is the index of the first there, or the index of each."""
    place = np.arange(len(rows)) + at if isinstance(at, int) else at
    return bank.update(rows, as_taken(bank, values, place), MONDAY_MS + APART_MS * place)


def as_taken(bank: Bank, values: F64, place: I64 | None = None) -> F64:
    """The values in the form that the bank takes.

    Numbers stay; categories are 17 classes of them; marks are 1 above one half. A row of columns holds three: noise
    that depends on the value's place, the same noise with its sign changed where the value is at most one half, and the
    value. All other columns are missing.
    """
    if bank.takes == "rows":
        noise = np.random.default_rng(7).normal(size=ROWS * VALUES)[place]
        some = [noise, np.where(values > 0.5, noise, -noise), values]
        taken = np.full((len(values), bank.columns), np.nan)  # type: ignore[attr-defined]
        taken[:, : len(some)] = np.stack(some, axis=1)[:, : taken.shape[1]]
        return taken
    if bank.takes == "marks":
        return (values > 0.5).astype(np.float64)
    classes = np.clip(np.round(2.0 * np.clip(values, -9.0, 9.0)), -8.0, 8.0) + 8.0
    return classes if bank.takes == "categories" else values
