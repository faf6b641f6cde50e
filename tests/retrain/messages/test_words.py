"""What was done to a column, in words."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrain.messages.summary import change_of_categories, change_of_numbers

LAWS = {
    "normal": lambda rng, n: rng.normal(15, 6, n),
    "gamma": lambda rng, n: rng.gamma(3, 5, n),
    "exponential": lambda rng, n: rng.exponential(5.4, n),
    "lognormal": lambda rng, n: rng.lognormal(1, 0.7, n),
    "uniform": lambda rng, n: rng.uniform(2, 30, n),
    "mixture": lambda rng, n: np.where(rng.random(n) < 0.5, rng.normal(5, 1, n), rng.normal(25, 2, n)),
}
CHANGES = {
    "moved by": lambda x: x + 40,
    "as from °C to °F": lambda x: 1.8 * x + 32,
    "as from s to ms": lambda x: 1000 * x,
    "times as large": lambda x: 5.5 * x,
    "has the new value 0": lambda x: np.where(np.arange(len(x)) % 10 < 3, 0.0, x),
    "is always 7": lambda x: np.full(len(x), 7.0),
    "was rounded to multiples of 1": lambda x: np.rint(x),
}


def words_of(before, after):
    single = [one.astype(np.float32).astype(np.float64) for one in (before, after)]
    return change_of_numbers(*single, float(np.median(before)), float(np.median(after)))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("law", LAWS)
def test_changes_of_laws(law, change):
    """What was done to the values of a law is named in eight of ten cases at least, of 1000 values before."""
    found = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        before, after = LAWS[law](rng, 1000), CHANGES[change](LAWS[law](rng, 500))
        found.append(words_of(before, after))
    assert sum(change in one for one in found) >= 8, found
    assert not any("as from" in one for one in found if change not in one)


@pytest.mark.parametrize(
    ("factor", "units"), [(3.28084, "m to ft"), (1.609344, "mph to km/h"), (3.6, "m/s to km/h"), (-1.0, "sign")]
)
def test_units_of_a_narrow_column(factor, units):
    """Units whose factors are near each other are distinguished where the values allow it, in eight of ten cases."""
    found = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        found.append(words_of(rng.normal(20, 1, 1000), factor * rng.normal(20, 1, 500)))
    assert sum(units in one for one in found) >= 8, found


@pytest.mark.parametrize("law", LAWS)
def test_noise_has_no_story(law):
    """Of two samples of one law only their locations are stated, in 36 of 40 cases at least."""
    silent = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        silent += words_of(LAWS[law](rng, 64), LAWS[law](rng, 200)).startswith("changed: ")
    assert silent >= 36


def test_plain_moves_are_no_change_of_units():
    """A move, a stretch or both is not taken for a change of units, in 38 of 40 cases at least."""
    wrong = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        before = rng.normal(50, 5, 500)
        after = rng.normal(50 + rng.uniform(1, 60), 5 * rng.choice([1.0, 1.3, 2.5]), 500)
        wrong += "as from" in words_of(before, after)
    assert wrong <= 2


def test_shares():
    """Of a column of two values the share is stated; of categories that of the one that moved most."""
    before, after = np.repeat([0.0, 1.0], [95, 5]), np.repeat([0.0, 1.0], [70, 30])
    assert change_of_numbers(before, after, 0.05, 0.3) == "is 1 in 30 % of the values, 5 % before"
    assert change_of_categories("rain", 0.2, 0.45) == "is rain in 45 % of the values, 20 % before"
    assert change_of_categories("hail", 0.0, 0.1) == "has the new category hail in 10 % of the values"


samples = st.lists(
    st.floats(allow_nan=False, allow_infinity=False, width=32) | st.integers(-2, 2).map(float), min_size=1, max_size=80
).map(np.array)


@given(samples, samples)
@settings(deadline=None, max_examples=300)
def test_any_values_have_a_sentence(before, after):
    """No values make it fail, and it is one line of at most 200 characters."""
    found = change_of_numbers(before, after, float(np.median(before)), float(np.median(after)))
    assert 0 < len(found) <= 200
    assert "\n" not in found


def test_new_categories():
    """Of all categories that the old regime lacks, their share is stated."""
    assert change_of_categories("", 0.0, 0.39) == "has new categories in 39 % of the values"
