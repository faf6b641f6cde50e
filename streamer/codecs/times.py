"""Event times as milliseconds since 1970, from RFC 3339 texts, epoch seconds or epoch milliseconds.

Arithmetic on whole columns of bytes parses texts. `plain_ms` parses one text with the standard library. It defines the
correct result, and parses every text that the columns reject.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import I64, U8
from streamer.codecs.byte_matrix import by_length

Unit = Literal["auto", "s", "ms"]

UNREADABLE = -1
END_MS = 253_402_300_800_000  # the year 10000
MILLISECONDS_FROM = (
    1e11  # an epoch of at least this magnitude is milliseconds: as seconds it would lie after the year 5138
)

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT_BYTES_MAX = 64  # longer ones take the plain path
_DIGITS = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18]
_MONTH_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


def times_ms(values: Sequence[Any], unit: Unit, missing_ms: I64) -> I64:
    """Milliseconds since 1970 in the years 1970..9999, or `UNREADABLE`. `missing_ms` stands where a value is None."""
    out = np.where(missing_ms < END_MS, missing_ms, UNREADABLE)
    kinds = list(map(type, values))
    for types, read in (((str,), _from_texts), ((int, float), partial(_from_epochs, unit=unit))):
        found = set(kinds) & set(types)
        if found and found == set(kinds):
            return read(values)
        if found:
            index = [i for i, kind in enumerate(kinds) if kind in types]
            out[index] = read([values[i] for i in index])
    return out


def plain_ms(text: str) -> int:
    """One RFC 3339 text by the standard library. Without an offset it is in UTC; fractions of 1 ms are cut off."""
    if not _RFC3339.fullmatch(text):
        return UNREADABLE
    try:
        time = datetime.fromisoformat(text.upper())
        ms = ((time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        return UNREADABLE
    return ms if 0 <= ms < END_MS else UNREADABLE


def _from_epochs(values: Sequence[float], unit: Unit) -> I64:
    try:
        epoch = np.array(values, np.float64)
    except OverflowError:  # an integer beyond any double is beyond any time
        epoch = np.array([value if abs(value) < END_MS else np.inf for value in values], np.float64)
    milliseconds = np.abs(epoch) >= MILLISECONDS_FROM if unit == "auto" else unit == "ms"
    with np.errstate(over="ignore"):
        ms = np.rint(np.where(milliseconds, epoch, epoch * 1000))
    return np.where((ms >= 0) & (ms < END_MS), ms, UNREADABLE).astype(np.int64)


def _from_texts(texts: Sequence[str]) -> I64:
    out = np.full(len(texts), UNREADABLE, np.int64)
    for index, matrix in by_length(texts):
        if 19 <= matrix.shape[1] <= _TEXT_BYTES_MAX:
            out[index] = _from_bytes(matrix)
    for i in np.flatnonzero(out == UNREADABLE).tolist():
        out[i] = plain_ms(texts[i])
    return out


def _from_bytes(text: U8) -> I64:
    """The times of [n, length] bytes; `UNREADABLE` where a text is not of the form, or out of range."""
    length = text.shape[1]
    digit = (text - np.uint8(48)).astype(np.int64)  # other characters wrap around to more than 9
    zulu = (text[:, -1] | 32) == ord("z")
    signed = ((text[:, -6] == ord("+")) | (text[:, -6] == ord("-"))) & (text[:, -3] == ord(":"))
    suffix = np.where(zulu, 1, np.where(signed, 6, 0))
    out = np.full(len(text), UNREADABLE, np.int64)
    for size in np.unique(suffix).tolist():
        rows = np.flatnonzero(suffix == size)
        ms, good = _local_ms(text[rows], digit[rows], length - size)
        if size == 6:
            offset_min, valid = _offset_min(text[rows], digit[rows])
            ms, good = ms - offset_min * 60_000, good & valid
        out[rows] = np.where(good & (ms >= 0) & (ms < END_MS), ms, UNREADABLE)
    return out


def _local_ms(text: U8, digit: I64, end: int) -> tuple[I64, NDArray[np.bool_]]:
    """Milliseconds of date, time and fraction, which take the first `end` bytes; and whether they are well formed."""
    if end < 19:  # the suffix begins within the time
        return np.zeros(len(text), np.int64), np.zeros(len(text), np.bool_)
    year, month, day = _two(digit, 0) * 100 + _two(digit, 2), _two(digit, 5), _two(digit, 8)
    hour, minute, second = _two(digit, 11), _two(digit, 14), _two(digit, 17)
    good = (digit[:, _DIGITS] <= 9).all(axis=1) & (hour < 24) & (minute < 60) & (second < 60)
    good &= (text[:, [4, 7, 13, 16]] == np.frombuffer(b"--::", np.uint8)).all(axis=1)
    good &= ((text[:, 10] | 32) == ord("t")) | (text[:, 10] == ord(" "))
    good &= (month >= 1) & (month <= 12) & (day >= 1)
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    good &= day <= _MONTH_DAYS[np.where(good, month, 0)] + (leap & (month == 2))
    fraction = digit[:, 20:end]
    if end != 19:
        good &= (text[:, 19] == ord(".")) & (fraction <= 9).all(axis=1) & (end > 20)
    ms = sum((fraction[:, i] * 10 ** (2 - i) for i in range(min(3, fraction.shape[1]))), np.int64(0))
    seconds = ((_days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second
    return seconds * 1000 + ms, good


def _offset_min(text: U8, digit: I64) -> tuple[I64, NDArray[np.bool_]]:
    """Minutes east of UTC from the last six bytes."""
    hour, minute = _two(digit, -5), _two(digit, -2)
    good = (digit[:, [-5, -4, -2, -1]] <= 9).all(axis=1) & (hour < 24) & (minute < 60)
    return np.where(text[:, -6] == ord("-"), -1, 1) * (hour * 60 + minute), good


def _two(digit: I64, at: int) -> I64:
    return digit[:, at] * 10 + digit[:, at + 1]


def _days(year: I64, month: I64, day: I64) -> I64:
    """Days since 1970 in the Gregorian calendar (H. Hinnant, "chrono-compatible low-level date algorithms", 2013)."""
    y = year - (month <= 2)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1  # the year begins in March, so a leap day ends it
    return y * 365 + y // 4 - y // 100 + y // 400 + of_year - 719_468
