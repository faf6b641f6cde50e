"""The examples in docstrings are true."""

import doctest
import importlib

import pytest

MODULES = [
    "adwin",
    "category_rates",
    "category_window",
    "joint",
    "ks_window",
    "ks_sliding",
    "reference",
    "river_bank",
    "shiryaev_roberts",
    "single",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    """Each module has at least one, and it gives what it says."""
    result = doctest.testmod(importlib.import_module(f"detectors.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
