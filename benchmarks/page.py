"""Measured tables in `docs/detectors/measurements.md` and other pages, whose text is written by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "detectors" / "measurements.md"


def printed(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """The table, as Markdown, printed."""
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in (columns, ["---"] * len(columns), *lines))
    print(table)
    return table


def written(name: str, columns: Sequence[str], lines: Iterable[Sequence[str]], page: Path | None = None) -> None:
    """Print the table, then put it between its marks in the page, `PAGE` if none is given."""
    begin, end = f"<!-- measured: {name} -->\n", f"<!-- end: {name} -->\n"
    table = printed(columns, lines)
    page = page or PAGE
    text = page.read_text()
    before, after = text.split(begin)[0], text.split(end)[1]
    page.write_text(f"{before}{begin}{table}{end}{after}")
