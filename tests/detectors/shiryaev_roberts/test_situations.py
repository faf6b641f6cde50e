"""The situations of the bench, in small: streams are what their names say, and cells what was seen."""

import numpy as np
import pytest

from benchmarks.situations.__main__ import CONTENDERS, drift_lines, quiet_lines
from benchmarks.situations.catalog import DRIFTS, QUIET
from benchmarks.situations.scores import drawn, false_10k, river_adwin, seen


@pytest.mark.parametrize("name", [*DRIFTS, *QUIET])
def test_a_situation_is_its_seed(name):
    """The same stream for the same seed, another for the next; drifts lie in it, in order."""
    situation = {**DRIFTS, **QUIET}[name]
    (one, drifts), reference = drawn(situation, 0, 1)
    (again, _), same = drawn(situation, 0, 1)
    (other, _), _ = drawn(situation, 0, 2)
    assert (one == again).all()
    assert not np.array_equal(one, other)
    assert (len(drifts) > 0) == (name in DRIFTS)
    starts = [start for start, _ in drifts]
    assert starts == sorted(set(starts))
    assert all(0 < start < len(one) for start in starts)
    assert (reference is None) == (situation.reference == 0)
    assert reference is None or (np.array_equal(reference, same) and len(reference) == situation.reference)


def test_a_drift_is_seen_by_an_alarm_before_the_next_one():
    """Of one that alarms 10 values after each odd drift: half of them, after 10 values, the last never."""
    situation = DRIFTS["to and fro by 2 sd, every 500"]
    found = seen(lambda values, *_: np.arange(3010, len(values), 1000), situation, 0, 3)
    assert (found.share, found.first, found.worst, found.delay_first) == (0.5, 1.0, 0.0, 10.0)
    assert np.isnan(found.delay_last)


def test_false_alarms_are_those_of_the_start_and_those_after_it():
    """Of one that alarms every 1,000 values: ten in 10,000 of both."""
    assert false_10k(lambda values, *_: np.arange(0, len(values), 1000), QUIET["independent"], 0, 2) == (10.0, 10.0)


def test_adwin_of_river_sees_a_jump():
    """And takes a training sample for earlier values."""
    random = np.random.default_rng(1)
    values = np.concatenate([random.normal(size=1000), random.normal(3.0, 1.0, 200)])
    assert 1000 <= river_adwin(values, 0, None)[0] < 1100
    assert river_adwin(values[1000:], 0, values[:1000])[0] < 100


def test_a_table_has_a_cell_for_each_contender():
    """In small: two streams of one situation each."""
    name = "to and fro by 2 sd, every 500"
    (line,) = drift_lines({name: DRIFTS[name]}, seeds=2)
    assert line[0] == name
    assert len(line) == 1 + len(CONTENDERS)
    assert int(line[1].split()[0]) >= 90
    (line,) = quiet_lines({"AR(1) of 0.9": QUIET["AR(1) of 0.9"]}, seeds=1)
    assert line[1:3] == ["0.00, 0.00", "0.00, 0.00"]
