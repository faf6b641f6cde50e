"""Rows of text as an aligned table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from streamer.logs import one_line


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """One line for each row, with aligned columns. All rows have the same length; the first is the head.

    Line breaks and control characters in a text are shown as escapes.
    """
    shown = [[one_line(text) for text in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        yield "  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
