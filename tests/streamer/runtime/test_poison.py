"""How a unit finds the record that kills its process, and how a copy of the process proves it."""

import faulthandler
import os
import signal
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba.core import event

from streamer.eventlog.history import Attempt
from streamer.runtime import poison
from streamer.runtime.poison import TRIES, PoisonIsolation, dies_of


def starts_until_found(records, deadly):
    """Fold so many records, one of which kills; returns how many processes died, and what was set aside."""
    done, attempts, deaths = 0, [], 0
    while True:
        isolation = PoisonIsolation.after(attempts)
        while True:  # one process
            size = min(isolation.records_max or records, records - done)
            if isolation.suspect is not None:
                return deaths, isolation.suspect["t"] - 1
            if isolation.logs_attempts:
                attempts.append(isolation.attempt("detect-0", size, {"t": done + size}))
            if done <= deadly < done + size:
                deaths += 1
                break
            done += size
            attempts.clear()
            isolation = isolation.done(size)


@given(st.integers(1, 200_000), st.data())
def test_the_record_that_kills_is_set_aside_and_no_other(records, data):
    """Wherever it stands in however large an epoch, it is found in a dozen starts at most."""
    deadly = data.draw(st.integers(0, records - 1))
    deaths, found = starts_until_found(records, deadly)
    assert found == deadly
    assert deaths <= TRIES + 8


def test_two_deaths_change_nothing():
    """A process may die for other reasons: the first attempts fold whatever there is."""
    assert (
        PoisonIsolation.after([])
        == PoisonIsolation.after([Attempt("u", 9)])
        == PoisonIsolation.after([Attempt("u", 9)] * 2)
        == PoisonIsolation()
    )
    assert PoisonIsolation.after([Attempt("u", 90)] * 3) == PoisonIsolation(11, 90)


def test_a_small_epoch_that_kills_is_made_smaller_at_once():
    """It had been made small because of the suspicion, so it needs no three tries of its own."""
    assert PoisonIsolation.after([Attempt("u", 11, cautious=True)]) == PoisonIsolation(1, 11)
    assert PoisonIsolation.after([Attempt("u", 1, True, {"t": 7})]) == PoisonIsolation(1, 1, {"t": 7})


def test_once_the_suspicion_is_over_epochs_are_as_they_were():
    """What is folded well narrows the suspicion down; behind the last of it, nothing is said before an epoch."""
    isolation = PoisonIsolation.after([Attempt("u", 90)] * 3).done(11)
    assert (isolation.records_max, isolation.left, isolation.logs_attempts) == (11, 79, True)
    assert isolation.done(79) == PoisonIsolation(logs_attempts=False)


class Gone(BaseException):
    """Not even an `except Exception` sees it."""


def fail():
    raise OverflowError("date value out of range")


def vanish():
    raise Gone


def crash(number):
    faulthandler.disable()
    os.kill(os.getpid(), number)


def eat_memory():
    return np.ones(2 * poison.MEMORY_BYTES, np.uint8)


@pytest.mark.parametrize(
    "work",
    [fail, vanish, eat_memory, lambda: crash(signal.SIGABRT), lambda: crash(signal.SIGSEGV)],
    ids=["error", "base exception", "memory", "abort", "segmentation fault"],
)
def test_what_kills_is_found(work):
    """By an error, by a crash of a library, or by memory that nobody has."""
    assert dies_of(work)


def test_what_never_ends_is_found(monkeypatch):
    """By processor time."""
    monkeypatch.setattr(poison, "CPU_S", 1)

    def turn():
        while True:
            pass

    assert dies_of(turn)


def test_compilations_take_the_time_that_they_need(monkeypatch):
    """A process whose kernels are not compiled yet needs long for its first record, whatever that is."""
    monkeypatch.setattr(poison, "CPU_S", 1)

    def turn(seconds):
        end_s = poison._cpu_s() + seconds
        while poison._cpu_s() < end_s:
            pass

    def compile_and_fold():
        with event.trigger_event("numba:compile", {}), event.trigger_event("numba:compile", {}):
            turn(2.5)
        turn(0.1)

    assert not dies_of(compile_and_fold)
    assert dies_of(lambda: (compile_and_fold(), turn(20)))


def test_what_does_not_kill_changes_nothing_here():
    """The copy's work stays in the copy."""
    done = []
    assert not dies_of(lambda: done.append(1))
    assert done == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_from_outside_proves_nothing(number):
    """Whoever stops the copy stops it for another reason."""

    def be_stopped():
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    assert not dies_of(be_stopped)


def test_one_sigkill_proves_nothing(tmp_path):
    """The kernel kills again where memory is short; somebody outside does not, time after time."""
    first = tmp_path / "first"

    def be_killed_once():
        if not first.exists():
            first.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    assert not dies_of(be_killed_once)
    assert dies_of(lambda: os.kill(os.getpid(), signal.SIGKILL))


def test_no_result_proves_nothing(monkeypatch):
    """A copy that waits for a lock of a thread that it has not got is given up."""
    monkeypatch.setattr(poison, "DEADLINE_S", 0.2)
    assert not dies_of(lambda: time.sleep(60))
