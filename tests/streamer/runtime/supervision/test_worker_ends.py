"""What the parent does when real workers end: starts, delays, exit codes and last words."""

from __future__ import annotations

import os
import sys
from selectors import DefaultSelector

import pytest

from streamer.clock import ManualClock
from streamer.runtime.supervision.restart_policy import STARTS_WITHOUT_PROGRESS_MAX, RestartLimits
from streamer.runtime.supervision.supervisor import Supervisor


@pytest.mark.parametrize("end", ["sys.exit(75)", "sys.exit(1)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_worker_is_started_again(parent, end):
    """After a commit in doubt, a bug or death by signal there is a new worker, until one is done."""
    parent.run(f"if starts < 4:\n    {end}")
    assert (parent.exit_code, parent.starts()) == (0, 4)
    assert parent.own_words().count("and restarts ") == 3


@pytest.mark.parametrize("code", [0, 2, 4])
def test_final_ends_are_the_parents_own(parent, code):
    """Done, a wrong configuration and records that are gone: no new start, the same exit code, no word of its own."""
    parent.run(f"say('driftline worker says why'); sys.exit({code})")
    assert (parent.exit_code, parent.starts()) == (code, 1)
    assert parent.said == ["driftline worker says why"]


def test_a_wrong_address_is_told_at_once(parent):
    """Exit code 3 before there ever was progress ends the parent with 3, after one start."""
    parent.run("sys.exit(3)")
    assert (parent.exit_code, parent.starts(), parent.said) == (3, 1, [])


def test_an_outage_is_survived(parent):
    """Exit code 3 after progress is met with new starts, more of them than would be hopeless otherwise."""
    parent.run(
        f"progress() if starts == 1 else None; sys.exit(0 if starts == {3 * STARTS_WITHOUT_PROGRESS_MAX} else 3)"
    )
    assert (parent.exit_code, parent.starts()) == (0, 3 * STARTS_WITHOUT_PROGRESS_MAX)
    assert "(Kafka can't be reached, refuses us, or lacks a topic) and restarts" in parent.own_words()


def test_progress_of_another_worker_counts_for_the_address(parent):
    """That worker 0 reached Kafka shows that worker 1 has met an outage."""
    parent.workers = 2
    parent.run(
        """
import time
if ordinal == 0:
    progress()
    on_stop(lambda: sys.exit(0))
    open(folder + "/reached", "w").close()
    time.sleep(30)
while not os.path.exists(folder + "/reached"):
    time.sleep(0.01)
sys.exit(3 if starts < 3 else 0)
"""
    )
    assert (parent.exit_code, parent.starts(0), parent.starts(1)) == (0, 1, 3)


def test_the_last_word(parent):
    """After ten starts without progress: how often, how the last ended, what it said last, what to do; exit code 75."""
    parent.run("for i in range(30): say(f'start {starts} line {i}')\nos.kill(os.getpid(), signal.SIGKILL)")
    assert (parent.exit_code, parent.starts()) == (75, STARTS_WITHOUT_PROGRESS_MAX)
    word = parent.said[parent.said.index(f"start {STARTS_WITHOUT_PROGRESS_MAX} line 29") + 1 :]
    assert word[0] == (
        "driftline: gave up: the worker was started 10 times in a row without committing anything, and the last time "
        "it was ended by SIGKILL."
    )
    assert word[1:-1] == ["Its last lines:", *(f"    start 10 line {i}" for i in range(10, 30))]
    assert "lack of memory" in word[-1]
    assert "Committed results are safe" in word[-1]


@pytest.mark.parametrize(
    ("code", "advice"), [(75, "Check Kafka"), (1, "please report it"), (130, "Check its last lines")]
)
def test_the_last_word_has_advice_for_each_end(parent, code, advice):
    """The parent gives up with the worker's exit code, and says what to do about just that."""
    parent.run(f"sys.exit({code})")
    assert parent.exit_code == code
    assert f"ended with exit code {code}" in parent.said[-3]
    assert parent.said[-2] == "It logged nothing."
    assert advice in parent.said[-1]


def test_progress_begins_the_row_anew(parent):
    """A worker with progress in each start restarts without end, at once each time."""
    parent.run(f"progress(); sys.exit(0 if starts == {2 * STARTS_WITHOUT_PROGRESS_MAX} else 75)")
    assert (parent.exit_code, parent.starts()) == (0, 2 * STARTS_WITHOUT_PROGRESS_MAX)
    assert parent.own_words().count("restarts at once") == 2 * STARTS_WITHOUT_PROGRESS_MAX - 1
    assert "in a row" not in parent.own_words()


class PatientSelector(DefaultSelector):
    """Where the parent would wait for its clock, the clock goes on at once; `waits` are the times asked for, in s."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self.clock = clock
        self.waits: list[float] = []

    def select(self, timeout=None):
        if timeout:
            self.waits.append(timeout)
            self.clock.advance(timeout)
        return super().select(0 if timeout else timeout)


def test_delays_are_kept(parent):
    """The parent waits as long as it says before each new start: at once, then half a second and so on up to 30 s."""
    parent.clock, parent.limits = ManualClock(), RestartLimits()
    parent.selector = PatientSelector(parent.clock)
    parent.run("sys.exit(75)")
    assert parent.selector.waits == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert "restarts in 30 s, after 9 starts in a row without progress" in parent.own_words()


def test_a_worker_that_can_not_be_started_is_tried_again(parent, monkeypatch):
    """Without memory for a process, or without the program, there are delays, and in the end a last word: code 1."""
    monkeypatch.setattr(sys, "executable", str(parent.folder / "missing"))
    parent.run("")
    assert parent.exit_code == 1
    assert (
        parent.own_words().count("the worker can't be started: [Errno 2] No such file") == STARTS_WITHOUT_PROGRESS_MAX
    )


def test_one_worker_s_end_is_the_end_of_all(parent):
    """When one meets what a new start can't cure, the others are asked to finish; its exit code is the parent's."""
    parent.workers = 3
    parent.run(
        """
import time
def finish():
    say("finished")
    sys.exit(0)
on_stop(finish)
open(f"{folder}/ready-{ordinal}", "w").close()
if ordinal == 1:
    while not all(os.path.exists(f"{folder}/ready-{k}") for k in range(3)):
        time.sleep(0.01)
    sys.exit(4)
time.sleep(30)
"""
    )
    assert parent.exit_code == 4
    assert sorted(line for line in parent.said if "finished" in line) == ["worker 0: finished", "worker 2: finished"]
    assert "driftline: worker 1 ended with exit code 4, so all workers end" in parent.said


def test_a_bug_in_the_parent_leaves_no_worker(parent, monkeypatch):
    """An exception in the parent's loop kills the workers before it gets any further."""

    def look_after(self):
        raise ZeroDivisionError

    monkeypatch.setattr(Supervisor, "_check_workers", look_after)
    with pytest.raises(ZeroDivisionError):
        parent.run("import time; open(f'{folder}/pid', 'w').write(str(os.getpid())); say('begun'); time.sleep(30)")
    with pytest.raises(ProcessLookupError):
        os.kill(int((parent.folder / "pid").read_text()), 0)


WAITS = "import time; on_stop(lambda: sys.exit(0)); open(folder + '/waits', 'w').close(); time.sleep(30)"


def test_a_companion_restarts_for_ever_and_ends_with_the_workers(parent):
    """Whatever its exit code, the page starts again; when the worker is done, it is asked to end."""
    parent.companions = ("ui",)
    parent.run(
        f"""
import time
if ordinal == 'ui':
    say('of the page')
    if starts < 14: sys.exit([0, 1, 3, 4, 75][starts % 5])
    {WAITS}
while not os.path.exists(folder + '/waits'):
    time.sleep(0.01)
"""
    )
    assert (parent.exit_code, parent.starts(), parent.starts("ui")) == (0, 1, 14)
    assert parent.said.count("ui: of the page") == 14
    assert "driftline: ui ended with exit code 1 (an unexpected error) and restarts" in parent.own_words()


def test_a_companion_with_wrong_settings_ends_all(parent):
    """Nobody waits for a page that never comes: exit code 2, and the worker is asked to finish."""
    parent.companions = ("ui",)
    parent.run(
        f"""
import time
if ordinal == 'ui':
    while not os.path.exists(folder + '/waits'):
        time.sleep(0.01)
    say('the port is taken'); sys.exit(2)
{WAITS}
"""
    )
    assert (parent.exit_code, parent.starts(), parent.starts("ui")) == (2, 1, 1)
    assert parent.said[0] == "ui: the port is taken"
    assert "ui ended with exit code 2, so all workers end" in parent.own_words()
