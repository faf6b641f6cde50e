"""A detector for one series: a bank with one row, for notebooks, tests and small programs."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detectors.arrays.stepping import REFUSED, Step, has_steps
from detectors.base import AlarmRow, Alarms, Standing, has_standing
from detectors.notebook.inputs import TIME_MAX_MS, TIME_MIN_MS, TextCodes, milliseconds, numbers, one_series, sample_of
from detectors.registry import bank, settings_of

NO_TIME: Final = 0
BOUND: Final = ("_step", "_stepper", "_address")  # to memory, so a copy makes its own


class SingleDetector:
    """A detector of one series; `detector` makes it, and so do the classes of `detectors.notebook.named`.

    `at`, `onset`, `effect`, `before`, `after` and `category` describe the latest alarm, and are None before it.
    `statistic`, `threshold` and `p_value` are those of now.

    `update` of a detector with a compiled step takes less than a microsecond a value, of others some tens.
    `update_many` takes tens to hundreds of nanoseconds. Both give the same alarms and the same state, bit for bit.
    """

    def __init__(self, name: str, settings: Any, reference: ArrayLike | None = None) -> None:
        self.name = name
        self.settings = settings
        self._reference = None if reference is None else np.array(reference)  # a copy, for `reset` and `clone`
        self._begin()

    def _begin(self) -> None:
        self.n_seen = 0  # values so far
        self._bank = bank(self.name, self.settings, 1)
        self._takes_rows = self._bank.takes == "rows"
        self._texts = TextCodes() if self._bank.takes == "categories" else None
        self._as_is = float if self._texts is None else None  # the type of values that need no conversion
        self._row = np.zeros(1, np.int64)
        self._value = np.zeros(1)
        self._time_ms = np.zeros(1, np.int64)
        self.last_alarm: AlarmRow | None = None  # `at` counts all values, from 0
        self.at: int | None = None  # index, counted from 0, of the value that raised the alarm
        self.onset: int | None = None  # index of the first value of the new regime, as estimated
        self.effect: float | None = None  # size of the change, in `effect_unit`
        self.before: float | None = None  # location of the old regime
        self.after: float | None = None  # location of the new regime
        # whose share before and after are (a text where values are), or columns (`joint.bank.moved`); -1: none
        self.category: int | str | None = None
        if self._reference is not None:
            self._refer(self._reference)
        self._bind()

    def _refer(self, reference: ArrayLike) -> None:
        if not self._bank.takes_reference:
            raise ValueError(f"{self.name} with these settings takes no reference: it compares a series with its past")
        if self._texts is not None:
            reference = self._texts.codes(self.name, reference)
        self._bank.set_reference(0, sample_of(self.name, reference))

    def _bind(self) -> None:
        """Make the step of this memory, where the detector has one."""
        self._step: Step | None = None
        if has_steps(self._bank):
            self._stepper = self._bank.stepper()
            self._step, self._address = self._stepper.step, self._stepper.address

    def __getstate__(self) -> dict[str, Any]:
        return {name: held for name, held in vars(self).items() if name not in BOUND}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        self._bind()

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.params.items())
        alarmed = "no alarm yet" if self.at is None else f"alarm at {self.at:,}"
        return f"{self._called(options)}  # {self.n_seen:,} values, {alarmed}"

    def _called(self, options: str) -> str:
        return f"detector({self.name!r}, {options})"

    def __eq__(self, other: object) -> bool:
        """Whether both have the same settings, and are in the same state, bit for bit."""
        if not isinstance(other, SingleDetector):
            return NotImplemented
        if (self.name, self.settings, self.n_seen) != (other.name, other.settings, other.n_seen):
            return False
        mine, theirs = (one._bank.dump(slice(0, 1)) for one in (self, other))
        return all(mine[name].tobytes() == theirs[name].tobytes() for name in mine)

    __hash__ = None  # type: ignore[assignment]  # its state changes

    @property
    def params(self) -> dict[str, Any]:
        """The settings by name."""
        return {field.name: getattr(self.settings, field.name) for field in fields(self.settings)}

    def reset(self) -> Self:
        """Forget all values, as if it were new; a reference stays. Returns itself."""
        self._begin()
        return self

    def clone(self, **changes: Any) -> Self:
        """A fresh detector with the same settings and reference but for these changes; `copy.deepcopy` keeps the state.

        ValueError for an unknown setting or one out of range.
        """
        twin = copy.copy(self)
        twin.settings = settings_of(self.name, **{**self.params, **changes})
        return twin.reset()

    @property
    def n(self) -> int:
        """Values so far."""
        return self.n_seen

    @property
    def effect_unit(self) -> str:
        """`ks_distance`, `tv_distance`, `rate` (0 to 1), `correlation` (0 to 2) or `sd` (of the old regime)."""
        return self._bank.effect_unit

    @property
    def learning(self) -> bool | None:
        """Whether it learns its baseline at present, and raises no alarm; None where a detector does not report it."""
        learning = getattr(self._bank, "learning", None)
        return None if learning is None else bool(learning(slice(0, 1))[0])

    @property
    def drift_detected(self) -> bool:
        """Whether the latest value raised an alarm; river's name."""
        return self.at is not None and self.at == self.n_seen - 1

    @property
    def statistic(self) -> float:
        """The statistic after the latest value, which is an alarm from `threshold` on; NaN where there is none.

        NaN while it learns, and for those that report it at alarms only: `joint`, `category_window` and river's. If the
        latest value raised an alarm, it is the statistic of that alarm.
        """
        return self._standing().statistic

    @property
    def threshold(self) -> float:
        """What the statistic has to reach."""
        return self._standing().threshold

    @property
    def p_value(self) -> float:
        """The p-value of the latest single test, of `ks_window`; NaN for others. Every value is a test."""
        return self._standing().p_value

    def _standing(self) -> Standing:
        if self.drift_detected and self.last_alarm is not None:
            now = self._bank.standing(0).p_value if has_standing(self._bank) else math.nan
            return Standing(self.last_alarm.statistic, self.last_alarm.threshold, now)
        return self._bank.standing(0) if has_standing(self._bank) else Standing(math.nan, math.nan)

    def state(self) -> dict[str, Any]:
        """What is known after the latest value, by name: n, learning, statistic, threshold, p_value, alarms."""
        standing = self._standing()
        latest = None if self.last_alarm is None else self.last_alarm._asdict()
        return {"n": self.n_seen, "learning": self.learning, **standing._asdict(), "last_alarm": latest}

    def trace(self, values: ArrayLike, *, time_ms: ArrayLike = 0) -> dict[str, NDArray[Any]]:
        """Arrays [n] for a plot of these next values: value, statistic, threshold, learning, alarm.

        The detector itself stays as it is. `pandas.DataFrame(d.trace(x))` or `pyarrow.table(d.trace(x))` makes a table.
        It costs about 10 to 50 microseconds a value. ValueError as `update_many`.
        """
        twin = copy.deepcopy(self)
        taken = values if self._takes_rows else one_series(self.name, twin._coded(values), "values", "column by column")
        many = np.asarray(taken, np.float64)
        times = milliseconds(self.name, time_ms, len(many)).tolist()
        seen = np.empty((4, len(many)))
        for i, value in enumerate(many if self._takes_rows else many.tolist()):
            is_alarm = twin._update_bank(value, times[i])
            seen[:, i] = (*twin._standing()[:2], bool(twin.learning), is_alarm)
        return {
            "value": np.asarray(values),
            "statistic": seen[0],
            "threshold": seen[1],
            "learning": seen[2] == 1.0,
            "alarm": seen[3] == 1.0,
        }

    def update(self, value: ArrayLike, *, time_ms: int = NO_TIME) -> bool:
        """Process the next value; True when it raised an alarm. ValueError unless it is a finite number.

        A value of `joint` is a row of columns, in which NaN and infinities are missing values. A value of
        `category_rates` and `category_window` is a text, or the id of a category: a whole number from 0.

        `time_ms` is its event time, in milliseconds since 1970, UTC. Detectors that model the day and the week learn
        their cycles from it; without it they assume none.
        """
        step = self._step
        if step is None:
            return self._update_bank(value if self._takes_rows else self._number(value), time_ms)
        number = value if type(value) is self._as_is else self._number(value)
        if time_ms is not NO_TIME and (type(time_ms) is not int or not TIME_MIN_MS <= time_ms <= TIME_MAX_MS):
            time_ms = int(milliseconds(self.name, time_ms, 1)[0])
        if outcome := step(self._address, number, time_ms):
            return self._finish(outcome, number, time_ms)
        self.n_seen += 1
        return False

    def _finish(self, outcome: int, number: float, time_ms: int) -> bool:
        """What a step left to do."""
        if outcome == REFUSED or not has_steps(self._bank):
            return self._update_bank(number, time_ms)  # raises the error
        return self._remember(self._bank.finish_step(number, time_ms), 1)

    def _update_bank(self, value: ArrayLike, time_ms: int) -> bool:
        """The same by a batch of one value."""
        values = self._value
        if self._takes_rows:
            values = np.asarray(value, np.float64)[np.newaxis]
        else:
            number = value if type(value) is float else self._number(value)
            if not math.isfinite(number):
                raise ValueError(f"{self.name} can't judge {number}: leave missing values out, and count them")
            values[0] = number
        self._time_ms[:] = time_ms if type(time_ms) is int else milliseconds(self.name, time_ms, 1)
        return self._remember(self._bank.update(self._row, values, self._time_ms), 1)

    def _number(self, value: ArrayLike) -> float:
        if isinstance(value, np.datetime64 | np.timedelta64):
            raise ValueError(f"{self.name} takes numbers, got a time: pass times as time_ms")
        if isinstance(value, str):
            if self._texts is None:
                raise ValueError(f"{self.name} takes numbers, got the text {value!r}: category_rates takes texts")
            return self._texts.code(self.name, value)
        if self._texts is not None:
            self._texts.require_no_texts(self.name)
        return float(value)  # type: ignore[arg-type]

    def _coded(self, values: ArrayLike) -> NDArray[np.float64]:
        return numbers(self.name, values if self._texts is None else self._texts.codes(self.name, values))

    def update_many(self, values: ArrayLike, *, time_ms: ArrayLike = 0) -> Alarms:
        """Process values [n], or rows of columns [n, columns]; the same as `update` one by one.

        `Alarms.at` counts from the first of them. `time_ms` is one time a value, or one for all, as a whole number of
        milliseconds since 1970. ValueError for another number of times, for times in another unit or of another type,
        for a value that is not a finite number, and for several columns where the detector watches one series.
        """
        many = self._coded(values)
        if not self._takes_rows:
            many = one_series(self.name, many, "values", "or all columns of a row at once to detector('joint')")
            if not np.isfinite(many).all():
                raise ValueError(f"{self.name} can't judge NaN or infinity: leave missing values out, and count them")
        times = milliseconds(self.name, time_ms, len(many))
        alarms = self._bank.update(np.zeros(len(many), np.int64), many, np.broadcast_to(times, len(many)))
        self._remember(alarms, len(many))
        return alarms

    def _remember(self, alarms: Alarms, n: int) -> bool:
        if len(alarms):
            last = next(iter(alarms[-1:]))
            self.last_alarm = last._replace(at=self.n_seen + last.at)
            self.at, ago = self.last_alarm.at, last.onset_ago
            self.onset = self.at - ago if ago >= 0 else None
            self.effect, self.before, self.after = last.effect, last.before, last.after
            self.category = last.category if self._texts is None else self._texts.text(last.category)
        self.n_seen += n
        return len(alarms) > 0


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
