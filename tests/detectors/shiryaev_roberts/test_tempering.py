"""What is not known well counts for less, and is known better the longer a series goes on."""

import numpy as np
import pytest
from scipy.signal import lfilter

from detectors.registry import bank, settings_of
from detectors.shiryaev_roberts.dependence import TOO_MANY
from detectors.shiryaev_roberts.state import WORDS, records_of
from detectors.shiryaev_roberts.tempering import DOUBT, QUIET, revise, temper

ROW = np.array([0])


def whitened(**fields):
    series = records_of(np.zeros((1, WORDS), np.int64))
    series[0]["whitened"], series[0]["pairs"] = 1, 1024
    for name, value in fields.items():
        series[0][name] = value
    return series


def test_coefficients_are_revised_as_values_come():
    """Of 20 series under noise, after 40,000 values they lie closer to the truth than 1,024 alone would have it."""
    random = np.random.default_rng(1)
    values = lfilter([1.0], [1.0, -0.95], random.normal(size=(20, 40_000)) * (1 - 0.95**2) ** 0.5, axis=1)
    values += random.normal(size=values.shape)
    one = bank("shiryaev_roberts", settings_of("shiryaev_roberts", arl0=1e9), 20)
    rows = np.repeat(np.arange(20), 2000)
    one.update(rows, values[:, :2000].reshape(-1), np.zeros_like(rows))
    first = one._series()["phi"].copy()
    rows = np.repeat(np.arange(20), 38_000)
    one.update(rows, values[:, 2000:].reshape(-1), np.zeros_like(rows))
    last = one._series()["phi"]
    assert (one._series()["whitened"] == 1).all()
    assert np.abs(last - 0.95).mean() < 0.5 * np.abs(first - 0.95).mean()
    assert last.mean() == pytest.approx(0.95, abs=0.01)


def test_a_step_is_that_of_gauss_and_newton():
    """The solution of the normal equations; for an AR(1), of the first alone."""
    one = whitened(phi=0.5, theta=-0.2, known=(400.0, 100.0, 300.0), steps=(8.0, -3.0))
    revise(one, ROW)
    step = np.linalg.solve([[400.0, 100.0], [100.0, 300.0]], [8.0, -3.0])
    assert [one[0]["phi"], one[0]["theta"]] == pytest.approx([0.5 + step[0], -0.2 + step[1]], rel=1e-5)
    assert (one[0]["steps"] == 0.0).all()
    alone = whitened(phi=0.5, known=(399.0, 100.0, 300.0), steps=(8.0, -3.0))
    revise(alone, ROW)
    assert (alone[0]["phi"], alone[0]["theta"]) == pytest.approx((0.52, 0.0))


def test_the_power_is_that_of_the_error_left():
    """Two standard errors of the gain (1 + theta) / (1 - phi), by the delta method; less known, less power."""
    powers = []
    for n in (500.0, 5000.0, 50_000.0):
        information = n * np.array([[2.0, 0.4], [0.4, 1.2]])
        slope = np.array([1.0 / 0.2, 1.0 / 0.7])
        error = np.sqrt(slope @ np.linalg.inv(information) @ slope)
        one = whitened(phi=0.8, theta=-0.3, known=(information[0, 0] - 1, information[0, 1], information[1, 1]), qq=1e9)
        temper(one, ROW)
        assert one[0]["power"] == pytest.approx(1.0 / (1.05 * (1.0 + 2.0 * error) ** 2), rel=1e-3)
        powers.append(float(one[0]["power"]))
    assert powers == sorted(powers)


def test_alarms_too_many_are_believed_less():
    """Each divides the power, from the fourth on."""
    powers = []
    for alarms in (0, TOO_MANY, TOO_MANY + 1, TOO_MANY + 3):
        series = records_of(np.zeros((1, WORDS), np.int64))
        series[0]["pairs"], series[0]["qq"], series[0]["pp"], series[0]["alarms"] = 1000, 333.0, 88.0, alarms
        temper(series, ROW)
        powers.append(float(series[0]["power"]))
    assert powers == pytest.approx([1.0, 1.0, 1.0 / DOUBT, 1.0 / DOUBT**3])


@pytest.mark.parametrize(("n", "after"), [(QUIET, 4), (2 * QUIET, 4), (QUIET + 256, 5)])
def test_quiet_brings_trust_back(n, after):
    """A whitened series forgets one alarm too many for each 65,536 values without one."""
    one = whitened(n=n, alarms=5, known=(400.0, 100.0, 300.0))
    revise(one, ROW)
    assert one[0]["alarms"] == after


def test_weeks_that_differ_by_chance_become_quiet():
    """Each stretch of 400 values has a share of its own: after the first alarms, there are at most 0.3 in 10,000."""
    random = np.random.default_rng(2)
    share = np.repeat(random.beta(12, 20, size=(4, 500)), 400, axis=1)
    values = np.where(random.random(share.shape) < share, random.exponential(3.0, share.shape), 0.0)
    one = bank("shiryaev_roberts", settings_of("shiryaev_roberts"), 4)
    rows = np.repeat(np.arange(4), 200_000)
    at = one.update(rows, values.reshape(-1), np.zeros_like(rows)).at % 200_000
    assert np.count_nonzero(at > 50_000) <= 0.3 * 4 * 15
