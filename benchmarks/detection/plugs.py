"""Detectors by name for another benchmark, which is a Python file that imports what it measures.

The file gets an option `--plug NAME=module:attribute:batch` for each detector. The attribute is a function from the
values of a stream to its alarms: pairs of the value at which one comes, and of the onset.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np

from detectors.arrays.types import F64
from detectors.registry import bank, settings_of

BOTH_SETTINGS = ("shiryaev_roberts,arl0=1e5,tolerance=0", "shiryaev_roberts,arl0=1e6,tolerance=0.01")
PLUGGED = SimpleNamespace()  # the functions, as attributes that the file finds by their names

Plug = Callable[[F64], list[tuple[int, int]]]


def plug(spec: str) -> Plug:
    """The function of a detector `NAME,SETTING=VALUE,...`; a setting is a number. Raises what `settings_of` does."""
    name, *given = spec.split(",")
    settings = settings_of(name, **{key: float(value) for key, value in (one.split("=", 1) for one in given)})

    def alarms(values: F64) -> list[tuple[int, int]]:
        rows = np.zeros(len(values), np.int64)
        found = bank(name, settings, 1).update(rows, np.asarray(values, np.float64), rows)
        return list(zip(found.at.tolist(), (found.at - found.onset_ago).tolist(), strict=True))

    alarms(np.zeros(1))  # kernels are compiled before anybody measures time
    return alarms


def run(path: str, specs: Sequence[str], others: Sequence[str]) -> None:
    """Run the file with these detectors and with its other options."""
    options = []
    for number, spec in enumerate(specs):
        setattr(PLUGGED, f"plug_{number}", plug(spec))
        shown = spec.replace("=", ":")  # a name ends at the first `=`
        options += ["--plug", f"{shown}={__name__}:PLUGGED.plug_{number}:batch"]
    with patch.object(sys, "argv", [path, *options, *others]):
        runpy.run_path(path, run_name="__main__")
