"""Times that place records: those that are stated, but for the ones ahead of most that follow."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.eventlog.record_times import LEAD, LEAD_AT_END, ahead, placing_times, usual_ms

START_MS, HOUR, YEARS = 1_782_889_200_000, 3_600_000, 3650 * 86_400_000


def placed(*stated):
    """The placing times of topics, as lists."""
    return [times.tolist() for times in placing_times([np.array(times, np.int64) for times in stated])]


@given(st.lists(st.integers(0, 30), max_size=90), st.integers(0, 30))
def test_the_records_that_follow_vote(times, usual):
    """The kernel is the plain count, until one side leads by enough, or the records end."""
    expected = []
    for i, time in enumerate(times):
        leads = [0]
        for later in times[i + 1 :]:
            if abs(leads[-1]) == LEAD:
                break
            leads.append(leads[-1] + (1 if later < time else -1))
        is_end = len(leads) == len(times) - i
        needed = LEAD if not is_end else 1 - LEAD_AT_END if time > usual else LEAD_AT_END
        expected.append(i < len(times) - 1 and leads[-1] >= needed)
    assert ahead(np.array(times, np.int64), usual).tolist() == expected


@given(st.lists(st.lists(st.integers(-1, 30), max_size=20), max_size=3))
def test_places_increase_and_are_stated_ones(topics):
    """Times that increase stay as they are; others get a time of their topic, or -1."""
    for topic, found in zip(topics, placed(*topics), strict=True):
        assert len(found) == len(topic)
        assert all(a <= b for a, b in pairwise(found))
        assert set(found) <= {*topic, -1}
        if all(a <= b for a, b in pairwise(topic)):
            assert found == topic


@pytest.mark.parametrize("wrong_ms", [HOUR, 2 * HOUR, YEARS, 2**61, -HOUR, -YEARS])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.25])
def test_a_minority_moves_no_other_record(wrong_ms, share):
    """Of two topics in step, one producer of one is wrong: the others are placed where they would be, give or take."""
    random = Random(1)
    right = [START_MS + 1000 * i for i in range(3000)]
    is_wrong = [random.random() < share for _ in right]
    stated = [max(t + wrong_ms * bad, 0) for t, bad in zip(right, is_wrong, strict=True)]
    found, other = placed(stated, right)
    assert other == right
    off = [abs(a - b) for a, b, bad in zip(found, right, is_wrong, strict=True) if not bad]
    assert sum(ms > 0 for ms in off) <= 3
    assert max(off) <= 5_000


def test_in_a_few_records_all_topics_say_what_is_usual():
    """Of six records of two topics, one is ahead: it moves none, wherever it stands."""
    others = [1000, 1001, 1002]
    for at in range(3):
        stated = [1000, 1001, 1002]
        stated[at] = 9999
        found, other = placed(stated, others)
        assert other == others
        assert [time for i, time in enumerate(found) if i != at] == [time for i, time in enumerate(stated) if i != at]


def test_records_without_a_time_take_that_before():
    """Those before the first that has one come first."""
    assert placed([-1, 7, -1, -5, 9], [-1, -1]) == [[-1, 7, 7, 7, 9], [-1, -1]]
    assert placed() == []
    assert placed([]) == [[]]


def test_times_of_one_instant_are_all_usual():
    """Spread by nothing, they have a bound all the same."""
    assert usual_ms(np.array([5])) == usual_ms(np.full(9, 5)) == 5
