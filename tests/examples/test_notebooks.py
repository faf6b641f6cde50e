"""The notebooks of examples/notebooks run, and show what they say they show."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples/notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_what_it_computes(path, tmp_path, monkeypatch):
    """A kernel runs all cells in order; the outputs are those in the file, and no cell warns."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    shown = nbformat.read(path, as_version=4)
    ran = nbformat.read(path, as_version=4)
    NotebookClient(ran, timeout=None, resources={"metadata": {"path": str(path.parent)}}).execute()
    assert outputs_of(ran) == outputs_of(shown)
    assert sum(map(len, outputs_of(ran))) >= 5


def test_there_are_notebooks():
    """One of a table, one of a detector."""
    assert [path.stem for path in NOTEBOOKS] == ["detectors", "subway"]


def outputs_of(notebook: Any) -> list[list[Any]]:
    """What each cell prints and returns, and the titles of what it draws, whose looks may change."""
    cells = (cell for cell in notebook.cells if cell.cell_type == "code")
    return [[one.get("text") or _named(one["data"]) for one in cell.outputs] for cell in cells]


def _named(data: dict[str, str]) -> dict[str, str]:
    picture = data.get("image/svg+xml")
    if picture is None:
        return data
    (title,) = re.findall("<title>(.*?)</title>", picture)[:1]
    return {"picture": title}
