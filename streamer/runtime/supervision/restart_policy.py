"""The restart policy: whether and when a worker that ended starts again. Pure: no clock, no process.

A worker can restart at any time, because its state is in the log. It restarts at once if it made progress, and after a
growing delay if it made none. An end that a restart can't cure is final.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from streamer.errors import BrokerError, GapError, InDoubtError, UsageError

DONE: Final = 0
FINAL_CODES: Final = frozenset({DONE, UsageError.exit_code, GapError.exit_code})

FIRST_DELAY_S: Final = 0.5
DELAY_MAX_S: Final = 30.0
STARTS_WITHOUT_PROGRESS_MAX: Final = 10  # isolating a poison record takes up to nine (see `streamer/runtime/poison.py`)


@dataclass(frozen=True, slots=True)
class RestartLimits:
    """Bounds of restarts. Delays are in seconds; the first restart without progress has none."""

    first_delay_s: float = FIRST_DELAY_S
    delay_max_s: float = DELAY_MAX_S
    starts_without_progress_max: int = STARTS_WITHOUT_PROGRESS_MAX  # starts in a row without progress

    def delay_s(self, starts_without_progress: int) -> float:
        """Seconds to wait after so many starts in a row without progress: 0, 0, then doubling up to the maximum."""
        if starts_without_progress <= 1:
            return 0.0
        doublings = min(starts_without_progress - 2, 64)  # more make no difference, and would not fit a float
        return min(self.first_delay_s * 2.0**doublings, self.delay_max_s)


@dataclass(frozen=True, slots=True)
class Restart:
    """Restart the worker after `after_s` seconds."""

    after_s: float


@dataclass(frozen=True, slots=True)
class End:
    """End all workers; the parent exits with `exit_code`. `hopeless`: too many restarts made no progress."""

    exit_code: int
    hopeless: bool = False


class RestartPolicy:
    """The ends of one worker so far, and the decision after the next one."""

    def __init__(self, limits: RestartLimits) -> None:
        self._limits = limits
        self.starts_without_progress = 0  # starts in a row without progress
        self.unexcused = 0  # those of them with another cause than an unreachable broker

    def ended(self, returncode: int, *, progressed: bool, ever_progressed: bool) -> Restart | End:
        """The decision after an end with `returncode`, as `subprocess` gives it: -9 is an end by SIGKILL.

        `progressed`: the worker has committed something since its start. `ever_progressed`: some worker of this parent
        has. A broker that was reachable before has an outage, and restarts wait it out. A broker that was never
        reachable is more likely a wrong address, which ends the parent at once.
        """
        unreached = returncode == BrokerError.exit_code
        if returncode in FINAL_CODES or (unreached and not (ever_progressed or progressed)):
            return End(returncode)
        if progressed:
            self.starts_without_progress = self.unexcused = 0
            return Restart(0.0)
        self.starts_without_progress += 1
        self.unexcused += not unreached
        if self.unexcused >= self._limits.starts_without_progress_max:
            return End(exit_code_of(returncode), hopeless=True)
        return Restart(self._limits.delay_s(self.starts_without_progress))


class CompanionPolicy:
    """The ends of a process beside the workers: it restarts for ever, as it holds nothing that they need.

    Only settings that it can't use end all, so that nobody waits for a page that never comes.
    """

    def __init__(self, limits: RestartLimits) -> None:
        self._limits = limits
        self.starts_without_progress = 0  # starts so far: it reports no progress

    def ended(self, returncode: int, *, progressed: bool, ever_progressed: bool) -> Restart | End:  # noqa: ARG002
        """The decision after an end with `returncode`; see `RestartPolicy`."""
        if returncode == UsageError.exit_code:
            return End(returncode)
        self.starts_without_progress += 1
        return Restart(self._limits.delay_s(self.starts_without_progress))


def exit_code_of(returncode: int) -> int:
    """The parent's exit code after a worker's end: the worker's own, or 75 if a signal ended it."""
    return InDoubtError.exit_code if returncode < 0 else returncode


_MEANING: Final = {
    1: "an unexpected error",
    BrokerError.exit_code: "Kafka can't be reached, refuses us, or lacks a topic",
    InDoubtError.exit_code: "a commit in doubt",
}

_SAFE: Final = "Committed results are safe, and the next start continues from there"
_NEXT: Final = {
    1: f"The traceback shows a bug: please report it. {_SAFE}",
    InDoubtError.exit_code: (
        "Check Kafka: brokers that restart, a full disk, a network that drops packets; or another Driftline with the "
        f"same kafka.group. {_SAFE}"
    ),
    -signal.SIGKILL: (
        "Unless a person killed it, the kernel did, for lack of memory (see `dmesg`): give it more, or watch fewer "
        f"columns. {_SAFE}"
    ),
}
_ELSE: Final = f"Check its last lines. {_SAFE}"


def how_it_ended(returncode: int) -> str:
    """As in "ended with exit code 75 (a commit in doubt)" or "was ended by SIGKILL"."""
    if returncode < 0:
        return f"was ended by {_signal_name(-returncode)}"
    meaning = _MEANING.get(returncode)
    return f"ended with exit code {returncode}" + (f" ({meaning})" if meaning else "")


def restart_message(who: str, returncode: int, after_s: float, starts: int) -> str:
    """One sentence for each restart."""
    when = f"in {after_s:g} s" if after_s else "at once"
    row = f", after {starts} starts in a row without progress" if starts > 1 else ""
    return f"{who} {how_it_ended(returncode)} and restarts {when}{row}"


def give_up_message(who: str, returncode: int, starts: int, last_lines: Sequence[str]) -> str:
    """Why the parent gives up: the number of starts, the last end, the worker's last lines, what to do."""
    said = ["Its last lines:", *(f"    {line}" for line in last_lines)] if last_lines else ["It logged nothing."]
    return "\n".join(
        [
            f"gave up: {who} was started {starts} times in a row without committing anything, and the last time it "
            f"{how_it_ended(returncode)}.",
            *said,
            f"{_NEXT.get(returncode, _ELSE)}.",
        ]
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
