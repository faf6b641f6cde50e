"""How long files and functions may be, and how many names a folder may hold. The limits are fixed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from project_tree import functions_of, lines_of, text_of

FILE_LINES_MAX = 350
FUNCTION_LINES_MAX = 45
FUNCTION_LINES_P90_MAX = 20  # nine of ten functions of a top folder are no longer
FOLDER_NAMES_MAX = 20  # files and folders at the top of any folder that holds Python files, `__init__.py` aside

NamesPerFolder = dict[str, int]


def too_long(paths: Iterable[Path]) -> list[str]:
    """One line for each file and function that exceeds its limit."""
    found = []
    for path in paths:
        lines = len((text_of(path) or "").splitlines())
        if lines > FILE_LINES_MAX:
            found.append(f"{path}: {lines} lines, limit {FILE_LINES_MAX}")
        found += [
            f"{path}:{function.lineno} {function.name}: {lines_of(function)} lines, limit {FUNCTION_LINES_MAX}"
            for function in functions_of(path)
            if lines_of(function) > FUNCTION_LINES_MAX
        ]
    return found


def p90_of_functions(paths: Iterable[Path]) -> int:
    """The length that nine of ten functions of these files do not exceed."""
    lengths = sorted(lines_of(function) for path in paths for function in functions_of(path))
    return lengths[int(0.9 * len(lengths))]


def names_per_folder(paths: Iterable[Path]) -> NamesPerFolder:
    """How many names stand at the top of each folder that holds Python files directly; the root is left out."""
    names: dict[Path, set[str]] = {}
    for path in paths:
        for folder in path.parents[:-1]:
            names.setdefault(folder, set()).add(path.relative_to(folder).parts[0])
    return {
        str(folder): len(held - {"__init__.py"})
        for folder, held in names.items()
        if any(name.endswith(".py") for name in held)
    }


def too_full(present: NamesPerFolder) -> list[str]:
    """One line for each folder with more names than the limit."""
    return [
        f"{folder}: {count} names, limit {FOLDER_NAMES_MAX}"
        for folder, count in sorted(present.items())
        if count > FOLDER_NAMES_MAX
    ]
