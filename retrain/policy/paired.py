"""A sequential test of two models by their errors on the same events: which one is better, at a set error rate.

Each pair of errors gives d = (a - b) / (a + b), within -1 and 1, 0 where both are 0. A gambler who does not know the
next pair stakes a share of his capital on d > 0. While d is 0 or less on average, given what came before, his capital
is a nonnegative supermartingale that starts at 1. By Ville's inequality it ever reaches 1 / rate with probability
`rate` at most, so one may look after each event and stop at any time. Source: Waudby-Smith and Ramdas, "Estimating
means of bounded random variables by betting", Journal of the Royal Statistical Society B 86 (2024), with their stake
aGRAPA.

A second gambler stakes on d < 0. A test that may find either model better gives half of its rate to each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import numpy as np

EVIDENCE: Final = "evidence"  # the metric with the capital for a model, among those that trainers report
# The same of versions that predict the same events live; decisions hold them. Only the better version has evidence.
SHADOW_ERROR, SHADOW_EVIDENCE, SHADOW_PAIRS = "shadow_error", "shadow_evidence", "shadow_pairs"
STAKE_MAX: Final = 0.5  # share of the capital
PRIOR_VARIANCE: Final = 0.25  # of d, as if one pair had shown it
LOG_MAX: Final = 27.0  # of the capital: more is no more certain, and would overflow

# The columns of a test's row: of d; the logarithm of each gambler's capital, now and at its highest, the challenger's
# first; sums of errors, the champion's first; whether it has decided.
MEAN, SQUARE, PAIRS, CAPITAL, HIGHEST, SUM, DECIDED, COLUMNS = 0, 1, 2, 3, 5, 7, 9, 10
OPEN, OVER = 0.0, -1.0  # of DECIDED; above 0: by this pair of the call, from 1


class PairedEvidence(NamedTuple):
    """Capital of the gamblers after all pairs, at most e^27, and the number of pairs. Above 1 / rate is significant."""

    for_challenger: float  # that the challenger has the smaller errors
    for_champion: float
    pairs: int


def fresh_tests(n: int) -> np.ndarray[Any, Any]:
    """The rows [n, COLUMNS] of tests before their first pair."""
    tests = np.zeros((n, COLUMNS))
    tests[:, SQUARE] = PRIOR_VARIANCE
    return tests


def bet(tests: Any, rows: Any, champion: Any, challenger: Any, needed: float) -> None:
    """Take pairs of errors in, in order of time: those of `rows[k]` are `champion[k]` and `challenger[k]`, 0 or more.

    A test decides once a capital has reached e^`needed` and that model has the smaller errors on average as well; then
    it takes no more pairs. Pairs with an error that is not finite are left out. Callers may compile this.
    """
    for k in range(len(rows)):
        test, a, b = tests[rows[k]], champion[k], challenger[k]
        sum_a, sum_b = test[SUM] + a, test[SUM + 1] + b
        if test[DECIDED] != OPEN or not (math.isfinite(sum_a) and math.isfinite(sum_b)):
            continue
        d = (a - b) / (a + b) if a + b > 0 else 0.0
        stake = test[MEAN] / (test[SQUARE] + 1e-12)
        for side in range(2):
            sign = 1.0 - 2.0 * side
            share = min(max(sign * stake, 0.0), STAKE_MAX)
            test[CAPITAL + side] += math.log1p(share * sign * d)
            test[HIGHEST + side] = min(max(test[HIGHEST + side], test[CAPITAL + side]), LOG_MAX)
            if test[HIGHEST + side] >= needed and sign * (sum_a - sum_b) > 0:
                test[DECIDED] = k + 1.0
        test[PAIRS] += 1
        test[SUM], test[SUM + 1] = sum_a, sum_b
        test[MEAN] += (d - test[MEAN]) / (test[PAIRS] + 1)
        test[SQUARE] += (d * d - test[SQUARE]) / (test[PAIRS] + 1)


def paired_evidence(champion: Iterable[float], challenger: Iterable[float]) -> PairedEvidence:
    """The evidence of paired errors, 0 or more, in order of time. Capital counts at its highest so far.

    Pairs with an error that is not finite are left out. Raises `ValueError` for lists of different lengths and for
    errors below 0.

    >>> paired_evidence([2.0] * 40, [1.0] * 40).for_challenger > 20
    True
    """
    pairs = np.array(list(zip(champion, challenger, strict=True)), float).reshape(-1, 2)
    if len(below := pairs[np.isfinite(pairs).all(axis=1) & (pairs < 0).any(axis=1)]):
        raise ValueError(f"errors must be 0 or more, not {below[0].min():g}")
    (test,) = tests = fresh_tests(1).tolist()
    bet(tests, [0] * len(pairs), pairs[:, 0].tolist(), pairs[:, 1].tolist(), math.inf)
    challenger_log, champion_log = test[HIGHEST : HIGHEST + 2]
    return PairedEvidence(math.exp(challenger_log), math.exp(champion_log), int(test[PAIRS]))
