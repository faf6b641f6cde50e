"""Steps: a series that jumps from level to level, and is independent in between, only looks as if it depended.

Real drifts within the values from which dependence is learned look like a level that wanders. A series that is whitened
by such a level raises no alarm any more. So three accounts of these values are compared by what they leave, at a price
of ln n for each number they use (G. Schwarz, "Estimating the dimension of a model", 1978): levels between jumps, found
by halving again and again where it helps most (L. Ju. Vostrikova, 1981); inertia; and the slowest waves, as a cycle far
longer than what has been seen is smooth. Jumps have to beat both, and leave no dependence on the value before.
"""

from __future__ import annotations

import math

import numpy as np

from detectors.arrays.types import F64
from detectors.shiryaev_roberts import arma

JUMPS_MAX = 16
APART = 24  # values between jumps, at least
WAVES = 40
CLEAR = 30.0  # by which jumps have to beat the waves
DEPENDS_Z = 3.0  # standard errors of what they leave


def without_jumps(d: F64) -> F64 | None:
    """What the jumps of these values leave of them; None where they are not the best account."""
    levels, price = _levels(d)
    centred = d - d.mean()
    if price >= _price_of_waves(centred) - CLEAR:
        return None
    inertia = arma.fit(centred)
    if inertia is not None and price >= _price(float(inertia.innovations @ inertia.innovations), len(d), 2):
        return None
    left = d - levels
    z = (
        abs(float(left[1:] @ left[:-1])) / max(float(left @ left), 1e-9) * math.sqrt(len(d))
    )  # levels may be all there is
    return left if z < DEPENDS_Z else None


def _price(squares: float, n: int, numbers: int) -> float:
    """Schwarz' criterion of `n` values, of which so many numbers leave these squares."""
    return n * math.log(max(squares, 1e-9) / n) + numbers * math.log(n)


def _levels(d: F64) -> tuple[F64, float]:
    """The level at each value, and the price of the levels."""
    n = len(d)
    sums = np.concatenate([[0.0], np.cumsum(d)])
    squares = float(d @ d) - sums[-1] ** 2 / n
    pieces = {(0, n): _jump(sums, 0, n)}
    found, least = dict(pieces), _price(squares, n, 0)
    for jumps in range(1, JUMPS_MAX + 1):
        piece = max(pieces, key=lambda of: pieces[of][0])
        gain, at = pieces.pop(piece)
        if gain == 0.0:
            break
        for first, end in ((piece[0], at), (at, piece[1])):
            pieces[first, end] = _jump(sums, first, end)
        squares -= gain
        price = _price(squares, n, 2 * jumps)  # of each jump, where it is and how far it goes
        if price < least:
            found, least = dict(pieces), price
    levels = np.empty(n)
    for first, end in found:
        levels[first:end] = (sums[end] - sums[first]) / (end - first)
    return levels, least


def _jump(sums: F64, first: int, end: int) -> tuple[float, int]:
    """The jump that leaves least of these values: the squares it saves, none where they are too few, and its place."""
    if end - first < 2 * APART:
        return 0.0, first
    at = np.arange(first + APART, end - APART + 1)
    before, after = sums[at] - sums[first], sums[end] - sums[at]
    saved = before**2 / (at - first) + after**2 / (end - at) - (sums[end] - sums[first]) ** 2 / (end - first)
    best = int(np.argmax(saved))
    return max(float(saved[best]), 0.0), int(at[best])


def _price_of_waves(d: F64) -> float:
    """The least price of the slowest cosines of the values' length, as many as pay."""
    n = len(d)
    numbers = np.arange(1, WAVES + 1)
    cosines = np.cos(np.pi / n * np.outer(numbers, np.arange(n) + 0.5)) * math.sqrt(2.0 / n)
    left = float(d @ d) - np.cumsum((cosines @ d) ** 2)
    return min(_price(float(squares), n, k) for k, squares in zip(numbers.tolist(), left, strict=True))
