"""The first day of event time: slow drift is no alarm yet, a jump is."""

import numpy as np
import pytest

from benchmarks.detection.dependent_laws import cycle
from detectors.registry import bank, settings_of
from detectors.shiryaev_roberts.calendar import FIRST, HELD, OVER

MINUTE_MS, DAY = 60_000, 1440
BEGUN_MS = 1_767_571_200_000
ROWS = 8


def watched(values, apart_ms=MINUTE_MS, reference=None, **options):
    """The bank that has seen these series, [rows, values], and where in them it raised alarms."""
    one = bank("shiryaev_roberts", settings_of("shiryaev_roberts", **options), len(values))
    for row in range(len(values)) if reference is not None else ():
        one.set_reference(row, reference)
    row, at = np.divmod(np.arange(values.size), values.shape[1])
    return one, one.update(row, values.reshape(-1), BEGUN_MS + at * apart_ms).at % values.shape[1]


def days_of_minutes(n, seed=1):
    random = np.random.default_rng(seed)
    return np.array([cycle(DAY, 0.6)(random, np.zeros(n)) for _ in range(ROWS)])


def test_a_day_of_minutes_is_no_drift():
    """One false alarm at most in the first 5,000 values of eight series, and some thirty where no day is known."""
    values = days_of_minutes(5000)
    assert len(watched(values)[1]) <= 1
    assert len(watched(values, apart_ms=0)[1]) >= 10


def test_a_sample_of_other_days_is_a_reference():
    """Its hours together are what a day is, so the first night is no drift from it."""
    values = days_of_minutes(5000)
    reference = days_of_minutes(DAY, seed=2).reshape(-1)
    assert len(watched(values, reference=reference)[1]) <= 1


def test_a_jump_on_the_first_day_is_seen():
    """By two deviations at value 800, within 50 values, of every series."""
    values = np.random.default_rng(3).normal(size=(ROWS, 1000))
    values[:, 800:] += 2.0
    _, at = watched(values)
    assert len(at) == ROWS
    assert ((at >= 800) & (at < 850)).all()


def test_a_departure_from_the_reference_is_seen_when_the_day_is_over():
    """It is not taken for usual meanwhile; where times stand still there is no day, and it is seen at once."""
    random = np.random.default_rng(4)
    reference, values = random.normal(size=2000), random.normal(1.0, 1.0, (ROWS, 2 * DAY))
    _, at = watched(values, reference=reference)
    assert len(at) == ROWS
    assert ((at >= DAY) & (at < DAY + 60)).all()
    _, at_once = watched(values, reference=reference, apart_ms=0)
    assert len(at_once) == ROWS
    assert (at_once < 60).all()


def test_what_is_held_says_so():
    """A series that departs from its reference on its first day counts as learning until the day is over."""
    random = np.random.default_rng(5)
    one, at = watched(random.normal(1.0, 1.0, (1, DAY)), reference=random.normal(size=2000))
    assert len(at) == 0
    assert one._series()["day"].tolist() == [HELD]
    assert one.learning().tolist() == [True]
    one.update(np.zeros(1, np.int64), np.ones(1), np.array([BEGUN_MS + MINUTE_MS * DAY]))
    assert one._series()["day"].tolist() == [OVER]
    assert one.learning().tolist() == [False]


@pytest.mark.parametrize(("apart_ms", "day"), [(MINUTE_MS, FIRST), (0, OVER), (60 * MINUTE_MS, OVER)])
def test_a_day_is_over_when_times_have_spanned_it_or_stand_still(apart_ms, day):
    """After 100 values a minute apart, at the same time, and an hour apart."""
    one, _ = watched(np.random.default_rng(6).normal(size=(1, 100)), apart_ms=apart_ms)
    assert one._series()["day"].tolist() == [day]


def test_an_alarm_does_not_begin_the_day_again():
    """The second jump of a day is judged like the first, and the day is over when it was."""
    values = np.random.default_rng(7).normal(size=(ROWS, 2 * DAY))
    values[:, 500:900] += 3.0
    one, at = watched(values)
    assert len(at[at < 520]) == ROWS
    assert len(at[(at >= 900) & (at < 950)]) == ROWS
    assert (one._series()["day"] == OVER).all()
