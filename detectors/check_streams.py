"""What the checks feed a bank: values of several rows in irregular turns, over two months."""

from __future__ import annotations

import numpy as np

from detectors.arrays.types import F64, I64
from detectors.base import Alarms, Bank

ROWS = 5
VALUES = 2500  # per row: enough for the default windows to fill and for the change in the middle to be seen
APART_MS = 7 * 60_000  # of the values of all rows together; those of a row are half an hour apart, over two months
MONDAY_MS = 1_767_571_200_000


def streams() -> tuple[I64, F64]:
    """Rows in irregular turns: two that jump, one that widens, one that stays, one of small whole numbers that
    jumps.
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
    """Feed these values of the stream, of which the first is its value `at`; or each is, where they are not in turn."""
    place = np.arange(len(rows)) + at if isinstance(at, int) else at
    return bank.update(rows, as_taken(bank, values, place), MONDAY_MS + APART_MS * place)


def as_taken(bank: Bank, values: F64, place: I64 | None = None) -> F64:
    """Numbers as they are; cut into 17 classes for a bank of categories; for one of marks, those above one half are.

    For a bank of rows of columns, noise that hangs on the value's place is one column, another the same turned round
    where the value is not above one half, the third is the value, and all others are missing.
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
