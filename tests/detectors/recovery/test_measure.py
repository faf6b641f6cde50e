"""The measurement of a change."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp, norm

from detectors.recovery.measure import (
    categories_measured,
    cells_of_categories,
    cells_of_numbers,
    numbers_measured,
    onset_in,
)

numbers = st.lists(
    st.floats(-1e6, 1e6, width=32) | st.integers(-3, 3).map(float), min_size=16, max_size=120
).map(np.array)  # fmt: skip
ids = st.lists(st.integers(0, 40).map(float), min_size=16, max_size=200).map(np.array)


@given(numbers, numbers)
@settings(deadline=None)
def test_distance_is_at_most_that_of_scipy(before, after):
    """The effect is no more than the two-sample Kolmogorov-Smirnov statistic, and its standard error than one half."""
    found = numbers_measured(before, after, "ks_distance")
    if found is None:  # single precision does not tell the values apart
        assert max(abs(before).max(), abs(after).max()) > 1000 * np.ptp(np.concatenate([before, after]))
        return
    assert 0 <= found.effect <= ks_2samp(before, after, method="asymp").statistic + 1e-12
    assert 0 < found.effect_se <= 0.5


def test_chance_adds_nothing_to_a_distance():
    """On average the effect is the distance of the laws, to .015; the statistic is .04 greater."""
    rng = np.random.default_rng(5)
    pairs = [(rng.normal(0, 1, 62), rng.normal(1, 1, 500)) for _ in range(400)]
    true = 2 * norm.cdf(0.5) - 1
    found = [numbers_measured(before, after, "ks_distance") for before, after in pairs]
    assert np.mean([one.effect for one in found]) == pytest.approx(true, abs=0.015)
    assert np.mean([ks_2samp(*pair).statistic for pair in pairs]) > true + 0.03
    assert np.mean([abs(one.effect - true) <= 2 * one.effect_se for one in found]) >= 0.92


def test_a_cycle_adds_nothing_to_a_distance():
    """Values that take turns, two or five at a time, are the same before and after: the effect is about 0."""
    for cycle in (2, 5):
        before, after = np.arange(60) % cycle * 3.0, np.arange(500) % cycle * 3.0
        assert numbers_measured(before, after, "ks_distance").effect <= 0.02
        assert categories_measured(before, after).effect <= 0.02


@pytest.mark.parametrize("number", [1, 2, 5, 500])
def test_standard_errors_in_deviations(number):
    """Twice the standard error covers the truth as often as it should, also where the regime has few values so far."""
    rng = np.random.default_rng(number)
    covered = 0
    for _ in range(400):
        found = numbers_measured(rng.exponential(1, 500), 1 + rng.exponential(1, number), "sd")
        covered += abs(found.effect - 1) <= 2 * found.effect_se
    assert covered >= 0.9 * 400


@given(numbers, numbers)
@settings(deadline=None)
def test_cells_hold_all_values(before, after):
    """There are at most 24 cells, their shares add up to 1, and they are those of the cells' bounds."""
    found = cells_of_numbers(before, after)
    assert len(found.cells) == len(found.before) + 1 <= 25
    assert (np.diff(found.cells) >= 0).all()
    for shares, values in ((found.before, before), (found.after, after)):
        assert shares.sum() == pytest.approx(1)
        upper = np.append(found.cells[1:-1], np.inf)
        below = np.array([np.mean(values < edge) for edge in upper])
        np.testing.assert_allclose(np.cumsum(shares), below, atol=1e-12)


def test_cells_show_a_jump_out_of_the_old_range():
    """The new regime has cells of its own, though the old one never reached it."""
    rng = np.random.default_rng(1)
    found = cells_of_numbers(rng.normal(0, 1, 500), rng.normal(8, 1, 500))
    assert np.count_nonzero((found.after > 0.01) & (found.before == 0)) >= 8


@given(ids, ids)
@settings(deadline=None)
def test_cells_of_categories(before, after):
    """The twenty most frequent categories of both regimes, and the rest."""
    found = cells_of_categories(before, after)
    assert len(found.cells) <= 21
    assert found.before.sum() == pytest.approx(1)
    assert found.after.sum() == pytest.approx(1)
    for one, share in zip(found.cells.tolist(), found.after.tolist(), strict=True):
        if not np.isnan(one):
            assert share == pytest.approx(np.mean(after == one))


def test_many_categories_add_no_distance():
    """Where nothing changed, the distance of fifty categories is small, though that of their shares is not."""
    rng = np.random.default_rng(2)
    found = [categories_measured(*(rng.integers(0, 50, n) * 1.0 for n in (200, 500))).effect for _ in range(40)]
    assert np.mean(found) < 0.05


def test_share_of_a_category():
    """The shares are those of the category that the detector names, or of all that the old regime lacks."""
    before, after = np.repeat([1.0, 2.0], [70, 30]), np.repeat([1.0, 2.0, 3.0, 4.0], [20, 30, 40, 10])
    assert categories_measured(before, after, 2.0)[:2] == (0.3, 0.3)
    assert categories_measured(before, after, -2.0)[:2] == (0.0, 0.5)
    assert categories_measured(before, after)[:2] == (0.7, 0.2)


@pytest.mark.parametrize(("at", "least"), [(5, 36), (20, 36), (40, 36), (60, 31)])
@pytest.mark.parametrize("sd", [3.0, 8.0])
def test_onset_of_a_jump(at, least, sd):
    """The onset of a clear jump is found to the value in nearly all of forty cases; of four values, in four of five."""
    right = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        window = rng.normal(0, 1, 64)
        window[at:] += sd
        right += abs(onset_in(rng.normal(0, 1, 64), window, True) - at) <= (0 if sd == 8 else 2)
    assert right >= least


def test_units_that_are_not_measured():
    """Constant old regimes in standard deviations, and numbers too close for single precision, give none."""
    ones, twos = np.ones(20), np.full(20, 2.0)
    assert numbers_measured(ones, twos, "sd") is None
    assert numbers_measured(ones, twos, "ks_distance").effect == 1
    assert numbers_measured(1e9 + np.arange(20.0), 1e9 + np.arange(9.0, 29.0), "ks_distance") is None
