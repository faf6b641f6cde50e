"""What to do when a worker ends: start it again, and when, or let everything end. Pure: no clock, no process.

A worker is made to be started again: whatever it knows is in the log. So an end is met with a new start, at once where
the worker got something done, and after a growing delay where it did not. An end that a new start can't cure is final.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from streamer.errors import BrokerError, GapError, InDoubtError, UsageError

DONE: Final = 0
FINAL_CODES: Final = frozenset({DONE, UsageError.exit_code, GapError.exit_code})

FIRST_DELAY_S: Final = 0.5
DELAY_MAX_S: Final = 30.0
FRUITLESS_MAX: Final = 10  # it takes up to nine to find a record that kills (see `streamer/runtime/poison.py`)


@dataclass(frozen=True, slots=True)
class RestartLimits:
    """How patient the parent is. Delays are in seconds, the first restart without progress has none."""

    first_delay_s: float = FIRST_DELAY_S
    delay_max_s: float = DELAY_MAX_S
    fruitless_max: int = FRUITLESS_MAX  # starts in a row without progress

    def delay_s(self, fruitless: int) -> float:
        """How long to wait after so many starts in a row without progress: 0, 0, then doubling up to the maximum."""
        if fruitless <= 1:
            return 0.0
        doublings = min(fruitless - 2, 64)  # more could not be told apart, and would not fit a float
        return min(self.first_delay_s * 2.0**doublings, self.delay_max_s)


@dataclass(frozen=True, slots=True)
class Restart:
    """Start the worker again after so many seconds."""

    after_s: float


@dataclass(frozen=True, slots=True)
class End:
    """End all workers; the parent's exit code is `exit_code`. `hopeless`: starts were tried and are given up."""

    exit_code: int
    hopeless: bool = False


class Restarts:
    """The ends of one worker so far, and what follows from the next."""

    def __init__(self, limits: RestartLimits) -> None:
        self._limits = limits
        self.fruitless = 0  # starts in a row without progress
        self.unexcused = 0  # those of them that an unreachable broker does not excuse

    def ended(self, returncode: int, *, progressed: bool, ever_progressed: bool) -> Restart | End:
        """A worker has ended: `returncode` as `subprocess` has it, so -9 is an end by SIGKILL.

        `progressed` says whether it had committed anything since its start, `ever_progressed` whether any worker of
        this parent ever had. A broker that was reached once and is not now is an outage, and is waited out however
        long it lasts; one that never was is more likely a wrong address, and is told at once.
        """
        unreached = returncode == BrokerError.exit_code
        if returncode in FINAL_CODES or (unreached and not (ever_progressed or progressed)):
            return End(returncode)
        if progressed:
            self.fruitless = self.unexcused = 0
            return Restart(0.0)
        self.fruitless += 1
        self.unexcused += not unreached
        if self.unexcused >= self._limits.fruitless_max:
            return End(exit_code_of(returncode), hopeless=True)
        return Restart(self._limits.delay_s(self.fruitless))


def exit_code_of(returncode: int) -> int:
    """The exit code that stands for a worker's end: its own, or 75 where a signal ended it."""
    return InDoubtError.exit_code if returncode < 0 else returncode
