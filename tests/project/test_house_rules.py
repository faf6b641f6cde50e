"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from project_tree import PACKAGES, ROOT, files, functions_of, lines_of, python_files, syntax_of, text_of

# Written in pieces, so that this file does not hold what it forbids.
FORBIDDEN = {
    "a path of somebody's machine": re.compile(r"(?<![\w.:/-])/(?:wor" + r"k|roo" + r"t|hom" + r"e|User" + r"s)/\w"),
    "a note to oneself": re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b"),
    "a merge that was not finished": re.compile(r"^(?:<{7}|>{7}) ", re.MULTILINE),
}

# What tells the time, by the module or class it is found in. Sleeping and measuring CPU time tell nobody the time.
CLOCKS = {
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "localtime", "gmtime"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
}
CLOCK_READERS = (Path("streamer/clock.py"), Path("streamer/testing"))

UNSAFE_MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}

SKIPS = re.compile(r"\b(?:pytest\.skip|pytest\.importorskip|mark\.skip|mark\.skipif|unittest\.skip\w*|SkipTest)\b")

WORDS_NEEDED_ABOVE_LINES = 10  # a shorter function may be named well enough to need no sentence


@pytest.mark.parametrize("what", FORBIDDEN)
def test_the_tree_is_free_of(what):
    """No text file of the repository holds it."""
    found = [
        f"{path}: {match.group()}"
        for path in files()
        if (text := text_of(path)) is not None
        for match in FORBIDDEN[what].finditer(text)
    ]
    assert found == []


def names_given(tree: ast.Module) -> dict[str, str]:
    """Name in the module -> the module, or the class of `datetime`, that it stands for."""
    given = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.module == "datetime"):
            given |= {alias.asname or alias.name: alias.name for alias in node.names}
    return given


def clock_readings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, expression) of everything that reads a clock, through whatever name its module was imported."""
    given = names_given(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name in CLOCKS["time"])
        elif isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else getattr(node.value, "attr", "")
            if node.attr in CLOCKS.get(given.get(owner, owner), ()):
                yield node.lineno, ast.unparse(node)


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.time()",
        "import time as t\nt.monotonic_ns()",
        "from time import monotonic",
        "from datetime import datetime\ndatetime.now()",
        "import datetime as dt\ndt.datetime.now(dt.UTC)",
        "from datetime import date\ndate.today()",
        "from datetime import datetime as moment\nmoment.utcnow()",
        "import time\nread = time.perf_counter",
    ],
)
def test_a_reading_of_the_clock_is_seen(source):
    """The scan below knows every way to read the clock that is in use."""
    assert len(list(clock_readings(ast.parse(source)))) == 1


def test_only_the_clock_reads_the_clock():
    """Outside `streamer/clock.py` and the test kit nothing of the packages reads the wall clock or any other."""
    found = [
        f"{path}:{line} {what}"
        for path in python_files(*PACKAGES)
        if not any(path.is_relative_to(reader) for reader in CLOCK_READERS)
        for line, what in clock_readings(syntax_of(path))
    ]
    assert found == []


def test_nothing_can_run_what_it_reads():
    """No package imports a format that executes its input when loaded."""
    found = [
        f"{path}:{node.lineno}"
        for path in python_files(*PACKAGES)
        for node in ast.walk(syntax_of(path))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
        if name.split(".")[0] in UNSAFE_MODULES
    ]
    assert found == []


def test_no_test_is_skipped():
    """A part that is missing is a failure with the command that mends it, never a skip."""
    found = []
    for path in python_files("tests", "streamer"):
        for node in ast.walk(syntax_of(path)):
            imported = isinstance(node, ast.ImportFrom) and node.module in {"pytest", "unittest"}
            names = {alias.name for alias in node.names} if imported else set()
            used = isinstance(node, ast.Attribute) and SKIPS.search(ast.unparse(node))
            if used or names & {"skip", "importorskip", "SkipTest", "skipIf", "skipUnless"}:
                found.append(f"{path}:{node.lineno}")
    assert found == []


def test_every_test_says_what_is_true():
    """Every test has a docstring."""
    found = [
        f"{path}:{function.lineno} {function.name}"
        for path in python_files("tests")
        for function in functions_of(path)
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]
    assert found == []


def documented_by_protocols() -> set[str]:
    """Names of methods that a protocol of the packages explains for all its implementations."""
    return {
        method.name
        for path in python_files(*PACKAGES)
        for node in ast.walk(syntax_of(path))
        if isinstance(node, ast.ClassDef) and any("Protocol" in ast.unparse(base) for base in node.bases)
        for method in node.body
        if isinstance(method, ast.FunctionDef) and ast.get_docstring(method)
    }


def public_parts(tree: ast.Module) -> Iterator[tuple[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, bool]]:
    """Public classes and functions of a module, and the public methods of those classes; whether it is a method."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node, False
            for part in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) and not part.name.startswith("_"):
                    yield part, True


def test_what_is_public_is_explained():
    """Modules and public classes have a docstring, and public functions unless short or explained by a protocol."""
    explained = documented_by_protocols()
    found = []
    for path in python_files(*PACKAGES):
        if syntax_of(path).body and not ast.get_docstring(syntax_of(path)):
            found.append(str(path))
        for node, is_method in public_parts(syntax_of(path)):
            if ast.get_docstring(node) or (is_method and node.name in explained):
                continue
            if isinstance(node, ast.ClassDef) or lines_of(node) > WORDS_NEEDED_ABOVE_LINES:
                found.append(f"{path}:{node.lineno} {node.name}")
    assert found == []


def test_decisions_are_numbered_one_after_the_other():
    """Each record in docs/adr has a number of its own, which its heading says too."""
    records = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [int(record.name[:4]) for record in records] == list(range(1, len(records) + 1))
    for record in records:
        assert record.read_text().startswith(f"# {int(record.name[:4])}. "), record.name


def test_no_two_files_of_tests_have_one_name():
    """Folders of tests are no packages, so pytest can import only one of them."""
    names = [path.name for path in python_files("tests") if path.name.startswith("test_")]
    assert {name for name in names if names.count(name) > 1} == set()
