"""Dependence is distinguished from chance, by ranks."""

import numpy as np
import pytest

from detectors.shiryaev_roberts.cells import scores
from detectors.shiryaev_roberts.dependence import depends, forget
from detectors.shiryaev_roberts.evidence import follow_all
from detectors.shiryaev_roberts.state import WORDS, records_of

ROW = np.array([0])


def seen(values):
    series = records_of(np.zeros((1, WORDS), np.int64))
    follow_all(series, ROW, scores(values[np.newaxis]))
    series[0]["n"] = len(values)
    return series


def inert(random, phi, n):
    values, last = np.empty(n), 0.0
    for i in range(n):
        values[i] = last = phi * last + random.normal()
    return values


@pytest.mark.parametrize("law", ["normal", "coins", "cauchy", "whole"])
def test_independent_values_pass(law):
    """Hardly one of 1,000 series of 256 values is taken for one that depends on its past."""
    random = np.random.default_rng(1)
    draw = {
        "normal": lambda: random.normal(size=256),
        "coins": lambda: (random.random(256) < 0.1).astype(np.float64),
        "cauchy": lambda: random.standard_cauchy(256),
        "whole": lambda: random.poisson(3.0, 256).astype(np.float64),
    }[law]
    assert sum(depends(seen(draw()), ROW)[0] for _ in range(1000)) <= 3


@pytest.mark.parametrize("phi", [0.5, 0.9, -0.6])
def test_inertia_is_found(phi):
    """In 256 values, also where it swings."""
    random = np.random.default_rng(2)
    assert all(depends(seen(inert(random, phi, 256)), ROW)[0] for _ in range(50))


def looked_at_twice(values, first=448):
    """What the second look finds, after all values."""
    ranks = scores(values[np.newaxis])
    series = records_of(np.zeros((1, WORDS), np.int64))
    for part in (ranks[:, :first], ranks[:, first:]):
        follow_all(series, ROW, part)
        series[0]["n"] += part.shape[1]
        found = depends(series, ROW)[0]
    return found


def test_a_cycle_under_noise_is_found():
    """Nearly always, where the value before alone seldom shows it."""
    random = np.random.default_rng(3)
    cycle = 0.6 * np.sin(np.arange(512) * 2 * np.pi / 128)
    assert sum(looked_at_twice(random.normal(size=512) + cycle) for _ in range(100)) >= 90


def test_what_has_come_since_the_last_look_is_drift():
    """A level that moves between two looks makes values look alike that follow each other, and is no dependence."""
    random = np.random.default_rng(5)
    moved = 1.5 * (np.arange(512) >= 448)
    values = [random.normal(size=512) + moved for _ in range(50)]
    assert sum(looked_at_twice(one) for one in values) <= 5
    assert sum(looked_at_twice(one, first=480) for one in values) >= 25  # both looks have seen it


def test_forgetting():
    """Nothing is known afterwards."""
    series = seen(inert(np.random.default_rng(4), 0.9, 256))
    forget(series, ROW)
    assert not depends(series, ROW)[0]
    assert series[0]["pairs"] == 0
