"""The house can be learnt room by room: short chains of imports, few splinters, and one class for each name."""

from __future__ import annotations

import ast
from collections import defaultdict

import pytest
from import_graph import longest_chain, rooms, single_importers, splinters
from project_tree import PACKAGES, python_files, syntax_of

ROOMS_IN_A_CHAIN_MAX = 10
SINGLE_IMPORTERS_MAX = 60
SPLINTERS_MAX = 34


@pytest.mark.parametrize("package", PACKAGES)
def test_chains_of_rooms_are_short(package):
    """From any room, a chain of imports through other rooms of the package passes at most 10."""
    chain = longest_chain(rooms(package))
    assert len(chain) <= ROOMS_IN_A_CHAIN_MAX, chain


def test_few_modules_serve_one_neighbour():
    """At most 60 modules have one importer, and at most 34 of them have it in the same folder."""
    assert len(single_importers()) <= SINGLE_IMPORTERS_MAX, single_importers()
    assert len(splinters()) <= SPLINTERS_MAX, splinters()


def test_class_names_are_unique():
    """No two classes of the packages share a name, private ones included."""
    found = defaultdict(list)
    for path in python_files(*PACKAGES):
        for node in ast.walk(syntax_of(path)):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(str(path))
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}


def test_figures_are_of_the_graph():
    """A chain is a longest path, with each room once; every splinter has one importer, which is its neighbour."""
    assert longest_chain({"a": {"b", "c"}, "b": {"d"}, "c": set(), "d": set()}) == ["a", "b", "d"]
    assert longest_chain({}) == []
    assert set(rooms("retrain")["engine"]) >= {"messages", "state"}
    assert splinters().items() <= single_importers().items()
    assert single_importers()["streamer.decide"] == "streamer.app.folds"
    assert "streamer.decide" not in splinters()
