"""Traffic is measured by event time, for each subject on its own."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.series.offsets import HOUR_MS, HOURS_MAX, Traffic

START_MS = 1_767_571_200_000
DAY_S = 86_400.0


def measured(times_ms, subject=0):
    """The traffic of one subject at each of its events."""
    n = len(times_ms)
    subjects = np.full((n, 1), subject)
    times = np.asarray(times_ms, np.int64) + START_MS
    return Traffic().follow(subjects, times, np.arange(n), np.full(n, subject))


@pytest.mark.parametrize("a_day", [50, 1_440, 86_400])
def test_steady_traffic_is_measured_within_days(a_day):
    """After two days, within a thirtieth, however much it is."""
    times = np.arange(3 * a_day) * DAY_S / a_day * 1000
    found = measured(times)[2 * a_day :] * DAY_S
    assert np.abs(found / a_day - 1).max() < 1 / 30


def test_a_day_and_a_night_are_one_mean():
    """A model that is busy by day alone has its daily mean at every hour, from the second week on."""
    hours = np.arange(28 * 24)
    times = np.repeat(hours[hours % 24 < 8], 30) * HOUR_MS
    found = measured(times)
    assert np.abs(found[len(found) // 2 :] * DAY_S / 240 - 1).max() < 0.15


def test_old_traffic_fades():
    """Half a year at 24 a day, then twelve times as much: the measure reaches four fifths within two months."""
    slow, fast = np.arange(180 * 24) * HOUR_MS, 180 * 24 * HOUR_MS + np.arange(60 * 24 * 12) * HOUR_MS // 12
    found = measured(np.concatenate([slow, fast])) * DAY_S
    assert found[len(slow) - 1] == pytest.approx(24, rel=0.01)
    assert 0.8 * 288 < found[-1] < 288


def test_a_pause_lowers_the_mean_at_the_next_event():
    """A model that comes back after its window has next to no traffic, and a late event moves no mark."""
    found = measured([0, 1, 2, (2 * HOURS_MAX + 1) * HOUR_MS, 5]) * 3600
    assert found[:3].tolist() == [1, 2, 3]
    assert found[3] == pytest.approx((3 * HOURS_MAX / (2 * HOURS_MAX + 1) + 1) / HOURS_MAX)
    assert found[4] == pytest.approx(found[3] + 1 / HOURS_MAX)


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 300), max_size=4))
def test_cuts_and_restarts_change_nothing(seed, cuts):
    """The same measures and the same state, wherever the events are cut and the state is restored."""
    random = np.random.default_rng(seed)
    n = 300
    subjects = random.integers(-1, 4, (n, 2))
    times = START_MS + random.integers(0, 40 * HOUR_MS, n).cumsum() // 8 - random.integers(0, 2 * HOUR_MS, n)
    event = np.sort(random.integers(0, n, 500))
    asked = random.integers(0, 4, 500)
    whole = Traffic()
    expected = whole.follow(subjects, times, event, asked)
    cut, found = Traffic(), []
    bounds = [0, *sorted(cuts), n]
    for first, end in pairwise(bounds):
        mine = (event >= first) & (event < end)
        found.append(cut.follow(subjects[first:end], times[first:end], event[mine] - first, asked[mine]))
        state, cut = cut.dump(4), Traffic()
        cut.load(state)
    assert np.concatenate(found).tolist() == expected.tolist()
    assert cut.dump(4)["state"].tolist() == whole.dump(4)["state"].tolist()
