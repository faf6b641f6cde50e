"""Compiled kernels are those of the sources that are there."""

import subprocess
import sys

import pytest

KERNEL = """
from detectors.arrays.jit import {decorator}
from rooms.{other} import VALUE

@{decorator}
def value(x: int) -> int:
    return x + VALUE

print(value(1))
"""


@pytest.mark.parametrize("decorator", ["kernel", "lean_kernel"])
def test_a_kernel_is_compiled_again_when_another_file_of_its_package_changes(tmp_path, decorator):
    """A constant that it reads has another value then; without a change it comes from the cache."""
    rooms = tmp_path / "rooms"
    rooms.mkdir()
    (rooms / "__init__.py").write_text("")
    (rooms / "kernels.py").write_text(KERNEL.format(decorator=decorator, other="constants"))
    printed, compiled = [], []
    for constant in (10, 10, 20):
        (rooms / "constants.py").write_text(f"VALUE = {constant}\n")
        command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import rooms.kernels"]
        printed.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
        compiled.append(sorted((one.name, one.stat().st_mtime_ns) for one in (rooms / "__pycache__").glob("*.nb*")))
    assert printed == ["11", "11", "21"]
    assert compiled[0] == compiled[1] != compiled[2]


TUPLE_KERNEL = """
from typing import NamedTuple
from detectors.arrays.jit import kernel

class {name}(NamedTuple):
    x: int

@kernel
def value(one):
    return one.x

print(value({name}(1)))
"""


def test_a_cache_of_classes_that_are_gone_is_passed_over(tmp_path):
    """A release may rename the class that a kernel takes; what was compiled for the old name is compiled again."""
    rooms = tmp_path / "rooms"
    rooms.mkdir()
    (rooms / "__init__.py").write_text("")
    for name in ("State", "Counts"):
        (rooms / "kernels.py").write_text(TUPLE_KERNEL.format(name=name))
        command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import rooms.kernels"]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "1"
