"""The rate of ones: whether they become more frequent in a stream of zeros and ones, with a stated false-alarm rate.

The test is a Shiryaev-Roberts sum of likelihood ratios, an e-detector (J. Shin, A. Ramdas and A. Rinaldo, "E-detectors:
a nonparametric framework for sequential change detection", New England Journal of Statistics in Data Science, 2023). If
no value is a one with more than probability p given all before it, then `arl0` values or more pass on average before a
false alarm, whatever else the stream does. p is a confidence bound on the rate of the baseline, plus a tolerance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from detectors.arrays.alarm_list import AlarmList, Evidence
from detectors.arrays.bounds import require_between
from detectors.arrays.jit import step_kernel
from detectors.arrays.rows import RowBank, multiples
from detectors.arrays.scan_bank import scan
from detectors.arrays.stepping import QUIET, REFUSED, STOPPED, Stepper, carray, pointer
from detectors.arrays.types import F64, I64
from detectors.base import NO_CATEGORY, Alarms, Standing
from detectors.rate.kernels import (
    AGE,
    BASE,
    COUNT,
    FACTS,
    HEAD,
    NEXT,
    ONES,
    REFERENCE_ONES,
    REFERENCE_SIZE,
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

    baseline_size: first values of a series that form its baseline, 10 to 1,048,576; after an alarm, the next ones do.
    tolerance: rise of the rate without an alarm, 0.0001 to 0.5. Nulls that rise from none to 1 in 10 are detected after
        about 225 values, to all after 6; from none to 2 in 100, which the default tolerates, never.
    arl0: values of a series between two false alarms, on average, at least; 1e5 to 1e15.
    """

    baseline_size: int = 1000
    tolerance: float = 0.01
    arl0: float = 1e9

    def __post_init__(self) -> None:
        require_between(self, "rate", baseline_size=(10, SIZE_MAX), tolerance=(0.0001, 0.5), arl0=(100_000, 1e15))


class RateBank(RowBank):
    """Whether ones come more often than they did in each series of zeros and ones.

    The baseline of a series is the sample of `set_reference`, the count of `set_usual`, or its first `baseline_size`
    values. Ones that occur in runs weigh less: by the factor by which runs are rarer in the baseline than under chance.
    After an alarm a series learns its baseline again, so a change is one alarm. A rate that falls raises none.

    The bound on the baseline's rate is an upper confidence bound (H. Chernoff, "A measure of asymptotic efficiency for
    tests of a hypothesis based on the sum of observations", Annals of Mathematical Statistics, 1952). Apart from the
    tolerance, it is too low for one series in ten thousand. Statistic and threshold of an alarm are natural logarithms;
    before and after are rates, the effect is their difference. The onset is the centre of the evidence.

    Measured with the default settings: 35 million independent values, at rates from 0 to 0.9, raised 1 alarm with
    `arl0` at 1e5 and almost no tolerance. Where the baseline has no runs, the first run of ones is an alarm: 50 series
    of 50,000 values with runs of 20 raised 58 at a rate of 0.005, and 4 at a rate of 0.1.

    Only the number of zeros matters, so `update_ones` takes the ones alone and gives the same alarms. 232 bytes a
    series.

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
    shares_rate: ClassVar[bool] = False

    def __init__(self, settings: RateSettings, rows: int) -> None:
        self.settings = settings
        layout = {
            "head": (np.int64, (HEAD,)),
            "facts": (np.float64, (FACTS,)),
            "evidence": (np.float64, (3, STEPS)),
        }
        super().__init__(layout, rows)
        self._rules = RateRules(settings.baseline_size, settings.tolerance, settings.arl0)

    def update(self, rows: I64, values: F64, event_time_ms: I64, multiple: F64 | None = None) -> Alarms:  # noqa: ARG002 -- counts values, not time
        """See `detectors.base.RatedBank`."""
        rows, values = self._store.checked(rows, values)
        if len(values) and not ((values == 0.0) | (values == 1.0)).all():
            raise ValueError("rate takes marks: every value must be 0 or 1")
        return self._scan(rows, values, np.full(len(rows), -1, np.int64), multiple)

    def standing(self, row: int) -> Standing:
        """The evidence as of the latest one, and what an alarm needs, both as natural logarithms.

        Zeros since then have lowered the evidence; they are counted at the next one.
        """
        if self._store.arrays["head"][row, BASE] == 0:
            return Standing(math.nan, math.nan)
        total = float(self._store.arrays["evidence"][row, SUM].sum())
        return Standing(math.log(total / STEPS) if total > 0.0 else -math.inf, math.log(self.settings.arl0))

    def stepper(self) -> Stepper:
        """See `detectors.arrays.stepping`."""
        rules = np.array([self._rules.tolerance, self._rules.arl0])
        vectors = (np.zeros(1, np.int64), np.zeros(1), np.full(1, -1, np.int64), np.ones(1))
        return Stepper(_step, (self._rules.baseline_size, rules, *vectors, *self._store.arrays.values()))

    def finish_step(self, value: float, time_ms: int) -> Alarms:  # noqa: ARG002 -- the state holds what they did
        """See `detectors.arrays.stepping`."""
        found = AlarmList()
        found.append(0, 0, self._evidence(0, self.settings.arl0))
        return found.alarms()

    def update_ones(self, rows: I64, numbers: I64, multiple: F64 | None = None) -> Alarms:
        """The alarms of ones alone: value `numbers[i]` of series `rows[i]`, counted from 0, is a one; others are zeros.

        Numbers of a series must increase. Alarms equal those of `update`, but `at` is an index into the ones.
        """
        rows, values = self._store.checked(rows, np.ones(len(rows)))
        return self._scan(rows, values, np.ascontiguousarray(numbers, np.int64), multiple)

    def set_reference(self, row: int, values: F64) -> None:
        """Restart a series with this sample of marks [n] as its baseline. ValueError if it is no such sample."""
        marks = np.asarray(values, np.float64)
        if not len(marks) or not ((marks == 0.0) | (marks == 1.0)).all():
            raise ValueError("rate: a reference must be one mark or more, each 0 or 1")
        self.set_usual(row, len(marks), int(marks.sum()))

    def set_usual(self, row: int, size: int, ones: int) -> None:
        """Restart a series with so many ones among `size` values as its baseline."""
        self._store.reset(np.array([row]))
        state = RateState(**self._store.arrays)
        state.head[row, ONES] = ones
        settle(state, self._rules, row, size, ones)

    def start_at(self, row: int, number: int) -> None:
        """Restart a series at its value `number`, from which on it learns its baseline; earlier values are unknown."""
        restart(RateState(**self._store.arrays), row, number)

    def set_usual_rate(self, row: int, number: int, size: int, ones: int) -> None:
        """Restart a series with the rate of so many ones among `size` values, for samples whose order is unknown.

        The series learns from its value `number` on in which runs ones occur, and is judged after
        `baseline_size` values.
        """
        state = RateState(**self._store.arrays)
        restart(state, row, number)
        state.facts[row, REFERENCE_SIZE], state.facts[row, REFERENCE_ONES] = size, ones

    def _scan(self, rows: I64, values: F64, numbers: I64, multiple: F64 | None) -> Alarms:
        state, needed = RateState(**self._store.arrays), multiples(multiple, len(rows))
        step = partial(advance, state, self._rules, rows, values, numbers, needed)
        return scan(rows, step, lambda row, at: self._evidence(row, self.settings.arl0 * float(needed[at])))

    def _evidence(self, row: int, arl0: float) -> Evidence:
        state = RateState(**self._store.arrays)
        evidence = rise_of(state, row, arl0)
        restart(state, row, int(state.head[row, TOTAL]))
        return evidence


@step_kernel
def _step(address: int, value: float, time_ms: int) -> int:  # noqa: ARG001 -- counts values, not time
    if not (value == 0.0 or value == 1.0):
        return REFUSED
    block = carray(pointer(address), (9,), np.int64)
    given = carray(pointer(block[1]), (2,), np.float64)
    rules = RateRules(block[0], given[0], given[1])
    rows, values = carray(pointer(block[2]), (1,), np.int64), carray(pointer(block[3]), (1,), np.float64)
    numbers, multiple = carray(pointer(block[4]), (1,), np.int64), carray(pointer(block[5]), (1,), np.float64)
    values[0] = value
    state = RateState(
        carray(pointer(block[6]), (1, HEAD), np.int64),
        carray(pointer(block[7]), (1, FACTS), np.float64),
        carray(pointer(block[8]), (1, 3, STEPS), np.float64),
    )
    return STOPPED if advance(state, rules, rows, values, numbers, multiple, 0) == 0 else QUIET


def rise_of(state: RateState, row: int, arl0: float, category: int = NO_CATEGORY) -> Evidence:
    """The alarm that this row has just raised."""
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
