"""The alternatives are laws on (0, 1), and what they weigh is what they cost."""

import numpy as np
import pytest
from scipy import stats

from detectors.shiryaev_roberts.alternatives import STEPS, tables
from detectors.shiryaev_roberts.state import ALTERNATIVES


def test_each_alternative_is_a_law():
    """Densities are positive with mean 1, and distributions run from 0 to 1."""
    distribution, density, weight, *_ = tables()
    assert density.shape == (STEPS, ALTERNATIVES)
    assert weight.shape == (ALTERNATIVES,)
    assert density.min() >= 0.05
    np.testing.assert_allclose(density.mean(axis=0, dtype=np.float64), 1.0, atol=1e-6)
    assert (distribution[0] == 0.0).all()
    np.testing.assert_allclose(distribution[-1], 1.0, atol=1e-6)
    np.testing.assert_allclose(np.diff(distribution, axis=0) * STEPS, density, rtol=1e-2)


def test_weights_are_inverse_divergences():
    """The clearer an alternative, the less it weighs."""
    _, density, weight, *_ = tables()
    divergence = (density * np.log(density.astype(np.float64))).mean(axis=0)
    assert weight.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(
        weight * divergence, np.median(weight * divergence), rtol=0.25
    )  # steps blur the sharpest


@pytest.mark.parametrize(
    ("values", "expected"),
    [(stats.norm(0.6, 1.0), 4), (stats.norm(-1.0, 1.0), 7), (stats.norm(0.0, 1.6), 14)],
    ids=["up", "down", "wider"],
)
def test_the_alternative_that_is_true_fits_best(values, expected):
    """Among 100,000 values of a drifted law its own alternative has the greatest likelihood."""
    density = tables().density
    ranks = stats.norm.cdf(values.rvs(100_000, random_state=1))
    likelihood = np.log(density[np.minimum((ranks * STEPS).astype(int), STEPS - 1)].astype(np.float64)).mean(axis=0)
    assert int(np.argmax(likelihood)) == expected


def test_the_law_of_wide_tails_is_students():
    """The last alternative is what a t of 3 degrees, scaled to variance 1, does to the ranks of a normal."""
    density = tables().density
    edges = stats.norm.ppf(np.linspace(0.1, 0.9, 9))
    shares = np.diff(stats.t(3, 0, 3**-0.5).cdf(edges))
    steps = np.add.reduceat(density[:, -1], np.rint(np.linspace(0.1, 0.9, 9) * STEPS).astype(int))[:-1] / STEPS
    np.testing.assert_allclose(steps, 0.05 * 0.1 + 0.95 * shares, rtol=0.05)


def test_alternatives_within_the_tolerance_weigh_nothing_beyond_it():
    """And of the others as much is fine as brings them to that distance of distribution functions."""
    made = tables(0.2)
    apart = np.abs(made.distribution - np.linspace(0.0, 1.0, STEPS + 1)[:, np.newaxis]).max(axis=0)
    assert (made.weight_beyond[apart < 0.2] == 0.0).all()
    assert (made.weight_beyond[apart > 0.2] > 0.0).all()
    assert made.weight_beyond.sum() == pytest.approx(1.0)
    np.testing.assert_allclose((made.fine * apart)[apart > 0.2], 0.2, rtol=1e-5)
    assert not tables().fine.any()


def test_a_tolerance_changes_no_weight_against_as_before():
    """Alternatives within it speak for a change like all others."""
    assert (tables(0.2).weight == tables().weight).all()
    assert (tables().weight_beyond == tables().weight).all()
