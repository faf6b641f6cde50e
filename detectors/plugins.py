"""Detectors of other packages: each entry point of the group `driftline.detectors` names one.

    [project.entry-points."driftline.detectors"]
    my_detector = "my_package.my_detector:DETECTOR"

where `DETECTOR` is a `detectors.registry.Detector`, made of the settings and the bank. It can then be named as any of
ours can, and runs where a configuration names it. What can't be loaded harms nobody until it is named.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, TypeVar

GROUP: Final = "driftline.detectors"

Kind = TypeVar("Kind")


def load_plugins(kind: type[Kind], taken: Collection[str]) -> tuple[dict[str, Kind], dict[str, str]]:
    """What the entry points give, by name and in order of names; and of those that can't be used, a sentence.

    They must give a `kind`, under a name that is not `taken`.
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
    """Why this entry point can't be used."""
    if entry.name in taken:
        return "has a name that another detector has"
    try:
        loaded = entry.load()
    except Exception as error:  # whatever another package's import may raise
        return f"can't be loaded: {type(error).__name__}: {error}"
    return None if is_one(loaded) else f"is of type {type(loaded).__name__}, and must be a detectors.registry.Detector"
