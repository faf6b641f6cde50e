"""False alarms on real daily and weekly cycles: recorded columns, week by week in shuffled order, and as they were.

    python -m benchmarks.recorded.weeks [FOLDER]    with bike_hourly.parquet in it, which is not shipped

Without it, the tables in the page stay as they are.

Weeks in shuffled order are stationary but for their cycle: every alarm is false. In true order alarms tell what has
happened; the table says what the column did in the four weeks before each onset and in the four after it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from benchmarks.page import printed, written
from detectors.arrays.types import F64, I64
from detectors.base import Alarms
from detectors.registry import bank, settings_of
from detectors.shiryaev_roberts.calendar import HOUR_MS, WEEK_MS

SHIPPED = Path(__file__).parents[2] / "examples" / "data" / "ttc_subway_delays.parquet"
SHUFFLES = 20
ASKED = 1e5  # values to a false alarm
COLUMNS = ("column", "values", "false in 10,000, weeks shuffled", "alarms, true order", "of them in 10,000")
ALARMS = ("column", "alarm", "onset", "values above 0, before", "after", "mean, before", "after")


class Column(NamedTuple):
    """Values in order, and when each came."""

    name: str
    times: I64
    values: F64


def subway() -> Iterator[Column]:
    """Delay reports of the Toronto subway: 215,602, some 55 a day, at any minute."""
    table = pq.read_table(SHIPPED, columns=["timestamp", "delay_min", "gap_min"])
    times = table["timestamp"].to_numpy().astype("datetime64[ms]").astype(np.int64)
    for name in ("delay_min", "gap_min"):
        yield Column(f"subway, {name}", times, table[name].to_numpy().astype(np.float64))


def bikes(folder: Path) -> Iterator[Column]:
    """Hours of bike rental, 2011 and 2012. Some 1 in 100 is missing, not said which: times are nearly right."""
    table = pq.read_table(folder / "bike_hourly.parquet")
    times = np.datetime64("2011-01-01T00", "ms").astype(np.int64) + HOUR_MS * np.arange(table.num_rows)
    for name in ("temp", "humidity", "windspeed"):
        yield Column(f"bikes, {name}", times, table[name].to_numpy().astype(np.float64))
    yield Column("bikes, demand is high", times, (table["demand"].to_numpy() == "high").astype(np.float64))


def shuffled(column: Column, seed: int) -> Column:
    """The whole weeks in another order, each value at its time of the week."""
    week = (column.times - column.times[0]) // WEEK_MS
    order = np.random.default_rng([8, seed]).permutation(week[-1])  # but for the last, which may not be whole
    at = np.concatenate([np.flatnonzero(week == one) for one in order])
    moved = (np.argsort(order)[week[at]] - week[at]) * WEEK_MS
    return Column(column.name, column.times[at] + moved, column.values[at])


def watched(column: Column) -> Alarms:
    """The alarms of one series."""
    one = bank("shiryaev_roberts", settings_of("shiryaev_roberts", arl0=ASKED), 1)
    return one.update(np.zeros(len(column.values), np.int64), column.values, column.times)


def line(column: Column) -> list[str]:
    """How often it alarms."""
    n = len(column.values)
    false = np.mean([len(watched(shuffled(column, seed))) for seed in range(SHUFFLES)])
    reported = len(watched(column))
    return [column.name, f"{n:,}", f"{1e4 * false / n:.2f}", str(reported), f"{1e4 * reported / n:.2f}"]


def explained(column: Column) -> Iterator[list[str]]:
    """A line an alarm in true order."""
    alarms = watched(column)
    for at, onset in zip(alarms.at.tolist(), (alarms.at - alarms.onset_ago).tolist(), strict=True):
        ago = column.times - column.times[onset]
        sides = [column.values[(ago >= -4 * WEEK_MS) & (ago < 0)], column.values[(ago >= 0) & (ago < 4 * WEEK_MS)]]
        days = [str(np.datetime64(int(column.times[i]), "ms").astype("datetime64[D]")) for i in (at, onset)]
        shares = [f"{100 * np.mean(side > 0):.0f} %" for side in sides]
        yield [column.name, *days, *shares, *(f"{side.mean():.2f}" for side in sides)]


if __name__ == "__main__":
    columns, folder = list(subway()), Path(sys.argv[1]) if len(sys.argv) > 1 else None
    if folder is not None:
        columns += bikes(folder)
    for name, head, rows in (
        ("recorded weeks", COLUMNS, map(line, columns)),
        ("recorded alarms", ALARMS, (row for column in columns for row in explained(column))),
    ):
        written(name, head, rows) if folder is not None else printed(head, rows)
