"""Every detector of the table passes the public checks, and the checks would notice if it didn't."""

# ruff: noqa: ARG002 -- flawed banks take what good ones take
from dataclasses import fields, replace

import numpy as np
import pytest

from detectors.base import Alarms
from detectors.checks import CHECKS, CheckError, yield_checks
from detectors.registry import DETECTORS, bank, settings_of

VARIANTS = [
    ("adwin", {"delta": 1e-5, "clock": 7}),
    ("adwin", {"clock": 200, "levels": 12, "max_buckets": 2}),
    ("ks_window", {"window": 77, "reference_size": 101, "alpha": 1e-9}),
    ("ks_window", {"sliding": True}),
    ("ks_window", {"sliding": True, "window": 64, "reference_size": 200}),
    ("category_window", {"window": 130, "reference_size": 1000, "alpha": 1e-8, "categories_max": 10}),
    ("category_window", {"window": 300, "reference_size": 77, "categories_max": 255}),
    ("joint", {"columns": 2, "arl0": 1e4}),
    ("joint", {"columns": 3, "block": 64}),
    ("shiryaev_roberts", {"arl0": 1e7, "reference_size": 50}),
    ("page_hinkley", {"mode": "up", "min_instances": 50}),
    ("fhddm", {"confidence_level": 1e-9, "sliding_window_size": 200, "short_window_size": 50}),
    ("hddm_a", {"two_sided_test": True}),
    ("hddm_w", {"two_sided_test": True, "drift_confidence": 1e-7, "lambda_val": 0.02}),
]

# River's defaults raise alarms on fair coin flips, which no detector here may. The window of kswin is longer than
# river's to save time, as it tests at each value once the window is full.
QUIET = {
    "kswin": {"window_size": 1800, "alpha": 1e-4},
    "eddm": {"beta": 0.7},
    "fhddm": {"confidence_level": 1e-9},
    "hddm_w": {"drift_confidence": 1e-6},
}


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("number", range(len(CHECKS)), ids=[check.__name__ for check in CHECKS])
def test_the_table(name, number):
    """Under default settings, but for those whose defaults are known to be noisy."""
    list(yield_checks(name, **QUIET.get(name, {})))[number]()


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_other_settings(name, options, check):
    """The promises don't hang on the defaults."""
    check(lambda rows: bank(name, settings_of(name, **options), rows))


class Broken:
    """A good bank behind one flaw."""

    def __init__(self, rows):
        self._good = bank("ks_window", settings_of("ks_window", window=100, reference_size=100), rows)
        self._calls = 0

    def __getattr__(self, name):
        return getattr(self._good, name)


class CountsCalls(Broken):
    def update(self, rows, values, event_time_ms):
        self._calls += 1
        alarms = self._good.update(rows, values, event_time_ms)
        return replace(alarms, effect=alarms.effect / self._calls)


class MixesRows(Broken):
    def update(self, rows, values, event_time_ms):
        return self._good.update(rows, values + 0.01 * len(np.unique(rows)), event_time_ms)


class WatchesTheClock(Broken):
    def update(self, rows, values, event_time_ms):
        return self._good.update(rows, values + 1e-13 * (event_time_ms - event_time_ms[:1]), event_time_ms)


class DumpsViews(Broken):
    def dump(self, rows):
        return {name: array[rows] for name, array in self._good._store.arrays.items()}


class LosesOnLoad(Broken):
    def load(self, rows, arrays):
        self._good.load(rows, arrays | {"recent": np.zeros_like(arrays["recent"])})


class ResetsNothing(Broken):
    def reset(self, rows):
        pass


class GrowsAfresh(Broken):
    def grow(self, rows):
        self._good = bank("ks_window", self._good.settings, max(rows, self._good.rows))


class NeverAlarms(Broken):
    def update(self, rows, values, event_time_ms):
        return Alarms.none()


class AlwaysAlarms(Broken):
    def update(self, rows, values, event_time_ms):
        one = np.ones(1, np.int64)
        return Alarms(**{f.name: one[:1] * 0 if f.name in ("at", "onset_ago") else rows[:1] for f in fields(Alarms)})


class OversizedAlarms(Broken):
    def update(self, rows, values, event_time_ms):
        alarms = self._good.update(rows, values, event_time_ms)
        return replace(alarms, after=np.append(alarms.after, 0.0))


class SharesReference(Broken):
    def set_reference(self, row, values):
        for every in range(self._good.rows):
            self._good.set_reference(every, values)


@pytest.mark.parametrize(
    ("flaw", "noticed_by"),
    [
        (CountsCalls, "check_split"),
        (WatchesTheClock, "check_split"),
        (MixesRows, "check_rows"),
        (DumpsViews, "check_dump"),
        (LosesOnLoad, "check_snapshot"),
        (ResetsNothing, "check_reset"),
        (GrowsAfresh, "check_growth"),
        (NeverAlarms, "check_alarms"),
        (NeverAlarms, "check_ties"),
        (AlwaysAlarms, "check_constant"),
        (OversizedAlarms, "check_alarms"),
        (ResetsNothing, "check_determinism"),
        (SharesReference, "check_reference"),
    ],
)
def test_checks_notice(flaw, noticed_by):
    """Each flaw is caught by the check that is there for it."""
    (check,) = (check for check in CHECKS if check.__name__ == noticed_by)
    with pytest.raises(CheckError):
        check(flaw)
