"""What a detector can see is found by trying it."""

import numpy as np
import pytest

from detectors.power import SEEN, SERIES, smallest_shift
from detectors.registry import bank, settings_of

NORMAL = np.random.default_rng(5).normal(50.0, 4.0, 2000)


def maker(name, **settings):
    return lambda rows: bank(name, settings_of(name, **settings), rows)


@pytest.mark.parametrize(("name", "settled"), [("ks_window", 0), ("shiryaev_roberts", 0), ("adwin", 2000)])
def test_a_shift_of_that_size_is_seen_and_half_of_it_is_not(name, settled):
    """On fresh series, other than those of the trial: by at least 6 of 10 at the size that was said."""
    said = smallest_shift(maker(name), NORMAL, 800, settled)
    random = np.random.default_rng(77)
    found = []
    for size in (said, said / 2):
        watching = maker(name)(SERIES)
        if not settled:
            for row in range(SERIES):
                watching.set_reference(row, NORMAL)
        values = random.normal(50.0, 4.0, (settled + 800, SERIES))
        values[settled:] += size * 4.0
        rows = np.tile(np.arange(SERIES), settled + 800)
        alarms = watching.update(rows, values.reshape(-1), np.zeros(len(rows), np.int64))
        found.append(len(np.unique(alarms.row[alarms.at >= settled * SERIES])) / SERIES)
    assert found[0] >= SEEN - 0.2
    assert found[1] < 0.5


def test_more_values_and_more_training_data_show_smaller_shifts():
    """And a lower rate of false alarms only greater ones."""
    few, many = (smallest_shift(maker("shiryaev_roberts"), NORMAL, n) for n in (100, 1000))
    small = smallest_shift(maker("shiryaev_roberts"), NORMAL[:100], 1000)
    rare = smallest_shift(maker("shiryaev_roberts", arl0=1e10), NORMAL, 1000)
    assert many < few
    assert many < small
    assert many < rare


def test_what_cannot_be_seen_is_none():
    """A constant column has no standard deviation, and a window of 500 is not full after 100 values."""
    assert smallest_shift(maker("ks_window"), np.full(100, 3.0), 1000) is None
    assert smallest_shift(maker("ks_window", window=500), NORMAL, 10) is None


@pytest.mark.parametrize(("sample", "n"), [(NORMAL[:1], 10), (NORMAL, 0)])
def test_too_little_to_try_with_is_refused(sample, n):
    """It says what it takes."""
    with pytest.raises(ValueError, match="it takes 2 values"):
        smallest_shift(maker("adwin"), sample, n)
