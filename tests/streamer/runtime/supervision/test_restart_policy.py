"""What follows from a worker's end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.runtime.supervision.restart_policy import (
    DELAY_MAX_S,
    STARTS_WITHOUT_PROGRESS_MAX,
    End,
    Restart,
    RestartLimits,
    RestartPolicy,
)

ends = st.tuples(st.sampled_from([-15, -9, 1, 3, 75, 130]), st.booleans())


def decisions(*ends: tuple[int, bool], ever: bool = True) -> list[Restart | End]:
    """What each end in turn leads to; an end is (returncode, progressed)."""
    restarts = RestartPolicy(RestartLimits())
    return [restarts.ended(code, progressed=progressed, ever_progressed=ever) for code, progressed in ends]


@pytest.mark.parametrize("code", [75, 1, -9, -11, 130])
def test_delays_double_and_then_it_is_hopeless(code):
    """Without progress: 0, 0.5, 1, 2, ... 30 s, and after the tenth start the end, with 75 in place of a signal."""
    *restarts, last = decisions(*[(code, False)] * STARTS_WITHOUT_PROGRESS_MAX)
    assert [restart.after_s for restart in restarts] == [0, 0.5, 1, 2, 4, 8, 16, 30, 30]
    assert last == End(75 if code < 0 else code, hopeless=True)


@pytest.mark.parametrize("code", [0, 2, 4])
@pytest.mark.parametrize("progressed", [True, False])
def test_what_a_new_start_can_not_cure_is_final(code, progressed):
    """Done, a wrong configuration and records that are gone end everything with their own exit code."""
    assert decisions((code, progressed)) == [End(code)]


def test_an_address_that_never_worked_is_told_at_once():
    """Exit code 3 before any worker ever made progress is final, also after other ends."""
    assert decisions((75, False), (3, False), ever=False) == [Restart(0), End(3)]


def test_an_outage_is_waited_out():
    """Once there was progress, exit code 3 is met with delays, without end."""
    waits = decisions((3, True), *[(3, False)] * 1000)
    assert [restart.after_s for restart in waits[:11]] == [0, 0, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert waits[-1] == Restart(DELAY_MAX_S)


def test_an_outage_does_not_count_against_a_worker():
    """Ends by other causes are counted across it."""
    *before, last = decisions(*[(75, False), (3, False)] * (STARTS_WITHOUT_PROGRESS_MAX - 1), (75, False))
    assert all(isinstance(decision, Restart) for decision in before)
    assert last == End(75, hopeless=True)


@given(st.lists(ends, max_size=60))
def test_progress_makes_all_good(before):
    """After a start with progress, whatever came before, the next is at once and delays begin again."""
    restarts = RestartPolicy(RestartLimits())
    for code, progressed in before:
        restarts.ended(code, progressed=progressed, ever_progressed=True)
    after = [restarts.ended(75, progressed=p, ever_progressed=True) for p in (True, False, False)]
    assert after == [Restart(0), Restart(0), Restart(0.5)]


@given(st.lists(ends, max_size=60), st.integers(1, 12))
def test_the_laws_of_patience(story, starts_without_progress_max):
    """In a row without progress, delays grow up to the limit, and the last start allowed is the last."""
    restarts = RestartPolicy(RestartLimits(starts_without_progress_max=starts_without_progress_max))
    row = counted = 0
    longest_s = 0.0
    for code, progressed in story:
        decision = restarts.ended(code, progressed=progressed, ever_progressed=True)
        row, counted = (0, 0) if progressed else (row + 1, counted + (code != 3))
        longest_s = 0.0 if progressed else longest_s
        assert isinstance(decision, End) == (counted == starts_without_progress_max)
        if isinstance(decision, End):
            return
        assert longest_s <= decision.after_s <= DELAY_MAX_S
        assert (decision.after_s == 0) == (row <= 1)
        longest_s = decision.after_s


def test_a_row_of_any_length_has_a_delay():
    """No number of starts is too large to compute with."""
    assert RestartLimits().delay_s(10**9) == DELAY_MAX_S
