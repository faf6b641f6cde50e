"""The examples in docstrings are true."""

import doctest
import importlib

import pytest

MODULES = [
    "adwin.bank",
    "categories.rates",
    "categories.window",
    "joint.bank",
    "ks.window",
    "ks.sliding",
    "reference",
    "river.bank",
    "notebook.river_adapter",
    "notebook.single",
    "shiryaev_roberts.bank",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    """Each module has at least one, and it gives what it says."""
    result = doctest.testmod(importlib.import_module(f"detectors.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
