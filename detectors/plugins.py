"""Detectors of other packages: each entry point of the group `driftline.detectors` names one.

    [project.entry-points."driftline.detectors"]
    my_detector = "my_package.my_detector:DETECTOR"

`DETECTOR` is a `detectors.registry.Detector` with the settings class and the bank class. A configuration names it like
a detector of this package. A plug-in that cannot be loaded is an error only where it is named.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, TypeVar

GROUP: Final = "driftline.detectors"

Kind = TypeVar("Kind")


def load_plugins(kind: type[Kind], taken: Collection[str]) -> tuple[dict[str, Kind], dict[str, str]]:
    """The objects of all entry points by name, in order of names; and a sentence by name of those that are unusable.

    An entry point is usable if it is a `kind`, under a name that is not `taken`.
    """
    found: dict[str, Kind] = {}
    problems: dict[str, str] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)):
        problem = _problem(entry, {*taken, *found}, lambda one: isinstance(one, kind))
        if problem is None:
            found[entry.name] = entry.load()
        elif entry.name not in taken:
            problems[entry.name] = f"{entry.value} of {entry.dist.name if entry.dist else '?'} {problem}"
    return found, problems


def _problem(entry: EntryPoint, taken: Collection[str], is_one: Callable[[Any], bool]) -> str | None:
    """Why this entry point is unusable; None if it is usable."""
    if entry.name in taken:
        return "has the name of another detector"
    try:
        loaded = entry.load()
    except Exception as error:  # whatever another package's import may raise
        return f"can't be loaded: {type(error).__name__}: {error}"
    return None if is_one(loaded) else f"is of type {type(loaded).__name__}, and must be a detectors.registry.Detector"
