"""One simulation from its seed: what kind of world it is, what happens in it, and how it comes to its end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from sim_cluster import Cluster
from sim_disk import Disk
from sim_group import Group
from sim_host import Host
from sim_input import MAGIC, START_MS, config, events
from sim_oracle import check, set_aside
from sim_worker import Worker, simulated_clients

from streamer.clock import ManualClock
from streamer.errors import BrokerError, Doubt
from streamer.needed_topics import needed_topics

ROUNDS_MAX = 3000  # at the end, without faults, everything must be folded by then
STEPS_OF_A_ROUND = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """What kind of world a seed gives."""

    seed: int
    delivery: str = "exactly_once"
    workers: int = 1
    partitions: int = 1
    labels: bool = True
    events: int = 300
    interval_s: float = 0.0
    actions: int = 60
    kills: float = 1.0  # how often, in relation to what else happens
    zombies: float = 0.0
    faults: float = 0.0  # the share of calls to the cluster that fail
    deadly: int = 0  # records that kill
    checkpoints: float = 0.0  # the share of moments at which a unit is kept
    disk_faults: float = 0.0

    @classmethod
    def of(cls, seed: int) -> Plan:
        random = Random(f"{seed} plan")
        return cls(
            seed,
            random.choice(["exactly_once", "exactly_once", "at_least_once"]),
            random.choice([1, 1, 2, 3]),
            random.choice([1, 2, 3]),
            random.random() < 0.7,
            random.choice([100, 200, 300]),
            random.choice([0.0, 0.0, 0.5, 2.0]),
            random.choice([20, 60, 120]),
            random.choice([0.0, 0.5, 2.0]),
            random.choice([0.0, 1.0]),
            random.choice([0.0, 0.0, 0.002, 0.02]),
            random.choice([0, 0, 0, 1, 2]),
            random.choice([0.0, 0.1, 0.5]),
            random.choice([0.0, 0.3]),
        )


@dataclass
class World:
    """A cluster, a disk, and the processes of one service."""

    plan: Plan
    workers: list[Worker] = field(default_factory=list)  # alive; several of one number when one is a zombie
    happened: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        plan = self.plan
        self.random = Random(f"{plan.seed} schedule")
        self.clock = ManualClock(wall_s=START_MS / 1000)
        self.config = config(plan.delivery, plan.labels, plan.interval_s)
        self.cluster = Cluster(Random(f"{plan.seed} cluster"), self.clock)
        for topic in needed_topics(self.config):
            self.cluster.create(topic.name, plan.partitions if topic.name in self.config.topics else 1)
        self.cluster.create(self.config.outputs.epochs, plan.partitions + 1)
        self.group = Group(self.clock, self.cluster.counts)
        self.cluster.waited = self._beat
        self.disk = Disk(Random(f"{plan.seed} disk"), plan.checkpoints, plan.disk_faults)
        self.input = events(Random(f"{plan.seed} input"), plan.events, plan.partitions, plan.labels, plan.deadly)
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
        names = [t for t in self.cluster.counts if t not in (*self.config.topics, self.config.outputs.epochs)]
        aside = set_aside(self.cluster, self.config, self.units)
        self.happened["set aside"] += len(aside)
        self.happened["set aside, innocent"] += sum(MAGIC not in (value or b"") for value in aside)
        deadly = sum(MAGIC in (value or b"") for value in aside)
        assert deadly == self.plan.deadly, f"{deadly} records were set aside, and {self.plan.deadly} are deadly"
        return check(self.cluster, self.config, self.units, names)

    def _act(self) -> None:
        plan, numbers = self.plan, self._numbers_down()
        awake = [w for w in self.workers if not w.host.is_suspended]
        asleep = [w for w in self.workers if w.host.is_suspended]
        choices = {
            "run": 10.0 if awake else 0.0,
            "append": 3.0 if self.input else 0.0,
            "start": 3.0 if numbers else 0.0,
            "kill": plan.kills if awake else 0.0,
            "stop": plan.kills / 4 if awake else 0.0,
            "suspend": plan.zombies if awake else 0.0,
            "replace": plan.zombies / 2 if asleep else 0.0,
            "wake": plan.zombies * 1.5 if asleep else 0.0,
            "wait": 0.5,
        }
        what = self.random.choices(list(choices), list(choices.values()))[0]
        self.happened[what] += 1
        if what == "run":
            self._run(self.random.choice(awake), self.random.choice([3, 10, 40, 200, 200]))
        elif what == "append":
            self._append(self.random.choice([1, 10, 50, 200]))
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
        else:
            self.cluster.wait(self.random.choice([0.1, 1, 20, 40, 130]))

    def _numbers_down(self) -> list[int]:
        return sorted(set(range(self.plan.workers)) - {worker.number for worker in self.workers})

    def _append(self, count: int) -> None:
        for _ in range(min(count, len(self.input))):
            one = self.input.pop()
            self.clock.advance(0.001)
            self.cluster.append((one.topic, one.partition), one.key, one.value, self.cluster.now_ms() + one.skew_ms)

    def _start(self, number: int) -> None:
        plan = self.plan
        host = Host(self.cluster, self.group, self.random, faults=plan.faults)
        self.workers.append(Worker(number, host, self.config, self.clock, self.disk))

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
        if error is not None and not isinstance(error, Doubt | BrokerError):
            raise AssertionError(f"worker {worker.number} ended of {error!r}") from error

    def _beat(self) -> None:
        """What goes on while time passes: the client threads of all processes that are awake, and the group's patience."""
        for worker in self.workers:
            if not worker.host.is_suspended:
                for member in worker.host.members:
                    member.background()
        self.group.expire()

    def _finish(self) -> None:
        """No more trouble: all that is written is folded."""
        self.plan = plan = self.plan
        for worker in self.workers:
            worker.host.faults, worker.host.is_suspended, worker.host.stopping = 0.0, False, False
        self._append(len(self.input))
        for _ in range(ROUNDS_MAX):
            if self._done():
                return
            for number in self._numbers_down()[: plan.workers]:
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
                rest = list(self.cluster.partitions[spot].visible(self.cluster.offsets.get(spot, 0)))
                if rest:
                    left[spot] = len(rest)
        return left

    def _done(self) -> bool:
        return self.cluster.quiet and not self._left()


def simulate(plan: Plan) -> tuple[Counter[str], Counter[str]]:
    """What there is of each output topic in the end, and what happened."""
    with simulated_clients():
        world = World(plan)
        return world.live(), world.happened
