"""Event times as milliseconds since 1970, from texts or from epochs in s, ms, us or ns.

Texts are RFC 3339 (also with `+0100`, `+01`, ` UTC`, a comma, or without seconds), RFC 1123, the digits of an epoch, or
one of `_SPELLINGS`.
Arithmetic on whole columns of bytes parses RFC 3339. `plain_ms` parses one text with the standard library. It defines
the correct result, and parses every text that the columns reject.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from difflib import get_close_matches
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.byte_matrix import by_length
from detectors.arrays.types import F64, I64, U8

Unit = Literal["auto", "s", "ms", "us", "ns"]

UNREADABLE = -1
YEAR_2000_MS = 946_684_800_000
DAY_MS = 86_400_000
END_MS = 253_402_300_800_000  # the year 10000
# An epoch below a limit is in that unit. As seconds, 1e11 lies after the year 5138; as ms, END_MS is the year 10000.
AUTO = ((1e11, "s"), (END_MS, "ms"), (1e3 * END_MS, "us"), (float("inf"), "ns"))
MS_OF = {"s": 1e3, "ms": 1.0, "us": 1e-3, "ns": 1e-6}

_RFC3339 = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[Tt ](?P<minute>\d\d:\d\d)(?P<second>:\d\d)?(?:[.,](?P<fraction>\d+))?"
    r" ?(?P<zone>[Zz]|UTC|GMT|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII,
)
# What standard libraries and servers write otherwise, and the same time as RFC 3339 or RFC 1123.
_SPELLINGS = tuple(
    (re.compile(pattern, re.ASCII), respelled)
    for pattern, respelled in (
        (r"(\d{4}-\d\d-\d\d [\d:.]+ [+-]\d{4}) [A-Z]{3,5}(?: m=[+-][\d.]+)?", r"\1"),  # time.String() of Go
        (r"(\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d))\[[\w/+-]+\]", r"\1"),  # ZonedDateTime of Java
        (
            r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?)",
            r"\1-\2-\3T\4:\5:\6",
        ),  # ISO 8601 basic
        (r"(\d{4})/(\d\d)/(\d\d)([ T]\d\d:.+)", r"\1-\2-\3\4"),
        (r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d:\d\d:\d\d) ([+-]\d{4})", r"Mon, \1 \2 \3 \4 \5"),  # logs of web servers
    )
)
_DOTNET = re.compile(r"/Date\((\d{1,15})(?:[+-]\d{4})?\)/", re.ASCII)
_EPOCH_TEXT = re.compile(r"\d+(\.\d+)?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT_BYTES_MAX = 64  # longer ones take the plain path
_DIGITS = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18]
_MONTH_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


def zone_of(name: str) -> tzinfo:
    """The time zone of an IANA name. Raises ValueError, with near names, for an unknown one."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = get_close_matches(name, available_timezones(), 1)
        hint = f"; did you mean {near[0]}?" if near else ", as in Europe/Paris"
        raise ValueError(f"time_zone is {name!r}, which is no time zone of the IANA database{hint}") from None


def share_of_times(values: Sequence[Any], now_ms: int) -> float:
    """The share of values that are times from 2000 to a day from now, in any form; 0 to 1."""
    usable = [one for one in values if isinstance(one, str | int | float) and not isinstance(one, bool)]
    found = times_ms(usable, "auto", np.full(len(usable), UNREADABLE, np.int64))
    return int(np.count_nonzero((found >= YEAR_2000_MS) & (found <= now_ms + DAY_MS))) / max(len(values), 1)


class Milliseconds(int):
    """An epoch whose unit is sure."""


def times_ms(values: Sequence[Any], unit: Unit, missing_ms: I64, zone: tzinfo = UTC) -> I64:
    """Milliseconds since 1970 in the years 1970..9999, or `UNREADABLE`. `missing_ms` stands where a value is None.

    Texts without an offset are in the time zone `zone`.
    """
    out = np.where(missing_ms < END_MS, missing_ms, UNREADABLE)
    kinds = list(map(type, values))
    of_numbers = partial(from_epochs, unit=unit)
    of_texts = partial(_from_texts, unit=unit, zone=zone)
    sure = partial(from_epochs, unit="ms")
    for types, read in (((str,), of_texts), ((int, float), of_numbers), ((Milliseconds,), sure)):
        found = set(kinds) & set(types)
        if found and found == set(kinds):
            return read(values)
        if found:
            index = [i for i, kind in enumerate(kinds) if kind in types]
            out[index] = read([values[i] for i in index])
    return out


def lacks_zone(text: str) -> bool:
    """Whether a text is a time of the day somewhere: RFC 3339 without an offset."""
    match = _RFC3339.fullmatch(_respelled(text))
    return match is not None and match["zone"] is None


def _respelled(text: str) -> str:
    """A text of `_SPELLINGS` as RFC 3339 or RFC 1123; any other text without spaces around it."""
    text = text.strip(" \t\r\n")
    if len(text) > _TEXT_BYTES_MAX:
        return text
    return next((found.expand(to) for form, to in _SPELLINGS if (found := form.fullmatch(text))), text)


def plain_ms(text: str, unit: Unit = "auto", zone: tzinfo = UTC) -> int:
    """One text by the standard library. Fractions of 1 ms are cut off.

    Of two times that a change of clocks gives one name, the first counts; one that it skips counts as if it had not.
    """
    match = _RFC3339.fullmatch(text) or _RFC3339.fullmatch(text := _respelled(text))
    if match is None:
        if (date := _DOTNET.fullmatch(text)) is not None:
            return int(from_epochs([float(date[1])], "ms")[0])
        return int(from_epochs([float(text)], unit)[0]) if _EPOCH_TEXT.fullmatch(text) else _rfc1123_ms(text)
    try:
        time = datetime.fromisoformat(f"{match['date']}T{match['minute']}{match['second'] or ':00'}")
        offset = _offset_of(match["zone"])
        time = time.replace(tzinfo=zone if offset is None else timezone(offset))
        ms = (time - _EPOCH) // timedelta(milliseconds=1) + int((match["fraction"] or "0").ljust(3, "0")[:3])
    except (ValueError, OverflowError):
        return UNREADABLE
    return ms if 0 <= ms < END_MS and (match["second"] or not match["fraction"]) else UNREADABLE


def _offset_of(zone: str | None) -> timedelta | None:
    """The offset of a text; None: it has none. Raises ValueError beyond 23:59."""
    if zone is None:
        return None
    if zone[0] not in "+-":
        return timedelta(0)
    digits = zone[1:].replace(":", "").ljust(4, "0")
    hour, minute = int(digits[:2]), int(digits[2:])
    if hour > 23 or minute > 59:
        raise ValueError(zone)
    return (-1 if zone[0] == "-" else 1) * timedelta(hours=hour, minutes=minute)


def _rfc1123_ms(text: str) -> int:
    if not text[:3].isalpha() or len(text) > _TEXT_BYTES_MAX:
        return UNREADABLE
    try:
        time = parsedate_to_datetime(text)
        ms = ((time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError, TypeError, IndexError):
        return UNREADABLE
    return ms if 0 <= ms < END_MS else UNREADABLE


def from_epochs(values: Sequence[float] | F64, unit: Unit) -> I64:
    """Epochs as milliseconds, or `UNREADABLE`."""
    try:
        epoch = np.array(values, np.float64)
    except OverflowError:  # an integer beyond any double is beyond any time
        epoch = np.array([value if abs(value) < 2**63 else np.inf for value in values], np.float64)
    if unit == "auto":
        conditions = [np.abs(epoch) < limit for limit, _ in AUTO]
        factor = np.select(conditions, [MS_OF[name] for _, name in AUTO], np.inf)
    else:
        factor = np.full(len(epoch), MS_OF[unit])
    with np.errstate(over="ignore", invalid="ignore"):
        ms = np.rint(epoch * factor)
    return np.where((ms >= 0) & (ms < END_MS), ms, UNREADABLE).astype(np.int64)


def _from_texts(texts: Sequence[str], unit: Unit, zone: tzinfo) -> I64:
    out = np.full(len(texts), UNREADABLE, np.int64)
    for index, matrix in by_length(texts):
        if 19 <= matrix.shape[1] <= _TEXT_BYTES_MAX:
            out[index] = rfc3339_ms(matrix, zone is UTC)
    for i in np.flatnonzero(out == UNREADABLE).tolist():
        out[i] = plain_ms(texts[i], unit, zone)
    return out


def rfc3339_ms(text: U8, is_utc: bool = True) -> I64:
    """The times of [n, length] bytes; `UNREADABLE` where a text is not of the form, or out of range.

    Those without an offset are read where they are in UTC.
    """
    length = text.shape[1]
    digit = (text - np.uint8(48)).astype(np.int64)  # other characters wrap around to more than 9
    zulu = (text[:, -1] | 32) == ord("z")
    signed = ((text[:, -6] == ord("+")) | (text[:, -6] == ord("-"))) & (text[:, -3] == ord(":"))
    suffix = np.where(zulu, 1, np.where(signed, 6, 0))
    out = np.full(len(text), UNREADABLE, np.int64)
    for size in np.unique(suffix).tolist():
        rows = np.flatnonzero(suffix == size)
        if not (size or is_utc):
            continue
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
