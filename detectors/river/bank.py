"""The drift detectors of river (BSD-3), one Python object a series.

`page_hinkley` and `kswin` of `river.drift`; `ddm`, `eddm`, `fhddm`, `hddm_a` and `hddm_w` of `river.drift.binary`. Each
alarms exactly where river's own object does. `adwin` has an equal, faster implementation here. `NoDrift` and
`DummyDriftDetector` ignore the values and are left out. None of these detectors runs unless the configuration names it.

A snapshot of a series is read from river's private attributes, and written back to them (`catalog.py`),
because river has no public way to save a detector. So the range in `pyproject.toml`, `river>=0.26.1,<0.27`, is part of
this code. Before the range is widened, `tests/detectors/river` compares every detector with river's own objects.

*Cost.* One value, in a batch, on one core: `ddm`, `eddm` and `fhddm` 450 to 850 ns, `page_hinkley` 1.3 to 2.2 us,
`hddm_a` 2.5 to 13 us, `hddm_w` 7.5 to 23 us (the most while a series is young), `kswin` 330 to 410 us; `adwin` took 60
ns beside them. Memory of a series (and its size in a checkpoint): 1.8 to 2.7 KB (0.4 KB), `fhddm` 3.5 KB (1.1 KB),
`hddm_w` 3.9 KB (0.4 KB), `kswin` 8.5 KB (3.6 KB).

*False alarms.* River's defaults are made for one series that a person watches. In 100,000 values of a stable series
(standard Gaussian; binary: one in ten an error): `page_hinkley` 60, `kswin` 95, `ddm` 8, `eddm` 167, `hddm_a` 0.2,
`fhddm` and `hddm_w` none in a million. Where one value in two is an error, the last two alarm as well.
`detectors/checks.py` demands silence there; `kswin`, `eddm`, `fhddm` and `hddm_w` meet that under stricter settings
only.

*Binary detectors* watch a column of 0 and 1, above all `error`; of any other column they use whether a value is above
0. `fhddm` gets the inverted value, because it detects a fall in the share of *right* values: with errors, river's FHDDM
would detect improvement. Warnings are not reported.

*Alarms.* Statistic and threshold are what river compared (`kswin`: the negative logarithm to base 10 of the p-value and
of alpha; `eddm`: the fall of the distance between errors below its greatest, as a share; `fhddm`: 1 and 1, because
river keeps neither). River keeps nothing about the change itself, so before and after are plain means since the last
alarm: after of the latest 32 values (of the latest half where there are fewer than 64), before of all earlier ones. The
effect is their difference in standard deviations of the earlier values, 0 where these have none. The onset is unknown.
After an alarm a series starts again, as in river.

>>> from detectors import detector
>>> d = detector("hddm_w")
>>> [i for i in range(400) if d.update(i % 20 == 0 if i < 200 else i % 2 == 0)]
[228]
"""

from __future__ import annotations

import math
from collections import deque
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

KINDS: dict[type[Any], RiverKind] = {kind.settings: kind for kind in RIVER.values()}
LATELY = 32  # latest values, at most; never more than half of all


class RiverSummary:
    """The values of a series in short, as river's alarms do not describe the change. O(1) a value.

    Count, mean and spread of all values except the latest, and the latest themselves.
    """

    __slots__ = ("latest", "mean", "n", "spread")

    def __init__(self) -> None:
        self.n = 0  # values older than the latest
        self.mean = 0.0
        self.spread = 0.0  # sum of their squared deviations from the mean (Welford 1962)
        self.latest: deque[float] = deque()

    @property
    def seen(self) -> int:
        """How many values were added."""
        return self.n + len(self.latest)

    def add(self, value: float) -> None:
        """Add the next value."""
        if len(self.latest) == LATELY:
            self._age()
        self.latest.append(value)

    def compare(self) -> tuple[float, float, float, int, int]:
        """Effect in standard deviations, mean before and after, and the number of values of each; all finite.

        Changes the summary, so nothing may be added afterwards. The effect is 0 where the old values have no spread.
        """
        while len(self.latest) > max(1, self.seen // 2):
            self._age()
        n = len(self.latest)
        after = sum(value / n for value in self.latest)  # divided first, as the sum of large values is infinite
        before = self.mean if self.n else after
        deviation = math.sqrt(self.spread / self.n) if self.n and self.spread >= 0.0 else 0.0
        effect = min(abs(after - before) / deviation, float_info.max) if 0.0 < deviation < math.inf else 0.0
        return effect, before, after, self.n, n

    def _age(self) -> None:
        """Move the oldest of the latest values to the older ones."""
        value = self.latest.popleft()
        old = self.mean
        self.n += 1
        self.mean += value / self.n - old / self.n  # divided first, as a difference of large values is infinite
        self.spread += (value - old) * (value - self.mean)


class Series:
    """One series: river's detector, and a summary of its values."""

    __slots__ = ("detector", "past")

    def __init__(self, detector: Any) -> None:
        self.detector = detector
        self.past = RiverSummary()


class RiverBank:
    """A detector of river for many series; the type of the settings decides which one.

    A series costs nothing until its first value. The constructor raises ImportError when river is not installed.
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
        """How many series the bank holds."""
        return len(self._series)

    def update(self, rows: I64, values: F64, event_time_ms: I64) -> Alarms:  # noqa: ARG002 -- counts events, not time
        """See `detectors.base.Bank`."""
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
        """Hold at least `rows` series; new ones are fresh."""
        self._series += [None] * (rows - self.rows)

    def reset(self, rows: I64) -> None:
        """Make these series fresh again."""
        rows = np.asarray(rows, np.int64)
        RowArrays({}, self.rows).check_rows(rows)
        for row in rows.tolist():
            self._series[row] = None

    def set_reference(self, row: int, values: F64) -> None:
        raise NotImplementedError("river's detectors take no reference: they compare a series with its own past")

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
        """The inverse of `dump`; ValueError for a state of other settings or of another number of rows."""
        targets = range(self.rows)[rows]
        store = RowArrays(self._layout, len(targets))
        store.load(slice(None), arrays)
        for i, row in enumerate(targets):
            state = {name: array[i] for name, array in store.arrays.items()}
            self._series[row] = self._restored(state) if state["seen"] else None

    def _restored(self, state: Mapping[str, Any]) -> Series:
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
        if math.isnan(statistic):  # sums of the largest floats
            statistic = threshold
        effect, before, after, n_reference, n_current = series.past.compare()
        return Evidence(min(statistic, float_info.max), threshold, effect, before, after, -1, n_reference, n_current)
