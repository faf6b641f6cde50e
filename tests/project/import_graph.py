"""Figures of the import graph: the longest chain of rooms, and the modules that a single neighbour imports.

`python tests/project/import_graph.py` prints them, with the modules, so that one sees what to join.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from functools import cache
from graphlib import TopologicalSorter

import grimp
from project_tree import PACKAGES

TABLES = {"streamer.detect.monitors.table"}


@cache
def graph() -> grimp.ImportGraph:
    """The imports among the packages, lazy ones and those for type checkers included."""
    return grimp.build_graph(*PACKAGES)


def rooms(package: str) -> dict[str, set[str]]:
    """Room of a package -> the other rooms that it imports. A room is a folder or file at the package's top."""
    found: dict[str, set[str]] = {}
    for module in graph().modules:
        here, _, below = module.partition(".")
        if here != package or not below:
            continue
        imported = found.setdefault(below.split(".")[0], set())
        for other in graph().find_modules_directly_imported_by(module):
            there, _, below_there = other.partition(".")
            if there == package and below_there:
                imported.add(below_there.split(".")[0])
    return {room: others - {room} for room, others in found.items()}


def longest_chain(imports: Mapping[str, Set[str]]) -> list[str]:
    """The longest path of an import graph without cycles. Raises CycleError for one with a cycle."""
    longest: dict[str, list[str]] = {}
    for one in TopologicalSorter(imports).static_order():
        below = [longest[other] for other in sorted(imports.get(one, ()))]
        longest[one] = [one, *max(below, key=len, default=[])]
    return max(longest.values(), key=len, default=[])


def single_importers() -> dict[str, str]:
    """Module -> its importer, for the modules that exactly one other module imports."""
    found = {}
    for module in sorted(graph().modules):
        importers = graph().find_modules_that_directly_import(module)
        if len(importers) == 1:
            found[module] = next(iter(importers))
    return found


def splinters() -> dict[str, str]:
    """Those whose only importer lies in the same folder: candidates to be joined with it.

    An only importer in another folder means an interface: a command that the command group lists, a composition root.
    The files of a table stand alone on purpose, so that a new one is one file and one line.
    """
    return {
        module: importer
        for module, importer in single_importers().items()
        if module.rpartition(".")[0] == importer.rpartition(".")[0] and importer not in TABLES
    }


if __name__ == "__main__":
    for package in PACKAGES:
        chain = longest_chain(rooms(package))
        print(f"{package}: {len(chain)} rooms above each other: {' > '.join(chain)}")
    print(f"{len(single_importers())} modules with one importer, {len(splinters())} of them with it in their folder:")
    for module, importer in splinters().items():
        print(f"  {module} <- {importer}")
