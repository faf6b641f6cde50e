"""How long files and functions may be, and how many names a folder may hold.

The limits are fixed. `ratchet.json` lists the folders that still hold more names than the limit, with the number that
each holds: it may fall and never rise. `python tests/project/length_ratchet.py` (part of `make golden`) lowers it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from project_tree import ROOT, functions_of, lines_of, python_files, text_of

RATCHET = ROOT / "tests" / "ratchet.json"
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


def too_full(present: NamesPerFolder, ratchet: NamesPerFolder) -> list[str]:
    """One line for each folder with more names than the limit, or than the ratchet grants it."""
    return [
        f"{folder}: {count} names, limit {ratchet.get(folder, FOLDER_NAMES_MAX)}"
        for folder, count in sorted(present.items())
        if count > ratchet.get(folder, FOLDER_NAMES_MAX)
    ]


def tightened(ratchet: NamesPerFolder, present: NamesPerFolder) -> NamesPerFolder:
    """The ratchet lowered to what is there, without the folders that keep the limit or are gone."""
    lowered = {folder: min(granted, present.get(folder, 0)) for folder, granted in ratchet.items()}
    return {folder: count for folder, count in sorted(lowered.items()) if count > FOLDER_NAMES_MAX}


def read(path: Path = RATCHET) -> NamesPerFolder:
    ratchet: NamesPerFolder = json.loads(path.read_text())
    return ratchet


def main() -> None:
    """Tighten `ratchet.json`."""
    ratchet = tightened(read(), names_per_folder(python_files()))
    RATCHET.write_text(json.dumps(ratchet, indent=2) + "\n")


if __name__ == "__main__":
    main()
