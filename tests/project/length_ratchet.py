"""How long files and functions may be: `ratchet.json` holds a limit for each top folder, and limits only go down.

`python tests/project/length_ratchet.py` (part of `make golden`) lowers each limit to the longest that is there.
"""

from __future__ import annotations

import json
from pathlib import Path

from project_tree import ROOT, functions_of, lines_of, python_files, text_of

RATCHET = ROOT / "tests" / "ratchet.json"
CEILING = {"file_lines": 500, "function_lines": 70}  # for every folder, whatever the ratchet says

Limits = dict[str, dict[str, int]]


def measured() -> Limits:
    """The longest file and function of each top folder."""
    longest: Limits = {}
    for path in python_files():
        here = longest.setdefault(path.parts[0], dict.fromkeys(CEILING, 0))
        here["file_lines"] = max(here["file_lines"], len((text_of(path) or "").splitlines()))
        here["function_lines"] = max([here["function_lines"], *map(lines_of, functions_of(path))])
    return longest


def too_long(limits: Limits) -> list[str]:
    """One line for each file and function that exceeds its limit; folders without limits get the ceiling."""
    found = []
    for path in python_files():
        limit = limits.get(path.parts[0], CEILING)
        lines = len((text_of(path) or "").splitlines())
        if lines > limit["file_lines"]:
            found.append(f"{path}: {lines} lines, limit {limit['file_lines']}")
        found += [
            f"{path}:{function.lineno} {function.name}: {lines_of(function)} lines, limit {limit['function_lines']}"
            for function in functions_of(path)
            if lines_of(function) > limit["function_lines"]
        ]
    return found


def tightened(limits: Limits, present: Limits) -> Limits:
    """The limits of the folders present, each lowered to what is there and never raised."""
    return {
        room: {key: min(limits.get(room, CEILING)[key], longest[key]) for key in CEILING}
        for room, longest in sorted(present.items())
    }


def read(path: Path = RATCHET) -> Limits:
    limits: Limits = json.loads(path.read_text())
    return limits


def main() -> None:
    """Tighten `ratchet.json`."""
    limits = tightened(read() if RATCHET.exists() else {}, measured())
    RATCHET.write_text(json.dumps(limits, indent=2) + "\n")


if __name__ == "__main__":
    main()
