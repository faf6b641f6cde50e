"""The calendar: what the hour of the day and the day of the week do to a series, learned from event times.

    y = mean + sum over k of a[k] cos(k w t) + b[k] sin(k w t),   w one turn a week

with the first harmonics of the day (k = 7, 14, 21, 28), of the week, and those beside them that let the days of a week
differ. Being waves of the week as a whole, they need not know where in the world a day or a weekend begins. They are
followed by gradient steps (B. Widrow and M. E. Hoff, "Adaptive switching circuits", 1960), each value in proportion to
the time since the one before, so that busy hours don't count for more; each error is taken before the step, so it is
that of a forecast.

Before any of that is known there is the first day. A plain series whose event times have not yet spanned a day does not
know what a day does to it. What the hours do looks like drift, and the dependence gate needs hundreds of values to see
it; of a model with many events a day they lie within the first morning. So until then an alarm stands only if the
series had stood still before the onset: what the hours do is slow. The first slow drift is no alarm, its evidence is
forgotten, and no more is gathered until the day is over. An abrupt drift is an alarm as ever. Whitened series have
learned what slow changes do to them, and are judged as on other days; times that stand still know of no day.
"""

from __future__ import annotations

import math

import numpy as np

from detectors.arrays.jit import kernel, lean_kernel
from detectors.arrays.types import F64, I64
from detectors.shiryaev_roberts.state import Record, Series

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
WEEK_MS = 7 * DAY_MS
PLACES = 2016  # of the week, at which the waves are tabulated: five minutes each
OF_A_WEEK = np.array([7, 14, 21, 28, 1, 2, 6, 8, 13, 15])  # turns of each wave in a week
MEMORY_MS = 4 * WEEK_MS  # time over which the calendar is averaged, once so much has passed
PROVEN_Z, REFUTED_Z = 4.0, -1.0  # standard errors of what it saves a day, from which on it is used, and no longer
DAYS_MIN = 7.0
FADES = 0.75  # what the days before still count for, a week on

# one.day
BEFORE_FIRST = 0  # no value yet
FIRST = 1  # event times have not yet spanned a day
HELD = 2  # neither have they, and the series drifts slowly
OVER = 3

STANDS_STILL = 32  # values after which times that are still the same will not move


def waves() -> F64:
    """A constant, then cosine and sine of each wave, at the middle of each place of the week: [PLACES, CALENDAR]."""
    t = (np.arange(PLACES) + 0.5) / PLACES * 2.0 * np.pi
    turns = np.outer(t, OF_A_WEEK)
    pairs = np.stack([np.cos(turns), np.sin(turns)], axis=2).reshape(PLACES, -1)
    return np.ascontiguousarray(np.concatenate([np.ones((PLACES, 1)), pairs], axis=1), np.float32)


@kernel
def decide(series: Series, rows: I64) -> I64:
    """At the end of a week: is the calendar used from now on? Returns the rows for which that has changed."""
    changed = np.empty(len(rows), np.int64)
    n = 0
    for k in range(len(rows)):
        one = series[rows[k]]
        days = max(float(one.days), 2.0)
        mean = one.gains / days
        variance = max(one.gains_squared / days - mean * mean, 1e-12)
        z = mean / math.sqrt(variance / (days - 1.0))
        if (one.calendar_used == 0 and z > PROVEN_Z and days >= DAYS_MIN) or (one.calendar_used == 1 and z < REFUTED_Z):
            one.calendar_used = 1 - one.calendar_used
            changed[n] = rows[k]
            n += 1
        one.days *= FADES
        one.gains *= FADES
        one.gains_squared *= FADES
    return changed[:n]


@lean_kernel
def follow_first_day(one: Record, time_ms: int) -> bool:
    """Note the event time of the first value; whether this is the first value that comes a day after it or later."""
    if one.day == BEFORE_FIRST:
        one.day, one.first_ms = FIRST, time_ms
    span = time_ms - one.first_ms
    if span >= DAY_MS or (span <= 0 and one.n >= STANDS_STILL):
        one.day, one.first_ms, one.q_mean = OVER, 0, 0.0
    return bool(span >= DAY_MS)
