"""The clock, and that nobody else reads one."""

from __future__ import annotations

import time

import pytest

from streamer.clock import Clock, ManualClock, SystemClock


def test_system_clock_is_the_machines():
    """The wall clock agrees with the machine's, and the monotonic one does not go back."""
    clock: Clock = SystemClock()
    before = time.time()
    assert before <= clock.now_s() <= time.time()
    assert clock.monotonic_s() <= clock.monotonic_s()


def test_manual_clock_moves_only_when_told():
    """Both readings move together by what they are reported, and by nothing else."""
    clock = ManualClock(wall_s=100.0)
    assert (clock.now_s(), clock.monotonic_s()) == (100.0, 0.0)
    clock.advance(2.5)
    assert (clock.now_s(), clock.monotonic_s()) == (102.5, 2.5)


def test_manual_clock_does_not_go_back():
    """A negative step is refused."""
    with pytest.raises(ValueError, match="can't advance by -1"):
        ManualClock().advance(-1)
