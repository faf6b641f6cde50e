"""What a detector can see: the smallest shift of a column that it finds within so many values, by trial.

Rather than a formula for each test, the detector itself is run: on series drawn from a sample of the column's values,
shifted by so much and so much. What it says therefore holds for every detector that takes numbers, with all it does
about ties, dependence and small references.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from detectors.base import F64, I64, Bank

SERIES: Final = 40  # on which a shift is tried
SEEN: Final = 0.8  # share of them that must alarm
TRIED_MAX: Final = 5.0  # standard deviations
STEPS: Final = 7  # halvings of the logarithm of the shift, from 0.01 to 5: the answer is right to 5 %
_SMALLEST: Final = 0.01


def smallest_shift(make: Callable[[int], Bank], sample: F64, n: int, settled: int = 0) -> float | None:
    """The smallest shift that 8 of 10 series of `n` values show, in standard deviations of the sample, 0.01 to 5.

    make: a fresh bank of so many rows, which takes a reference, or else learns of its first `settled` values.
    sample: values of the column before the shift, from 2. Series are drawn from it, so it stands for the law.
    n: values after the shift, from 1.

    None where not even 5 standard deviations are seen, as for a constant column. The answer is that of a fixed seed.
    ValueError for a sample of less than 2 values or n below 1.
    """
    if len(sample) < 2 or n < 1:
        raise ValueError(f"it takes 2 values and 1 value after the shift, not {len(sample)} and {n}")
    deviation = float(np.std(sample))
    if deviation == 0.0 or not _is_seen(make, sample, n, settled, TRIED_MAX * deviation):
        return None
    low, high = _SMALLEST, TRIED_MAX
    for _ in range(STEPS):
        middle = float(np.sqrt(low * high))
        if _is_seen(make, sample, n, settled, middle * deviation):
            high = middle
        else:
            low = middle
    return high


def _is_seen(make: Callable[[int], Bank], sample: F64, n: int, settled: int, shift: float) -> bool:
    """Whether enough of the series alarm after the shift. Draws are the same for every shift."""
    random = np.random.default_rng(0)
    bank = make(SERIES)
    if bank.takes_reference and not settled:
        for row in range(SERIES):
            bank.set_reference(row, sample)
    values = random.choice(sample, (settled + n, SERIES))
    values[settled:] += shift
    rows: I64 = np.tile(np.arange(SERIES), settled + n)
    alarms = bank.update(rows, values.reshape(-1), np.zeros_like(rows))  # of no first day, which may hide a shift
    after = alarms.row[alarms.at >= settled * SERIES]
    return len(np.unique(after)) >= SEEN * SERIES
