"""`docs/guarantees.md` keeps its word: each failure in its table names the tests that show what happens."""

from __future__ import annotations

import ast
import re

import pytest
from project_tree import ROOT

from streamer.app.rights_page import page as rights_page
from streamer.cli import main

PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("## What each failure does")[2].partition("\n## ")[0]
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in TABLE.splitlines() if line.startswith("| ")]
NAMED = re.compile(r"`(tests/[\w/.]+?)(?:::(\w+))?`")


def functions_of(path: str) -> set[str]:
    """The test functions of a file, or of all files below a folder."""
    place = ROOT / path
    files = sorted(place.rglob("test_*.py")) if place.is_dir() else [place]
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in files if file.name.startswith("test_")]
    names = {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return {name for name in names if name.startswith("test_")}


def fault_of(row: list[str]) -> str | None:
    """What is wrong with a row; None: it has a failure, an effect, and tests that exist."""
    if len(row) != 3 or not all(row):
        return "it has no failure, effect and tests"
    if not (named := NAMED.findall(row[2])):
        return "it names no test"
    for path, function in named:
        if not (ROOT / path).exists():
            return f"{path} does not exist"
        found = functions_of(path)
        if not found or (function and function not in found):
            return f"{path} has no test {function}"
    return None


def test_the_table_is_read():
    """Its head comes first, and it has as many rows as the page has lines of it."""
    assert ROWS[0] == ["failure", "effect", "shown by"]
    assert len(ROWS) > 35


@pytest.mark.parametrize("row", ROWS[1:], ids=lambda row: row[0][:60])
def test_each_row_names_tests_that_exist(row):
    """Its last cell names a file of tests, a folder of them, or one function."""
    assert fault_of(row) is None


@pytest.mark.parametrize(
    ("shown_by", "fault"),
    [
        ("", "it has no failure, effect and tests"),
        ("somewhere", "it names no test"),
        ("`tests/e2e/test_no_such_file.py`", "tests/e2e/test_no_such_file.py does not exist"),
        ("`tests/e2e/chaos.py`", "tests/e2e/chaos.py has no test "),
        ("`tests/kits`", "tests/kits has no test "),
        ("`tests/e2e/test_chaos.py::test_nothing`", "tests/e2e/test_chaos.py has no test test_nothing"),
    ],
)
def test_a_row_without_a_test_is_noticed(shown_by, fault):
    """Made-up files and functions are found out."""
    assert fault_of(["A failure", "An effect", shown_by]) == fault


def test_every_command_stands_in_the_page_of_rights():
    """Each command has a role, or is said to need no rights."""
    page = rights_page()
    assert [name for name in main.commands if not re.search(rf"`(driftline )?{name}[` ]", page)] == []
