"""How the parent hands on that it is asked to stop, and what becomes of workers that do not."""

from __future__ import annotations

import os
import signal
from selectors import DefaultSelector

import pytest

from streamer.runtime.supervision.restart_policy import RestartLimits
from streamer.runtime.supervision.supervisor import SIGNALS

FINISHES = """
import time
def finish():
    say("finished")
    sys.exit(0)
on_stop(finish)
"""


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_workers_are_told_to_finish(parent, number):
    """SIGTERM and Ctrl-C reach each worker once, as SIGTERM; all finish, and the exit code is 0."""
    parent.workers = 2
    parent.run(
        FINISHES
        + f"""
open(f"{{folder}}/ready-{{ordinal}}", "w").close()
while not os.path.exists(f"{{folder}}/ready-{{1 - ordinal}}"):
    time.sleep(0.01)
if ordinal == 0:
    tell_parent(signal.{number})
time.sleep(30)
"""
    )
    assert parent.exit_code == 0
    assert sorted(line for line in parent.said if "finished" in line) == ["worker 0: finished", "worker 1: finished"]


def test_workers_have_a_session_of_their_own(parent):
    """So Ctrl-C in a terminal reaches the parent alone, and what workers read is empty."""
    parent.run("sys.exit(0 if os.getsid(0) == os.getpid() and sys.stdin.read() == '' else 2)")
    assert parent.exit_code == 0


def test_a_worker_in_doubt_at_its_end_is_told(parent):
    """Where the last commit fails, the parent ends with that worker's exit code."""
    parent.run(
        """
import time
on_stop(lambda: sys.exit(75))
tell_parent(signal.SIGTERM)
time.sleep(30)
"""
    )
    assert (parent.exit_code, parent.starts()) == (75, 1)


def test_a_worker_that_had_not_begun_ends_well(parent):
    """Told to stop before it could listen, it dies of SIGTERM, and there was nothing to finish: exit code 0."""
    parent.run("import time; tell_parent(signal.SIGTERM); time.sleep(30)")
    assert (parent.exit_code, parent.said) == (0, [])


def test_a_worker_that_does_not_finish_is_killed(parent):
    """After the grace time: SIGKILL, a sentence, and exit code 75, as its last commit may be in doubt."""
    parent.grace_s = 0.1
    parent.run("import time\non_stop(lambda: say('busy'))\ntell_parent(signal.SIGTERM)\nwhile True: time.sleep(30)")
    assert parent.exit_code == 75
    assert parent.said[0] == "busy"
    assert "the worker did not finish within 0.1 s and is killed" in parent.said[1]


def test_a_stopped_worker_is_killed_too(parent):
    """One that is held by SIGSTOP can't finish, and does not hold up the parent."""
    parent.grace_s = 0.1
    parent.run(
        """
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
tell_parent(signal.SIGTERM)
os.kill(os.getpid(), signal.SIGSTOP)
"""
    )
    assert parent.exit_code == 75


def test_a_second_ctrl_c_ends_at_once(parent):
    """The first asks for order, the second does not wait for it: exit code 130."""
    parent.run(
        """
import time
on_stop(lambda: tell_parent(signal.SIGINT))
tell_parent(signal.SIGINT)
while True: time.sleep(30)
"""
    )
    assert parent.exit_code == 130
    assert parent.said == ["driftline: finishing the last commit; press Ctrl-C again to end at once"]


def test_a_second_sigterm_changes_nothing(parent):
    """Some supervisors send it twice; the worker is reported once and finishes."""
    parent.run(
        """
import time
reported = []
def finish():
    reported.append(1)
    tell_parent(signal.SIGTERM)
on_stop(finish)
tell_parent(signal.SIGTERM)
for _ in range(30):
    time.sleep(0.01)
sys.exit(0 if len(reported) == 1 else 2)
"""
    )
    assert parent.exit_code == 0


class ToldWhileWaiting(DefaultSelector):
    """As soon as the parent waits for a start, it gets SIGTERM."""

    def select(self, timeout=None):
        if timeout:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().select(timeout)


def test_waiting_for_a_start_is_cut_short(parent):
    """Told to stop between two starts, the parent ends at once, with the exit code of the worker's last end."""
    parent.limits = RestartLimits(first_delay_s=1000, delay_max_s=1000)
    parent.selector = ToldWhileWaiting()
    parent.run("sys.exit(75)")
    assert (parent.exit_code, parent.starts()) == (75, 2)
    assert "restarts in 1000 s" in parent.own_words()


def test_signals_are_as_before(parent):
    """Once all has ended, signals do what they did before."""

    def mine(number, frame):
        raise AssertionError

    before = {number: signal.signal(number, mine) for number in SIGNALS}
    try:
        parent.run("")
        assert [signal.getsignal(number) for number in SIGNALS] == [mine] * len(SIGNALS)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert signal.set_wakeup_fd(-1) == -1
