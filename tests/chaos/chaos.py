"""Workers that are killed and frozen, on brokers that are killed one by one, by a schedule drawn from a seed.

    plan = Plan(seed=7, duration_s=60)
    with Chaos([worker_command(i) for i in range(3)], plan, tmp_path, cluster) as chaos:
        chaos.rage()
        chaos.calm(until=caught_up)
    print(chaos.tally)

The schedule is a function of the seed; what meets what in the workers is not.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from worker_process import WorkerProcess, itself, send

LOOK_EVERY_S = 0.05
CALM_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Plan:
    """How often what happens: mean seconds between two faults of a kind, 0 for never.

    A frozen worker stays so for `frozen_s`, longer than the session of its group; a frozen broker for
    `broker_frozen_s`. A killed broker is started again after `broker_away_s`, a worker that ended after
    `restart_after_s`.
    """

    seed: int
    duration_s: float = 60.0
    kill_every_s: float = 6.0
    freeze_every_s: float = 15.0
    frozen_s: float = 8.0
    broker_kill_every_s: float = 10.0
    broker_freeze_every_s: float = 0.0
    broker_away_s: float = 1.0
    broker_frozen_s: float = 4.0
    restart_after_s: float = 0.3


@dataclass(frozen=True, order=True)
class Fault:
    """What is to happen, so many seconds after the start, to which worker or broker."""

    at_s: float
    kind: str
    victim: int


@dataclass
class Tally:
    """What has happened. `exits` are those of the workers by exit code, -9 for a SIGKILL."""

    kills: int = 0
    freezes: int = 0
    broker_kills: int = 0
    broker_freezes: int = 0
    restarts: int = 0
    exits: Counter[int] = field(default_factory=Counter)


def schedule(plan: Plan, workers: int, brokers: int) -> list[Fault]:
    """All faults of a plan, in order."""
    means = {
        "kill": (plan.kill_every_s, workers),
        "freeze": (plan.freeze_every_s, workers),
        "broker kill": (plan.broker_kill_every_s, brokers),
        "broker freeze": (plan.broker_freeze_every_s, brokers),
    }
    return sorted(
        fault
        for kind, (every_s, victims) in means.items()
        if every_s and victims
        for fault in _one_kind(random.Random(f"{plan.seed} {kind}"), kind, every_s, victims, plan.duration_s)
    )


def _one_kind(drawn: random.Random, kind: str, every_s: float, victims: int, duration_s: float) -> Iterator[Fault]:
    at_s = drawn.expovariate(1 / every_s)
    while at_s < duration_s:
        yield Fault(at_s, kind, drawn.randrange(victims))
        at_s += drawn.expovariate(1 / every_s)


class Chaos:
    """Keeps one worker for each command alive, and hurts them and the brokers; leaving the `with` ends all of it.

    `restart=False` is for commands that restart their worker themselves; then `victim` tells which process to hurt (see
    `worker_process.only_child`). What workers write goes to `folder / "worker-N.log"`, and none outlives this process.
    """

    def __init__(
        self,
        commands: Sequence[Sequence[str]],
        plan: Plan,
        folder: Path,
        cluster: Any = None,
        *,
        restart: bool = True,
        victim: Callable[[int], int | None] = itself,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.tally = Tally()
        self._plan, self._cluster, self._restart = plan, cluster, restart
        self._workers = [
            WorkerProcess(list(command), folder / f"worker-{ordinal}.log", victim, environment)
            for ordinal, command in enumerate(commands)
        ]
        self._restart_at: dict[int, float] = {}
        self._frozen: dict[int, tuple[float, int]] = {}  # worker -> when to thaw which process

    @property
    def running(self) -> list[bool]:
        """By worker, whether its process is there."""
        return [worker.running for worker in self._workers]

    def rage(self) -> None:
        """Let the plan happen; then every broker is back and the cluster ready. Raises what the cluster raises."""
        began = time.monotonic()
        brokers = len(self._cluster.brokers) if self._cluster else 0
        faults = schedule(self._plan, len(self._workers), brokers)
        errors: list[Exception] = []
        beside = threading.Thread(
            target=self._hurt_brokers,
            args=([fault for fault in faults if "broker" in fault.kind], began, errors),
            daemon=True,
        )
        beside.start()
        pending = [fault for fault in faults if "broker" not in fault.kind]
        while time.monotonic() < began + self._plan.duration_s or beside.is_alive():
            self._tend()
            while pending and time.monotonic() > began + pending[0].at_s:
                self._hurt_worker(pending.pop(0))
            time.sleep(LOOK_EVERY_S)
        beside.join()
        if errors:
            raise errors[0]

    def calm(self, until: Callable[[], bool], timeout_s: float = CALM_TIMEOUT_S) -> bool:
        """Let all go on, restarted where they end and hurt by nobody, until it is so; false if it never was."""
        deadline = time.monotonic() + timeout_s
        while not until():
            if time.monotonic() > deadline:
                return False
            self._tend()
            time.sleep(LOOK_EVERY_S)
        return True

    def close(self) -> None:
        """Kill every worker with all its children, and count how they had ended."""
        for worker in self._workers:
            code = worker.ended()
            if code is not None:
                self.tally.exits[code] += 1
            worker.kill_all()

    def __enter__(self) -> Self:
        try:
            for worker in self._workers:
                worker.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tend(self) -> None:
        """Thaw who was frozen for long enough, count who ended, and start them again."""
        now = time.monotonic()
        for ordinal, worker in enumerate(self._workers):
            thaw_at, frozen = self._frozen.get(ordinal, (now, 0))
            if thaw_at < now:
                del self._frozen[ordinal]
                send(frozen, signal.SIGCONT)
            code = worker.ended()
            if code is not None:
                self.tally.exits[code] += 1
                self._frozen.pop(ordinal, None)
                self._restart_at[ordinal] = now + self._plan.restart_after_s
            if self._restart and self._restart_at.get(ordinal, now) < now:
                del self._restart_at[ordinal]
                worker.start()
                self.tally.restarts += 1

    def _hurt_worker(self, fault: Fault) -> None:
        """Kill or freeze; nothing where the worker is away already."""
        worker = self._workers[fault.victim]
        if fault.kind == "kill":
            self.tally.kills += worker.hurt(signal.SIGKILL) is not None
        elif fault.victim not in self._frozen and (pid := worker.hurt(signal.SIGSTOP)) is not None:
            self._frozen[fault.victim] = time.monotonic() + self._plan.frozen_s, pid
            self.tally.freezes += 1

    def _hurt_brokers(self, faults: Sequence[Fault], began: float, errors: list[Exception]) -> None:
        """One broker after the other; the next only when the cluster is whole again, so some may come late or never."""
        end = began + self._plan.duration_s
        try:
            for fault in faults:
                time.sleep(max(0.0, began + fault.at_s - time.monotonic()))
                if time.monotonic() > end:
                    break
                broker = self._cluster.brokers[fault.victim]
                if fault.kind == "broker kill":
                    broker.kill()
                    self.tally.broker_kills += 1
                    time.sleep(self._plan.broker_away_s)
                    broker.start()
                else:
                    broker.pause()
                    self.tally.broker_freezes += 1
                    time.sleep(self._plan.broker_frozen_s)
                    broker.resume()
                self._cluster.wait_until_ready()
        except Exception as error:
            errors.append(error)
