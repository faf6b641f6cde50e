"""Other ways to watch dependence, as the literature has them, on ranks learnt from the first rows: what `joint` is
compared with. Each makes of rows [rows, streams, columns] a statistic [rows, streams], without starting again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import ndtri

from benchmarks.joint.streams import LEARN
from detectors.arrays.types import F64

WINDOW = 128  # rows
FEATURES = 128  # random, for kernels and projections


def normal_scores(x: F64) -> F64:
    """Normal scores of the ranks among the first rows of each column; 0 where missing."""
    z = np.empty_like(x)
    for s in range(x.shape[1]):
        for c in range(x.shape[2]):
            learnt = np.sort(x[:LEARN, s, c][np.isfinite(x[:LEARN, s, c])])
            z[:, s, c] = ndtri((np.searchsorted(learnt, x[:, s, c]) + 0.5) / (len(learnt) + 1))
    return np.where(np.isfinite(x), z, 0.0)


def standardised(p: F64) -> F64:
    """By mean and spread of the first rows, within 4 spreads."""
    return np.clip((p - p[:LEARN].mean(axis=0)) / (p[:LEARN].std(axis=0) + 1e-9), -4.0, 4.0)


def products(z: F64) -> F64:
    a, b = np.triu_indices(z.shape[2], 1)
    return standardised(z[:, :, a] * z[:, :, b])


def cusum(p: F64) -> F64:
    """The largest of two-sided CUSUMs (E. S. Page, 1954) that look for moves by half a spread."""
    up, down, found = np.zeros(p.shape[1:]), np.zeros(p.shape[1:]), np.empty(p.shape[:2])
    for t, now in enumerate(p):
        up, down = np.maximum(0.0, up + now - 0.25), np.maximum(0.0, down - now - 0.25)
        found[t] = np.maximum(up, down).max(axis=-1)
    return found


def mewma(p: F64) -> F64:
    """Sum of squares of moving averages (C. A. Lowry and others, 1992), each product for itself."""
    mean, found = np.zeros(p.shape[1:]), np.empty(p.shape[:2])
    for t, now in enumerate(p):
        mean += 0.02 * (now - mean)
        found[t] = (mean * mean).sum(axis=-1)
    return found


def projections(z: F64) -> F64:
    """CUSUMs of the spread of random projections."""
    w = np.random.default_rng(9).standard_normal((z.shape[2], FEATURES))
    return cusum(standardised((z @ (w / np.linalg.norm(w, axis=0))) ** 2))


def features(z: F64) -> F64:
    """Random Fourier features of a Gaussian kernel (A. Rahimi and B. Recht, 2007) as wide as rows are apart."""
    r = np.random.default_rng(9)
    w = r.standard_normal((z.shape[2], FEATURES)) / np.sqrt(2 * z.shape[2])
    return np.asarray(np.cos(z @ w + r.uniform(0, 2 * np.pi, FEATURES)))


def newma(z: F64) -> F64:
    """Distance of a fast and a slow moving average of the features (N. Keriven and others, 2020)."""
    f = features(z)
    fast, slow, found = f[0].copy(), f[0].copy(), np.empty(f.shape[:2])
    for t, now in enumerate(f):
        fast += 0.02 * (now - fast)
        slow += 0.005 * (now - slow)
        found[t] = np.linalg.norm(fast - slow, axis=-1)
    return found


def mmd(z: F64) -> F64:
    """Maximum mean discrepancy (A. Gretton and others, 2012) of the last rows to the first ones."""
    f = features(z)
    sums = np.cumsum(f - f[:LEARN].mean(axis=0), axis=0)
    sums[WINDOW:] -= sums[:-WINDOW].copy()
    return np.asarray(np.linalg.norm(sums, axis=-1))


RIVALS: dict[str, Callable[[F64], F64]] = {
    "CUSUM of each pair's products": lambda z: cusum(products(z)),
    "MEWMA of all pairs' products": lambda z: mewma(products(z)),
    "CUSUM of 128 random projections": projections,
    "NEWMA, 128 random features": newma,
    "MMD of 128 rows, 128 random features": mmd,
}
