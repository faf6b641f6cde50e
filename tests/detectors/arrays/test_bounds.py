"""Settings outside their range are refused with one sentence each."""

import math
from types import SimpleNamespace

import pytest

from detectors.arrays.bounds import require_between, require_inside


def test_both_limits_are_within():
    """The least and the most are themselves allowed; NaN is not."""
    for value in (1, 5):
        require_between(SimpleNamespace(size=value), "adwin", size=(1, 5))
    for value in (0, 6, math.nan):
        with pytest.raises(ValueError, match=r"^adwin: size must lie between 1 and 5, got"):
            require_between(SimpleNamespace(size=value), "adwin", size=(1, 5))


def test_both_limits_are_outside_of_an_open_range():
    """The level of a test is neither 0 nor 1, nor NaN."""
    require_inside(SimpleNamespace(alpha=0.5), "rate", alpha=(0, 1))
    for value in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match=f"^rate: alpha must lie between 0 and 1, got {value}"):
            require_inside(SimpleNamespace(alpha=value), "rate", alpha=(0, 1))


@pytest.mark.parametrize(
    ("least", "most", "text"),
    [(10_000, 1e12, "10,000 and 1e12"), (10, 1e9, "10 and 1e9"), (0.0001, 0.5, "0.0001 and 0.5"), (2, 64, "2 and 64")],
)
def test_limits_read_as_numbers_of_the_documentation(least, most, text):
    """Whole numbers have separators, powers of ten have no plus sign."""
    with pytest.raises(ValueError, match=f"^arl0 must lie between {text}, got -1$"):
        require_between(SimpleNamespace(arl0=-1), arl0=(least, most))
