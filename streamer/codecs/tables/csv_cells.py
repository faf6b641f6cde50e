"""Cells of CSV, and what they hold."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from io import StringIO
from typing import Final

from streamer.codecs.base import Reason
from streamer.codecs.event import Refused

CELLS_MAX: Final = 1_000_000  # of one record
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_INTEGER: Final = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_MISSING: Final = frozenset({"", "null", "NULL", "None", "nan", "NaN", "NA", "N/A"})


def cells_of(text: str, separator: str = ",", quoted: bool = True) -> list[list[str]]:
    """The cells of all lines that are not empty; unless `quoted`, quotes are text. Raises `Refused`."""
    found = []
    cells = 0
    try:
        for line in _quoted(text, separator) if quoted else _plain(text, separator):
            cells += len(line)
            if cells > CELLS_MAX:
                raise Refused(Reason.NOT_CSV, f"the value has more than {CELLS_MAX:,} cells")
            if line:
                found.append([cell.strip() for cell in line])
    except csv.Error as error:
        raise Refused(Reason.NOT_CSV, f"the value is no CSV: {error}") from None
    return found


def _quoted(text: str, separator: str) -> Iterator[list[str]]:
    return csv.reader(StringIO(text, newline=""), delimiter=separator, strict=True)


def _plain(text: str, separator: str) -> Iterator[list[str]]:
    lines = text.replace("\r\n", "\n").split("\n")
    return (line.split(separator) for line in lines if line)


def value_of(cell: str) -> float | int | str | None:
    """What a cell holds: a number, nothing, or a text. Numbers with leading zeros are codes, and so texts."""
    if cell in _MISSING:
        return None
    if _INTEGER.fullmatch(cell):
        return cell if is_code(cell) else int(cell)
    return float(cell) if _NUMBER.fullmatch(cell) and not is_code(cell) else cell


def is_code(cell: str) -> bool:
    """Whether digits begin with a zero that a number would lose: 00501."""
    digits = cell.lstrip("+-")
    return len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
