"""The latest values of each series, and those since its alarms."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.recovery.recent_values import CAPTURED_BYTES_MAX, Captured, RecentValues

ROWS = 5
steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, ROWS - 1)),
        st.tuples(st.sampled_from(["begin", "end"]), st.integers(0, ROWS - 1), st.sampled_from(["adwin", "ks_window"])),
    ),
    max_size=300,
)


def captured_at(recent, row, n):
    """What an alarm of a row captures with its value `n`, counted from 1."""
    window = recent.latest(row, n)
    return Captured(window, n - 1, 0, 7, window[:3])


def run(recent, plan, add):
    """Follow a plan; `add` gets stretches of values between two other steps."""
    stretch, given_to, count = [], {}, Counter()
    for i, (what, row, *detector) in enumerate([*plan, ("flush", 0)]):
        if what == "add":
            stretch.append((row, float(i), count[row], i))
            count[row] += 1
            continue
        if stretch:
            add(recent, stretch)
        stretch = []
        if what == "begin" and count[row]:
            given_to[row, detector[0]] = captured_at(recent, row, count[row])
            recent.begin((row, detector[0]), given_to[row, detector[0]])
        elif what == "end":
            given_to.pop((row, detector[0]), None)
            recent.end((row, detector[0]))
    return given_to


def at_once(recent, stretch):
    rows, values, numbers, sequence = (np.array(one) for one in zip(*stretch, strict=True))
    recent.add(
        *(one.astype(np.int64 if one is not values else np.float64) for one in (rows, values, numbers, sequence))
    )


def one_by_one(recent, stretch):
    for one in stretch:
        at_once(recent, [one])


@given(steps)
@settings(deadline=None, max_examples=60)
def test_captures_hold_what_followed_the_alarm(plan):
    """A capture is the ring of its alarm with all later values of its row, the newest of them beyond its capacity."""
    recent = RecentValues(np.float64, 40)
    open_ones = run(recent, plan, at_once)
    for (row, detector), at_alarm in open_ones.items():
        all_values = [float(i) for i, step in enumerate(plan) if step[:2] == ("add", row)]
        found = recent.captured((row, detector))
        first = at_alarm.last + 1 - len(at_alarm.values)
        assert found.values.tolist() == all_values[first:][-40:]
        assert found.last == len(all_values) - 1
        assert found.sequence == (all_values[-1] if found.last > at_alarm.last else 7)
        assert recent.latest(row, len(all_values)).tolist() == all_values[-32:]


@given(steps)
@settings(deadline=None, max_examples=60)
def test_cuts_and_restores_change_nothing(plan):
    """Cutting the values anywhere, and restoring what was dumped in between, leaves the same state, bit for bit."""
    whole, cut = RecentValues(np.float32, 70), RecentValues(np.float32, 70)
    whole.grow(ROWS)
    cut.grow(ROWS)
    run(whole, plan, at_once)

    def restored(recent, stretch):
        one_by_one(recent, stretch)
        recent.load({name: array.copy() for name, array in recent.dump(ROWS).items()})

    run(cut, plan, restored)
    one, other = whole.dump(ROWS), cut.dump(ROWS)
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


def test_captures_have_a_bound():
    """Beyond the bound an alarm gets no capture, until another one ends."""
    recent = RecentValues(np.float32, 4096)
    rows = np.arange(recent.captures_max + 1)
    recent.add(rows, rows * 1.0, np.zeros_like(rows), rows)
    for row in rows.tolist():
        recent.begin((row, "adwin"), captured_at(recent, row, 1))
    assert len(recent) * 4096 * 4 == CAPTURED_BYTES_MAX
    assert (int(rows[-1]), "adwin") not in recent
    recent.end((0, "adwin"))
    recent.begin((int(rows[-1]), "adwin"), captured_at(recent, int(rows[-1]), 1))
    assert (int(rows[-1]), "adwin") in recent


@pytest.mark.parametrize("capacity", [64, 300, 10_000])
def test_another_capacity_keeps_the_newest_values(capacity):
    """A state restored under other settings keeps as many values as there is room for."""
    first = RecentValues(np.float32, 200)
    values = np.arange(500.0)
    first.add(np.zeros(100, np.int64), values[:100], np.arange(100), np.arange(100))
    first.begin((0, "adwin"), captured_at(first, 0, 100))
    first.add(np.zeros(400, np.int64), values[100:], np.arange(100, 500), np.arange(100, 500))
    second = RecentValues(np.float32, capacity)
    second.load(first.dump(1))
    found = second.captured((0, "adwin"))
    assert found.values.tolist() == values[-min(capacity, 200) :].tolist()
    assert (found.last, found.sequence) == (499, 499)


def test_a_row_without_values_has_none():
    """However far the tables have grown: those of rows and of rings grow apart."""
    recent = RecentValues(np.float32, 64)
    assert len(recent.latest(0, 0)) == 0
    recent.add(np.zeros(1, np.int64), np.ones(1), np.zeros(1, np.int64), np.zeros(1, np.int64))
    for row in range(1, 200):
        assert len(recent.latest(row, 0)) == 0
