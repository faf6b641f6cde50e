"""A summary of the values of a series, for detectors whose alarms do not describe the change."""

from __future__ import annotations

import math
from collections import deque
from sys import float_info

LATELY = 32  # latest values, at most; never more than half of all


class RiverSummary:
    """Count, mean and spread of all values except the latest, and the latest themselves. O(1) a value."""

    __slots__ = ("latest", "mean", "n", "spread")

    def __init__(self) -> None:
        self.n = 0  # values older than the latest
        self.mean = 0.0
        self.spread = 0.0  # sum of their squared deviations from the mean (Welford 1962)
        self.latest: deque[float] = deque()

    @property
    def seen(self) -> int:
        """How many values were added."""
        return self.n + len(self.latest)

    def add(self, value: float) -> None:
        """Add the next value."""
        if len(self.latest) == LATELY:
            self._age()
        self.latest.append(value)

    def compare(self) -> tuple[float, float, float, int, int]:
        """Effect in standard deviations, mean before and after, and the number of values of each; all finite.

        Changes the summary, so nothing may be added afterwards. The effect is 0 where the old values have no spread.
        """
        while len(self.latest) > max(1, self.seen // 2):
            self._age()
        n = len(self.latest)
        after = sum(value / n for value in self.latest)  # divided first, as the sum of large values is infinite
        before = self.mean if self.n else after
        deviation = math.sqrt(self.spread / self.n) if self.n and self.spread >= 0.0 else 0.0
        effect = min(abs(after - before) / deviation, float_info.max) if 0.0 < deviation < math.inf else 0.0
        return effect, before, after, self.n, n

    def _age(self) -> None:
        """Move the oldest of the latest values to the older ones."""
        value = self.latest.popleft()
        old = self.mean
        self.n += 1
        self.mean += value / self.n - old / self.n  # divided first, as a difference of large values is infinite
        self.spread += (value - old) * (value - self.mean)
