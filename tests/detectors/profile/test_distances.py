"""Distances of two samples: those of scipy, and what chance gives."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy, ks_2samp, norm, wasserstein_distance

from detectors.profile import distances

SAMPLES = st.lists(st.one_of(st.floats(-1e3, 1e3), st.integers(-3, 3).map(float)), min_size=2, max_size=60)
COUNTS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=12)


@given(before=SAMPLES, after=SAMPLES)
def test_distances_of_samples_are_those_of_scipy(before, after):
    """KS and Wasserstein, ties included, and the sizes of both."""
    ks, area = distances.ks(before, after), distances.wasserstein(before, after)
    assert ks.value == pytest.approx(ks_2samp(before, after, method="asymp").statistic, abs=1e-12)
    assert area.value == pytest.approx(wasserstein_distance(before, after), rel=1e-9, abs=1e-9)
    assert ks[2:] == area[2:] == (len(before), len(after))


@given(counts=COUNTS)
def test_distances_of_cells_are_those_of_scipy(counts):
    """Jensen-Shannon in bits; PSI as both relative entropies, where an empty cell counts as half a value."""
    old, new = (np.array(column, float) for column in zip(*counts, strict=True))
    if not old.sum() or not new.sum():
        with pytest.raises(ValueError, match="at least one value"):
            distances.psi_of_cells(old, new)
        return
    found = distances.jensen_shannon_of_cells(old, new)
    assert found.value == pytest.approx(jensenshannon(old, new, base=2), abs=1e-7)
    assert 0.0 <= found.value <= 1.0
    if old.min() and new.min():
        p, q = old / old.sum(), new / new.sum()
        expected = entropy(p, q) + entropy(q, p)
        assert distances.psi_of_cells(old, new).value == pytest.approx(expected, abs=1e-9)
    assert math.isfinite(distances.psi_of_cells(old, new).value)
    assert distances.ks_of_cells(old, new).value <= 1.0 + 1e-12


def test_cells_are_quantiles_of_the_first():
    """Ten of a hundred distinct values hold ten each; repeated values join their cells."""
    old, new = distances.cut(np.arange(100.0), np.arange(50.0))
    assert old.tolist() == [10.0] * 10
    assert new.tolist() == [10.0] * 5 + [0.0] * 5
    assert [len(part) for part in distances.cut([0.0] * 90 + [1.0] * 10, [1.0])] == [2, 2]
    assert distances.ks_of_cells(old, new).value == distances.ks(np.arange(100.0), np.arange(50.0)).value


@pytest.mark.parametrize("name", ["ks", "psi", "jensen_shannon", "wasserstein"])
@pytest.mark.parametrize(("n", "m"), [(200, 300), (2000, 500)])
def test_chance_is_what_samples_of_one_law_show(name, n, m):
    """The mean of 400 pairs of samples is as stated, to 8 %; a shift by one deviation shows five times as much."""
    random, of = np.random.default_rng(7), getattr(distances, name)
    pairs = [of(random.normal(size=n), random.normal(size=m)) for _ in range(400)]
    mean = np.mean([one.value for one in pairs])
    assert mean == pytest.approx(np.mean([one.by_chance for one in pairs]), rel=0.08)
    if n == 2000:
        assert of(random.normal(size=n), random.normal(1.0, 1.0, m)).value > 5.0 * mean


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: distances.ks([], [1.0]), "one finite number or more"),
        (lambda: distances.psi([1.0, np.nan], [1.0]), "or NaN"),
        (lambda: distances.wasserstein([[1.0]], [1.0]), r"shape \(1, 1\)"),
        (lambda: distances.cut([1.0], [1.0], cells=1), "cells must lie between 2 and 1,000, got 1"),
        (lambda: distances.psi_of_cells([1, 2], [1]), "two rows of one length"),
        (lambda: distances.ks_of_cells([1, -2], [1, 1]), "none negative"),
        (lambda: distances.wasserstein_of_cells([1, 2], [1, 1], [0.0, 1.0]), "2 cells have 3 finite edges"),
        (lambda: distances.intervals_of_cells([1, 2], [1, 1], level=95), "a level lies between 0 and 1, got 95"),
    ],
)
def test_what_is_no_sample_is_refused(call, sentence):
    """The sentence names what came."""
    with pytest.raises(ValueError, match=sentence):
        call()


@given(counts=COUNTS, data=st.data())
def test_the_area_between_cells_is_that_of_values_spread_evenly(counts, data):
    """Against Wasserstein of scipy, with a hundred values for each count, spread over its cell."""
    old, new = (np.array(column, float) for column in zip(*counts, strict=True))
    if not old.sum() or not new.sum():
        return
    steps = data.draw(st.lists(st.integers(1, 5), min_size=len(old), max_size=len(old)))
    edges = np.concatenate([[0.0], np.cumsum(steps)])
    points = (edges[:-1, None] + np.diff(edges)[:, None] * (np.arange(100) + 0.5) / 100).ravel()
    weights = [np.repeat(of, 100) for of in (old, new)]
    found = distances.wasserstein_of_cells(old, new, edges)
    assert found.value == pytest.approx(wasserstein_distance(points, points, *weights), abs=0.03 * edges[-1])
    assert found.by_chance >= 0.0


@pytest.mark.parametrize("name", ["ks", "psi", "jensen_shannon", "wasserstein"])
@pytest.mark.parametrize("shift", [0.0, 0.25, 1.0])
def test_intervals_hold_the_distance_of_the_laws(name, shift):
    """At least 90 of 100 intervals at 95 % do; without a change they begin at 0, with a large one they do not."""
    random, edges = np.random.default_rng(3), np.linspace(-4.0, 5.0, 21)
    laws = [np.diff(norm.cdf(edges - of)) / np.ptp(norm.cdf(edges[[0, -1]] - of)) for of in (0.0, shift)]
    large = [np.rint(law * 1e8) for law in laws]
    more = (edges,) if name == "wasserstein" else ()
    true = getattr(distances, f"{name}_of_cells")(*large, *more).value
    found = [
        distances.intervals_of_cells(random.multinomial(2000, laws[0]), random.multinomial(500, laws[1]), edges)[name]
        for _ in range(100)
    ]
    assert sum(low <= true <= high for low, high in found) >= 90
    assert np.median([low for low, _ in found]) == 0.0 if not shift else np.median([low for low, _ in found]) < true
    assert shift < 1.0 or all(low > 0.0 for low, _ in found)
