"""What the detectors of a configuration can see, as text: how small a shift, in so many values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np

from detectors.base import F64, shares_rate
from detectors.power import smallest_shift
from detectors.registry import bank

VALUES: Final = (100, 1_000, 10_000)
TRAINED: Final = 10_000  # values of the normal column that stands for any
ARL0_MAX: Final = 1e12  # that detectors take as a setting
VALUES_MAX: Final = 20_000  # that are tried; with more, smaller shifts may be seen


def seen(name: str, settings: Any, columns: int) -> Iterator[str]:
    """A line on the shifts that a detector of numbers sees in one of so many normal columns; none for another one."""
    if not watches_numbers(name, settings):
        return
    sample = np.random.default_rng(0).normal(size=TRAINED)
    shifts = [(n, shift_seen(name, settings, sample, n, columns)) for n in VALUES]
    told = [f"{f'from {shift:.2f} sd on' if shift else 'none'} in {n:,}" for n, shift in shifts]
    yield f"  {name} sees shifts {', '.join(told)} values (of a normal column, after {TRAINED:,} values)"


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
