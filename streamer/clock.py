"""The only reader of the wall clock.

All decisions depend on the event time of records alone. The machine's clock serves three purposes: when to commit,
whether the loop still turns, and times in metrics. Code that needs it takes a `Clock`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class StageTimes:
    """Seconds spent by stage since this process began, for metrics; part of no state."""

    clock: Clock = field(default_factory=SystemClock)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Add the time of the block to a stage, also when the block raises."""
        began_s = self.clock.monotonic_s()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + self.clock.monotonic_s() - began_s


SECONDS: Final = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}
DURATION_PATTERN: Final = "^(?=[0-9])" + "".join(f"(?:([0-9]{{1,9}}){unit})?" for unit in SECONDS) + "$"


def seconds_of(text: str, *, least: int = 1) -> int:
    """The seconds of a duration: whole numbers with w, d, h, m or s, each at most once and in this order.

    Raises ValueError for any other text, and for less than `least` seconds.

    >>> seconds_of("1h30m")
    5400
    """
    found = re.fullmatch(DURATION_PATTERN[:-1], text)
    seconds = sum(int(n) * unit for n, unit in zip(found.groups("0"), SECONDS.values(), strict=True)) if found else -1
    if seconds < least:
        raise ValueError(f"{text!r} is not like 90s, 30m, 1h30m or 7d")
    return seconds
