"""Columns that are functions of the clock, against the standard library."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.series.calendar import FUNCTIONS, MAYBE, NO, YES, Calendar, clock_values, has_clock_name

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR_MS = 3_600_000


def at_clock(t):
    """`FUNCTIONS` at a time, by the standard library."""
    monday, sunday = t.weekday(), t.isoweekday() % 7
    weekend = int(monday >= 5)
    of_year = t.timetuple().tm_yday
    week, quarter = t.isocalendar().week, (t.month + 2) // 3
    days = monday, monday + 1, sunday, sunday + 1, weekend, 1 - weekend, t.day
    found = (t.hour, *days, t.month, t.month - 1, of_year, week, quarter, t.year, t.minute)
    return dict(zip(FUNCTIONS, found, strict=True))


@given(st.integers(0, 230 * 365 * 86_400))
def test_functions_are_those_of_the_standard_library(seconds):
    """At any time of two centuries."""
    t = EPOCH + timedelta(seconds=seconds)
    found = np.empty(len(FUNCTIONS), np.int64)
    clock_values((t - EPOCH) // timedelta(milliseconds=1), found)
    assert dict(zip(FUNCTIONS, found.tolist(), strict=True)) == at_clock(t)


START = datetime(2026, 3, 2, 6, tzinfo=UTC)


def column(of, n=6000, zone_h=0.0):
    """Times each 5 minutes, and the values of a function of the local time."""
    times = [START + timedelta(minutes=5 * i) for i in range(n)]
    values = np.array([of(t + timedelta(hours=zone_h)) for t in times], float)
    return np.array([(t - EPOCH) // timedelta(milliseconds=1) for t in times]), values


@pytest.mark.parametrize("zone_h", [0, -8, 9, 5.5])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_is_recognised_in_its_zone(name, zone_h):
    """From its first change on; before that it may be any constant."""
    times, values = column(lambda t: at_clock(t)[name], zone_h=zone_h)
    found = Calendar().update(np.zeros(len(values), np.int64), values, times)
    changed = np.cumsum(np.diff(values, prepend=values[0]) != 0) > 0
    assert found.tolist() == np.where(changed, YES, MAYBE).tolist()


def test_other_columns_are_none():
    """Fractions, counts, and a weekend that begins on a Wednesday."""
    random = np.random.default_rng(1)
    times, _ = column(lambda t: t.hour)
    for values in (random.normal(size=6000), random.integers(0, 7, 6000) * 1.0, column(lambda t: t.weekday() >= 2)[1]):
        assert Calendar().update(np.zeros(6000, np.int64), values, times)[-1] == NO


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=80), st.integers(0, 80))
def test_the_cut_never_shows_and_state_is_all(steps, cut):
    """Rows of good and bad columns, in two parts with a load between them."""
    times = np.array([(i // 3) * HOUR_MS for i in range(len(steps))])
    rows = np.array([row for row, _ in steps], np.int64)
    values = np.array([float(t // HOUR_MS % 24 if kind else row) for t, (row, kind) in zip(times, steps, strict=True)])
    whole, first, second = Calendar(), Calendar(), Calendar()
    expected = whole.update(rows, values, times)
    found = first.update(rows[:cut], values[:cut], times[:cut])
    second.load(first.dump(6))
    found = np.concatenate([found, second.update(rows[cut:], values[cut:], times[cut:])])
    assert found.tolist() == expected.tolist()
    for name, array in whole.dump(6).items():
        np.testing.assert_array_equal(second.dump(6)[name], array)


@pytest.mark.parametrize("name", ["hour", "day_of_month", "isWeekend", "pickup.hour", "dayofweek"])
def test_names_of_clocks(name):
    """They are evidence before the first change."""
    assert has_clock_name(name)
    assert not has_clock_name("price")
