"""The parent's messages about a worker's end: what happened, and what to do next."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Final

from streamer.errors import BrokerError, InDoubtError

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
