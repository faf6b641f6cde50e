"""What workers say reaches the parent's standard error whole; what they leave behind is cleared away."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from selectors import DefaultSelector

from supervision_kit import HASTY

from streamer.runtime.supervision.worker_process import LAST_LINES, WorkerProcess

RESTARTS = 200


def test_one_worker_speaks_for_itself(parent):
    """With one worker, lines come through as they are, the last one without a line break too."""
    parent.run("say('one'); say(''); say('Fahrgäste'); os.write(2, b'last')")
    assert parent.said == ["one", "", "Fahrgäste", "last"]


def test_lines_of_several_workers_are_told_apart(parent):
    """Each line has its worker's name; none is torn or lost, though all speak at once and in pieces."""
    parent.workers = 4
    parent.run(
        """
import time
for i in range(3000):
    os.write(2, b"line %d" % i)
    os.write(2, b" ends\\nand %d" % i)
    os.write(2, b" more\\n")
open(f"{folder}/done-{ordinal}", "w").close()
while not all(os.path.exists(f"{folder}/done-{k}") for k in range(4)):
    time.sleep(0.01)
"""
    )
    for ordinal in range(4):
        mine = [line for line in parent.said if line.startswith(f"worker {ordinal}: ")]
        assert mine == [
            f"worker {ordinal}: {word}" for i in range(3000) for word in (f"line {i} ends", f"and {i} more")
        ]
    assert len(parent.said) == 4 * 6000 + 1
    assert parent.own_words().endswith(" ended with exit code 0, so all workers end")


def test_what_a_worker_says_at_its_end_is_heard(parent):
    """A full pipe of lines just before the end is not lost, even when the worker is killed and its child lives on."""
    parent.run(
        """
for i in range(600):
    os.write(2, b"%03d" % i + b"x" * 96 + b"\\n")
if os.fork() == 0:
    signal.sigtimedwait([signal.SIGUSR1], 1.5)
    os._exit(0)
if starts == 1:
    os.kill(os.getpid(), signal.SIGKILL)
os._exit(0)
"""
    )
    said = [line for line in parent.said if not line.startswith("driftline")]
    assert [int(line[:3]) for line in said] == [*range(600), *range(600)]


def test_an_end_is_told_once_all_is_heard(tmp_path):
    """Whoever sees the end of a worker has its progress and its words as well, though nobody listened till then."""
    heard: list[bytes] = []

    def command_of(ordinal: int, fd: int) -> list[str]:
        return [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import os; os.write({fd}, b'.'); os.write(2, b'one\\ntwo'); os._exit(75)",
        ]

    with DefaultSelector() as selector:
        worker = WorkerProcess(command_of, 0, selector, heard.append)
        while (returncode := worker.ended()) is None:
            time.sleep(0.01)
        assert (returncode, worker.progressed, heard) == (75, True, [b"one", b"two"])
        assert worker.last_lines() == ["one", "two"]
        assert not selector.get_map()


def test_the_last_words_are_the_workers_own(parent):
    """Each worker's last lines are kept apart from those of the others."""
    parent.workers = 2
    parent.run(
        """
import time
on_stop(lambda: os._exit(0))
if ordinal == 0:
    for i in range(100):
        say("from zero")
    time.sleep(30)
for i in range(100):
    say("from one")
sys.exit(75)
"""
    )
    word = parent.said.index("Its last lines:")
    assert parent.said[word + 1 : word + 1 + LAST_LINES] == ["    from one"] * LAST_LINES


def test_nothing_is_left_behind(parent):
    """After many restarts there are as many open files and threads as before, and no process of ours, dead or alive."""
    parent.limits = HASTY
    before = (open_files(), threading.active_count(), children())
    parent.run(f"progress(); os._exit(0 if starts > {RESTARTS} else 75)")
    assert parent.starts() == RESTARTS + 1
    assert (open_files(), threading.active_count(), children()) == before


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def children() -> set[str]:
    """Processes whose parent is this one, zombies included."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        found |= set((task / "children").read_text().split())
    return found
