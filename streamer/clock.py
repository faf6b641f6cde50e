"""The only reader of the wall clock.

All decisions depend on the event time of records alone. The machine's clock serves three purposes: when to commit,
whether the loop still turns, and times in metrics. Code that needs it takes a `Clock`.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Final, Protocol


class Clock(Protocol):
    """The time, for the parts that may depend on it."""

    def now_s(self) -> float:
        """Seconds since 1970; may jump when the machine's clock is set."""
        ...

    def monotonic_s(self) -> float:
        """Seconds since a fixed point; never decreases, so differences are durations."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now_s(self) -> float:
        return time.time()

    def monotonic_s(self) -> float:
        return time.monotonic()


@dataclass(slots=True)
class ManualClock:
    """A clock that only `advance` moves, for tests and simulations."""

    wall_s: float = 1_700_000_000.0
    elapsed_s: float = 0.0

    def now_s(self) -> float:
        return self.wall_s

    def monotonic_s(self) -> float:
        return self.elapsed_s

    def advance(self, seconds: float) -> None:
        """Advance by `seconds`. Raises ValueError when they are negative."""
        if seconds < 0:
            raise ValueError(f"a clock can't advance by {seconds} s")
        self.wall_s += seconds
        self.elapsed_s += seconds


SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def seconds_of(text: str) -> int:
    """The seconds of a whole number from 1 to 999,999,999 and s, m, h, d or w. ValueError for anything else.

    >>> seconds_of("4h")
    14400
    """
    found = re.fullmatch(r"(\d{1,9})([smhdw])", text)
    if not found or not int(found[1]):
        raise ValueError(f"{text!r} is not like 30m, 4h or 2d")
    return int(found[1]) * SECONDS[found[2]]
