"""The share of predictions that get their label in time."""

import numpy as np

from detectors.delivery.flow import RateWindow
from detectors.delivery.label_rate import PREDICTIONS_MIN, SHARES, Counted, LabelShares

WINDOW_S, TIMEOUT_S = 10.0, 20.0
FIRST = 100  # number of the first window
USUAL = SHARES + 1  # windows in which all labels come; then none does


def counted(window, n, step_ms=1):
    times = window * 10_000 + np.arange(n) * step_ms
    return Counted(np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64), times)


NOBODY = counted(0, 0)


def alarms(late=None):
    """Windows one after the other, their first predictions at the offsets 1000 times their number.

    `late`: how many windows after its own a single prediction of each window comes, besides.
    """
    shares, found = LabelShares(WINDOW_S, TIMEOUT_S), []
    for number in range(FIRST, FIRST + USUAL + 8):
        of = np.zeros(1, np.int64)
        begins = [RateWindow(event=0, topic=0, number=number, flows=of, versions=of)]
        found += shares.update(NOBODY, np.empty(0, np.int64), NOBODY, begins, 1)
        made = counted(number, PREDICTIONS_MIN)
        met = made if number < FIRST + USUAL else NOBODY
        found += shares.update(made, number * 1000 + np.arange(PREDICTIONS_MIN), met, [], 1)
        if late is not None:
            found += shares.update(counted(number - late, 1), np.array([7]), NOBODY, [], 1)
    return found


def test_two_windows_without_labels_are_one_alarm():
    """It states the first prediction of the two, and how many there were."""
    (alarm,) = alarms()
    assert (alarm.before, alarm.after) == (1.0, 0.0)
    assert alarm.began_ms == (FIRST + USUAL) * 10_000
    assert alarm.began_offset == (FIRST + USUAL) * 1000
    assert alarm.n_current == PREDICTIONS_MIN


def test_what_comes_after_its_window_was_judged_counts_for_none():
    """Neither for its own, which is over, nor for the one whose place it would take."""
    for late in range(3, 8):
        assert alarms(late) == alarms(), f"{late} windows late"


def test_what_comes_late_but_in_time_counts():
    """As one more prediction of its window."""
    assert [alarm.n_current for alarm in alarms(2)] == [PREDICTIONS_MIN + 1]


def test_labels_of_a_topic_that_nothing_else_has_shown():
    """As after a restart from nothing, while predictions waited: nothing is known of its clock, so none counts."""
    met = counted(FIRST, 3)._replace(topic=np.full(3, 9))
    assert LabelShares(WINDOW_S, TIMEOUT_S).update(NOBODY, np.empty(0, np.int64), met, [], 1) == []
