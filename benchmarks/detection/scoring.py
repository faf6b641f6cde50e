"""What alarms are worth: seen early is good, in vain is bad, and firing at random loses."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from benchmarks.detection.drifts import HORIZON, Stream
from detectors.arrays.types import I64

PRICE = 0.1  # of one false alarm in 10,000 values


@dataclass
class Score:
    """What a detector did on some streams."""

    false: int = 0
    quiet: int = 0  # values at which an alarm would have been false
    gains: dict[str, list[float]] = field(default_factory=dict)  # by family: 1 seen at once, 0 not seen
    delays: list[int] = field(default_factory=list)
    onset_errors: list[int] = field(default_factory=list)
    seconds: float = 0.0
    values: int = 0

    @property
    def false_10k(self) -> float:
        return 1e4 * self.false / self.quiet if self.quiet else 0.0

    def net(self, false_10k: float, only: str = "") -> float:
        """Mean gain over families, less the price of false alarms."""
        means = [np.mean(gains) for name, gains in self.gains.items() if name.startswith(only)]
        return float(np.mean(means)) - PRICE * false_10k


def judge(at: I64, onset: I64, stream: Stream, family: str, score: Score) -> None:
    """The first alarm within a drift's time sees it, further ones repeat it, all others are false."""
    false = np.ones(len(at), bool)
    score.quiet += len(stream.values)
    for start, width in stream.drifts:
        long = width + HORIZON
        score.quiet -= long
        within = (start <= at) & (at < start + long)
        false &= ~within
        gains = score.gains.setdefault(family, [])
        if not within.any():
            gains.append(0.0)
            continue
        first = int(np.argmax(within))
        gains.append(1.0 - (at[first] - start) / long)
        score.delays.append(int(at[first] - start))
        if width == 0:
            score.onset_errors.append(abs(int(onset[first]) - start))
    score.false += int(false.sum())
