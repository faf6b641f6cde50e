"""One simulation from its seed: what kind of world it is, what happens in it, and how it comes to its end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from sim_cluster import Cluster
from sim_disk import Disk
from sim_folds import MAGIC, PROBE_TOPIC
from sim_group import Group
from sim_host import Host
from sim_input import START_MS, config, events
from sim_oracle import check, check_times, check_uninterrupted, set_aside
from sim_plan import Plan
from sim_worker import Worker, simulated

from streamer.app.provisioning import needed_topics
from streamer.clock import ManualClock
from streamer.errors import BrokerError, InDoubtError

ROUNDS_MAX = 3000  # at the end, without faults, everything must be folded by then
STEPS_OF_A_ROUND = 200
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - where there is one, files cost nothing


@dataclass
class World:
    """A cluster, a disk, and the processes of one service."""

    plan: Plan
    folder: Path
    workers: list[Worker] = field(default_factory=list)  # alive; several of one number when one is a zombie
    happened: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        plan = self.plan
        self.random = Random(f"{plan.seed} schedule")
        self.clock = ManualClock(wall_s=START_MS / 1000)
        self.configs = [config(plan), config(plan, 0.05)]
        self.config = self.configs[0]
        self.cluster = Cluster(Random(f"{plan.seed} cluster"), self.clock)
        for topic in needed_topics(self.config):
            self.cluster.create(topic.name, plan.partitions if topic.name in self.config.topics else 1)
        self.cluster.create(self.config.outputs.epochs, plan.partitions + 1)
        self.cluster.create(PROBE_TOPIC)
        self.group = Group(self.clock, self.cluster.counts)
        self.cluster.waited = self._beat
        self.disk = Disk(self.folder, Random(f"{plan.seed} disk"), plan.checkpoint_s)
        self.input = events(Random(f"{plan.seed} input"), plan)
        self.input.reverse()
        self.units = ["decide", *(f"detect-{p}" for p in range(plan.partitions))]

    def live(self) -> Counter[str]:
        """Let it all happen; what there is of each output topic in the end. Raises AssertionError for a false end."""
        try:
            for _ in range(self.plan.actions):
                self._act()
            self._finish()
        finally:
            for worker in self.workers:
                worker.process.kill()
        return self._checked()

    def _checked(self) -> Counter[str]:
        plan, inputs = self.plan, (*self.config.topics, self.config.outputs.epochs)
        found = check(self.cluster, self.config, self.units, [t for t in self.cluster.counts if t not in inputs])
        check_times(self.cluster, self.config, plan.partitions)
        self.happened["clocks that jump"] += plan.jump_ms != 0
        aside = set_aside(self.cluster, self.config, self.units)
        innocent = [value for value in aside if MAGIC not in (value or b"")]
        self.happened["set aside"] += len(aside)
        self.happened["set aside, innocent"] += len(innocent)
        assert len(aside) - len(innocent) == plan.deadly
        assert not innocent, f"set aside though they kill nobody: {innocent}"
        if not (plan.labels or plan.changes or plan.forgets):
            # An alert that is ahead counts as of the fleet's time, which depends on the watermarks read by then.
            for unit in self.units[bool(plan.jump_ms) :]:
                check_uninterrupted(self.cluster, self.config, unit)
        return found

    def _act(self) -> None:
        plan, numbers = self.plan, self._numbers_down()
        awake, asleep = ([w for w in self.workers if w.host.is_suspended is flag] for flag in (False, True))
        choices = {
            "run": 10.0 if awake else 0.0,
            "append": 3.0 if self.input else 0.0,
            "start": 3.0 if numbers else 0.0,
            "kill": plan.kills if awake else 0.0,
            "stop": plan.kills / 4 if awake else 0.0,
            "suspend": plan.zombies if awake else 0.0,
            "replace": plan.zombies / 3 if asleep else 0.0,
            "wake": plan.zombies if asleep else 0.0,
            "wait": 2.0 if asleep else 0.5,
            "damage": plan.damage,
            "forget": plan.forgets,
        }
        what = self.random.choices(list(choices), list(choices.values()))[0]
        self.happened[what] += 1
        if what == "run":
            self._run(self.random.choice(awake), self.random.choice([3, 10, 40, 200, 200]))
        elif what == "append":
            self._append(self.random.randint(1, 1 + 10 * plan.events // plan.actions))
        elif what == "start":
            self._start(self.random.choice(numbers))
        elif what == "kill":
            self._kill(self.random.choice(awake))
        elif what == "stop":
            self.random.choice(awake).host.stopping = True
        elif what == "suspend":
            self.random.choice(awake).host.is_suspended = True
        elif what == "replace":
            self._start(self.random.choice(asleep).number)
        elif what == "wake":
            self.random.choice(asleep).host.is_suspended = False
        elif what == "wait":
            self.cluster.wait(self.random.choice([0.1, 1, 20, 40, 130]))
        elif what == "damage":
            self.happened[self.disk.damage()] += 1
        else:
            self._forget()

    def _numbers_down(self) -> list[int]:
        return sorted(set(range(self.plan.workers)) - {worker.number for worker in self.workers})

    def _append(self, count: int) -> None:
        for _ in range(min(count, len(self.input))):
            one = self.input.pop()
            self.clock.advance(0.001)
            time_ms = self.cluster.now_ms() + one.skew_ms if one.has_time else -1
            self.cluster.append((one.topic, one.partition), one.key, one.value, time_ms)

    def _start(self, number: int) -> None:
        plan = self.plan
        host = Host(self.cluster, self.group, self.random, faults=plan.faults)
        if self.random.random() < plan.changes:
            self.config = self.random.choice(self.configs)
        disk = None if plan.checkpoint_s is None else self.disk
        self.workers.append(Worker(number, host, self.config, self.clock, disk))

    def _forget(self) -> None:
        """Records of a partition are deleted, mostly such as were folded before."""
        topic = self.random.choice([*self.config.topics, self.config.outputs.alerts])
        spot = topic, self.random.randrange(self.cluster.counts[topic])
        partition, at = self.cluster.partitions[spot], self.cluster.offsets.get(spot, 0)
        end = self.random.choice([at, at, partition.stable_end])
        if partition.begin < end:
            partition.begin = self.random.randint(partition.begin, end)

    def _kill(self, worker: Worker) -> None:
        worker.process.kill()
        self.workers.remove(worker)

    def _run(self, worker: Worker, steps: int) -> None:
        worker.process.run(steps)
        if not worker.process.ended:
            return
        self.workers.remove(worker)
        error = worker.process.error
        self.happened[f"ended of {type(error).__name__}"] += 1
        if error is not None and not isinstance(error, InDoubtError | BrokerError):
            raise AssertionError(f"worker {worker.number} ended of {error!r}") from error

    def _beat(self) -> None:
        """What goes on while time passes: client threads of all that are awake, and the patience of the group."""
        for worker in self.workers:
            if not worker.host.is_suspended:
                for member in worker.host.members:
                    member.background()
        self.group.expire()

    def _finish(self) -> None:
        """No more trouble: all that is written is folded."""
        for worker in self.workers:
            worker.host.faults, worker.host.is_suspended, worker.host.stopping = 0.0, False, False
        self._append(len(self.input))
        for _ in range(ROUNDS_MAX):
            if self._done():
                return
            for number in self._numbers_down():
                self._start(number)
                self.workers[-1].host.faults = 0.0
            for worker in list(self.workers):
                self._run(worker, STEPS_OF_A_ROUND)
        raise AssertionError(f"no end: {self._left()}")

    def _left(self) -> dict[tuple[str, int], int]:
        """Where there are records that are not folded, and how many."""
        left = {}
        for topic in (*self.config.topics, self.config.outputs.alerts):
            for partition in range(self.cluster.counts[topic]):
                spot = topic, partition
                partition = self.cluster.partitions[spot]
                rest = list(partition.visible(max(self.cluster.offsets.get(spot, 0), partition.begin)))
                if rest:
                    left[spot] = len(rest)
        return left

    def _done(self) -> bool:
        return self.cluster.quiet and not self._left()


def simulate(plan: Plan) -> tuple[Counter[str], Counter[str]]:
    """What there is of each output topic in the end, and what happened."""
    with simulated(), TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as folder:
        world = World(plan, Path(folder))
        return world.live(), world.happened
