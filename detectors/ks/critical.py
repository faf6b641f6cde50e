"""The critical value of a two-sample Kolmogorov-Smirnov test, as a whole number.

The distance between the distribution functions of `reference` and `window` values is a whole multiple of
1 / lcm(reference, window). Kept as that whole number it has no rounding, and "p <= alpha" becomes a comparison with a
critical number. Source: N. V. Smirnov, "Table for estimating the goodness of fit of empirical distributions", Annals of
Mathematical Statistics, 1948; p-values are those of scipy.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple


class KsScale(NamedTuple):
    """The units of two sizes. All distances are whole multiples of `1 / unit`."""

    critical: int  # the smallest distance that counts as drift
    unit: int  # lcm of the sizes
    reference_step: int  # how much one value of the reference adds to its distribution function
    window_step: int  # how much one value of the window adds to its own


def p_value(distance: float, reference: int, window: int) -> float:
    """The p-value of this distance between so many values, of one test, as `ks_2samp(..., method="asymp")` has it."""
    from scipy.stats import kstwo  # costs half a second, so only when it is needed

    larger, smaller = float(max(reference, window)), float(min(reference, window))
    return float(kstwo.sf(distance, round(larger * smaller / (larger + smaller))))


@lru_cache(maxsize=4096)
def scale_of(reference: int, window: int, alpha: float) -> KsScale:
    """The scale of a test at level `alpha` between so many values.

    Drift is where `scipy.stats.ks_2samp(..., method="asymp").pvalue <= alpha`: the Kolmogorov distribution of
    `reference * window / (reference + window)` values, rounded, as scipy has it.
    """
    from scipy.stats import kstwo  # costs half a second, so only when it is needed

    unit = math.lcm(reference, window)
    larger, smaller = float(max(reference, window)), float(min(reference, window))
    n = round(larger * smaller / (larger + smaller))
    low, high = 0, unit
    while low < high:
        middle = (low + high) // 2
        if kstwo.sf(middle / unit, n) <= alpha:
            high = middle
        else:
            low = middle + 1
    return KsScale(low, unit, unit // reference, unit // window)
