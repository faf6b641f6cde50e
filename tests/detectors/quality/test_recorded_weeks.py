"""A recorded column with its cycle, its slow weeks and its years: quiet where it only is as it is."""

from datetime import UTC, datetime

import numpy as np
import pytest

from benchmarks.recorded.weeks import WEEK_MS, shuffled, subway, watched


@pytest.fixture(scope="module")
def delays():
    return next(subway())


def test_a_shuffle_keeps_weeks_whole_and_values_at_their_time_of_the_week(delays):
    """The same values but for the last week, at the same time of the week, in order of time."""
    moved = shuffled(delays, 1)
    last = delays.times[0] + (delays.times[-1] - delays.times[0]) // WEEK_MS * WEEK_MS
    kept = delays.times < last
    assert sorted(zip(moved.times % WEEK_MS, moved.values, strict=True)) == sorted(
        zip(delays.times[kept] % WEEK_MS, delays.values[kept], strict=True)
    )
    assert (np.diff(moved.times) >= 0).all()
    assert (moved.times < last).all()


def test_shuffled_weeks_are_nearly_quiet(delays):
    """0.35 false alarms in 10,000 values on average over 20 orders; at most 0.5 in these four."""
    found = sum(len(watched(shuffled(delays, seed))) for seed in range(4))
    assert found <= 0.5 * 4 * len(delays.values) / 1e4


def test_years_in_true_order(delays):
    """Little more than one alarm a year, none from May 2018 to February 2020; the spring of 2020 is seen."""
    alarms = watched(delays)
    days = [datetime.fromtimestamp(delays.times[at] / 1000, UTC).date().isoformat() for at in alarms.at]
    assert len(days) <= 14
    assert any("2020-03-15" < day < "2020-05-01" for day in days)
    assert not any("2018-05-15" < day < "2020-03-01" or "2020-05-15" < day < "2021-12-31" for day in days)
