"""Numbers that are equal up to the precision of a float32."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.ks.window import KsWindowBank
from detectors.reference import Reference, rounded
from detectors.registry import settings_of


@given(st.floats(1e-30, 1e30) | st.floats(-1e30, -1e-30) | st.just(0.0))
def test_rounding_is_that_of_a_float32(x):
    """Also of a number that is one already; larger numbers than a float32 holds stay finite."""
    assert rounded(np.array([x]))[0] == float(np.float32(x)) == rounded(np.array([float(np.float32(x))]))[0]
    assert np.isfinite(rounded(np.array([1e300])))


@pytest.mark.parametrize(
    ("values", "allows"),
    [
        ([0.1, 0.2, 0.3, 0.4], True),
        (np.linspace(0, 1, 999), True),
        (1.7e9 + np.linspace(0, 3600, 999), False),  # seconds since 1970, within an hour
        ([*np.linspace(1e6, 1e6 + 0.01, 999), 0.0], False),  # one outlier says nothing of the others
        ([0.1] * 99, False),
    ],
)
def test_only_columns_of_some_spread_are_rounded(values, allows):
    """No value moves by more than a ten-thousandth of the spread."""
    reference = Reference.of(values, 1000)
    assert reference.allows_rounding() == allows
    other = reference.up_to_rounding()
    assert other.digest == reference.digest
    assert (other is reference) == (not allows)


@pytest.mark.parametrize("shift", [0.1, 0.2, 0.5, 1.0])
def test_rounding_costs_no_power(shift):
    """Drifts of 200 series are detected at the same values, and neither sooner nor later."""
    random = np.random.default_rng(4)
    training, series, n = random.normal(20, 1, 2000), 200, 1500
    values = random.normal(20, 1, (n, series)) + shift * (np.arange(n) > 500)[:, None]
    found = []
    for prepare in (lambda x: x, rounded):
        bank = KsWindowBank(settings_of("ks_window", window=200, reference_size=1000, alpha=1e-6), series)
        for row in range(series):
            bank.set_reference(row, prepare(training))
        flat = prepare(values.ravel())
        alarms = bank.update(np.tile(np.arange(series), n), flat, np.repeat(np.arange(n) * 1000, series))
        found.append((alarms.row.tolist(), alarms.at.tolist()))
    assert found[0] == found[1]
    assert shift < 0.5 or len(set(found[0][0])) == series
