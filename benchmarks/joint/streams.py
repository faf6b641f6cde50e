"""Rows of columns in which dependence changes, and rows in which it does not, whatever the columns do alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.signal import lfilter
from scipy.stats import rankdata

from detectors.arrays.types import F64

LEARN, CALM, HORIZON = 1000, 1000, 2000  # rows to learn from, rows without drift, and rows within which it must be seen
ROWS = LEARN + CALM + HORIZON
STREAMS = 20

Make = Callable[[np.random.Generator, int], F64]  # [ROWS, STREAMS, columns], given how many columns


def noise(r: np.random.Generator, columns: int) -> F64:
    return r.standard_normal((ROWS, STREAMS, columns))


def factor(r: np.random.Generator, columns: int, rho: F64 | float) -> F64:
    """Every two columns correlate by `rho`, which may differ from row to row."""
    share = np.broadcast_to(rho, ROWS)[:, None, None]
    return np.sqrt(share) * r.standard_normal((ROWS, STREAMS, 1)) + np.sqrt(1 - share) * noise(r, columns)


def turned(x: F64, before: float, after: float) -> F64:
    """The first two columns correlate by this much."""
    rho = np.where(LATER, after, before)[:, None]
    x[:, :, 1] = rho * x[:, :, 0] + np.sqrt(1 - rho**2) * x[:, :, 1]
    return x


def hidden(x: F64) -> F64:
    """Column 1 becomes large where column 0 is far from its middle; each stays normal, and they don't correlate."""
    after = x[LEARN + CALM :]
    v = 0.8 * (after[..., 0] ** 2 - 1) / np.sqrt(2) + 0.6 * after[..., 1]
    after[..., 1] = np.sort(after[..., 1].ravel())[rankdata(v, "ordinal").reshape(v.shape) - 1]
    return x


def inert(x: F64) -> F64:
    """Each row depends on those before: AR(1) of .9."""
    return np.asarray(lfilter([1], [1, -0.9], x, axis=0))


LATER = np.arange(ROWS) >= LEARN + CALM
UNTIL = np.arange(ROWS)[:, None, None]
DRIFTS: dict[str, tuple[Make, int]] = {
    "one correlation, .8 to -.2": (lambda r, k: turned(noise(r, k), 0.8, -0.2), 12),
    "the same, of 24 columns": (lambda r, k: turned(noise(r, k), 0.8, -0.2), 24),
    "the same, heavy tails": (lambda r, k: turned(noise(r, k), 0.8, -0.2) * r.standard_t(2, (ROWS, STREAMS, 1)), 12),
    "the same, AR(1) of .9": (lambda r, k: inert(turned(noise(r, k), 0.8, -0.2)), 12),
    "one correlation, .5 to 0": (lambda r, k: turned(noise(r, k), 0.5, 0.0), 12),
    "one becomes hidden": (lambda r, k: hidden(noise(r, k)), 12),
    "all correlations, 0 to .1": (lambda r, k: factor(r, k, np.where(LATER, 0.1, 0.0)), 12),
    "all correlations, .3 to .5": (lambda r, k: factor(r, k, np.where(LATER, 0.5, 0.3)), 12),
}
NULL = np.arange(12) == 3
CONTROLS: dict[str, Make] = {
    "independent": noise,
    "all correlate by .5": lambda r, k: factor(r, k, 0.5),
    "heavy tails": lambda r, k: factor(r, k, 0.5) * r.standard_t(2, (ROWS, STREAMS, 1)),
    "AR(1) of .9": lambda r, k: inert(noise(r, k)),
    "a cycle that all share": lambda r, k: noise(r, k) + 2 * np.sin(UNTIL * 2 * np.pi / 288),
    "all jump by 2 sd": lambda r, k: factor(r, k, 0.3) + 2.0 * (UNTIL >= LEARN + 300),
    "one column null, for 300 rows": lambda r, k: np.where(
        (abs(UNTIL - LEARN - 450) < 150) & NULL, np.nan, factor(r, k, 0.5)
    ),
}
