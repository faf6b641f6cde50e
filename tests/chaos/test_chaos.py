"""The driver of chaos itself, on workers that do next to nothing and brokers that only note what is done to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from chaos import Chaos, Plan, schedule
from hypothesis import given
from hypothesis import strategies as st
from worker_process import WorkerProcess, only_child

CALM = Plan(seed=1, duration_s=0.5, kill_every_s=0, freeze_every_s=0, broker_kill_every_s=0, restart_after_s=0.05)
SLEEPER = [sys.executable, "-S", "-c", "import time; print('up', flush=True); time.sleep(60)"]


def up(folder: Path, ordinal: int = 0) -> int:
    """How many times the worker has come up."""
    log = folder / f"worker-{ordinal}.log"
    return log.read_text().count("up") if log.exists() else 0


def state_of(pid: int) -> str:
    """Linux's letter for it: T is frozen; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return ""


def within(condition, timeout_s: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())


@given(st.integers(), st.integers(0, 4), st.integers(0, 4), st.floats(0, 300))
def test_the_schedule_is_a_function_of_the_plan(seed, workers, brokers, duration_s):
    """The same seed gives the same faults in order, within the time, and only to those who are there."""
    plan = Plan(seed=seed, duration_s=duration_s, broker_freeze_every_s=20)
    faults = schedule(plan, workers, brokers)
    assert faults == schedule(plan, workers, brokers) == sorted(faults)
    for fault in faults:
        assert 0 <= fault.at_s < duration_s
        assert fault.victim < (brokers if "broker" in fault.kind else workers)


def test_rates_are_means():
    """Over a long time every kind of fault comes as often as asked; one with rate 0 never."""
    plan = Plan(seed=3, duration_s=60_000, kill_every_s=6, freeze_every_s=15, broker_kill_every_s=10)
    kinds = Counter(fault.kind for fault in schedule(plan, 3, 3))
    assert kinds["kill"] == pytest.approx(10_000, rel=0.05)
    assert kinds["freeze"] == pytest.approx(4_000, rel=0.05)
    assert kinds["broker kill"] == pytest.approx(6_000, rel=0.05)
    assert kinds["broker freeze"] == 0


def test_killed_workers_come_back_and_are_counted(tmp_path):
    """Every kill is an exit with -9 and a restart, of each of the workers; after the `with` none is left."""
    with Chaos([SLEEPER, SLEEPER], replace(CALM, duration_s=1.5, kill_every_s=0.2), tmp_path) as chaos:
        chaos.rage()
        assert chaos.calm(until=lambda: all(chaos.running))
        pids = [worker.pid for worker in chaos._workers]
    assert chaos.tally.kills > 1
    assert chaos.tally.exits == {-signal.SIGKILL: chaos.tally.kills}
    assert chaos.tally.restarts == chaos.tally.kills
    assert within(lambda: [state_of(pid) for pid in pids] == ["", ""])


def test_workers_that_end_by_themselves_are_started_again(tmp_path):
    """A worker's own exit is counted under its code and it is restarted, unless told not to."""
    command = [sys.executable, "-S", "-c", "print('up'); raise SystemExit(75)"]
    with Chaos([command], CALM, tmp_path) as chaos:
        assert chaos.calm(until=lambda: chaos.tally.restarts >= 3)
    assert chaos.tally.exits[75] >= 3
    assert up(tmp_path) >= 3
    with Chaos([command], CALM, tmp_path, restart=False) as chaos:
        assert chaos.calm(until=lambda: chaos.tally.exits[75] == 1)
        chaos.rage()
        assert chaos.running == [False]
    assert chaos.tally.restarts == 0


def test_a_frozen_worker_goes_on_after_its_time(tmp_path):
    """SIGSTOP holds a worker for as long as asked, then the same process runs again."""
    ticker = "import time\nwhile True: print(time.monotonic(), flush=True); time.sleep(0.01)"
    plan = replace(CALM, duration_s=1.0, freeze_every_s=0.1, frozen_s=0.6)
    log = tmp_path / "worker-0.log"
    with Chaos([[sys.executable, "-S", "-c", ticker]], plan, tmp_path) as chaos:
        assert within(lambda: log.read_text())
        chaos.rage()
        assert chaos.calm(until=lambda: not chaos._frozen)
        thawed = len(log.read_text())
        assert within(lambda: len(log.read_text()) > thawed)
    assert chaos.tally.freezes >= 1
    assert chaos.tally.exits == {}
    ticks = [float(line) for line in log.read_text().splitlines()]
    assert max(after - before for before, after in pairwise(ticks)) >= 0.6


def test_the_child_of_a_supervisor_is_hurt_in_its_place(tmp_path):
    """With `only_child` the command lives on and its child dies; at the end both are gone, and so are frozen ones."""
    supervisor = textwrap.dedent(f"""
        import subprocess
        while True:
            subprocess.run({SLEEPER!r})
    """)
    plan = replace(CALM, duration_s=1.0, kill_every_s=0.2)
    command = [sys.executable, "-c", supervisor]
    with Chaos([command], plan, tmp_path, restart=False, victim=only_child) as chaos:
        (worker,) = chaos._workers
        assert within(lambda: up(tmp_path) == 1)
        chaos.rage()
        assert within(lambda: only_child(worker.pid) and up(tmp_path) > 1)
        family = [worker.pid, only_child(worker.pid)]
        os.kill(family[1], signal.SIGSTOP)
    assert chaos.tally.kills >= 1
    assert chaos.tally.exits == {}
    assert within(lambda: [state_of(pid) for pid in family] == ["", ""])


class Brokers:
    """A cluster that notes who is away; it is an error to be asked to hurt one while another is."""

    def __init__(self):
        self.brokers, self.away, self.done, self.broken = [self] * 3, False, [], False

    def kill(self):
        assert not self.away
        self.away = True
        self.done.append("kill")

    pause = kill

    def start(self):
        if self.broken:
            raise RuntimeError("it does not come back")
        self.away = False

    resume = start

    def wait_until_ready(self):
        assert not self.away
        self.done.append("ready")


def test_brokers_are_hurt_one_at_a_time(tmp_path):
    """The next broker dies only when the last one is back and the cluster ready, and at the end all are there."""
    cluster = Brokers()
    plan = replace(CALM, broker_kill_every_s=0.05, broker_freeze_every_s=0.1, broker_away_s=0.05, broker_frozen_s=0.05)
    with Chaos([], plan, tmp_path, cluster) as chaos:
        chaos.rage()
    assert chaos.tally.broker_kills > 1
    assert chaos.tally.broker_freezes > 0
    assert cluster.done == ["kill", "ready"] * (chaos.tally.broker_kills + chaos.tally.broker_freezes)


def test_a_broker_that_does_not_come_back_is_an_error(tmp_path):
    """What the cluster raises comes out of `rage`, and the workers are ended."""
    cluster = Brokers()
    cluster.broken = True
    plan = replace(CALM, broker_kill_every_s=0.05)
    with pytest.raises(RuntimeError, match="does not come back"), Chaos([SLEEPER], plan, tmp_path, cluster) as chaos:
        chaos.rage()
    assert chaos.running == [False]


def test_calm_that_never_comes_is_said(tmp_path):
    """`calm` is false when what is waited for did not come in time."""
    with Chaos([SLEEPER], CALM, tmp_path) as chaos:
        assert not chaos.calm(until=lambda: False, timeout_s=0.2)


def test_no_worker_survives_the_sigkill_of_its_tester(tmp_path):
    """SIGKILL of the process that drives the chaos ends its workers."""
    script = textwrap.dedent(f"""
        import pathlib, sys, time
        from worker_process import WorkerProcess
        worker = WorkerProcess({SLEEPER!r}, pathlib.Path(sys.argv[1]))
        worker.start()
        print(worker.pid, flush=True)
        time.sleep(60)
    """)
    command = [sys.executable, "-c", script, str(tmp_path / "worker-0.log")]
    with subprocess.Popen(command, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True) as tester:
        pid = int(tester.stdout.readline())
        assert within(lambda: up(tmp_path) == 1)
        tester.kill()
    assert within(lambda: state_of(pid) == "")


def test_a_worker_gets_its_environment(tmp_path):
    """What is asked for is added to our own environment."""
    log = tmp_path / "log"
    worker = WorkerProcess(["sh", "-c", "echo $HELLO$PATH"], log, environment={"HELLO": "world"})
    worker.start()
    assert within(lambda: not worker.running)
    assert (worker.ended(), worker.ended()) == (0, None)
    assert log.read_text() == f"world{os.environ['PATH']}\n"
