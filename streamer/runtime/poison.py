"""Isolation of a poison record, one that kills the process: epochs shrink until the record stands alone.

A fresh process notes an `Attempt` in the unit's history before it folds an epoch. If several attempts have no epoch
behind them, their processes died in the fold, or were killed from outside. Later processes fold smaller epochs, with an
attempt before each. What folds well is committed, so fewer and fewer records remain suspect.

That processes died while they folded the last record proves nothing: they may have been killed from outside, all of
them. So the record is on trial: a forked copy folds it while this process watches. If the copy dies too, the record
becomes a dead letter. What ends both processes proves nothing either, and the next process tries again.
"""

from __future__ import annotations

import math
import os
import resource
import select
import signal
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from numba.core import event

from streamer.eventlog.history import Attempt
from streamer.logs import log_of

TRIES = 3  # attempts at a whole epoch before it shrinks: a process may die for other reasons
SHRINK = 8

# a trial
CPU_S: Final = 20  # of processor time, besides the compilation of kernels; one record takes milliseconds
DEADLINE_S: Final = 60.0
MEMORY_BYTES: Final = 2 << 30  # beyond what this process has; one record takes megabytes
KILLS_MIN: Final = 3  # SIGKILL comes from the kernel for lack of memory, or from outside: once is no proof
FAILED: Final = 1
FATAL: Final = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGXCPU})

log = log_of("runtime")


@dataclass(frozen=True, slots=True)
class PoisonIsolation:
    """How a unit folds its next epoch. The default takes all records, with an attempt before them."""

    records_max: int | None = None  # of an epoch; None: all there are
    left: int = 0  # records that are suspect
    suspect: Mapping[str, int] | None = None  # topic -> end of the epoch whose single record may be the poison
    logs_attempts: bool = True  # whether the history gets an attempt before the epoch

    @classmethod
    def after(cls, attempts: Sequence[Attempt]) -> PoisonIsolation:
        """How to continue after attempts that no epoch followed."""
        if not attempts or (len(attempts) < TRIES and not attempts[-1].cautious):
            return cls()
        last = attempts[-1]
        if last.cautious and last.records == 1:
            return cls(1, 1, last.ends)
        return cls(max(last.records // SHRINK, 1), last.records)

    def attempt(self, unit: str, records: int, ends: Mapping[str, int]) -> Attempt:
        """The note before an epoch of `records` records that ends at `ends` (topic -> offset)."""
        return Attempt(unit, records, self.records_max is not None, dict(ends))

    def done(self, records: int) -> PoisonIsolation:
        """How to continue after an epoch of `records` records was folded."""
        left = self.left - records
        return PoisonIsolation(self.records_max, left) if left > 0 else PoisonIsolation(logs_attempts=False)


def dies_of(work: Callable[[], object]) -> bool:
    """Whether a copy of this process that does `work` fails, crashes, or needs far too much time or memory.

    False too when that stays unknown. Nothing that the copy changes is seen here.
    """
    for _ in range(KILLS_MIN):
        status = _tried(work)
        if status is None:
            log.warning("a trial gave no result within %.0f s", DEADLINE_S)
            return False
        if status != -signal.SIGKILL:
            return status == FAILED or -status in FATAL
    return True


def _tried(work: Callable[[], object]) -> int | None:
    """The end of a copy that does `work`, as `subprocess` has it; None when it does not end in time."""
    ours, theirs = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which the copy does not need
        pid = os.fork()
    if not pid:
        _end_of(work)
    os.close(theirs)
    ended = bool(select.select([ours], [], [], DEADLINE_S)[0])  # the end of the pipe, when the copy has ended
    os.close(ours)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) if ended else None


def _end_of(work: Callable[[], object]) -> None:
    """Do it in the copy, within bounds; never returns."""
    code = FAILED
    try:
        _bound()
        work()
        code = 0
    finally:
        os._exit(code)  # whatever was raised: nothing of this process may run on


def _bound() -> None:
    """Let the copy fail by itself before it takes all memory, and let the kernel take it before any other process."""
    with suppress(OSError, ValueError):
        Path("/proc/self/oom_score_adj").write_text("1000")
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_BYTES, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.RLIM_INFINITY))
    _bound_cpu(CPU_S)
    event.register("numba:compile", Compilations())  # type: ignore[no-untyped-call]


def _bound_cpu(seconds: float) -> None:
    """Let the copy have so much processor time from now on."""
    limit = resource.RLIM_INFINITY if seconds == math.inf else math.ceil(_cpu_s() + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Compilations(event.Listener):
    """Gives compilations in the copy all the time that they need: they say nothing about a record."""

    def __init__(self) -> None:
        self._depth = 0
        self._left_s = float(CPU_S)
        self._since_s = _cpu_s()

    def on_start(self, event: event.Event) -> None:  # noqa: ARG002
        self._depth += 1
        if self._depth == 1:
            self._left_s -= _cpu_s() - self._since_s
            _bound_cpu(math.inf)

    def on_end(self, event: event.Event) -> None:  # noqa: ARG002
        self._depth -= 1
        if self._depth == 0:
            self._since_s = _cpu_s()
            _bound_cpu(max(self._left_s, 1.0))
