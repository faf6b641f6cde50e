"""The interface of a detector: numbers in, alarms out.

One *bank* runs one detector for many series. Its state is arrays: row `i` of every array is series `i`. `update` takes
a stretch of values in order, each with its row, and returns the alarms of that stretch. A bank knows no models, topics
or clocks; time arrives as data.

Every bank keeps three promises, which `detectors/checks.py` tests. Cutting a stretch anywhere gives the same alarms and
the same state, bit for bit. One row never influences another. `dump` and `load` lose nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple, Protocol, Self, TypeGuard

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

NO_CATEGORY = -1  # `Alarms.category` of a bank that takes numbers
SHOWN = 10  # alarms in a repr
UNSEEN_CATEGORY = -2  # all categories that a bank counts as one


class AlarmRow(NamedTuple):
    """One alarm; see `Alarms` for the fields."""

    at: int
    row: int
    statistic: float
    threshold: float
    effect: float
    before: float
    after: float
    onset_ago: int
    n_reference: int
    n_current: int
    category: int


class Standing(NamedTuple):
    """The statistic of a series now, beside the value at which it is an alarm. NaN while there is none."""

    statistic: float
    threshold: float
    p_value: float = math.nan  # NaN where the test has none


@dataclass(frozen=True, slots=True, repr=False)
class Alarms:
    """The alarms of one `update`, in order: `k` alarms, one entry each in every array.

    They iterate as `AlarmRow`s. `columns()` makes a table: `pyarrow.table(alarms.columns())`, or a frame of pandas.
    """

    at: I64  # index of the value, within the call, that raised the alarm
    row: I64  # the series
    statistic: F64  # the test's statistic at the alarm ...
    threshold: F64  # ... and the value it had to reach
    effect: F64  # size of the change, in the bank's `effect_unit`; never negative
    before: F64  # location of the old regime, in the column's units; the share of `category` where there is one
    after: F64  # the same of the new regime
    onset_ago: I64  # the change began this many events of the series before `at` (0: at it); -1 unknown
    n_reference: I64  # values of the old regime
    n_current: I64  # values of the new regime
    category: I64  # whose share `before` and `after` are; NO_CATEGORY: they are numbers; of rows: `joint.bank.moved`

    def __len__(self) -> int:
        return len(self.at)

    def __iter__(self) -> Iterator[AlarmRow]:
        for one in zip(*(column.tolist() for column in self.columns().values()), strict=True):
            yield AlarmRow(*one)

    def __repr__(self) -> str:
        head = f"Alarms: {len(self):,}"
        shown = [
            f"  at {one.at:,}: {one.before:.4g} -> {one.after:.4g}, effect {one.effect:.3g}" for one in self[:SHOWN]
        ]
        more = [f"  and {len(self) - SHOWN:,} more"] if len(self) > SHOWN else []
        return "\n".join([head, *shown, *more])

    def __getitem__(self, part: slice) -> Self:
        return type(self)(**{f.name: getattr(self, f.name)[part] for f in fields(self)})

    def columns(self) -> dict[str, NDArray[Any]]:
        """The arrays by name, in the order of `AlarmRow`."""
        return {name: getattr(self, name) for name in AlarmRow._fields}

    def only(self, keep: NDArray[np.bool_]) -> Self:
        """The alarms where `keep` is true."""
        return type(self)(**{f.name: getattr(self, f.name)[keep] for f in fields(self)})

    @classmethod
    def none(cls) -> Self:
        """No alarm at all."""
        empty: dict[str, Any] = {f.name: np.empty(0, np.int64 if f.type == "I64" else np.float64) for f in fields(cls)}
        return cls(**empty)


class Bank(Protocol):
    """One detector for many series."""

    # "ks_distance", "tv_distance", "rate" (a difference of rates; all 0 to 1), "correlation" (a difference, 0 to 2), or
    # "sd" (standard deviations of before)
    effect_unit: ClassVar[str]
    # the values of the bank: "numbers", "categories" (their ids, whole numbers from 0), "marks" (0 or 1), or "rows" (of
    # `columns` numbers each, in which NaN and infinities are missing values)
    takes: ClassVar[str]
    takes_reference: ClassVar[bool]  # whether `set_reference` works

    @property
    def rows(self) -> int:
        """How many series the bank holds."""
        ...

    def update(self, rows: I64, values: F64, event_time_ms: I64) -> Alarms:
        """The alarms of these values [n] of series `rows` [n], at these times [n] in ms, in order.

        Values must be finite, except in rows of columns. A row may occur many times.
        """
        ...

    def grow(self, rows: int) -> None:
        """Hold at least `rows` series; new ones are fresh."""
        ...

    def reset(self, rows: I64) -> None:
        """Make these series fresh again."""
        ...

    def set_reference(self, row: int, values: F64) -> None:
        """Compare series `row` with this sample of its training data [n] from now on, if the bank takes a reference."""
        ...

    def dump(self, rows: slice) -> dict[str, NDArray[Any]]:
        """The state of these rows as named numeric arrays, first axis one entry a row."""
        ...

    def load(self, rows: slice, arrays: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `dump`; the bank must already hold the rows."""
        ...


class StandingBank(Bank, Protocol):
    """A bank that reports the statistic of a series at any time, not at alarms alone."""

    def standing(self, row: int) -> Standing:
        """The statistic of this series after its latest value; NaN while it learns."""
        ...


class RatedBank(Bank, Protocol):
    """A bank whose mean number of values between false alarms is set, by `arl0` of its settings."""

    shares_rate: ClassVar[bool]  # whether the columns of a model share it

    def update(self, rows: I64, values: F64, event_time_ms: I64, multiple: F64 | None = None) -> Alarms:
        """The same; `multiple` [n]: how many times `arl0` an alarm of each value's series needs, by default once.

        It may differ from value to value of a series, if it depends on earlier ones alone. Alarms then cost, in values,
        what they needed: with each alarm at c values, the costs of false ones add up to at most the number of values,
        on average.
        """
        ...


def has_standing(bank: Bank) -> TypeGuard[StandingBank]:
    """Whether the bank is a `StandingBank`."""
    return hasattr(bank, "standing")


def keeps_rate(bank: Bank) -> TypeGuard[RatedBank]:
    """Whether the bank is a `RatedBank`."""
    return hasattr(bank, "shares_rate")


def shares_rate(bank: Bank) -> bool:
    """Whether the columns of a model share the bank's rate of false alarms."""
    return bool(getattr(bank, "shares_rate", False))
