"""False alarms a month of models at their own traffic, beside what `false_alarms` promises.

`python -m benchmarks.detection.promised` watches 16,000 models of one column for 30 days of event time, with 24 to 288
events a day each, of eight laws: independent, with ties, heavy tails, inertia, and cycles of the day and the week.
Nothing drifts, so each alarm is false. Each 100 of them may raise one a month: 160 in all. Traffic is measured as the
service measures it, and nobody states it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter

from detectors.base import F64, I64
from detectors.registry import DEFAULT, bank, settings_of
from detectors.series.offsets import Traffic

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
START_MS = 1_767_571_200_000  # a Monday
DAYS, MODELS = 30, 16_000
PACES = (24, 48, 96, 288)  # events of a model in a day
APART_DAYS = 30 * 100  # of a model's time, between two false alarms
CHUNK_DAYS = 3
NAME = "shiryaev_roberts"

Noise = Callable[[np.random.Generator, tuple[int, int]], F64]


class Law(NamedTuple):
    """Values of models side by side [values, models]: noise, how it leans on the one before, and a cycle."""

    noise: Noise
    phi: float = 0.0
    period_days: float = 0.0  # of a wave; 0: none
    height: float = 0.0  # of the wave, in deviations of the noise


def _normal(random: np.random.Generator, shape: tuple[int, int]) -> F64:
    return random.normal(size=shape)


LAWS: dict[str, Law] = {
    "normal": Law(_normal),
    "lognormal": Law(lambda random, shape: random.lognormal(size=shape)),
    "ten values": Law(lambda random, shape: random.integers(0, 10, shape).astype(float)),
    "Student t, 2": Law(lambda random, shape: random.standard_t(2, size=shape)),
    "AR(1) of .5": Law(_normal, 0.5),
    "AR(1) of .9": Law(_normal, 0.9),
    "a day's cycle": Law(_normal, 0.0, 1.0, 1.0),
    "a week's cycle": Law(_normal, 0.0, 7.0, 1.0),
}


class Result(NamedTuple):
    """The alarms of models of one law, and how many the promise allows them."""

    raised: int
    allowed: float


def false_alarms(law: Law, models: int, days: int, apart_days: float, seed: int) -> Result:
    """Watch models of a law, in equal parts at each of `PACES`."""
    found = [_at_pace(law, models // len(PACES), days, pace, apart_days, [seed, pace]) for pace in PACES]
    return Result(sum(found), models // len(PACES) * len(PACES) * days / apart_days)


def _at_pace(law: Law, models: int, days: int, pace: int, apart_days: float, seed: list[int]) -> int:
    random, traffic = np.random.default_rng(seed), Traffic()
    settings = settings_of(NAME, **DEFAULT[NAME])
    one, state = bank(NAME, settings, models), np.zeros((1, models))
    alarms = 0
    for first in range(0, days, CHUNK_DAYS):
        n = min(CHUNK_DAYS, days - first) * pace
        values, state = lfilter([1.0], [1.0, -law.phi], law.noise(random, (n, models)), axis=0, zi=state)
        day = first + (np.arange(n) + 0.5) / pace
        if law.period_days:
            values = values + law.height * np.sin(2.0 * np.pi * day / law.period_days)[:, None]
        rows = np.tile(np.arange(models), n)
        times: I64 = np.repeat(START_MS + (day * DAY_MS).astype(np.int64), models)
        measured = traffic.follow(rows[:, None], times, np.arange(len(rows)), rows)
        multiple = np.clip(measured * apart_days * 86_400.0, 1e3, 1e12) / settings.arl0
        alarms += len(one.update(rows, values.reshape(-1), times, multiple))  # type: ignore[call-arg]
    return alarms


def main() -> None:
    """Print a line a law."""
    each, total = MODELS // len(LAWS), 0
    print(f"{'law':16} {'raised':>8} {'allowed':>8}")
    for seed, (name, law) in enumerate(LAWS.items()):
        raised, allowed = false_alarms(law, each, DAYS, APART_DAYS, seed)
        total += raised
        print(f"{name:16} {raised:8} {allowed:8.0f}", flush=True)
    print(f"{'all':16} {total:8} {MODELS * DAYS / APART_DAYS:8.0f}")


if __name__ == "__main__":
    main()
