"""Calls to targets: in threads, a few for each target, and rarer the longer it does not answer."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from streamer.launch.http import traced

THREADS: Final = 8  # of each target, so a slow one delays its own runs alone
RETRY_S: Final = 1.0  # before the second try; twice as long before each further one
RETRY_MAX_S: Final = 60.0

Step = tuple[str, str]  # what is done, such as "launch"; request id


@dataclass(slots=True)
class TaskWork:
    """What a process knows of a task beyond the ledger."""

    busy: bool = False
    tries: int = 0
    next_s: float = 0.0  # monotonic
    since_s: float = 0.0  # monotonic: when this process first saw the task
    succeeded_s: float | None = None  # when the run was first seen to have ended well
    said: set[str] = field(default_factory=set)


def retry_in_s(tries: int, after_s: float) -> float:
    """The wait after so many failures, the latest one aside; not less than what the target wants."""
    return max(min(RETRY_S * 2.0 ** min(tries, 20), RETRY_MAX_S), after_s)


class Calls:
    """The calls that are under way."""

    def __init__(self) -> None:
        self._pools: dict[Hashable, ThreadPoolExecutor] = {}
        self._under_way: list[tuple[Step, Future[Any]]] = []

    def start(self, target: Hashable, step: Step, call: Callable[[], Any]) -> None:
        """Make a call in a thread of this target; what it sends has the trace of its request."""
        if target not in self._pools:
            self._pools[target] = ThreadPoolExecutor(THREADS, thread_name_prefix="launch")
        self._under_way.append((step, self._pools[target].submit(traced, step[1], call)))

    def ended(self) -> list[tuple[Step, Future[Any]]]:
        """The calls that have ended since the last time."""
        is_done = [future.done() for _, future in self._under_way]  # once, as one may end in between
        found = [one for one, done in zip(self._under_way, is_done, strict=True) if done]
        self._under_way = [one for one, done in zip(self._under_way, is_done, strict=True) if not done]
        return found

    def close(self, wait: bool = True) -> None:
        """Start no further call, and wait for those that are under way."""
        for pool in self._pools.values():
            pool.shutdown(wait=wait)
