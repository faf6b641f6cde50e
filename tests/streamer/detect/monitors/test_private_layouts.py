"""The layout of a monitor's state is private: no other file names its arrays or reaches into its attributes."""

import ast
import inspect
from pathlib import Path

import pytest

import streamer
from streamer.detect.monitors.table import MONITORS

ROOT = Path(streamer.__file__).parent
PARTS = {
    "drift.py": ["detector_set.py", "recovery.py", "evidence.py"],
    "quality.py": ["training_range.py"],
}  # of a monitor's own

NAMED_TUPLE = {"_replace", "_fields", "_asdict"}  # public, whatever their names
LAYOUT = {"KEY", "FLOW_BITS", "FAULT_BITS"}  # constants that describe a state


def sources():
    return {path: ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}


def own_files(kind):
    home = Path(inspect.getfile(kind))
    return {home, *(home.with_name(name) for name in PARTS.get(home.name, ()))}


def breaches(tree, keys, layout):
    """Where a file names arrays of a state with these keys: by prefix, by `nested`, or by its key's constant."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if any(node.value.startswith(f"{key}/") for key in keys):
                yield node.lineno, node.value
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"nested", "unnested"}:
            first = node.args[0]
            if isinstance(first, ast.Constant) and first.value in keys:
                yield node.lineno, first.value
        elif isinstance(node, ast.ImportFrom) and (node.module or "") == layout:
            yield from ((node.lineno, name.name) for name in node.names if name.name in LAYOUT)


@pytest.mark.parametrize("kind", MONITORS, ids=lambda kind: kind.__name__)
def test_no_other_file_names_the_arrays_of_a_monitor(kind):
    """Only the monitor's own files hold the names under which its state stands in a snapshot."""
    mine = own_files(kind)
    found = [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for path, tree in sources().items()
        if path not in mine
        for line, what in breaches(tree, kind.keys, kind.__module__)
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    ['arrays["flow/keys"]', 'f"flow/{name}"', 'nested("flow", {})', "from streamer.detect.monitors.flow import KEY"],
)
def test_a_breach_is_seen(text):
    """Each way in which a file could name an array."""
    assert list(breaches(ast.parse(text), ("flow",), "streamer.detect.monitors.flow"))


def reached_into(tree):
    """Private attributes of other objects that a file reads; objects of a class of this very file are its own."""
    private = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and node.attr not in NAMED_TUPLE
    ]
    own = {node.attr for node in private if getattr(node.value, "id", "") in {"self", "cls", "context"}}
    return [f"{ast.unparse(node)} in line {node.lineno}" for node in private if node.attr not in own]


def test_no_file_of_the_fold_reaches_into_another_object():
    """Private attributes are read by the file of their class."""
    found = {
        str(path.relative_to(ROOT)): names
        for path, tree in sources().items()
        if path.is_relative_to(ROOT / "detect") and (names := reached_into(tree))
    }
    assert found == {}


def test_only_the_table_and_its_own_files_know_a_monitor():
    """The fold walks the table: it names no monitor."""
    names = {kind.__name__: own_files(kind) for kind in MONITORS}
    found = [
        (path.name, node.id)
        for path, tree in sources().items()
        if path.name != "table.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id in names and path not in names[node.id]
    ]
    assert found == []
