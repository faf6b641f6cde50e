"""Columns that are functions of the clock: hour, day of the week, weekend, day of the month, month, and the like.

Such a column equals one of `FUNCTIONS` at every value so far, in a time zone of whole or half hours. It moves because
time does. A zone that changes its clocks ends this for functions of the hour.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.growth import ensure_length
from detectors.arrays.jit import kernel
from detectors.arrays.types import F64, I64, U8

# Days of the week count from Monday or Sunday, from 0 or 1; months from 0 or 1.
FUNCTIONS: Final = (
    "hour", "monday_0", "monday_1", "sunday_0", "sunday_1", "weekend", "workday", "day", "month_1", "month_0",
    "day_of_year", "week", "quarter", "year", "minute",
)  # fmt: skip
NO, MAYBE, YES = range(3)  # whether a value is one of such a column; MAYBE: the column has not changed yet
VALUE_MAX: Final = 9999

OWNER: Final = 2
_ZONES: Final = 53  # half hours from -12:00 to +14:00
_ALL: Final = np.uint64((1 << _ZONES) - 1)
_NEW, _DEAD = -1, -2
_HALF_HOUR_MS: Final = 1_800_000
_CAMEL: Final = re.compile(r"([a-z])([A-Z])")
_WORDS: Final = {
    "hour", "hr", "minute", "day", "dow", "dom", "doy", "weekday", "dayofweek", "dayofmonth", "dayofyear", "week",
    "weekend", "workday", "month", "quarter", "year",
}  # fmt: skip
_COLUMNS: Final = len(FUNCTIONS)


class Calendar:
    """Which rows of numbers are functions of the clock. 140 bytes for each that may be one; 4 for any other."""

    def __init__(self) -> None:
        self._place = np.empty(0, np.int32)  # by row: of its candidates, or _NEW, or _DEAD
        self._zones = np.zeros((8, _COLUMNS), np.uint64)  # zones in which a function fits, as bits
        self._last = np.zeros((8, 3))  # last value, how often it changed, and the row
        self._used = np.zeros(1, np.int64)

    def update(self, rows: I64, values: F64, event_time_ms: I64) -> U8:
        """Whether the column of each value [m] is a function of the clock up to it: `NO`, `MAYBE` or `YES`."""
        self._place = ensure_length(self._place, int(rows.max(initial=-1)) + 1, _NEW)
        room = int(self._used[0]) + int(np.count_nonzero(self._place[rows] == _NEW))
        self._zones, self._last = ensure_length(self._zones, room, 0), ensure_length(self._last, room, 0)
        found = np.empty(len(rows), np.uint8)
        _update((self._place, self._zones, self._last, self._used), rows, values, event_time_ms, found)
        return found

    def is_of(self, row: int) -> bool:
        """Whether the column of a row is a function of the clock, and has changed."""
        place = self._place[row] if row < len(self._place) else _NEW
        return bool(place >= 0 and self._last[place, 1] > 0)

    def dump(self, rows: int) -> dict[str, NDArray[Any]]:
        """The state of the first `rows` rows."""
        self._place = ensure_length(self._place, rows, _NEW)
        place = self._place[:rows]
        mine = place[place >= 0]
        state = np.where(place >= 0, 0, place).astype(np.int8)
        return {"state": state, "zones": self._zones[mine], "last": self._last[mine, :OWNER]}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restore what was dumped."""
        alive, n = arrays["state"] == 0, len(arrays["zones"])
        self._place = arrays["state"].astype(np.int32)
        self._place[alive] = np.arange(n)
        self._zones, self._last = arrays["zones"].copy(), np.zeros((n, 3))
        self._last[:, :OWNER], self._last[:, OWNER] = arrays["last"], np.flatnonzero(alive)
        self._used[0] = n

    @staticmethod
    def remap(arrays: Mapping[str, NDArray[Any]], kept: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
        """What was dumped, with only the rows where `kept` is true."""
        state, mine = arrays["state"], kept[arrays["state"] == 0]
        return {"state": state[kept], "zones": arrays["zones"][mine], "last": arrays["last"][mine]}


def has_clock_name(column: str) -> bool:
    """Whether a column is named after a part of the calendar, which is evidence beside its values."""
    return bool(_WORDS & set(re.split(r"[^a-z]+", _CAMEL.sub(r"\1_\2", column).lower())))


@kernel
def civil(day: int) -> tuple[int, int, int]:
    """Year, month and day of the month of a day since 1970 (H. Hinnant, chrono-compatible date algorithms)."""
    z = day + 719468
    era = z // 146097
    of_era = z - era * 146097
    year_of_era = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    return year, month, of_year - (153 * shifted + 2) // 5 + 1


@kernel
def first_day(year: int) -> int:
    """The first of January of a year, in days since 1970."""
    y = year - 1
    return 365 * y + y // 4 - y // 100 + y // 400 - 719162


@kernel
def _week(day: int, year: int) -> int:
    """The ISO 8601 week: that of the year in which its Thursday lies."""
    thursday = day - (day + 3) % 7 + 3
    of_year = year
    if thursday >= first_day(year + 1):
        of_year = year + 1
    elif thursday < first_day(year):
        of_year = year - 1
    return (thursday - first_day(of_year)) // 7 + 1


@kernel
def clock_values(local_ms: int, out: I64) -> None:
    """The values of `FUNCTIONS` at a local time in ms since 1970."""
    day = local_ms // 86_400_000
    year, month, of_month = civil(day)
    weekday = (day + 3) % 7
    weekend = 1 if weekday >= 5 else 0
    out[0] = local_ms // 3_600_000 % 24
    out[1], out[2], out[3], out[4] = weekday, weekday + 1, (weekday + 1) % 7, (weekday + 1) % 7 + 1
    out[5], out[6], out[7], out[8], out[9] = weekend, 1 - weekend, of_month, month, month - 1
    out[10], out[11] = day - first_day(year) + 1, _week(day, year)
    out[12], out[13], out[14] = (month + 2) // 3, year, local_ms // 60_000 % 60


@kernel
def _fit(zones: NDArray[np.uint64], value: int, time_ms: int, clock: I64) -> bool:
    """Drop the functions and zones that do not give this value; False if none is left."""
    left = np.uint64(0)
    for f in range(len(zones)):
        left |= zones[f]
    any_left = np.uint64(0)
    for zone in range(_ZONES):
        bit = np.uint64(1) << np.uint64(zone)
        if left & bit == 0:
            continue
        clock_values(time_ms + (zone - 24) * _HALF_HOUR_MS, clock)
        for f in range(len(zones)):
            if clock[f] != value:
                zones[f] &= ~bit
            any_left |= zones[f] & bit
    return bool(any_left != 0)


@kernel
def _free(state: Any, row: int) -> None:
    """Give up a row; the last place moves into its own."""
    place, zones, last, used = state
    at = place[row]
    used[0] -= 1
    end = used[0]
    if at != end:
        place[np.int64(last[end, OWNER])] = at
        zones[at], last[at] = zones[end], last[end]
    place[row] = _DEAD


@kernel
def _update(state: Any, rows: I64, values: F64, time_ms: I64, found: U8) -> None:
    place, zones, last, used = state
    clock = np.empty(_COLUMNS, np.int64)
    for i in range(len(rows)):
        row, value = rows[i], values[i]
        found[i] = NO
        at = place[row]
        if at == _DEAD:
            continue
        if at == _NEW:
            if value < 0 or value > VALUE_MAX or value != np.rint(value):
                place[row] = _DEAD
                continue
            at = used[0]
            used[0] += 1
            place[row] = at
            zones[at], last[at, 0], last[at, 1], last[at, OWNER] = _ALL, value, 0, row
        if value != np.rint(value) or not _fit(zones[at], int(value), int(time_ms[i]), clock):
            _free(state, row)
            continue
        if value != last[at, 0]:
            last[at, 0] = value
            last[at, 1] += 1
        found[i] = YES if last[at, 1] > 0 else MAYBE
