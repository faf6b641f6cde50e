"""Counting: whether ones have become more frequent in a stream of zeros and ones, with a stated false-alarm rate.

The test is a Shiryaev-Roberts sum of likelihood ratios, an e-detector (J. Shin, A. Ramdas, A. Rinaldo, "E-detectors",
2022): if no value is a one with more than probability p given all before it, then on average at least `arl0` values
pass before a false alarm, whatever else the stream does. p is a confidence bound on the rate of the first values, and a
tolerance above it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from detectors.arrays.alarm_list import AlarmList, Evidence
from detectors.arrays.rows import RowBank
from detectors.arrays.types import F64, I64
from detectors.base import NO_CATEGORY, Alarms
from detectors.rate.kernels import (
    AGE,
    BASE,
    COUNT,
    FACTS,
    GIVEN,
    GIVEN_ONES,
    HEAD,
    NEXT,
    ONES,
    START,
    STEPS,
    SUM,
    TOTAL,
    RateRules,
    RateState,
    advance,
    restart,
    settle,
)

SIZE_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class RateSettings:
    """Settings of the counting test. ValueError when one is out of range.

    baseline_size: first values that tell what is usual, 10 to 1,048,576; after an alarm as many tell it anew.
    tolerance: how much more often than usual ones may come without an alarm, 0.0001 to 0.5. Nulls that go from none to
        1 in 10 are seen after about 225 values, to all after 6; from none to 2 in 100, which is within what the
        default tolerates, never.
    arl0: values of a series that pass on average before a false alarm, at the least, 1e5 to 1e15. The default is one in
        a thousand million.
    """

    baseline_size: int = 1000
    tolerance: float = 0.01
    arl0: float = 1e9

    def __post_init__(self) -> None:
        if not 10 <= self.baseline_size <= SIZE_MAX:
            raise ValueError(f"rate: baseline_size must lie between 10 and {SIZE_MAX}, got {self.baseline_size}")
        if not 0.0001 <= self.tolerance <= 0.5:
            raise ValueError(f"rate: tolerance must lie between 0.0001 and 0.5, got {self.tolerance}")
        if not 1e5 <= self.arl0 <= 1e15:
            raise ValueError(f"rate: arl0 must lie between 1e5 and 1e15, got {self.arl0}")


class RateBank(RowBank):
    """Whether ones come more often than they did in each series of zeros and ones.

    A series is given what is usual by `set_reference`, a sample, or `set_usual`, a count; else its first
    `baseline_size` values tell it. Ones that come in runs count as what they are, a run: each one weighs as much as
    runs are rarer among the first values than chance would have them. After an alarm a series learns what is usual
    anew, so that a change is one alarm. A rate that falls is none.

    What is usual is the upper confidence bound of the rate that was seen (H. Chernoff, 1952), which is too low for one
    series in ten thousand, the tolerance apart. Statistic and threshold of an alarm are natural logarithms; before and
    after are rates, the effect is their difference, and the onset is where the evidence has its centre.

    Measured with the default settings: 35 million independent values, at rates from 0 to 0.9, raised 1 alarm with
    `arl0` at 1e5 and no tolerance to speak of. Where ones come in runs that the first values did not show, the first
    such run is an alarm: 50 series of 50,000 values with runs of 20 raised 58 at a rate of 0.005, and 4 at a rate of
    0.1.

    Zeros change nothing that isn't known from their number, so `update_ones` takes the ones alone and gives the same
    alarms. 232 bytes a series.

    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> bank = RateBank(RateSettings(), rows=1)
    >>> values = np.concatenate([rng.random(3000) < 0.01, rng.random(300) < 0.2]).astype(float)
    >>> alarms = bank.update(np.zeros(3300, np.int64), values, np.zeros(3300, np.int64))
    >>> alarms.at.tolist(), (alarms.at - alarms.onset_ago).tolist(), alarms.before.round(3).tolist()
    ([3105], [2994], [0.009])
    """

    effect_unit: ClassVar[str] = "rate"
    takes: ClassVar[str] = "marks"
    takes_reference: ClassVar[bool] = True

    def __init__(self, settings: RateSettings, rows: int) -> None:
        self.settings = settings
        layout = {
            "head": (np.int64, (HEAD,)),
            "facts": (np.float64, (FACTS,)),
            "evidence": (np.float64, (3, STEPS)),
        }
        super().__init__(layout, rows)
        self._rules = RateRules(settings.baseline_size, settings.tolerance, settings.arl0)

    def update(self, rows: I64, values: F64, event_time_ms: I64) -> Alarms:  # noqa: ARG002 -- counts events, not time
        rows, values = self._store.checked(rows, values)
        if len(values) and not ((values == 0.0) | (values == 1.0)).all():
            raise ValueError("rate takes marks: every value must be 0 or 1")
        return self._fed(rows, values, np.full(len(rows), -1, np.int64))

    def update_ones(self, rows: I64, numbers: I64) -> Alarms:
        """Feed the ones alone: value `numbers[i]` of series `rows[i]`, counted from 0, is a one, those between are not.

        Numbers of a series must increase. Gives the alarms of `update`; at and order are those of the ones.
        """
        rows, values = self._store.checked(rows, np.ones(len(rows)))
        return self._fed(rows, values, np.ascontiguousarray(numbers, np.int64))

    def set_reference(self, row: int, values: F64) -> None:
        """Hold a sample of marks for what is usual; the series begins anew. ValueError if it is none."""
        marks = np.asarray(values, np.float64)
        if not len(marks) or not ((marks == 0.0) | (marks == 1.0)).all():
            raise ValueError("rate: a reference must be one mark or more, each 0 or 1")
        self.set_usual(row, len(marks), int(marks.sum()))

    def set_usual(self, row: int, size: int, ones: int) -> None:
        """Hold so many ones among `size` values for what is usual; the series begins anew."""
        self._store.reset(np.array([row]))
        state = RateState(**self._store.arrays)
        state.head[row, ONES] = ones
        settle(state, self._rules, row, size, ones)

    def start_at(self, row: int, number: int) -> None:
        """The series has had so many values that are not known; what is usual is learnt from here."""
        restart(RateState(**self._store.arrays), row, number)

    def set_usual_rate(self, row: int, number: int, size: int, ones: int) -> None:
        """Hold so many ones among `size` values for the usual rate, and learn from value `number` on in which runs
        ones come: for samples that don't tell their order. The series begins anew, and is judged after `baseline_size`.
        """
        state = RateState(**self._store.arrays)
        restart(state, row, number)
        state.facts[row, GIVEN], state.facts[row, GIVEN_ONES] = size, ones

    def _fed(self, rows: I64, values: F64, numbers: I64) -> Alarms:
        state = RateState(**self._store.arrays)
        found = AlarmList()
        at = advance(state, self._rules, rows, values, numbers, 0)
        while at < len(rows):
            row = int(rows[at])
            found.append(at, row, rise_of(state, row, self.settings.arl0))
            restart(state, row, int(state.head[row, TOTAL]))
            at = advance(state, self._rules, rows, values, numbers, at + 1)
        return found.alarms()


def rise_of(state: RateState, row: int, arl0: float, category: int = NO_CATEGORY) -> Evidence:
    """What is to be said about an alarm of this row that has just come."""
    head, evidence = state.head[row], state.evidence[row]
    total = float(evidence[SUM].sum())
    age = float(evidence[AGE].sum()) / total  # of the oldest value of the new regime
    values = max(1, min(round(age) + 1, int(head[NEXT] - head[START])))
    before = float(head[ONES]) / float(head[BASE])
    after = min(1.0, float(evidence[COUNT].sum()) / (total * (age + 1.0)))
    return Evidence(
        statistic=math.log(total / STEPS),
        threshold=math.log(arl0),
        effect=max(0.0, after - before),
        before=before,
        after=after,
        onset_ago=values - 1,
        n_reference=int(head[BASE]),
        n_current=values,
        category=category,
    )
