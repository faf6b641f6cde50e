"""Effects of all units on one scale."""

from __future__ import annotations

from math import erf, sqrt

_ERF_OF_HALF_SD = 2 * sqrt(2)


def strength_of(effect: float, effect_unit: str) -> float:
    """The effect as a Kolmogorov-Smirnov distance, 0 to 1.

    A shift by `d` standard deviations is counted as the distance between two normal distributions that far apart,
    2 Φ(d / 2) - 1. A total variation distance is one already, and an unknown unit is taken as it is, at most 1.
    """
    return erf(effect / _ERF_OF_HALF_SD) if effect_unit == "sd" else min(effect, 1.0)
