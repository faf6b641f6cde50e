"""The power of a detector: the smallest shift of a column that it detects within so many values, by simulation.

The detector itself runs on series that are drawn from a sample of the column's values and shifted. So the answer holds
for every detector of numbers, with its treatment of ties, dependence and small references.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np

from detectors.arrays.types import F64, I64
from detectors.base import Alarms, Bank, shares_rate
from detectors.registry import bank

SERIES: Final = 40  # series on which a shift is tried
SEEN: Final = 0.8  # share of them that must alarm
TRIED_MAX: Final = 5.0  # standard deviations
STEPS: Final = 7  # halvings of the logarithm of the shift, from 0.01 to 5: the answer is right to 5 %
_SMALLEST: Final = 0.01


def smallest_shift(make: Callable[[int], Bank], sample: F64, n: int, settled: int = 0) -> float | None:
    """The smallest shift detected in 8 of 10 series of `n` values, in standard deviations of the sample, 0.01 to 5.

    make: makes a fresh bank of so many rows, which takes a reference or learns from its first `settled` values.
    sample: values of the column before the shift, from 2. Series are drawn from it.
    n: values after the shift, from 1.

    None where not even 5 standard deviations are detected, as for a constant column. The seed is fixed. ValueError for
    a sample of fewer than 2 values or n below 1.
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


def median_delay(make: Callable[[int], Bank], sample: F64, shift: float, n: int, settled: int = 0) -> int | None:
    """The values, 1 to `n`, after which half of the series show a shift by so many standard deviations of the sample.

    Arguments and draws are those of `smallest_shift`. None where less than half of them show it within `n` values.
    """
    after = _alarms(make, sample, n, settled, shift * float(np.std(sample)))
    first = np.full(SERIES, n + 1)
    np.minimum.at(first, after.row, after.at // SERIES - settled + 1)
    delay = int(np.sort(first)[SERIES // 2 - 1])
    return delay if delay <= n else None


def _is_seen(make: Callable[[int], Bank], sample: F64, n: int, settled: int, shift: float) -> bool:
    """Whether enough series alarm after the shift."""
    return len(np.unique(_alarms(make, sample, n, settled, shift).row)) >= SEEN * SERIES


def _alarms(make: Callable[[int], Bank], sample: F64, n: int, settled: int, shift: float) -> Alarms:
    """The alarms of all series after the shift. Draws are the same for every shift."""
    random = np.random.default_rng(0)
    bank = make(SERIES)
    if bank.takes_reference and not settled:
        for row in range(SERIES):
            bank.set_reference(row, sample)
    values = random.choice(sample, (settled + n, SERIES))
    values[settled:] += shift
    rows: I64 = np.tile(np.arange(SERIES), settled + n)
    alarms = bank.update(rows, values.reshape(-1), np.zeros_like(rows))  # of no first day, which may hide a shift
    return alarms.only(alarms.at >= settled * SERIES)


VALUES: Final = (100, 1_000, 10_000)


TRAINED: Final = 10_000  # values of the normal column that stands for any


ARL0_MAX: Final = 1e12  # that detectors take as a setting


SHIFTS: Final = (0.25, 0.5, 1.0)  # standard deviations whose delays are shown ...


DELAY_MAX: Final = 3_000  # ... up to so many values ...


TRAINED_FEW: Final = 2_000  # ... after so many


VALUES_MAX: Final = 20_000  # that are tried; with more, smaller shifts may be seen


def seen(name: str, settings: Any, columns: int) -> Iterator[str]:
    """A line on the shifts that a detector of numbers sees in one of so many normal columns; none for another one."""
    if not watches_numbers(name, settings):
        return
    sample = np.random.default_rng(0).normal(size=TRAINED)
    shifts = [(n, shift_seen(name, settings, sample, n, columns)) for n in VALUES]
    smallest = [f"{f'from {shift:.2f} sd on' if shift else 'none'} in {n:,}" for n, shift in shifts]
    yield f"  {name} sees shifts {', '.join(smallest)} values (of a normal column, after {TRAINED:,} values)"


def delays(name: str, settings: Any, columns: int, asked: Mapping[int, float]) -> Iterator[str]:
    """Lines on how soon a detector of numbers sees shifts; `asked`: its `arl0` by events of a model in a day."""
    if not watches_numbers(name, settings):
        return
    sample = np.random.default_rng(0).normal(size=TRAINED_FEW)
    for a_day, arl0 in asked.items():
        make = partial(bank, name, replace(settings, arl0=min(arl0 * columns, ARL0_MAX)))
        found = {by: median_delay(make, sample, by, DELAY_MAX, TRAINED_FEW) for by in SHIFTS}
        shown = [f"{by:g} sd after {f'{n:,}' if n else f'more than {DELAY_MAX:,}'}" for by, n in found.items()]
        yield f"    {name}, at {a_day:,} events a day: arl0 {arl0:.3g}; sees {', '.join(shown)} values"


def watches_numbers(name: str, settings: Any) -> bool:
    """Whether the detector is one of single columns of numbers."""
    return bank(name, settings, 1).takes == "numbers"


def shift_seen(name: str, settings: Any, sample: F64, n: int, columns: int) -> float | None:
    """The smallest shift of a column with this training sample that is seen within `n` values, as in
    `detectors.power`, where so many columns of the model share the rate of false alarms; a detector that takes no
    reference has seen as many values as the sample has.
    """
    one = bank(name, settings, 1)
    if shares_rate(one):
        settings = replace(settings, arl0=min(settings.arl0 * columns, ARL0_MAX))
    settled = 0 if one.takes_reference else len(sample)
    return smallest_shift(lambda rows: bank(name, settings, rows), sample, min(n, VALUES_MAX), settled)
