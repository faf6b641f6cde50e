"""Workers of one group that are killed, frozen and thawed, on a cluster whose brokers are killed one by one."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from streamer.testing.kafka_cluster import Cluster

SESSION_TIMEOUT_S = 6
WORKER_EVERY_S = (2.0, 6.0)  # something happens to a worker
BROKER_EVERY_S = (8.0, 14.0)  # something happens to a broker, if all are well
DOWN_S = (1.0, 4.0)
FROZEN_S = (1.0, SESSION_TIMEOUT_S + 3.0)  # some come back in time, some as zombies
LOOK_EVERY_S = 0.05
PATIENCE_S = 60.0
DOUBT = 75  # the exit code by which a worker asks to be started again
SETTLED_S = 15.0


@dataclass
class Worker:
    """One seat in the group: a process, and the next as soon as that has ended."""

    command: Sequence[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    thaw_at: float | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stderr=log)

    def thaw(self) -> None:
        if self.thaw_at is not None and self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.thaw_at = None


@dataclass
class Chaos:
    """A schedule: what happens when is drawn from `seed`; how it interleaves with the work is the machine's."""

    cluster: Cluster
    commands: Sequence[Sequence[str]]
    folder: Path
    seed: int
    happened: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)
        self.workers = [Worker(command, self.folder / f"worker-{k}.log") for k, command in enumerate(self.commands)]
        self._broker_back_at: tuple[int, float] | None = None

    def run(self, duration_s: float, also: Callable[[], None] = lambda: None) -> None:
        """Let it happen for so long; `also` is called now and then. Afterwards all brokers and workers are up."""
        for worker in self.workers:
            worker.start()
        end, next_worker, next_broker = time.monotonic() + duration_s, 0.0, time.monotonic() + BROKER_EVERY_S[0]
        while (now := time.monotonic()) < end:
            also()
            self.look_after()
            if now >= next_worker:
                next_worker = now + self._dice.uniform(*WORKER_EVERY_S)
                self._hurt_a_worker(now)
            if now >= next_broker and self._broker_back_at is None:
                next_broker = now + self._dice.uniform(*BROKER_EVERY_S)
                self._kill_a_broker(now)
            time.sleep(LOOK_EVERY_S)
        self.calm_down()

    def look_after(self) -> None:
        """Start what has ended again, thaw what is due, bring back a broker whose time has come."""
        now = time.monotonic()
        for worker in self.workers:
            if worker.thaw_at is not None and now >= worker.thaw_at:
                worker.thaw()
            if worker.process is not None and (code := worker.process.poll()) is not None:
                self.happened[f"ended with {code}"] += 1
                worker.thaw_at = None
                worker.start()
        if self._broker_back_at is not None and now >= self._broker_back_at[1]:
            self.cluster.brokers[self._broker_back_at[0]].start()
            self.cluster.wait_until_ready()
            self._broker_back_at = None

    def calm_down(self) -> None:
        for worker in self.workers:
            worker.thaw()
        while self._broker_back_at is not None:
            self.look_after()
            time.sleep(LOOK_EVERY_S)

    def stop(self) -> list[int]:
        """Tell all workers to stop; their exit codes. One that ends in doubt is started once more, as always."""
        for worker in self.workers:
            worker.thaw()
            if worker.process is not None:
                worker.process.terminate()
        codes = [worker.process.wait(PATIENCE_S) for worker in self.workers if worker.process is not None]
        for i, worker in enumerate(self.workers):
            if codes[i] == DOUBT:
                self.happened["stopped in doubt"] += 1
                worker.start()
                time.sleep(SETTLED_S)
                worker.process.terminate()
                codes[i] = worker.process.wait(PATIENCE_S)
        return codes

    def close(self) -> None:
        """Leave no process behind."""
        for worker in self.workers:
            if worker.process is not None and worker.process.poll() is None:
                with suppress(ProcessLookupError):
                    worker.process.kill()
                worker.process.wait()

    def _hurt_a_worker(self, now: float) -> None:
        worker = self._dice.choice(self.workers)
        kills, frozen_s = self._dice.random() < 0.6, self._dice.uniform(*FROZEN_S)
        if worker.process is None or worker.process.poll() is not None or worker.thaw_at is not None:
            return
        if kills:
            worker.process.kill()
            self.happened["worker killed"] += 1
        else:
            worker.process.send_signal(signal.SIGSTOP)
            worker.thaw_at = now + frozen_s
            self.happened["worker frozen" if frozen_s < SESSION_TIMEOUT_S else "worker made a zombie"] += 1

    def _kill_a_broker(self, now: float) -> None:
        index = self._dice.randrange(len(self.cluster.brokers))
        self.cluster.brokers[index].kill()
        self._broker_back_at = index, now + self._dice.uniform(*DOWN_S)
        self.happened["broker killed"] += 1
