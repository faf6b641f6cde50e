"""A sequential test of two models by their errors on the same events: which one is better, at a set error rate.

Each pair of errors gives d = (a - b) / (a + b), within -1 and 1, 0 where both are 0. A gambler who does not know the
next pair stakes a share of his capital on d > 0. While d is 0 or less on average, given what came before, his capital
is a nonnegative supermartingale that starts at 1. By Ville's inequality it ever reaches 1 / rate with probability
`rate` at most, so one may look after each event and stop at any time. Source: Waudby-Smith and Ramdas, "Estimating
means of bounded random variables by betting", Journal of the Royal Statistical Society B 86 (2024), with their stake
aGRAPA.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

EVIDENCE: Final = "evidence"  # the metric with the capital for a model, among those that trainers report
STAKE_MAX: Final = 0.5  # share of the capital
PRIOR_VARIANCE: Final = 0.25  # of d, as if one pair had shown it
LOG_MAX: Final = 27.0  # of the capital: more is no more certain, and would overflow


class PairedEvidence(NamedTuple):
    """Capital of the gamblers after all pairs, at most e^27, and the number of pairs. Above 1 / rate is significant."""

    for_challenger: float  # that the challenger has the smaller errors
    for_champion: float
    pairs: int


def paired_evidence(champion: Iterable[float], challenger: Iterable[float]) -> PairedEvidence:
    """The evidence of paired errors, 0 or more, in order of time. Capital counts at its highest so far.

    Pairs with an error that is not finite are left out. Raises `ValueError` for lists of different lengths and for
    errors below 0.

    >>> paired_evidence([2.0] * 40, [1.0] * 40).for_challenger > 20
    True
    """
    mean, square, n = 0.0, PRIOR_VARIANCE, 0
    capital, highest = [0.0, 0.0], [0.0, 0.0]  # logarithms; of the challenger, of the champion
    for a, b in zip(champion, challenger, strict=True):
        if not (math.isfinite(a) and math.isfinite(b)):
            continue
        if a < 0 or b < 0:
            raise ValueError(f"errors must be 0 or more, not {min(a, b)}")
        d = (a - b) / (a + b) if a + b > 0 else 0.0
        stake = mean / (square + 1e-12)
        for k, sign in enumerate((1.0, -1.0)):
            share = min(max(sign * stake, 0.0), STAKE_MAX)
            capital[k] += math.log1p(share * sign * d)
            highest[k] = min(max(highest[k], capital[k]), LOG_MAX)
        n += 1
        mean += (d - mean) / (n + 1)
        square += (d * d - square) / (n + 1)
    return PairedEvidence(math.exp(highest[0]), math.exp(highest[1]), n)
