"""The situations that are measured, by what a detector should do in them."""

from __future__ import annotations

from benchmarks.detection.dependent_laws import HOUR_MS, clustered, cycle, inert
from benchmarks.detection.drifts import normal
from benchmarks.situations.streams import (
    MINUTE_MS,
    Situation,
    bursts,
    new_levels,
    one_step,
    steady,
    to_and_fro,
    two_states,
    two_steps,
    year_of_hours,
    zero_at_night,
)

DRIFTS: dict[str, Situation] = {
    **{f"to and fro by {sd:g} sd, every {n:,}": to_and_fro(sd, n) for sd, n in ((2, 500), (2, 1000), (0.5, 2000))},
    **{f"a new level, 1.5 to 4 sd off, every {n:,}": new_levels(n) for n in (500, 2000, 5000)},
    "two states, 2 sd apart, of 500 values on average": two_states(500, 2.0),
    "two states, 2 sd apart, of 2,000": two_states(2000, 2.0),
    "two states, deviations 1 and 2, of 500": two_states(500, 0.0, 2.0),
    "bursts of 50 values, 3 sd": bursts(50, 3.0),
    "bursts of 20 values, 5 sd": bursts(20, 5.0),
    **{f"+1 sd at value {at}": one_step(1.0, at) for at in (100, 200, 400)},
    **{f"+2 sd at value {at}": one_step(2.0, at) for at in (50, 150)},
    "+1 sd at value 100, hours": one_step(1.0, 100, HOUR_MS),
    "+2 sd at value 50, hours": one_step(2.0, 50, HOUR_MS),
    "+2 sd at value 800, minutes": one_step(2.0, 800, MINUTE_MS),
    **{f"+1 sd, as much again {n} values later": two_steps(1.0, 2.0, n) for n in (128, 200, 500)},
    **{f"+1 sd, gone {n} values later": two_steps(1.0, 0.0, n) for n in (100, 300)},
}
QUIET: dict[str, Situation] = {
    "independent": steady(normal),
    **{f"day of minutes, height {h:g}": steady(cycle(1440, h), MINUTE_MS) for h in (0.3, 0.6, 1.0)},
    "the same, .6, reference of 2,000": steady(cycle(1440, 0.6), MINUTE_MS, reference=2000),
    "the same, .6, no times": steady(cycle(1440, 0.6)),
    "day of half minutes, height .5": steady(cycle(2880, 0.5), MINUTE_MS // 2),
    "week of minutes, height 1": steady(cycle(10_080, 1.0), MINUTE_MS),
    "week of hours, height 1": steady(cycle(168, 1.0), HOUR_MS),
    **{f"AR(1) of {phi:g}": steady(inert(phi)) for phi in (0.5, 0.9, 0.97)},
    "AR(1) of .99 under twice as much noise": steady(inert(0.99, 2.0)),
    "GARCH of .1, .85": steady(clustered(0.1, 0.85)),
    "hours, 0 at night": steady(zero_at_night, HOUR_MS),
    "hours, a season of a year": steady(year_of_hours, HOUR_MS),
}
