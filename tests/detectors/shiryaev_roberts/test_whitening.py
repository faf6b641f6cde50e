"""What is learned of a series is what it was made of; a scale that clusters is found and taken out."""

import numpy as np
import pytest

from detectors.shiryaev_roberts.state import STORED, WORDS, records_of
from detectors.shiryaev_roberts.whitening import (
    COSINE,
    SETTLING,
    SINE,
    STEP,
    fit,
    fit_scale,
    in_units,
    know_scale,
    strongest,
)


def learned(values):
    """A series whose stored values are these, in standard units; what `fit` makes of them."""
    series = records_of(np.zeros((1, WORDS), np.int64))
    series[0]["stored"] = np.clip(np.rint(values / STEP), -127, 127)
    return series[0], fit(series, 0)


def quantiles_of(sample):
    return lambda share: float(sample[min(len(sample) - 1, int(share * len(sample)))])


def inert(random, phi, n=STORED):
    values, last = np.empty(n), 0.0
    for i in range(n):
        values[i] = last = phi * last + random.normal() * np.sqrt(1 - phi * phi)
    return values


def test_noise_is_put_down_to_chance():
    """At most one of 100 series of noise is taken for more."""
    random = np.random.default_rng(1)
    assert sum(learned(random.normal(size=STORED))[1] is not None for _ in range(100)) <= 1


@pytest.mark.parametrize("phi", [0.3, 0.9])
def test_the_coefficient_of_inertia(phi):
    """Is found to two standard errors, and the residuals are noise."""
    random = np.random.default_rng(2)
    found = []
    for _ in range(20):
        one, residuals = learned(inert(random, phi))
        found.append(float(one["phi"]))
        assert np.corrcoef(residuals[1:], residuals[:-1])[0, 1] < 0.25
    assert abs(np.mean(found) - phi) < 2 * np.sqrt((1 - phi * phi) / STORED)


@pytest.mark.parametrize("period", [24, 96.5, 288])
def test_a_cycle_goes_on_where_it_was(period):
    """The wave learned is the one there is, as it will stand at the next value."""
    t = np.arange(STORED)
    cycle = 0.4 + 1.2 * np.sin(2 * np.pi * t / period + 0.7)
    one, _ = learned(cycle + 0.5 * np.random.default_rng(3).normal(size=STORED))
    assert 2 * np.pi / one["wave"][0, 0] == pytest.approx(period, rel=0.02)
    expected = 1.2 * np.sin(2 * np.pi * STORED / period + 0.7)
    assert one["wave"][0, 1] + one["wave"][1, 1] == pytest.approx(expected, abs=0.25)
    assert one["level"] == pytest.approx(0.4, abs=0.15)


def test_no_wave_in_noise():
    """The search sees none in 200 series, in nearly all of them."""
    random = np.random.default_rng(4)
    assert sum(strongest(random.normal(size=STORED), COSINE, SINE) > 0 for _ in range(200)) <= 2


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_skewed_values_are_standardised_by_a_logarithm(scale, sign):
    """The inverse leads to the column's own units."""
    sample = np.sort(sign * np.exp(np.random.default_rng(5).normal(size=128))) * scale
    series = records_of(np.zeros((1, WORDS), np.int64))
    know_scale(series, 0, quantiles_of(sample))
    assert series[0]["spread"] > 0.0
    assert in_units(series[0], 0.0) == pytest.approx(sample[64], rel=1e-6)
    if scale == 1.0:
        assert series[0]["side"] == sign


def test_constant_values_have_a_spread():
    """Nothing is divided by zero."""
    series = records_of(np.zeros((1, WORDS), np.int64))
    know_scale(series, 0, quantiles_of(np.full(128, 7.0)))
    assert series[0]["spread"] > 0.0


def clustered(random, alpha, beta, n=1024):
    """GARCH(1,1) of variance 1."""
    h, values = 1.0, np.empty(n)
    for t in range(n):
        values[t] = np.sqrt(h) * random.normal()
        h = 1.0 - alpha - beta + alpha * values[t] ** 2 + beta * h
    return values


def correlation_of_squares(values, over=10):
    squares = values * values - np.mean(values * values)
    return sum(squares[k:] @ squares[:-k] for k in range(1, over + 1)) / (squares @ squares)


@pytest.mark.parametrize("law", ["normal", "uniform", "t"])
def test_a_scale_that_stays_is_chance(law):
    """Hardly one of 200 series is taken for more; what is left of them is the values over their deviation."""
    random = np.random.default_rng(1)
    draw = {"normal": random.standard_normal, "uniform": random.random, "t": lambda n: random.standard_t(5, n)}[law]
    found = [fit_scale(draw(1024) - 0.5 * (law == "uniform"))[2] for _ in range(200)]
    assert sum(found) <= 4
    values = random.normal(0.0, 7.0, 1024)
    model, z, clusters = fit_scale(values)
    assert not clusters
    assert z == pytest.approx(values / np.sqrt(model.omega))
    assert model.h == pytest.approx(model.omega)


@pytest.mark.parametrize(("alpha", "beta"), [(0.1, 0.85), (0.2, 0.7), (0.5, 0.0)])
def test_clusters_are_found_and_taken_out(alpha, beta):
    """In nearly all of 30 series, and the squares of what is left are hardly correlated."""
    random = np.random.default_rng(2)
    clear, before, after = 0, [], []
    for _ in range(30):
        values = clustered(random, alpha, beta)
        _, z, clusters = fit_scale(values)
        clear += clusters
        before.append(correlation_of_squares(values))
        after.append(correlation_of_squares(z[SETTLING:]))
    assert clear >= 27
    assert np.mean(before) > 0.3
    assert abs(np.mean(after)) < 0.12


def test_the_scale_of_the_next_value():
    """Is what the recursion, written out, makes of the values."""
    values = clustered(np.random.default_rng(3), 0.15, 0.8)
    model, z, _ = fit_scale(values)
    h = model.omega / (1.0 - model.alpha - model.beta)
    for t, e in enumerate(values):
        assert z[t] == pytest.approx(e / np.sqrt(h))
        h = model.omega + model.alpha * min(e * e, 16.0 * h) + model.beta * h
    assert model.h == pytest.approx(h)


def test_nothing_has_a_scale():
    """Zeros are no trouble."""
    model, z, clusters = fit_scale(np.zeros(1024))
    assert model.omega > 0.0
    assert not clusters
    assert (z == 0.0).all()
