"""What a series was like before lately, and lately: for detectors that raise an alarm without a word about it."""

from __future__ import annotations

import math
from collections import deque
from sys import float_info

LATELY = 32  # values that stand for now, at most; never more than half of them all


class RiverSummary:
    """Count, mean and spread of all values but the latest, and the latest themselves. O(1) a value."""

    __slots__ = ("latest", "mean", "n", "spread")

    def __init__(self) -> None:
        self.n = 0  # values older than the latest
        self.mean = 0.0
        self.spread = 0.0  # sum of their squared deviations from the mean (Welford 1962)
        self.latest: deque[float] = deque()

    @property
    def seen(self) -> int:
        """Values there were."""
        return self.n + len(self.latest)

    def add(self, value: float) -> None:
        if len(self.latest) == LATELY:
            self._age()
        self.latest.append(value)

    def compare(self) -> tuple[float, float, float, int, int]:
        """Effect in standard deviations, mean before and after, and how many values stand for each; all finite.

        Leaves the past as it must be for that, so it is the last thing to ask. The effect is 0 where the old values
        have no spread that could be a measure.
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
        """The oldest of the latest values is one of the older ones from now on."""
        value = self.latest.popleft()
        old = self.mean
        self.n += 1
        self.mean += value / self.n - old / self.n  # divided first, as a difference of large values is infinite
        self.spread += (value - old) * (value - self.mean)
