"""A detector for one series: a bank with one row, for notebooks, tests and small programs."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from detectors.base import F64, I64, Alarms
from detectors.registry import bank, settings_of

REFERENCE_MIN: Final = 2  # values of a reference; fewer have no distribution
TIME_MAX_MS: Final = 253_402_300_799_999  # the end of the year 9999


class SingleDetector:
    """A detector of one series; `detector` makes it. Its fields describe the latest alarm, and are None before it.

    `update` costs some microseconds a value, mostly the call of the kernel; `update_many` tens of nanoseconds.
    """

    def __init__(self, name: str, settings: Any, reference: ArrayLike | None = None) -> None:
        self.name = name
        self.settings = settings
        self.n_seen = 0  # values so far
        self._bank = bank(name, settings, 1)
        self._takes_rows = self._bank.takes == "rows"
        self._row = np.zeros(1, np.int64)
        self._value = np.zeros(1)
        self._time_ms = np.zeros(1, np.int64)
        self.at: int | None = None  # index, counted from 0, of the value that raised the alarm
        self.onset: int | None = None  # index of the first value of the new regime, as estimated
        self.statistic: float | None = None
        self.threshold: float | None = None  # the value that the statistic had to reach
        self.effect: float | None = None  # size of the change, in `effect_unit`
        self.before: float | None = None  # location of the old regime
        self.after: float | None = None  # location of the new regime
        self.category: int | None = None  # whose share before and after are, or columns (`joint.bank.moved`); -1: none
        if reference is not None:
            if not self._bank.takes_reference:
                raise ValueError(f"{name} with these settings takes no reference: it compares a series with its past")
            self._bank.set_reference(0, _reference(name, reference))

    @property
    def effect_unit(self) -> str:
        """`ks_distance`, `tv_distance`, `rate` (0 to 1), `correlation` (0 to 2) or `sd` (of the old regime)."""
        return self._bank.effect_unit

    @property
    def learning(self) -> bool | None:
        """Whether it learns its baseline at present, and raises no alarm; None where a detector does not report it."""
        learning = getattr(self._bank, "learning", None)
        return None if learning is None else bool(learning(slice(0, 1))[0])

    def update(self, value: ArrayLike, *, time_ms: int = 0) -> bool:
        """Process the next value; True when it raised an alarm. ValueError unless it is a finite number.

        A value of `joint` is a row of columns, in which NaN and infinities are missing values.

        `time_ms` is its event time, in milliseconds since 1970, UTC. Detectors that model the day and the week learn
        their cycles from it; without it they assume none.
        """
        values = self._value
        if self._takes_rows:
            values = np.asarray(value, np.float64)[np.newaxis]
        else:
            if isinstance(value, np.datetime64 | np.timedelta64):
                raise ValueError(f"{self.name} takes numbers, got a time: pass times as time_ms")
            number = float(value)  # type: ignore[arg-type]
            if not math.isfinite(number):
                raise ValueError(f"{self.name} can't judge {number}: leave missing values out, and count them")
            values[0] = number
        self._time_ms[:] = time_ms if type(time_ms) is int else _milliseconds(self.name, time_ms, 1)
        alarms = self._bank.update(self._row, values, self._time_ms)
        self._remember(alarms, 1)
        return len(alarms) > 0

    def update_many(self, values: ArrayLike, *, time_ms: ArrayLike = 0) -> Alarms:
        """Process values [n], or rows of columns [n, columns]; the same as `update` one by one.

        `Alarms.at` counts from the first of them. `time_ms` is one time a value, or one for all, as a whole number of
        milliseconds since 1970. ValueError for another number of times, for times in another unit or of another type,
        for a value that is not a finite number, and for several columns where the detector watches one series.
        """
        many = _numbers(self.name, values)
        if not self._takes_rows:
            many = _one_series(self.name, many, "values", "or all columns of a row at once to detector('joint')")
            if not np.isfinite(many).all():
                raise ValueError(f"{self.name} can't judge NaN or infinity: leave missing values out, and count them")
        times = _milliseconds(self.name, time_ms, len(many))
        alarms = self._bank.update(np.zeros(len(many), np.int64), many, np.broadcast_to(times, len(many)))
        self._remember(alarms, len(many))
        return alarms

    def _remember(self, alarms: Alarms, n: int) -> None:
        if len(alarms):
            self.at = self.n_seen + int(alarms.at[-1])
            ago = int(alarms.onset_ago[-1])
            self.onset = self.at - ago if ago >= 0 else None
            self.statistic, self.threshold = float(alarms.statistic[-1]), float(alarms.threshold[-1])
            self.effect = float(alarms.effect[-1])
            self.before, self.after = float(alarms.before[-1]), float(alarms.after[-1])
            self.category = int(alarms.category[-1])
        self.n_seen += n


def _numbers(name: str, values: ArrayLike) -> F64:
    """The values as doubles. ValueError for times, and for masked values, whose mask would get lost."""
    given = np.asarray(values)
    if given.dtype.kind in "Mm":
        raise ValueError(f"{name} takes numbers, got times ({given.dtype}): pass times as time_ms")
    if np.ma.isMaskedArray(values) and np.ma.getmaskarray(values).any():
        raise ValueError(f"{name} can't judge masked values: pass values.compressed(), and count the others")
    return np.asarray(given, np.float64)


def _one_series(name: str, values: F64, what: str, otherwise: str) -> F64:
    """The values [n] of one series, also from a table [n, 1]. ValueError for several columns."""
    if values.ndim > 1 and values.shape != (len(values), 1):
        raise ValueError(
            f"{name} watches one series, got {what} of shape {values.shape}: pass one column, such as frame['x'], "
            f"{otherwise}"
        )
    return values.reshape(-1)


def _milliseconds(name: str, time_ms: ArrayLike, n: int) -> I64:
    """One time or `n` times as whole numbers. ValueError for what can't be milliseconds since 1970."""
    times = np.asarray(time_ms)
    if times.dtype.kind == "M":
        raise ValueError(
            f"{name} takes time_ms in milliseconds since 1970, got {times.dtype}: pass "
            "np.asarray(times, 'datetime64[ms]').astype('int64')"
        )
    if times.dtype.kind not in "iuf" or not np.array_equal(times, np.floor(times)):
        raise ValueError(
            f"{name} takes time_ms in whole milliseconds since 1970, got {times.dtype}: pass whole numbers, of a "
            "datetime int(time.timestamp() * 1000)"
        )
    if times.size and times.max() > TIME_MAX_MS:
        raise ValueError(
            f"{name} takes time_ms in milliseconds since 1970, and {times.max()} is beyond the year 9999: divide "
            "nanoseconds by 1,000,000, and microseconds by 1,000"
        )
    if times.shape not in ((), (n,)):
        raise ValueError(f"{name} wants one time a value, or one for all; got {times.shape} of {n}")
    return np.broadcast_to(times.astype(np.int64), n)


def _reference(name: str, reference: ArrayLike) -> F64:
    """A sample of training data for one series. ValueError for one that says nothing about the series."""
    sample = _one_series(name, _numbers(name, reference), "a reference", "and watch each column by its own detector")
    if not np.isfinite(sample).all():
        raise ValueError(
            f"{name} takes a reference of finite values, got {np.count_nonzero(~np.isfinite(sample)):,} NaN or "
            f"infinite of {len(sample):,}: pass reference[np.isfinite(reference)]"
        )
    if len(sample) < REFERENCE_MIN:
        raise ValueError(
            f"{name} takes a reference of {REFERENCE_MIN} values or more, got {len(sample)}: pass a sample of the "
            "column's training data, some hundreds of values"
        )
    return sample


def detector(name: str, *, reference: ArrayLike | None = None, **settings: Any) -> SingleDetector:
    """The named detector for one series, with its default settings but for those given.

    `reference` is a sample [n] of the training data, for detectors that take one. ValueError for an unknown detector or
    setting (with the nearest name), for a setting out of range, and for a reference that the detector cannot use.

    >>> import random
    >>> random.seed(1)
    >>> d = detector("adwin", delta=0.002)
    >>> for i in range(2000):
    ...     if d.update(random.gauss(0.0 if i < 1000 else 1.0, 1.0)):
    ...         print(f"alarm at {i}: since {d.onset}, moved by {d.effect:.1f} {d.effect_unit}")
    alarm at 1055: since 1000, moved by 1.0 sd
    """
    return SingleDetector(name, settings_of(name, **settings), reference)
