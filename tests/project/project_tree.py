"""The files of this repository, as the tests about the code itself see them."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("detectors", "driftline", "retrain", "streamer")


@cache
def files() -> tuple[Path, ...]:
    """Every file that git knows or would add, relative to the root."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return tuple(path for line in sorted(listed.stdout.splitlines()) if (ROOT / (path := Path(line))).is_file())


def python_files(*rooms: str) -> list[Path]:
    """The Python files below these top folders; all of them when none is named."""
    return [path for path in files() if path.suffix == ".py" and (not rooms or path.parts[0] in rooms)]


def text_of(path: Path) -> str | None:
    """A file's text; None for what is not text."""
    try:
        return (ROOT / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


@cache
def syntax_of(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), str(path))


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a file, methods and nested ones included."""
    for node in ast.walk(syntax_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Length from `def` to the last line, docstring included."""
    return (function.end_lineno or function.lineno) - function.lineno + 1
