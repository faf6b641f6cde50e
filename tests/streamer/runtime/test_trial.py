"""A copy of the process finds out what a process dies of."""

import faulthandler
import os
import signal
import time

import numpy as np
import pytest
from numba.core import event

from streamer.runtime import trial
from streamer.runtime.trial import dies_of


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
    return np.ones(2 * trial.MEMORY_BYTES, np.uint8)


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
    monkeypatch.setattr(trial, "CPU_S", 1)

    def turn():
        while True:
            pass

    assert dies_of(turn)


def test_compilations_take_the_time_that_they_need(monkeypatch):
    """A process whose kernels are not compiled yet needs long for its first record, whatever that is."""
    monkeypatch.setattr(trial, "CPU_S", 1)

    def turn(seconds):
        end_s = trial._cpu_s() + seconds
        while trial._cpu_s() < end_s:
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
    monkeypatch.setattr(trial, "DEADLINE_S", 0.2)
    assert not dies_of(lambda: time.sleep(60))
