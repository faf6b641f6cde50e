"""The dependence gate: do the values of a series depend on earlier ones?

Evidence is counted as if values were independent, so a series whose values are not must be distinguished from one that
drifts. The gate looks at the ranks of a series, early and again four times until its length has doubled. So units do
not matter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import I64
from detectors.shiryaev_roberts.state import Series

FIRST_LOOK = 256  # values at the first look ...
FIRST_Z, LATER_Z = 4.0, 4.5  # standard errors that prove dependence then, and later
LEAST_Z = 3.2  # each alarm in a row takes half of one off these, down to it
MORE_Z = 1.0  # standard errors more, where it is the scale that shows it
SPREAD_MIN = 0.02  # variance of the squares of ranks, under which there is no scale to speak of: 0/1 values
SLOW = 16.0  # values over which the slow averages of ranks reach

TOO_MANY = 4  # alarms in a row: dependence is learned then, whether ranks have shown it or not

_SUMS = ("pairs", "q_last", "q_slow", "p_slow", "qq", "qq_last", "qq_slow", "pp", "pp_slow")


def forget(series: Series, rows: I64) -> None:
    """Take nothing to be known of the dependence of these series."""
    for name in (*_SUMS, "shown"):
        series[name][rows] = 0


def depends(series: Series, rows: I64) -> NDArray[np.bool_]:
    """Whether ranks so far prove dependence: on the last one, on the average of the last ones, or of their scale.

    What was not half as clear at the look before has come since then, so it is drift. Remembers what showed.
    """
    n, pairs, qq = series["n"][rows], series["pairs"][rows], np.maximum(series["qq"][rows], 1e-9)
    pp, root = np.maximum(series["pp"][rows], 1e-9), np.sqrt((2.0 * SLOW - 1.0) * pairs)
    last = np.abs(series["qq_last"][rows]) / qq * np.sqrt(pairs)
    slow = series["qq_slow"][rows] / qq * root
    scale = np.where(pp > SPREAD_MIN * pairs, series["pp_slow"][rows] / pp * root - MORE_Z, 0.0)
    shows = np.stack([last, slow, scale], axis=1)
    z = np.where(n == FIRST_LOOK, FIRST_Z, LATER_Z)
    z = np.maximum(z - 0.5 * series["alarms"][rows], LEAST_Z)
    is_old = (n == FIRST_LOOK)[:, np.newaxis] | (series["shown"][rows] >= 5.0 * np.minimum(shows, 25.0))
    series["shown"][rows] = np.clip(np.rint(10.0 * shows), -127, 127)
    proven: NDArray[np.bool_] = ((shows > z[:, np.newaxis]) & is_old).any(axis=1)
    return proven
