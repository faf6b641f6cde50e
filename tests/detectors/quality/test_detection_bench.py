"""The bench scores alarms as it says."""

import numpy as np
import pytest

from benchmarks.detection.drifts import CONTROLS, FAMILIES, Stream, drifting, steady
from benchmarks.detection.scoring import Score, judge


def judged(at, drifts, n=5000, onset=None):
    score = Score()
    judge(np.array(at), np.array(at if onset is None else onset), Stream(np.zeros(n), drifts), "family", score)
    return score


def test_an_early_alarm_gains_and_repeats_cost_nothing():
    """Of the 1,000 values allowed 100 have gone by; the second alarm of the same drift counts for nothing."""
    score = judged([2100, 2500], [(2000, 0)], onset=[1990, 2400])
    assert score.gains == {"family": [0.9]}
    assert (score.false, score.delays, score.onset_errors) == (0, [100], [10])
    assert score.net(score.false_10k) == pytest.approx(0.9)


def test_alarms_outside_of_drifts_are_false():
    """One in 4,000 quiet values is 2.5 in 10,000, and costs a quarter."""
    score = judged([500, 2100], [(2000, 0)])
    assert (score.false, score.quiet) == (1, 4000)
    assert score.net(score.false_10k) == pytest.approx(0.9 - 0.25)


def test_a_drift_without_an_alarm_is_missed():
    """Also where the alarm comes too late, which is then a false one."""
    score = judged([3000], [(2000, 0)])
    assert (score.gains, score.delays, score.false) == ({"family": [0.0]}, [], 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_drifts_where_it_says(family):
    """Values are the same for the same seed, and fill the time allowed exactly; seeds differ in where it begins."""
    one, again = drifting(family, 3), drifting(family, 3)
    assert (one.values == again.values).all()
    start, width = one.drifts[-1]
    assert len(one.values) == start + width + 1000
    assert len({drifting(family, seed).drifts[0] for seed in range(5)}) > 1


def test_a_control_never_drifts():
    """And is another stream for each seed."""
    one, other = (steady(CONTROLS["normal"], seed) for seed in (1, 2))
    assert one.drifts == []
    assert (one.values != other.values).any()
