"""What the day and the week do to a series is learned from event times, where there is such a thing, and used then."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.signal import lfilter

from detectors.registry import bank, settings_of
from detectors.shiryaev_roberts.calendar import DAY_MS, HOUR_MS, OF_A_WEEK, PLACES, WEEK_MS, decide, waves
from detectors.shiryaev_roberts.state import CALENDAR, WORDS, records_of

MONDAY_MS = 1_767_571_200_000


def every(apart_ms, n):
    return MONDAY_MS + np.arange(n) * apart_ms


def rush_hours(times):
    """Two a day, on five days of seven."""
    hour, day = times / HOUR_MS % 24, times // DAY_MS % 7
    return (2.0 * np.exp(-0.5 * ((hour - 8) / 2) ** 2) + 1.5 * np.exp(-0.5 * ((hour - 17) / 3) ** 2)) * (day < 5)


def weekly(times):
    return np.sin(times * 2 * np.pi / WEEK_MS + 1.0)


def daily(times):
    return np.sin(times * 2 * np.pi / DAY_MS + 2.0)


def watched(series, times, arl0=1e5):
    """The bank, and where in each series it alarmed."""
    one = bank("shiryaev_roberts", settings_of("shiryaev_roberts", arl0=arl0), len(series))
    rows = np.repeat(np.arange(len(series)), series.shape[1])
    alarms = one.update(rows, series.reshape(-1), np.tile(times, len(series)))
    return one, alarms, alarms.at - alarms.row * series.shape[1]


def test_waves_are_a_constant_and_pairs():
    """Orthogonal over the week, in single precision."""
    table = waves().astype(np.float64)
    assert table.shape == (PLACES, CALENDAR) == (PLACES, 2 * len(OF_A_WEEK) + 1)
    products = table.T @ table / PLACES
    assert np.allclose(products, np.diag([1.0] + [0.5] * (CALENDAR - 1)), atol=1e-6)


@pytest.mark.parametrize("cycle", [daily, weekly, rush_hours])
def test_what_is_learned_is_the_least_squares_fit(cycle):
    """The oracle: the same waves fitted to all values at once."""
    times = every(HOUR_MS, 10_000)
    values = cycle(times) + 0.5 * np.random.default_rng(1).normal(size=len(times))
    one, _, _ = watched(values[np.newaxis], times)
    series = one._series()[0]
    assert series["calendar_used"] == 1
    table = waves().astype(np.float64)
    place = times % WEEK_MS * PLACES // WEEK_MS
    fitted = np.linalg.lstsq(table[place], values, rcond=None)[0]
    learned = series["calendar"][1:].astype(np.float64) * float(series["spread"])
    expected = table[:, 1:] @ fitted[1:]
    assert np.sqrt(np.mean((table[:, 1:] @ learned - expected) ** 2)) < 0.15 * expected.std() + 0.05


@pytest.mark.parametrize("apart_ms", [HOUR_MS, HOUR_MS // 60], ids=["hours", "minutes"])
def test_a_daily_cycle_is_no_drift_and_hides_none(apart_ms):
    """At most 0.3 false alarms in 10,000 values; a shift by 1.5 noise deviations is seen within 300."""
    random = np.random.default_rng(2)
    times = every(apart_ms, 50_000)
    series = daily(times) + random.normal(size=(3, len(times)))
    series[:, 49_000:] += 1.5
    one, alarms, at = watched(series, times)
    assert (one._series()["calendar_used"] == 1).all()
    assert np.count_nonzero(at < 49_000) <= 0.3 * 3 * 4.9
    assert len(np.unique(alarms.row[(at >= 49_000) & (at < 49_300)])) == 3


def test_inertia_is_no_calendar():
    """None is proven to 10 series of hours that wander for days."""
    noise = np.random.default_rng(3).normal(size=(10, 10_000))
    one, _, _ = watched(lfilter([1.0], [1.0, -0.97], noise, axis=1), every(HOUR_MS, 10_000))
    assert (one._series()["elapsed_ms"] > 50 * WEEK_MS).all()
    assert (one._series()["calendar_used"] == 0).all()


def test_busy_hours_do_not_count_for_more():
    """Where nearly all events come in the morning, and each shows what hour it is, the level stays that of the day."""
    random = np.random.default_rng(4)
    mornings = (24 * np.arange(300)[:, np.newaxis] + random.uniform(8, 10, (300, 100))).reshape(-1)
    hours = np.sort(np.concatenate([random.uniform(0, 24 * 300, 300 * 24), mornings]))
    times = MONDAY_MS + (hours * HOUR_MS).astype(np.int64)
    one, _, _ = watched((daily(times) + 2.0 * random.normal(size=len(times)))[np.newaxis], times)
    series = one._series()[0]
    height = np.hypot(series["calendar"][1], series["calendar"][2]) * float(series["spread"])
    level = float(series["centre"]) + float(series["calendar"][0]) * float(series["spread"])
    assert series["calendar_used"] == 1
    assert height == pytest.approx(1.0, abs=0.15)
    assert level == pytest.approx(0.0, abs=0.15)


def test_a_calendar_that_ends_is_given_up():
    """When the days have become alike, it costs more than it saves."""
    times = every(HOUR_MS, 12_000)
    values = 1.5 * daily(times) * (np.arange(12_000) < 6000) + np.random.default_rng(5).normal(size=12_000)
    one, _, _ = watched(values[np.newaxis, :6000], times[:6000])
    assert one._series()[0]["calendar_used"] == 1
    one.update(np.zeros(6000, np.int64), values[6000:], times[6000:])
    series = one._series()[0]
    assert series["calendar_used"] == 0 or np.abs(series["calendar"][1:]).max() < 0.1


def test_a_clock_that_was_ahead_once_does_not_stop_it():
    """One event a year ahead; the calendar is learned all the same."""
    times = every(HOUR_MS, 5000)
    times[1500] += 365 * DAY_MS
    values = daily(times) + 0.5 * np.random.default_rng(6).normal(size=5000)
    one, _, _ = watched(values[np.newaxis], times)
    assert one._series()[0]["calendar_used"] == 1


def test_a_great_jump_does_not_deafen_it():
    """The units are learned again from values far from all earlier ones: the next jump is found at once too."""
    times = every(HOUR_MS, 14_000)
    random = np.random.default_rng(9)
    values = np.tile(daily(times), (6, 1)) + 0.5 * random.normal(size=(6, 14_000))
    values[:, 6000:] += 10.0
    values[:, 10_000:] += 10.0
    _, alarms, at = watched(values, times)
    for jump in (6000, 10_000):
        assert np.unique(alarms.row[(at >= jump) & (at < jump + 20)]).tolist() == list(range(6))
    assert len(alarms) <= 2 * 6 + 1, "and besides hardly anything"


def test_times_that_stand_still_show_nothing():
    """The same bits come of one time for all and of none."""
    values = daily(every(HOUR_MS, 6000)) + np.random.default_rng(7).normal(size=6000)
    values[5500:] += 4.0
    without, _, expected = watched(values[np.newaxis], np.zeros(6000, np.int64))
    one, _, at = watched(values[np.newaxis], np.zeros(6000, np.int64) - 5)
    assert at.tolist() == expected.tolist() != []
    assert one._series()[0]["elapsed_ms"] == 0
    assert one.dump(slice(0, 1))["series"].tobytes() == without.dump(slice(0, 1))["series"].tobytes()


def test_cut_anywhere_it_is_the_same():
    """Alarms and state, bit for bit, also through a dump, in the weeks in which the calendar comes into use."""
    random = np.random.default_rng(8)
    times = every(HOUR_MS, 6000)
    values = daily(times) + 0.7 * random.normal(size=6000)
    values[5000:] += 1.0
    whole, alarms, _ = watched(values[np.newaxis], times)
    assert len(alarms) > 0
    edges = [0, *np.sort(random.integers(0, 6000, 60)).tolist(), 6000]
    parts = []
    one = bank("shiryaev_roberts", settings_of("shiryaev_roberts"), 1)
    for begin, end in pairwise(edges):
        found = one.update(np.zeros(end - begin, np.int64), values[begin:end], times[begin:end])
        parts += (found.at + begin).tolist()
        dumped, one = one.dump(slice(0, 1)), bank("shiryaev_roberts", settings_of("shiryaev_roberts"), 1)
        one.load(slice(0, 1), dumped)
    assert parts == alarms.at.tolist()
    assert one.dump(slice(0, 1))["series"].tobytes() == whole.dump(slice(0, 1))["series"].tobytes()


def test_what_is_proven():
    """Savings that are many standard errors above 0 on a week of days; given up only when they are losses."""
    series = records_of(np.zeros((4, WORDS), np.int64))
    for row, (used, mean, deviation, days) in enumerate(
        [(0, 1.0, 0.5, 10), (0, 1.0, 5.0, 10), (1, -0.1, 1.0, 10), (1, -1.0, 1.0, 10)]
    ):
        one = series[row]
        one["calendar_used"], one["days"], one["gains"] = used, days, mean * days
        one["gains_squared"] = (mean**2 + deviation**2) * days
    assert decide(series, np.arange(4)).tolist() == [0, 3]
    assert series["calendar_used"].tolist() == [1, 0, 1, 0]
    assert series["days"].tolist() == [7.5] * 4


def test_as_many_times_as_values():
    """Anything else is refused, as a kernel would read beyond the end."""
    one = bank("shiryaev_roberts", settings_of("shiryaev_roberts"), 1)
    with pytest.raises(ValueError, match="a time for each of 3 values"):
        one.update(np.zeros(3, np.int64), np.zeros(3), np.zeros(2, np.int64))
