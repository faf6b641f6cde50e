"""What a simulated client needs of the world around it, and the ways in which that lets it down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

from kafka.errors import KafkaConnectionError, KafkaTimeoutError, NotLeaderForPartitionError
from sim_cluster import Cluster
from sim_group import Group
from sim_process import Process

from streamer.eventlog.kafka.deadline import DeadlineExceeded

T = TypeVar("T")


class Hang(Exception):  # noqa: N818 - it says what happened
    """The call would never return; whoever gave it a deadline sees that overrun."""


def within(_deadline_s: float, call: Callable[[], T]) -> T:
    """As `streamer.eventlog.kafka.deadline.within`, without its thread."""
    try:
        return call()
    except Hang as hang:
        raise DeadlineExceeded(str(hang)) from hang


@dataclass
class Host:
    """One process of the service with its way to the cluster."""

    cluster: Cluster
    group: Group
    random: Random
    process: Process | None = None
    faults: float = 0.0  # the share of calls that fail
    is_suspended: bool = False  # stopped by SIGSTOP, or away from the network: sends no heartbeats
    stopping: bool = False  # asked to stop in order
    members: list[Any] = field(default_factory=list)  # consumers with a membership
    bootstrap: tuple[str, ...] = ("simulated:9092",)
    principal: str = ""

    def step(self) -> None:
        """The process may be interrupted here."""
        if self.process is not None:
            self.process.step()

    def rest(self, seconds: float) -> None:
        """Wait for something that others do."""
        self.cluster.wait(seconds)
        if self.process is not None:
            self.process.rest()

    def call(self, work: Callable[[], T], hangs: bool = False, is_read: bool = False) -> T:
        """A call to the cluster: it may be interrupted before and after, and it may fail, though it was done.

        One that `hangs` has no time-out of its own; one that `is_read` fails before anything is done.
        """
        self.step()
        outcome = self.random.random() / self.faults if self.faults else 1.0
        if outcome < (1 if is_read else 0.5):
            raise self._failure(hangs)
        result = work()
        self.step()
        if outcome < 1:
            raise self._failure(hangs)
        return result

    def _failure(self, hangs: bool) -> Exception:
        kinds = [KafkaTimeoutError, KafkaConnectionError, NotLeaderForPartitionError, *[Hang] * hangs]
        return self.random.choice(kinds)("simulated")
