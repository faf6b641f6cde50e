"""The dependence gate: do the values of a series depend on earlier ones?

Evidence is counted as if values were independent, so a series whose values are not must be told from one that drifts.
Asked early in a series, and again each time its length has doubled, of its ranks: so the answer knows no units.
"""

from __future__ import annotations

import math

from detectors.rank_state import Series

FIRST_LOOK = 256  # values at the first look ...
FIRST_Z, LATER_Z = 4.0, 4.5  # standard errors that prove dependence then, and later
SLOW = 16.0  # values over which the slow averages of ranks reach

_SUMS = ("pairs", "q_last", "q_slow", "p_slow", "qq", "qq_last", "qq_slow", "pp", "pp_slow")


def forget(series: Series, row: int) -> None:
    """Take nothing to be known of the dependence of a series."""
    for name in _SUMS:
        series[row][name] = 0


def depends(series: Series, row: int) -> bool:
    """Whether the ranks so far prove dependence: on the last one, or on the average of the last ones."""
    one = series[row]
    n, qq = int(one["n"]), max(float(one["qq"]), 1e-9)
    z = FIRST_Z if n == FIRST_LOOK else LATER_Z
    last = abs(float(one["qq_last"])) / qq * math.sqrt(n)
    slow = float(one["qq_slow"]) / qq * math.sqrt((2.0 * SLOW - 1.0) * n)
    return last > z or slow > z
