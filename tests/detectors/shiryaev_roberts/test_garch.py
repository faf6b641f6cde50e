"""A scale that clusters is found and taken out; one that doesn't is left alone."""

import numpy as np
import pytest

from detectors.shiryaev_roberts.garch import SETTLING, fit


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
    found = [fit(draw(1024) - 0.5 * (law == "uniform"))[2] for _ in range(200)]
    assert sum(found) <= 4
    values = random.normal(0.0, 7.0, 1024)
    model, z, clusters = fit(values)
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
        _, z, clusters = fit(values)
        clear += clusters
        before.append(correlation_of_squares(values))
        after.append(correlation_of_squares(z[SETTLING:]))
    assert clear >= 27
    assert np.mean(before) > 0.3
    assert abs(np.mean(after)) < 0.12


def test_the_scale_of_the_next_value():
    """Is what the recursion, written out, makes of the values."""
    values = clustered(np.random.default_rng(3), 0.15, 0.8)
    model, z, _ = fit(values)
    h = model.omega / (1.0 - model.alpha - model.beta)
    for t, e in enumerate(values):
        assert z[t] == pytest.approx(e / np.sqrt(h))
        h = model.omega + model.alpha * min(e * e, 16.0 * h) + model.beta * h
    assert model.h == pytest.approx(h)


def test_nothing_has_a_scale():
    """Zeros are no trouble."""
    model, z, clusters = fit(np.zeros(1024))
    assert model.omega > 0.0
    assert not clusters
    assert (z == 0.0).all()
