"""Inertia is found as it was made, not mistaken for chance, and not claimed beyond what values show."""

import numpy as np
import pytest
from scipy.signal import lfilter

from detectors.shiryaev_roberts.arma import THETAS, fit


def mixed(random, phi, theta, n=1024):
    """ARMA(1,1) of innovations of variance 1, in its stationary state."""
    return lfilter([1.0, theta], [1.0, -phi], random.normal(size=n + 500))[500:]


def test_noise_is_chance():
    """Hardly one of 500 series of noise is taken for more."""
    random = np.random.default_rng(1)
    assert sum(fit(random.normal(size=1024)) is not None for _ in range(500)) <= 5


@pytest.mark.parametrize(("phi", "theta"), [(0.95, -0.7), (0.9, -0.5), (0.99, -0.9), (0.3, 0.6), (-0.6, -0.5)])
def test_both_coefficients(phi, theta):
    """Lie about where they should in the middle of 40 fits, and so does the variance of the innovations."""
    random = np.random.default_rng(2)
    found = [fit(mixed(random, phi, theta)) for _ in range(40)]
    found = [one for one in found if one is not None and one.theta != 0.0]
    assert len(found) >= 30
    assert np.median([one.phi for one in found]) == pytest.approx(phi, abs=0.05)
    assert np.median([one.theta for one in found]) == pytest.approx(theta, abs=0.1)
    assert np.median([np.mean(one.innovations**2) for one in found]) == pytest.approx(1.0, abs=0.05)


def test_a_plain_ar_keeps_to_one_coefficient():
    """A second one is not fitted to chance, in 95 of 100."""
    random = np.random.default_rng(3)
    found = [fit(mixed(random, 0.9, 0.0)) for _ in range(100)]
    assert sum(one.theta == 0.0 for one in found) >= 95
    assert np.mean([one.phi for one in found]) == pytest.approx(0.9, abs=0.01)


def test_an_ar_under_noise_is_the_arma_it_is_known_to_be():
    """The oracle: signal of AR(1) .95 under as much noise has this theta (from its autocovariances)."""
    phi, signal, noise = 0.95, 1.0, 1.0
    first, zeroth = -phi * noise, signal * (1 - phi * phi) + noise * (1 + phi * phi)
    ratio = zeroth / first  # theta + 1 / theta
    theta = (ratio + np.sqrt(ratio * ratio - 4.0)) / 2.0
    theta = theta if abs(theta) < 1.0 else 1.0 / theta
    random = np.random.default_rng(4)
    found = []
    for _ in range(40):
        inert = lfilter([1.0], [1.0, -phi], np.sqrt(1 - phi * phi) * random.normal(size=1524))[500:]
        found.append(fit(inert + random.normal(size=1024)))
    assert np.median([one.theta for one in found]) == pytest.approx(theta, abs=0.06)
    assert np.median([one.phi for one in found]) == pytest.approx(phi, abs=0.03)


def test_innovations_are_those_of_the_difference_equation():
    """Against scipy's filter."""
    values = mixed(np.random.default_rng(5), 0.95, -0.6)
    one = fit(values)
    expected = lfilter([1.0, -one.phi], [1.0, one.theta], values)
    assert np.allclose(one.innovations, expected, atol=1e-9)


@pytest.mark.parametrize("values", [np.zeros(1024), np.full(1024, 3.0), np.eye(1, 1024)[0], np.tile([1.0, -1.0], 512)])
def test_degenerate_values_are_no_trouble(values):
    """Finite coefficients within bounds, or none."""
    one = fit(values)
    if one is not None:
        assert abs(one.phi) <= 1.0
        assert abs(one.theta) <= max(abs(THETAS)) + 0.01
        assert np.isfinite(one.innovations).all()


def test_of_a_level_known_to_wander_chance_comes_out_as_one_that_does():
    """Slow, and under much noise."""
    one = fit(np.random.default_rng(6).normal(size=1024), wanders=True)
    assert one.phi >= 0.97
    assert -one.phi < one.theta <= -0.9
