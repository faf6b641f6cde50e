"""Profiles as rows of the page's read model: the numbers of one are a few bytes, which are read when somebody looks.

A message of the topic becomes rows without a Python object for each number. A line of a replay gives the same row.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Final

import msgspec

from streamer.events import EPOCH

NAN: Final = float("nan")  # of a number that a profile does not have
MS: Final = timedelta(milliseconds=1)
FIELDS: Final = (  # name, and its type for `struct`
    ("end_ms", "q"), ("is_number", "?"), ("intervals", "H"), ("count", "I"), ("missing", "I"), ("faults", "I"),
    ("mean", "d"), ("sd", "f"), ("p05", "d"), ("p25", "d"), ("p50", "d"), ("p75", "d"), ("p95", "d"),
    ("compared", "B"), ("trained", "?"), ("psi", "f"), ("ks", "f"), ("n_reference", "d"), ("psi_chance", "d"),
    ("ks_chance", "d"),
)  # fmt: skip
SHORT: Final = frozenset({"sd", "psi", "ks", "n_reference", "psi_chance", "ks_chance"})  # four digits are enough
_NUMBERS: Final = struct.Struct("<" + "".join(kind for _, kind in FIELDS))
_NAMED: Final = tuple(name for name, _ in FIELDS)

SERIES: Final = ("model_id", "model_version", "segment", "topic", "column")
Names = tuple[str, ...]  # of a series: model, version, segment, topic, column
Row = tuple[int, float | None, bytes, bytes | str | None, str | None]  # start in ms, PSI, numbers, cells, categories


class _ProfileLine(msgspec.Struct):
    """A profile as `driftline replay` writes it."""

    unit: str
    start: datetime
    end: datetime
    model_id: str
    column: str
    kind: str
    model_version: str = ""
    segment: str = ""
    topic: str = ""
    intervals: int = 1
    count: int = 0
    missing: int = 0
    faults: int = 0
    mean: float | None = None
    sd: float | None = None
    p05: float | None = None
    p25: float | None = None
    p50: float | None = None
    p75: float | None = None
    p95: float | None = None
    cells: list[float] = []
    categories: dict[str, float] = {}
    compared: int = 0
    trained: bool = False
    psi: float | None = None
    ks: float | None = None
    n_reference: float | None = None
    psi_chance: float | None = None
    ks_chance: float | None = None


_line = msgspec.json.Decoder(_ProfileLine).decode
_names_of = attrgetter(*SERIES)
_plain_numbers = attrgetter(*_NAMED[2:])


@dataclass(frozen=True, slots=True)
class ProfileRows:
    """The rows of a message, or the one of a line."""

    unit: str
    end_ms: int  # of the last interval
    rows: Iterable[tuple[Names, Row]]


def rows_in(value: bytes) -> ProfileRows:
    """The profiles of a message of the topic or of a line of a replay. Raises `ValueError` for other bytes."""
    return _of_line(_line(value)) if value.startswith(b"{") else _of_message(value)


def numbers_of(rows: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The numbers of rows, as in `profile_objects`; None where a profile has none."""
    for values in _NUMBERS.iter_unpack(b"".join(rows)):
        found = dict(zip(_NAMED, values, strict=True))
        for name, value in found.items():
            if value != value:
                found[name] = None
            elif name in SHORT:
                found[name] = four_digits(value)
        yield found


def four_digits(value: float) -> float:
    """A number as people need it."""
    return float(f"{value:.4g}")


def cells_of(cells: bytes | str | None) -> list[float]:
    """The shares of a row: of each cell between the deciles of its reference, or of each category."""
    from streamer.contracts.profiles import WHOLE

    if isinstance(cells, bytes):
        return [share / WHOLE for share in cells]
    return msgspec.json.decode(cells, type=list[float]) if cells else []


def _of_line(line: _ProfileLine) -> ProfileRows:
    end_ms = (line.end - EPOCH) // MS
    numbers = (NAN if value is None else value for value in _plain_numbers(line))
    try:
        packed = _NUMBERS.pack(end_ms, line.kind == "number", *numbers)
    except (struct.error, OverflowError) as problem:
        raise ValueError(f"a profile has a number that is out of range: {problem}") from problem
    shares = list(line.categories.values()) or line.cells
    cells = msgspec.json.encode(shares).decode() if shares else None
    categories = msgspec.json.encode(list(line.categories)).decode() if line.categories else None
    row = ((line.start - EPOCH) // MS, line.psi, packed, cells, categories)
    return ProfileRows(line.unit, end_ms, [(_names_of(line), row)])


def _of_message(value: bytes) -> ProfileRows:
    import numpy as np
    import pyarrow as pa

    from streamer.contracts.profiles import read_profiles

    try:
        table = read_profiles(value)
    except pa.ArrowException as problem:
        raise ValueError(str(problem)) from problem
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    start_ms, columns["end_ms"] = (columns[name].cast(pa.int64()) for name in ("start", "end"))
    layout = np.dtype([(name, np.dtype(kind).newbyteorder("<")) for name, kind in FIELDS])
    numbers = np.empty(table.num_rows, layout)
    for name in _NAMED:
        numbers[name] = columns[name].to_numpy(zero_copy_only=False)
    psi = [None if one != one else one for one in numbers["psi"].tolist()]
    packed, size = numbers.tobytes(), layout.itemsize
    bodies = [packed[at : at + size] for at in range(0, len(packed), size)]
    names = zip(*(_texts(columns[name]) for name in SERIES), strict=True)
    cells, categories = _cells_and_categories(columns)
    rows = zip(names, zip(start_ms.to_pylist(), psi, bodies, cells, categories, strict=True), strict=True)
    return ProfileRows(table["unit"][0].as_py() if bodies else "", int(numbers["end_ms"].max()) if bodies else 0, rows)


def _texts(column: Any) -> list[str]:
    names = column.dictionary.to_pylist()
    return [names[index] for index in column.indices.to_numpy().tolist()]


def _cells_and_categories(columns: dict[str, Any]) -> tuple[list[bytes | None], list[str | None]]:
    from detectors.profile.layout import SLOTS
    from detectors.profile.summary import DECILES

    shares, named = columns["cells"].flatten().to_numpy().tobytes(), columns["categories"].flatten()
    compared = columns["compared"].to_pylist()
    found = [shares[i * DECILES : (i + 1) * DECILES] if n else None for i, n in enumerate(compared)]
    categories: list[str | None] = [None] * len(compared)
    if named.null_count < len(named):
        texts = named.to_pylist()
        for i in range(len(compared)):
            names = [name for name in texts[i * SLOTS : (i + 1) * SLOTS] if name is not None]
            if names:
                of = dict(zip(names, shares[i * DECILES : (i + 1) * DECILES], strict=False))
                found[i], categories[i] = bytes(of.values()), msgspec.json.encode(list(of)).decode()
    return found, categories
