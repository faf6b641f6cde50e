"""Files and functions fit a screen or a few, and a folder can be read from `ls`."""

from __future__ import annotations

from pathlib import Path

import pytest
from lengths import (
    FUNCTION_LINES_P90_MAX,
    names_per_folder,
    p90_of_functions,
    too_full,
    too_long,
)
from project_tree import PACKAGES, python_files


def test_nothing_is_longer_than_its_limit():
    """No file has more than 350 lines and no function more than 45."""
    assert too_long(python_files()) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_most_functions_are_short(package):
    """Nine of ten functions of a package have at most 20 lines."""
    assert p90_of_functions(python_files(package)) <= FUNCTION_LINES_P90_MAX


def test_no_folder_is_fuller_than_its_limit():
    """No folder with Python files holds more than 20 names, `__init__.py` aside."""
    assert too_full(names_per_folder(python_files())) == []


def test_names_are_counted_at_the_top_of_each_folder():
    """A folder counts its files and folders, `__init__.py` aside; one without Python files is left out."""
    paths = [Path("a/__init__.py"), Path("a/b.py"), Path("a/c/d.py"), Path("a/c/e.py"), Path("f/g/h.py")]
    assert names_per_folder(paths) == {"a": 2, "a/c": 2, "f/g": 1}


def test_a_fuller_folder_is_named():
    """A folder with 21 names is one line, one with 20 is none."""
    assert too_full({"full": 21, "fits": 20}) == ["full: 21 names, limit 20"]
