"""Shiryaev-Roberts on ranks: any drift of one column's law, with at most the asked rate of false alarms.

The rate is proven for independent values without ties, and measured for cells, ties and dependence.

The rank of a value among those before it is uniform as long as nothing changes, whatever the column's law and unit. At
each value, for each of 32 generic alternatives (`alternatives.py`: location, scale, skew, tails, ...), the likelihood
ratio "drifted like this" against "nothing changed" is taken, and the sums of its products over all possible onsets are
kept. Their weighted sum is the evidence; an alarm comes when it reaches the asked mean number of values between false
alarms. Sources: A. N. Shiryaev, "On optimum methods in quickest detection problems", 1963; S. W. Roberts, "A comparison
of some control chart procedures", Technometrics 1966; the sum as a test of any length: J. Shin, A. Ramdas and
A. Rinaldo, "E-detectors", New England Journal of Statistics in Data Science 2023.

What holds of the promise: for independent values without ties the evidence less the number of values is a martingale,
so the mean number of values to a false alarm is at least the asked one. That ranks are read from cells, ties, and what
is done about dependence have been measured, not proven.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.alarm_list import AlarmList
from detectors.arrays.jit import step_kernel
from detectors.arrays.rows import RowBank, multiples
from detectors.arrays.stepping import QUIET, REFUSED, STOPPED, Stepper, carray, pointer
from detectors.base import F64, I64, Alarms, Standing
from detectors.reference import Reference
from detectors.shiryaev_roberts import cells
from detectors.shiryaev_roberts.alternatives import STEPS, Tables, tables
from detectors.shiryaev_roberts.calendar import HELD
from detectors.shiryaev_roberts.early import BLIND, EARLY
from detectors.shiryaev_roberts.evidence import advance
from detectors.shiryaev_roberts.kernel_types import ALARM, LANES, EvidenceRules, Fed, Work, work_space
from detectors.shiryaev_roberts.onset import evidence_of, mean_age
from detectors.shiryaev_roberts.phases import do_what_is_due, settle_early
from detectors.shiryaev_roberts.state import ALTERNATIVES, CALENDAR, RECORD, WORDS, Series, records_of
from detectors.shiryaev_roberts.sums import EVIDENCE_MIN
from detectors.shiryaev_roberts.trust import STILL

STRETCH = 65_536  # values fed at once: bounds what is held for series that stop
ALIKE = 0.0  # cosine between what two drifts did to the ranks, from which on they went the same way
SHARP, STILL_SHARP = 96, 1.5  # values since an onset that is sharp, and times as long as it stood still before
STEP, STILL_STEP = 128, 0.5  # the same of a step that goes far ...
FAR = 0.25  # ... which is so large a distance between the distribution functions ...
AGAIN = 1.25  # ... if it also stood still for so many times as long as the drift before it took to show
SOON = 0.2  # of the asked values between alarms
TOOK_MAX = 32_767  # what is kept of the time that a drift took to show


@dataclass(frozen=True, slots=True)
class ShiryaevRobertsSettings:
    """Settings of Shiryaev-Roberts on ranks. ValueError when one is out of range.

    arl0: values of a series between false alarms, on average, 1,000 to 1e12 (the field's average run length). In a
        service they are events of a model, whose columns share the false alarms: of k columns, each raises one in
        k times so many values. On 18 laws, 0.6 to 0.9 times as many alarms as asked were raised; 0.4 on rare flags.
    reference_size: values of a training sample that are counted, 2 to 524,288; a larger one is thinned to so many.
    tolerance: how far the distribution function may move anywhere and be fine (a Kolmogorov-Smirnov distance), 0 to
        0.4. A normal that moves by a tenth of its standard deviation moves by 0.04. An alarm needs the asked evidence
        for a change, and evidence of 10,000, or of a tenth of `arl0`, that it is larger than that.
    """

    arl0: float = 1e5
    reference_size: int = 2000
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if not 2 <= self.reference_size <= cells.COUNTED_MAX // 2:
            raise ValueError(
                f"shiryaev_roberts: reference_size must lie between 2 and {cells.COUNTED_MAX // 2}, "
                f"got {self.reference_size}"
            )
        if not 1e3 <= self.arl0 <= 1e12:
            raise ValueError(f"shiryaev_roberts: arl0 must lie between 1,000 and 1e12, got {self.arl0}")
        if not 0.0 <= self.tolerance <= 0.4:
            raise ValueError(f"shiryaev_roberts: tolerance must lie between 0 and 0.4, got {self.tolerance}")


class ShiryaevRobertsBank(RowBank):
    """Shiryaev-Roberts on ranks for many series.

    The ranks of a series are those among all its values so far. A series is given earlier ones by `set_reference`, else
    it learns for 256 values; after an alarm it begins again, and is judged from the 21st value on if it was plain. One
    drift is one alarm, also where it is gradual. The return to normal and a second drift are alarms of their own. A
    reference is taken as the finite sample it is: a small one makes the detector slower, not noisier.

    Where values depend on earlier ones (inertia, cycles, a level that wanders, a scale that clusters), or alarm follows
    upon alarm, the series learns over 1,024 values how, and watches what is left; where jumps between levels are all
    there was, it is plain. The effect of the day and the week on a series that depends is taken from event times
    (`calendar.py`), once it is proven; times that stand still show nothing. `learning` covers both. Of a series of few
    distinct values that depend on the one before, such as errors that come in runs, a value is ranked among those that
    followed the same value (`phases.py`).

    An alarm's statistic is the evidence. Its effect is the distance between the distribution functions of the last
    values, 64 at most, and of those before, at the cells. Before is the median of the values that the cells were made
    of (of a whitened series its level), after that of the last values, exact to the spacing of the cells; of series of
    two values, such as errors of 0 and 1, both are means. The onset is
    the mean of all possible ones, weighted by the evidence for each; of a great change, which fewer than 12 values
    show, it is where the alternative with most evidence begins to gain.

    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> values = np.concatenate([rng.normal(0.0, 1.0, 1000), rng.normal(1.0, 1.0, 200)])
    >>> bank = ShiryaevRobertsBank(ShiryaevRobertsSettings(), rows=1)
    >>> alarms = bank.update(np.zeros(1200, np.int64), values, np.zeros(1200, np.int64))
    >>> alarms.at.tolist(), (alarms.at - alarms.onset_ago).tolist()
    ([1034], [988])
    """

    effect_unit: ClassVar[str] = "ks_distance"
    takes_reference: ClassVar[bool] = True
    shares_rate: ClassVar[bool] = True
    learning_size: ClassVar[int] = BLIND  # values before the first that is judged, without a reference

    def __init__(self, settings: ShiryaevRobertsSettings, rows: int) -> None:
        self.settings = settings
        super().__init__({"series": (np.int64, (WORDS,))}, rows)
        self._tables = tables(settings.tolerance)
        self._rules = EvidenceRules(float(settings.arl0), cells.COUNTED_MAX)
        self._work = work_space()

    def update(self, rows: I64, values: F64, event_time_ms: I64, multiple: F64 | None = None) -> Alarms:
        """See `detectors.base.RatedBank`."""
        rows, values = self._store.checked(rows, values)
        times = np.ascontiguousarray(event_time_ms, np.int64)
        if times.shape != rows.shape:
            raise ValueError(f"shiryaev_roberts wants a time for each of {len(rows)} values, got {times.shape}")
        fed = Fed(rows, values, times, multiples(multiple, len(rows)))
        found = AlarmList()
        for first in range(0, len(rows), STRETCH):
            turn = np.arange(first, min(first + STRETCH, len(rows)))
            while len(turn):
                turn = self._advance(fed, turn, found)
        return found.alarms()

    def _advance(self, fed: Fed, turn: I64, found: AlarmList) -> I64:
        """Feed the values of these indices; returns those of series that stopped before they had them all."""
        series, stopped = self._series(), np.empty(len(turn), np.int64)
        put_off, stops = advance(series, self._tables, self._rules, fed, turn, stopped, self._work)
        if stops:
            self._do_what_is_due(fed, stopped[:stops], found)
        return turn[:put_off]

    def _do_what_is_due(self, fed: Fed, stopped: I64, found: AlarmList) -> None:
        """What the series call for that stopped at the values of these indices; their alarms are found."""
        series = self._series()
        for at in stopped[series["due"][fed.rows[stopped]] == ALARM].tolist():
            row, arl0 = int(fed.rows[at]), float(self._rules.arl0 * fed.multiple[at])
            settle_early(series, row)
            evidence = evidence_of(series, row, self._tables, arl0)
            if is_new_drift(series, row, self._tables, arl0, evidence.effect):
                found.append(at, row, evidence)
        do_what_is_due(series, fed.rows[stopped])

    def standing(self, row: int) -> Standing:
        """The evidence, and what an alarm needs: `arl0` less the values before the first that counted, at least 50.

        With a tolerance an alarm also needs evidence for a change beyond it, which is not reported here.
        """
        one = self._series()[row]
        blind = int(one["blind"])
        judged = one["settled"] if not one["learning"] else False
        if not (judged and one["n"] > blind) and not (one["filled"] and blind == EARLY and one["n"] > EARLY):
            return Standing(math.nan, math.nan)
        return Standing(float(one["evidence"]), max(float(self._rules.arl0) - blind, EVIDENCE_MIN))

    def stepper(self) -> Stepper:
        """See `detectors.arrays.stepping`."""
        arl0, counted_max = self._rules
        fed = Fed(np.zeros(1, np.int64), np.zeros(1), np.zeros(1, np.int64), np.ones(1))
        turns = (np.zeros(1, np.int64), np.zeros(1, np.int64))
        parts = (counted_max, len(self._tables.waves), np.array([arl0]), *fed, *turns, *self._work, *self._tables)
        return Stepper(_step, (*parts, self._store.arrays["series"]))

    def finish_step(self, value: float, time_ms: int) -> Alarms:
        """See `detectors.arrays.stepping`."""
        found, row = AlarmList(), np.zeros(1, np.int64)
        fed = Fed(row, np.array([value]), np.array([time_ms]), np.ones(1))
        self._do_what_is_due(fed, row, found)
        return found.alarms()

    def set_reference(self, row: int, values: F64) -> None:
        """Take this sample for earlier values of a series, and what it has seen itself for forgotten.

        ValueError when the sample holds no finite value.
        """
        sample = Reference.of(values, self.settings.reference_size).values
        self._store.reset(np.array([row]))
        series = self._series()
        cells.settle(series, np.array([row]), sample[np.newaxis])

    def learning(self, rows: slice = slice(None)) -> NDArray[np.bool_]:
        """Which of these series gather no evidence at present, as they learn what is usual."""
        series = self._series()[: self.rows][rows]
        is_held = (series["day"] == HELD) & (series["whitened"] == 0)
        return np.asarray((series["settled"] == 0) | (series["n"] < series["blind"]) | is_held, np.bool_)

    def _series(self) -> Series:
        return records_of(self._store.arrays["series"])


@step_kernel
def _step(address: int, value: float, time_ms: int) -> int:
    if not math.isfinite(value):
        return REFUSED
    block = carray(pointer(address), (18,), np.int64)
    rules = EvidenceRules(carray(pointer(block[2]), (1,), np.float64)[0], block[0])
    fed = Fed(
        carray(pointer(block[3]), (1,), np.int64),
        carray(pointer(block[4]), (1,), np.float64),
        carray(pointer(block[5]), (1,), np.int64),
        carray(pointer(block[6]), (1,), np.float64),
    )
    fed.values[0], fed.time_ms[0] = value, time_ms
    turn, stopped = carray(pointer(block[7]), (1,), np.int64), carray(pointer(block[8]), (1,), np.int64)
    turn[0] = 0
    work = Work(
        carray(pointer(block[9]), (ALTERNATIVES,), np.float32), carray(pointer(block[10]), (LANES,), np.float32)
    )
    tables = Tables(
        carray(pointer(block[11]), (STEPS + 1, ALTERNATIVES), np.float32),
        carray(pointer(block[12]), (STEPS, ALTERNATIVES), np.float32),
        carray(pointer(block[13]), (ALTERNATIVES,), np.float32),
        carray(pointer(block[14]), (ALTERNATIVES,), np.float32),
        carray(pointer(block[15]), (ALTERNATIVES,), np.float32),
        carray(pointer(block[16]), (block[1], CALENDAR), np.float32),
    )
    series = carray(pointer(block[17]), (1,), RECORD)
    _, stops = advance(series, tables, rules, fed, turn, stopped, work)
    return STOPPED if stops == 1 else QUIET


def is_new_drift(series: Series, row: int, tables: Tables, arl0: float, effect: float) -> bool:
    """Whether a series' latest alarm, of this effect, is of another drift than the one before. Stores the direction of
    the drift and, of another one, how long it took to show.

    After an alarm a series begins again, so the rest of a gradual drift raises further alarms. Such an alarm differs
    from one of a second drift in three ways: it goes in the same direction, the series never stood still in between,
    and it comes sooner than alarms do by chance. The third keeps false alarms as rare as was asked for. Of a sharp
    drift, which few values show, a shorter rest is enough: what a gradual one still has to go takes longer to show.

    Still less is enough of a step that goes far, if the rest lasted longer than the drift before took to show. A drift
    that went on would have shown again in about that time.

    The direction is that of the densities of the alternatives, weighted by the evidence for each.
    """
    one = series[row]
    density = tables.density.astype(np.float64) - 1.0
    likely = tables.weight.astype(np.float64) * one["sums"]
    last, took = int(one["way"]) - 1, int(one["took"])
    ago, n = mean_age(one, tables), int(one["n"])
    went, before = density @ likely, density[:, last]
    cosine = went @ before / np.sqrt((went @ went) * (before @ before))
    rest = n - ago
    is_rested = rest > (STILL_SHARP if ago <= SHARP else STILL) * ago
    is_step = ago <= STEP and effect >= FAR and rest > max(STILL_STEP * ago, AGAIN * took)
    is_new = bool(last < 0 or cosine < ALIKE or is_rested or is_step or n > SOON * arl0)
    one["way"] = int(np.argmax(likely)) + 1
    one["took"] = min(ago, TOOK_MAX) if is_new else took
    return is_new
