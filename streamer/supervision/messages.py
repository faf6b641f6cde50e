"""What the parent says of its workers' ends: what happened, and what to do next."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Final

from streamer.errors import BrokerError, InDoubtError

_MEANING: Final = {
    1: "an error nobody foresaw",
    BrokerError.exit_code: "Kafka can't be reached, refuses us, or lacks a topic",
    InDoubtError.exit_code: "a commit in doubt",
}

_SAFE: Final = "What was committed is safe, and a new start goes on from there"
_NEXT: Final = {
    1: f"The traceback is that of a bug: please report it. {_SAFE}",
    InDoubtError.exit_code: (
        "Look at Kafka: brokers that restart, a full disk, a network that drops packets; or another Driftline that "
        f"works for the same kafka.group. {_SAFE}"
    ),
    -signal.SIGKILL: (
        "If nobody killed it, the kernel did, for lack of memory (`dmesg` says so): give it more, or watch fewer "
        f"columns. {_SAFE}"
    ),
}
_ELSE: Final = f"See what it said. {_SAFE}"


def how_it_ended(returncode: int) -> str:
    """As in "ended with exit code 75 (a commit in doubt)" or "was ended by SIGKILL"."""
    if returncode < 0:
        return f"was ended by {_signal_name(-returncode)}"
    meaning = _MEANING.get(returncode)
    return f"ended with exit code {returncode}" + (f" ({meaning})" if meaning else "")


def starting_again(who: str, returncode: int, after_s: float, fruitless: int) -> str:
    """One sentence for each new start."""
    when = f"in {after_s:g} s" if after_s else "at once"
    row = f", after {fruitless} starts in a row without progress" if fruitless > 1 else ""
    return f"{who} {how_it_ended(returncode)} and is started again {when}{row}"


def last_word(who: str, returncode: int, fruitless: int, last_lines: Sequence[str]) -> str:
    """Why the parent gives up: how often it tried, how the last try ended, what was said, what to do."""
    said = ["It said last:", *(f"    {line}" for line in last_lines)] if last_lines else ["It said nothing."]
    return "\n".join(
        [
            f"gave up: {who} was started {fruitless} times in a row without committing anything, and the last time it "
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
