"""New series of few values a day: drifts within the first 256 values are seen, and dependent series stay quiet."""

import numpy as np
import pytest
from scipy.signal import lfilter

from detectors.registry import bank, settings_of

HOUR_MS, BEGUN_MS = 3_600_000, 1_767_571_200_000
SERIES = 80


def fed(values, apart_ms, arl0=1e5):
    """The bank that has seen these series [rows, values], and which row alarmed where; values so far apart."""
    rows, at = np.divmod(np.arange(values.size), values.shape[1])
    one = bank("shiryaev_roberts", settings_of("shiryaev_roberts", arl0=arl0), len(values))
    alarms = one.update(rows, values.reshape(-1), BEGUN_MS + apart_ms * at)
    return one, alarms.row, alarms.at % values.shape[1]


@pytest.mark.parametrize(("shift", "start"), [(1.0, 100), (1.0, 200), (2.0, 50), (2.0, 150)])
def test_a_drift_before_the_256th_value_is_seen(shift, start):
    """Of four values a day, by nine of ten series and by no false alarm; by none before."""
    values = np.random.default_rng(31).normal(size=(SERIES, start + 400))
    values[:, start:] += shift
    _, row, at = fed(values, 6 * HOUR_MS)
    assert (at >= start).all()
    assert len(np.unique(row)) >= 0.9 * SERIES


@pytest.mark.parametrize(("shift", "start", "share"), [(1.0, 200, 0.9), (2.0, 150, 0.9), (2.0, 50, 0.35)])
def test_within_the_first_week_a_drift_must_be_abrupt(shift, start, share):
    """Of values by the hour, as a weekend looks like a drift."""
    values = np.random.default_rng(31).normal(size=(SERIES, start + 400))
    values[:, start:] += shift
    assert len(np.unique(fed(values, HOUR_MS)[1])) >= share * SERIES


DEPENDENT = {
    "AR(1) of .5": lambda e: lfilter([1], [1, -0.5], e, axis=1),
    "AR(1) of .9": lambda e: lfilter([1], [1, -0.9], e, axis=1),
    "MA of .8": lambda e: e + 0.8 * np.roll(e, 1, axis=1),
    "day of hours": lambda e: e + np.sin(2 * np.pi * (np.arange(e.shape[1]) / 24 + np.linspace(0, 1, len(e))[:, None])),
    "independent": lambda e: e,
}


@pytest.mark.parametrize("law", DEPENDENT)
def test_series_that_depend_on_their_past_stay_quiet(law):
    """Of 100 series, at most two alarm within 600 values; of AR(1) of .9, 48 would if ranks were not looked at."""
    values = DEPENDENT[law](np.random.default_rng(32).normal(size=(100, 900)))[:, 300:]
    assert len(fed(np.ascontiguousarray(values), HOUR_MS)[1]) <= 2


@pytest.mark.parametrize("apart_ms", [0, HOUR_MS // 60])
def test_other_series_learn_from_256_values(apart_ms):
    """Where times stand still, or many values come a day."""
    values = np.random.default_rng(33).normal(size=(20, 250))
    values[:, 100:] += 2.0
    assert not len(fed(values, apart_ms)[1])


def test_a_series_that_becomes_fast_is_blind_as_others_are():
    """One early value, and the others by the minute a day later: the pace since then counts."""
    values = np.random.default_rng(34).normal(size=(1, 150))
    values[:, 60:] += 3.0
    one = bank("shiryaev_roberts", settings_of("shiryaev_roberts"), 1)
    times = BEGUN_MS + np.r_[0, 48 * HOUR_MS + 60_000 * np.arange(149)]
    assert not len(one.update(np.zeros(150, np.int64), values[0], times))
