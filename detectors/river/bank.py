"""Every drift detector of river (BSD-3) by name, for those who know and want them: one Python object a series.

`page_hinkley` and `kswin` of `river.drift`; `ddm`, `eddm`, `fhddm`, `hddm_a` and `hddm_w` of `river.drift.binary`. Each
alarms exactly where river's own object does. `adwin` is ours, equal and faster; `NoDrift` and `DummyDriftDetector`
don't look at the values and are left out. None of them runs unless the configuration names it.

They are slow, and heavy. One value, in a batch, on one core: `ddm`, `eddm` and `fhddm` 450 to 850 ns, `page_hinkley`
1.3 to 2.2 us, `hddm_a` 2.5 to 13 us, `hddm_w` 7.5 to 23 us (the most while a series is young), `kswin` 330 to 410 us;
`adwin` took 60 ns beside them. A series in memory (in a checkpoint): 1.8 to 2.7 KB (0.4 KB), `fhddm` 3.5 KB (1.1 KB),
`hddm_w` 3.9 KB (0.4 KB), `kswin` 8.5 KB (3.6 KB).

River's defaults are made for one series under somebody's eyes. False alarms in 100,000 values of unchanging series
(standard Gaussian; binary: one in ten an error): `page_hinkley` 60, `kswin` 95, `ddm` 8, `eddm` 167, `hddm_a` 0.2,
`fhddm` and `hddm_w` none in a million. Errors at one in two make also the last two alarm; `detectors/checks.py` asks
for silence there, and `kswin`, `eddm`, `fhddm` and `hddm_w` keep it under stricter settings only.

The binary ones watch a column of 0 and 1, above all `error`; of any other column they see whether a value is above 0.
`fhddm` sees it the other way round, as it watches the share of *right* values fall: river's FHDDM, fed with errors,
would tell that a model gets better. Warnings are not told, as an alarm is an alarm.

What an alarm says: statistic and threshold are what river compared (`kswin`: the negative logarithm to base 10 of the
p-value and of alpha; `eddm`: how far the distance between errors fell below its greatest, as a share; `fhddm`: 1 and
1, as river doesn't keep them). River keeps nothing about the change itself, so before and after are plain means: of
the series since its last alarm but for the latest 32 values, and of those (of half of them if there are fewer than
64); effect is their difference in standard deviations of the old ones, 0 where these have none; the onset is unknown.
After an alarm a series begins afresh, as in river.

>>> from detectors import detector
>>> d = detector("hddm_w")
>>> [i for i in range(400) if d.update(i % 20 == 0 if i < 200 else i % 2 == 0)]
[228]
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from sys import float_info
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.alarm_list import AlarmList, Evidence
from detectors.arrays.rows import RowArrays
from detectors.arrays.types import F64, I64
from detectors.base import Alarms
from detectors.river.catalog import RIVER, RiverKind
from detectors.river.summary import LATELY, RiverSummary

KINDS: dict[type[Any], RiverKind] = {kind.settings: kind for kind in RIVER.values()}


class Series:
    """One series: river's detector, and what we keep beside it."""

    __slots__ = ("detector", "past")

    def __init__(self, detector: Any) -> None:
        self.detector = detector
        self.past = RiverSummary()


class RiverBank:
    """A detector of river for many series; which one follows from the settings.

    A series costs nothing until its first value. Raises ImportError, at once, when river is not installed.
    """

    effect_unit: ClassVar[str] = "sd"
    takes: ClassVar[str] = "numbers"
    takes_reference: ClassVar[bool] = False

    def __init__(self, settings: Any, rows: int) -> None:
        self.settings = settings
        self._kind = KINDS[type(settings)]
        self._layout = {
            **self._kind.layout(settings),
            "seen": (np.int64, ()),
            "older": (np.float64, (3,)),
            "latest": (np.float64, (LATELY,)),
        }
        self._kind.make(settings)
        self._series: list[Series | None] = [None] * RowArrays({}, rows).rows  # None is a fresh series

    @property
    def rows(self) -> int:
        return len(self._series)

    def update(self, rows: I64, values: F64, event_time_ms: I64) -> Alarms:  # noqa: ARG002 -- counts events, not time
        rows, values = RowArrays({}, self.rows).checked(rows, values)
        judged: Any = (values > 0.0).astype(np.int64) if self._kind.errors else values
        inverted, found = self._kind.inverted, AlarmList()
        for at, (row, value) in enumerate(zip(rows.tolist(), judged.tolist(), strict=True)):
            series = self._series[row]
            if series is None:
                series = self._series[row] = Series(self._kind.make(self.settings))
            series.detector.update(1 - value if inverted else value)
            series.past.add(value)
            if series.detector.drift_detected:
                found.append(at, row, self._evidence(series))
                self._series[row] = None  # river's detectors do the same, at the next value
        return found.alarms()

    def grow(self, rows: int) -> None:
        self._series += [None] * (rows - self.rows)

    def reset(self, rows: I64) -> None:
        rows = np.asarray(rows, np.int64)
        RowArrays({}, self.rows).check_rows(rows)
        for row in rows.tolist():
            self._series[row] = None

    def set_reference(self, row: int, values: F64) -> None:
        raise NotImplementedError("river's detectors compare a series with its own past and take no reference")

    def dump(self, rows: slice) -> dict[str, NDArray[Any]]:
        """A copy of the state of these series; a fresh one is all zeros."""
        dumped = self._series[rows]
        arrays = RowArrays(self._layout, len(dumped)).arrays
        for i, series in enumerate(dumped):
            if series is None:
                continue
            past = series.past
            arrays["seen"][i] = past.seen
            arrays["older"][i] = past.n, past.mean, past.spread
            arrays["latest"][i, : len(past.latest)] = past.latest
            for name, form in self._kind.state.items():
                arrays[name.strip("_")][i] = form.take(getattr(series.detector, name, 0.0))
        return arrays

    def load(self, rows: slice, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Put back what `dump` gave; ValueError when it came from other settings or another number of rows."""
        targets = range(self.rows)[rows]
        store = RowArrays(self._layout, len(targets))
        store.load(slice(None), arrays)
        for i, row in enumerate(targets):
            state = {name: array[i] for name, array in store.arrays.items()}
            self._series[row] = self._revived(state) if state["seen"] else None

    def _revived(self, state: Mapping[str, Any]) -> Series:
        series = Series(self._kind.make(self.settings))
        past = series.past
        n, past.mean, past.spread = state["older"].tolist()
        past.n = int(n)
        past.latest.extend(state["latest"][: int(state["seen"]) - past.n].tolist())
        for name, form in self._kind.state.items():
            fresh = getattr(series.detector, name, 0.0)
            setattr(series.detector, name, form.give(fresh, state[name.strip("_")]))
        return series

    def _evidence(self, series: Series) -> Evidence:
        statistic, threshold = self._kind.decisive(series.detector)
        if math.isnan(statistic):  # sums of the largest numbers there are
            statistic = threshold
        effect, before, after, n_reference, n_current = series.past.compare()
        return Evidence(min(statistic, float_info.max), threshold, effect, before, after, -1, n_reference, n_current)
