"""Rare flags and columns that are nearly constant: false alarms as asked, not ten times as rare."""

import numpy as np
import pytest

from detectors.registry import bank, settings_of

LAWS = {
    "3 ones in 1,000": lambda r, n: (r.random(n) < 0.003).astype(np.float64),
    "1 one in 1,000": lambda r, n: (r.random(n) < 0.001).astype(np.float64),
    "zeros, 5 in 1,000 are normal": lambda r, n: np.where(r.random(n) < 0.005, r.normal(size=n), 0.0),
}


@pytest.mark.parametrize("law", LAWS)
def test_false_alarms_are_as_asked(law):
    """Of 200 asked, between half and all; 8 to 30 before."""
    random, rows, n = np.random.default_rng(1), 20, 100_000
    one, found = bank("shiryaev_roberts", settings_of("shiryaev_roberts", arl0=1e4), rows), 0
    for row in range(rows):
        found += len(one.update(np.full(n, row), LAWS[law](random, n), np.zeros(n, np.int64)))
    assert 100 <= found <= 220


def test_a_constant_raises_none():
    """Nor do its first two exceptions."""
    values = np.zeros(200_000)
    values[[150_000, 190_000]] = 1.0
    one = bank("shiryaev_roberts", settings_of("shiryaev_roberts", arl0=1e3), 1)
    assert not len(one.update(np.zeros(len(values), np.int64), values, np.zeros(len(values), np.int64)))
