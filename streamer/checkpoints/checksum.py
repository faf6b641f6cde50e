"""SHA-256 of large data, piece by piece, so that all cores can help."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import zip_longest
from typing import BinaryIO, Final

PIECE_BYTES: Final = 64 << 20


def sha256_of_file(file: BinaryIO) -> list[str]:
    """The hexadecimal SHA-256 of each `PIECE_BYTES` of a file; the last piece is as long as it is. On one core."""
    return [hashlib.sha256(piece).hexdigest() for piece in iter(partial(file.read, PIECE_BYTES), b"")]


def sha256_of_pieces(data: memoryview) -> list[str]:
    """The same of what is in memory, on all cores."""
    starts = range(0, len(data), PIECE_BYTES)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda start: hashlib.sha256(data[start : start + PIECE_BYTES]).hexdigest(), starts))


def first_difference(found: Sequence[str], wanted: Sequence[str]) -> int | None:
    """Which piece, counted from 1, is the first that differs or is missing; None where all are equal."""
    pairs = enumerate(zip_longest(found, wanted), 1)
    return next((number for number, (one, other) in pairs if one != other), None)
