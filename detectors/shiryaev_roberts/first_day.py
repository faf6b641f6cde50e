"""The first day: a plain series whose event times have not yet spanned a day does not know what a day does to it.

What the hours do to a column looks like drift, and the dependence gate needs hundreds of values to see it; of a model
with many events a day they lie within the first morning. So until then an alarm stands only if the series had stood
still before the onset: what the hours do is slow. The first slow drift is no alarm, its evidence is forgotten, and no
more is gathered until the day is over. An abrupt drift is an alarm as ever. Whitened series have learnt what slow
changes do to them, and are judged as on other days; times that stand still know of no day.
"""

from __future__ import annotations

from detectors.arrays.jit import lean_kernel
from detectors.shiryaev_roberts.calendar import DAY_MS
from detectors.shiryaev_roberts.state import Record

# one.day
BEFORE_FIRST = 0  # no value yet
FIRST = 1  # event times have not yet spanned a day
HELD = 2  # neither have they, and the series drifts slowly
OVER = 3

STANDS_STILL = 32  # values after which times that are still the same will not move


@lean_kernel
def follow_first_day(one: Record, time_ms: int) -> None:
    """Note the event time of the first value, and when a day has passed since."""
    if one.day == BEFORE_FIRST:
        one.day, one.first_ms = FIRST, time_ms
    span = time_ms - one.first_ms
    if span >= DAY_MS or (span <= 0 and one.n >= STANDS_STILL):
        one.day, one.first_ms, one.q_mean = OVER, 0, 0.0
