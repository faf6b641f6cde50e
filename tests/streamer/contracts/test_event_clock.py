"""The clock of a unit: one event moves it by a step at most, most models together by more, and no mistake for ever."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.contracts.event_clock import AGE, BACK_MS, BEHIND_MIN, JURORS, STEP_MS, EventClock, is_ahead

T0, MINUTE, HOUR, DAY = 1_782_889_200_000, 60_000, 3_600_000, 86_400_000
END = 253_402_300_799_999  # the last moment of 9999
AHEAD = {"1 h": HOUR, "2 h": 2 * HOUR, "30 d": 30 * DAY, "10 y": 3650 * DAY, "9999": END - T0}


def shown(clock, *events):
    """What the clock shows behind these events, (model, time) each."""
    model, time = np.array(events, np.int64).T
    return clock.advance(model, np.ascontiguousarray(time)).tolist()


def fleet(start, n, models=5, step=MINUTE):
    """Events of these models in turn."""
    return [(i % models, start + i * step) for i in range(n)]


@pytest.mark.parametrize("ahead", AHEAD.values(), ids=AHEAD)
def test_one_event_ahead_moves_the_clock_by_a_step_at_most(ahead):
    """Within a step it is believed; beyond, the clock goes on by the others as if it had never come."""
    clock = EventClock()
    before = shown(clock, *fleet(T0, 50))[-1]
    (after,) = shown(clock, (7, before + ahead))
    assert after == (before + ahead if ahead <= STEP_MS else before)
    assert is_ahead(np.array([before + ahead]), np.array([after])).tolist() == [ahead > STEP_MS]
    later = fleet(before + MINUTE, 3000)  # two days
    assert shown(clock, *later)[-1] == later[-1][1]


@pytest.mark.parametrize("early", [0, T0 - BACK_MS - 1, T0 - MINUTE])
def test_early_events_move_nothing(early):
    """An event of 1970, or one that is late, leaves the clock where it is."""
    clock = EventClock()
    before = shown(clock, *fleet(T0, 50))[-1]
    assert shown(clock, *[(0, early)] * 3) == [before] * 3


@given(st.data())
def test_fewer_than_half_of_the_models_never_lead(data):
    """Whatever they say, in whatever order: the clock shows what the honest models said, or up to a step more."""
    models = data.draw(st.integers(1, JURORS))
    liars = data.draw(st.integers(0, (models - 1) // 2))
    turns = data.draw(st.lists(st.tuples(st.integers(0, models - 1), st.integers(0, END - 1)), max_size=200))
    clock, honest = EventClock(), T0
    shown(clock, *((m, T0) for m in range(models)))
    for model, said in turns:
        honest += MINUTE * (model >= liars)
        (now,) = shown(clock, (model, said if model < liars else honest))
        assert honest <= now + MINUTE * (model < liars)
        assert now <= honest + STEP_MS + MINUTE * len(turns)


@pytest.mark.parametrize("models", [1, 2, 5, 15, 40])
def test_an_idle_topic_goes_on(models):
    """After months without events, most of the models heard of last have to say so; of one model, three events."""
    clock = EventClock()
    shown(clock, *fleet(T0, 3 * models, models))
    spring = T0 + 120 * DAY
    times = shown(clock, *fleet(spring, 2 * models + 3, models))
    first = next(i for i, now in enumerate(times) if now >= spring)
    assert first <= max(2, min(models, JURORS) // 2)
    assert times[-1] == spring + (2 * models + 2) * MINUTE


def test_models_that_are_gone_do_not_hold_the_clock():
    """One of ten goes on after a week: the others are asked no more once it has said enough alone."""
    clock = EventClock()
    shown(clock, *fleet(T0, 100, 10))
    alone = [(3, T0 + 7 * DAY + i * MINUTE) for i in range(AGE + 5)]
    assert shown(clock, *alone)[-1] == alone[-1][1]


@pytest.mark.parametrize("ahead", [30 * DAY, 3650 * DAY, END - T0])
@pytest.mark.parametrize("wrong", [1, 2000])
def test_a_clock_that_began_wrong_comes_back(ahead, wrong):
    """The first model ever is years ahead, once or all the time: the others set the clock right."""
    clock = EventClock()
    assert shown(clock, *[(9, T0 + ahead)] * wrong)[-1] == T0 + ahead
    right = fleet(T0, 3 * BEHIND_MIN)
    assert shown(clock, *right)[-1] == right[-1][1]
    both = [event for pair in zip(fleet(T0, 1000), [(9, T0 + ahead)] * 1000, strict=True) for event in pair]
    assert shown(clock, *both)[-1] <= both[-2][1] + DAY


@given(st.randoms(use_true_random=False), st.lists(st.integers(0, 120), max_size=4))
def test_cuts_and_restarts_do_not_show(random, cuts):
    """Event by event, in chunks, or by a clock that was dumped and loaded: the same."""
    times = [T0 + random.choice([0, 0, 0, 5 * DAY, 400 * DAY, -30 * DAY]) + i * MINUTE for i in range(120)]
    model = np.array([random.choice([0, 0, 1, random.randrange(20)]) for _ in times], np.int32)
    whole, clock, parts = EventClock(), EventClock(), []
    expected = whole.advance(model, np.array(times)).tolist()
    for start, end in pairwise([0, *sorted(cuts), 120]):
        parts += clock.advance(model[start:end], np.array(times[start:end], np.int64)).tolist()
        fresh = EventClock()
        fresh.load(clock.dump())
        clock = fresh
    assert parts == expected
    assert all(np.array_equal(clock.dump()[name], array) for name, array in whole.dump().items())
