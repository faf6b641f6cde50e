"""The test on pairs: exact under no difference, valid over time, and quick where a segment departs."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.segment_gap import BASELINE_MIN, GapBank

RULES = (200.0, 0.1, 1e4)  # pairs to learn from, margin, pairs to a false alarm


def bank(segments=3, rules=RULES, groups=1):
    """A bank of one group with so many segments."""
    one = GapBank()
    one.grow(np.tile(np.array(rules), (segments, 1)), groups)
    return one


def update(one, row, value, life=None, both=False):
    """Fold values of one group."""
    row, value = np.asarray(row), np.asarray(value, float)
    life = np.arange(len(row)) if life is None else np.asarray(life)
    return one.update(row, np.zeros(len(row), np.int64), value, life, np.full(len(row), both))


def stream(rng, n, segments=3, **moved):
    """Rows and values; `moved` is what is added to row 0 from the middle on."""
    row = rng.integers(0, segments, n)
    value = rng.normal(size=n)
    late = (row == 0) & (np.arange(n) >= n // 2)
    return row, value + moved.get("by", 0.0) * late


def alarms_of(gaps, first=0):
    """Where alarms are, on which rows, by how much."""
    return list(zip((gaps.at + first).tolist(), gaps.row.tolist(), gaps.statistic.tolist(), strict=True))


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 3000), max_size=4), st.booleans())
def test_cuts_and_restores_never_show(seed, cuts, both):
    """Cut anywhere, and restored in between, a bank gives the same alarms and the same state."""
    row, value = stream(np.random.default_rng(seed), 3000, by=1.5)
    value = np.round(value, 1)  # ties
    whole, cut = bank(), bank()
    expected = alarms_of(update(whole, row, value, both=both))
    found = []
    for a, b in pairwise(sorted({0, *cuts, len(row)})):
        found += alarms_of(update(cut, row[a:b], value[a:b], np.arange(a, b), both), a)
        dumped, cut = cut.dump(), GapBank()
        cut.load(dumped)
    assert found == expected
    for name, array in whole.dump().items():
        np.testing.assert_array_equal(array, cut.dump()[name])


@pytest.mark.parametrize("law", ["normal", "cauchy", "rare", "constant", "wander"])
@pytest.mark.parametrize("usual", [0.0, 200.0])
def test_false_alarms_are_no_more_than_asked_for(law, usual):
    """Where segments do not differ, alarms are no more than one in `arl0` pairs, whatever the law, and if all drift."""
    rng = np.random.default_rng(7)
    n, groups = 4000, 200
    draw = {
        "normal": lambda: rng.normal(size=n),
        "cauchy": lambda: rng.standard_cauchy(n),
        "rare": lambda: (rng.random(n) < 0.03).astype(float),
        "constant": lambda: np.full(n, 5.0),
        "wander": lambda: rng.normal(size=n) + np.cumsum(rng.normal(size=n)) / 50,
    }[law]
    alarms = 0
    for _ in range(groups):
        alarms += len(update(bank(2, (usual, 0.0, 1e4)), rng.integers(0, 2, n), draw()).at)
    pairs = groups * n * 0.66  # at least two thirds of values of two segments at random make a pair
    assert alarms <= 2 * pairs / 1e4


def test_a_segment_that_departs_is_found_soon_and_named_rightly():
    """Values of one segment that grow by 1.5 standard deviations: one alarm, of that segment, in 400 of its pairs."""
    rng = np.random.default_rng(3)
    row, value = stream(rng, 12_000, by=1.5)
    gaps = update(bank(), row, value)
    assert gaps.row.tolist() == [0]
    at = int(gaps.at[0])
    assert 6000 < at < 6000 + 3 * 400
    assert abs(int(gaps.onset[0]) - 6000) < 150
    assert abs(gaps.after[0] - gaps.before[0] - 1.5) < 0.4
    assert 0.5 < gaps.effect[0] < 0.9
    assert (gaps.n_reference[0], gaps.threshold[0]) == (200, 1e4)
    assert gaps.statistic[0] >= 1e4
    assert 10 < gaps.n_current[0] < 400


def test_smaller_values_count_only_where_both_directions_do():
    """A segment that falls below the others is the alarm where that counts; else the others are, which are above it."""
    rng = np.random.default_rng(3)
    row, value = stream(rng, 12_000, by=-2.0)
    assert 0 not in update(bank(), row, value).row
    assert 0 in update(bank(), row, value, both=True).row


def test_a_lasting_difference_alarms_only_where_segments_start_as_equals():
    """With pairs to learn from it is what is usual; with none it is one alarm, and then it is usual."""
    rng = np.random.default_rng(5)
    row = rng.integers(0, 3, 30_000)
    value = rng.normal(size=30_000) + 1.0 * (row == 0)
    assert len(update(bank(), row, value).at) == 0
    gaps = update(bank(rules=(0.0, 0.1, 1e4)), row, value)
    assert gaps.row.tolist() == [0]
    assert gaps.n_reference.tolist() == [0]


def test_after_an_alarm_the_usual_is_learned_again():
    """A difference is one alarm; one that grows further is another, against pairs since the first alarm."""
    rng = np.random.default_rng(6)
    row = rng.integers(0, 3, 60_000)
    growing = np.select([np.arange(60_000) < 15_000, np.arange(60_000) < 35_000], [0.0, 1.0], 4.0)
    gaps = update(bank(), row, rng.normal(size=60_000) + growing * (row == 0))
    assert gaps.row.tolist() == [0, 0]
    assert gaps.n_reference.tolist() == [200, BASELINE_MIN]


def test_a_value_of_another_segment_is_used_once():
    """A run of one segment's values makes one pair with the value before it, so that pairs stay independent."""
    one = bank(2)
    update(one, [1, 0, 0, 0, 0, 1, 1, 0], np.arange(8.0))
    assert one.dump()["rows"][:, 1].tolist() == [2.0, 1.0]


def test_extreme_values_do_not_overflow():
    """Means since the onset stay finite, whatever finite values come."""
    one = bank(2, (0.0, 0.0, 100.0))
    row = np.arange(4000) % 2
    gaps = update(one, row, np.where(row == 0, 1e308, -1e308))
    assert len(gaps.at)
    assert np.isfinite(gaps.after).all()
    assert np.isfinite(gaps.before).all()
