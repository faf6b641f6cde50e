"""Changes of shares: of ones among zeros, of categories, and of values that are missing."""

from __future__ import annotations

from collections.abc import Mapping

TEN = (0.3, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05, 0.04, 0.03, 0.03)

# the share of ones before, and after
RATES: Mapping[str, tuple[float, float]] = {
    f"{before:g} to {after:g}": (before, after)
    for before, after in (
        (0.02, 0.1), (0.05, 0.2), (0.1, 0.3), (0.2, 0.3), (0.2, 0.4), (0.3, 0.6),
        (0.5, 0.7), (0.5, 0.3), (0.4, 0.1), (0.8, 0.5), (0.9, 0.7), (0.95, 0.8),
    )
}  # fmt: skip

# the shares of categories before, and after
CATEGORIES: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "two, .3 to .5": ((0.7, 0.3), (0.5, 0.5)),
    "two, .05 to .2": ((0.95, 0.05), (0.8, 0.2)),
    "three, two change places": ((0.6, 0.3, 0.1), (0.3, 0.6, 0.1)),
    "three, one gone": ((0.5, 0.3, 0.2), (0.7, 0.3, 0.0)),
    "three, and a new one of .1": ((0.5, 0.3, 0.2, 0.0), (0.45, 0.27, 0.18, 0.1)),
    "three, and a new one of .4": ((0.5, 0.3, 0.2, 0.0), (0.3, 0.18, 0.12, 0.4)),
    "five, one from .1 to .25": ((0.1, 0.3, 0.3, 0.2, 0.1), (0.25, 0.25, 0.25, 0.15, 0.1)),
    "five, one from .4 to .2": ((0.4, 0.15, 0.15, 0.15, 0.15), (0.2, 0.2, 0.2, 0.2, 0.2)),
    "ten, six of them": (TEN, (0.1, 0.1, 0.3, 0.1, 0.05, 0.2, 0.05, 0.04, 0.03, 0.03)),
    "ten, the first two change places": (TEN, (0.2, 0.3, *TEN[2:])),
    "thirty, one from .03 to .15": ((1 / 30,) * 30, (0.15, *(0.85 / 29,) * 29)),
    "thirty, three new ones": ((1 / 30,) * 30 + (0.0,) * 3, (0.8 / 30,) * 30 + (0.2 / 3,) * 3),
}
