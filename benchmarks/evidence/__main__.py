"""How far from the truth an alert is: before, after, effect, shift and onset, at `firing` and at `ready`.

python -m benchmarks.evidence    writes the tables of docs/detectors/evidence.md
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.evidence.truth import Off
from benchmarks.evidence.watched import SEEDS, WATCHES, Errors, Seen, cases, watched
from benchmarks.page import written

PAGE = Path(__file__).parents[2] / "docs" / "detectors" / "evidence.md"
NUMBERS = ("before", "after", "effect", "shift", "onset")
COLUMNS = ("detector", "change", "seen", *NUMBERS)
LAW_COLUMNS = ("law", "alerts", *NUMBERS)
STATES = ("firing", "ready")


class Row(NamedTuple):
    """The alerts of one case, with the detector that raised them."""

    detector: str
    seen: Seen


def measured(seeds: int = SEEDS) -> list[Row]:
    """All cases of all detectors."""
    return [
        Row(name, watched(watch, case, number, seeds))
        for name, watch in WATCHES.items()
        for kind in watch.kinds
        for number, case in enumerate(cases(kind))
    ]


def lines(rows: Sequence[Row], state: str, seeds: int = SEEDS) -> Iterator[list[str]]:
    """A line a detector and change: its errors over all laws."""
    for (detector, change), of in _by(rows, lambda row: (row.detector, row.seen.change)).items():
        errors = _joined(of, state)
        if errors.before:
            seen = sum(one.seen.seen for one in of) / (seeds * len(of))
            yield [detector, change, f"{100 * seen:.0f} %", *_cells(errors)]


def law_lines(rows: Sequence[Row]) -> Iterator[list[str]]:
    """A line a law: the errors of alerts that are ready, over all detectors and changes."""
    for (law,), of in _by(rows, lambda row: (row.seen.law,)).items():
        errors = _joined(of, "ready")
        if errors.before:
            yield [law, f"{len(errors.before)}", *_cells(errors)]
    for what, of in (("all trained", True), ("all others", False)):
        errors = _joined([row for row in rows if ("trained" in row.detector) is of], "ready")
        yield [f"*{what}*", f"{len(errors.before)}", *_cells(errors)]


def _by(rows: Iterable[Row], key: Callable[[Row], tuple[str, ...]]) -> dict[tuple[str, ...], list[Row]]:
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def _joined(rows: Iterable[Row], state: str) -> Errors:
    found = Errors()
    for row in rows:
        found.join(getattr(row.seen, state))
    return found


def _cells(errors: Errors) -> Iterator[str]:
    for name in NUMBERS[:-1]:
        yield _of(getattr(errors, name))
    off = np.abs(errors.onset)
    yield f"{np.median(off):.0f}; {np.percentile(off, 95):.0f}"


def _of(offs: Sequence[Off]) -> str:
    if not offs:
        return "-"
    error, right = [one.error for one in offs], np.mean([one.is_right for one in offs])
    return f"{np.median(error):.2f}; {np.percentile(error, 95):.2f}; {100 * right:.0f} %"


if __name__ == "__main__":
    found = measured()
    for state in STATES:
        written(f"evidence at {state}", COLUMNS, lines(found, state), PAGE)
    written("evidence by law", LAW_COLUMNS, law_lines(found), PAGE)
