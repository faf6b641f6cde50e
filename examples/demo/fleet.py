"""A simulated fleet: 200 models that predict bus arrivals over fifty days, and the true drifts.

Each model predicts fifty times a day, evenly from 05:00 to 01:00, so any 500 predictions in a row cover ten whole days.
Traffic, passengers and temperature follow the hour, and a window of ten days holds every hour equally often. The true
arrival follows minutes later as a label; one in a hundred is lost. From the 43rd day on, the shared temperature feed is
in Fahrenheit instead of Celsius.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from examples.demo.stream import DAY_MS, HOUR_MS, I64, MINUTE_MS, Stream, rfc3339

F64 = NDArray[np.float64]

MODELS = 200
DAYS = 50
EVENTS_A_DAY = 50
EVERY_MS = 24 * MINUTE_MS
FIRST_BUS_MS = 5 * HOUR_MS
START_MS = 1_780_272_000_000  # 2026-06-01
PARTITIONS = 4
PREDICTIONS, LABELS = "bus.predictions", "bus.labels"
LABELS_LOST = 0.01
WEATHERS = ("clear", "cloudy", "rain")
WEATHER_SHARES = (0.5, 0.3, 0.2)
FAHRENHEIT_FROM_DAY = 42.6  # day on which the temperature feed changes


@dataclass(frozen=True, slots=True)
class Drift:
    """The drift of one model: `what` is multiplied by `factor` from `day` on, in full after `over_days`."""

    model: str
    what: Literal["headway_s", "dwell_time_s", "error"]  # "error": buses take longer than the features explain
    factor: float
    day: float
    why: str
    over_days: float = 0.0

    @property
    def began(self) -> datetime:
        return moment(self.day)


DRIFTS = (
    Drift("bus-017", "headway_s", 1.25, 22.3, "new timetable"),
    Drift("bus-058", "headway_s", 0.80, 24.0, "new timetable"),
    Drift("bus-099", "headway_s", 1.40, 27.6, "new timetable"),
    Drift("bus-123", "dwell_time_s", 1.30, 23.4, "more passengers"),
    Drift("bus-140", "dwell_time_s", 1.60, 29.2, "more passengers"),
    Drift("bus-066", "error", 1.12, 25.5, "road works"),
    Drift("bus-181", "error", 1.20, 28.4, "road works"),
    Drift("bus-034", "headway_s", 1.35, 20.0, "slowly fewer buses", over_days=12.0),
)


@dataclass(frozen=True, slots=True)
class World:
    """The true values, event by event: arrays of [n], in order of time."""

    model: I64  # 0 to MODELS - 1
    time_ms: I64
    headway_s: F64
    dwell_time_s: F64
    temperature_c: F64  # true value; the feed may differ
    weather: I64  # index into WEATHERS
    arrival_s: F64  # from the prediction to the bus


def fleet(seed: int = 20) -> tuple[Stream, Stream]:
    """Predictions and labels. The same seed gives the same bytes."""
    rng = np.random.default_rng(seed)
    world = simulate(rng)
    feed_c = world.temperature_c.copy()
    broken = world.time_ms >= START_MS + FAHRENHEIT_FROM_DAY * DAY_MS
    feed_c[broken] = feed_c[broken] * 1.8 + 32
    return _streams(world, feed_c, expected_arrival_s(world, feed_c), rng)


def moment(day: float) -> datetime:
    """A point of the simulation as event time."""
    return datetime.fromtimestamp(START_MS / 1000, UTC) + timedelta(days=day)


def model_id(number: int) -> str:
    return f"bus-{number + 1:03d}"


def simulate(rng: np.random.Generator) -> World:
    """The true values, including drifts."""
    n = MODELS * DAYS * EVENTS_A_DAY
    model = np.repeat(np.arange(MODELS), DAYS * EVENTS_A_DAY)
    slot = np.tile(np.arange(DAYS * EVENTS_A_DAY), MODELS)
    day = slot // EVENTS_A_DAY
    at_ms = FIRST_BUS_MS + slot % EVENTS_A_DAY * EVERY_MS + rng.integers(0, EVERY_MS, MODELS)[model]
    time_ms = START_MS + day * DAY_MS + at_ms + rng.integers(0, 90_000, n)
    hour = at_ms / HOUR_MS
    rush = np.exp(-(((hour - 8.3) / 1.6) ** 2)) + np.exp(-(((hour - 17.2) / 2.0) ** 2))
    headway_s = rng.choice([600.0, 720.0, 900.0, 1200.0], MODELS)[model] * rng.lognormal(-0.1 * rush, 0.12)
    dwell_time_s = rng.uniform(18, 40, MODELS)[model] * rng.lognormal(0.45 * rush, 0.3)
    mild_c = rng.normal(0.0, 0.3, DAYS)[day]  # a stable summer: a warm week would be real drift
    temperature_c = 16 + mild_c + 4 * np.sin((hour - 9) * (2 * np.pi / 24)) + rng.normal(0.0, 1.0, n)
    half_days = rng.choice(len(WEATHERS), 2 * DAYS, p=WEATHER_SHARES)
    weather = half_days[2 * day + (hour >= 14)]
    for drift in DRIFTS:
        if drift.what != "error":
            column = headway_s if drift.what == "headway_s" else dwell_time_s
            column *= factors(drift, model, time_ms)
    still = World(model, time_ms, headway_s, dwell_time_s, temperature_c, weather, np.zeros(n))
    arrival_s = expected_arrival_s(still, temperature_c) * (1 + 0.05 * rng.standard_t(6, n))
    for drift in DRIFTS:
        if drift.what == "error":
            arrival_s *= factors(drift, model, time_ms)
    order = np.argsort(time_ms, kind="stable")
    columns = (model, time_ms, headway_s, dwell_time_s, temperature_c, weather, arrival_s)
    return World(*(column[order] for column in columns))


def factors(drift: Drift, model: I64, time_ms: I64) -> F64:
    """The factor of the drift for the value of each event."""
    days_since = (time_ms - START_MS) / DAY_MS - drift.day
    share = np.clip(days_since / drift.over_days, 0.0, 1.0) if drift.over_days else (days_since >= 0).astype(float)
    mine = np.array([model_id(i) == drift.model for i in range(MODELS)])[model]
    return np.where(mine, 1 + (drift.factor - 1) * share, 1.0)


def expected_arrival_s(world: World, temperature_c: F64) -> F64:
    """The predictions: right on average for undrifted, true inputs."""
    stops = 6 + world.model % 9
    hour = (world.time_ms - START_MS) % DAY_MS / HOUR_MS
    traffic = 1 + 0.12 * np.exp(-(((hour - 17.2) / 2.0) ** 2))
    slow = 1 + 0.06 * (world.weather == WEATHERS.index("rain"))
    return stops * (62 * traffic * slow + world.dwell_time_s) + 0.25 * world.headway_s + 0.1 * (temperature_c - 16)


def _streams(world: World, feed_c: F64, prediction_s: F64, rng: np.random.Generator) -> tuple[Stream, Stream]:
    n = len(world.time_ms)
    models = [model_id(i) for i in range(MODELS)]
    keys = [models[i] for i in world.model.tolist()]
    ids = [f"{i:07d}" for i in range(n)]
    facts = zip(
        keys, ids, rfc3339(world.time_ms), _rounded(world.headway_s), _rounded(world.dwell_time_s), _rounded(feed_c),
        [WEATHERS[i] for i in world.weather.tolist()], (world.time_ms // HOUR_MS % 24).tolist(),
        _rounded(prediction_s), strict=True,
    )  # fmt: skip
    questions = [
        f'{{"model_id":"{key}","model_version":"1","prediction_id":"{i}","event_time":"{at}","features":'
        f'{{"headway_s":{headway},"dwell_time_s":{dwell},"temperature_c":{celsius},"weather":"{weather}",'
        f'"hour":{hour}}},"prediction":{answer}}}'
        for key, i, at, headway, dwell, celsius, weather, hour, answer in facts
    ]
    partition = world.model % PARTITIONS
    known_ms = world.time_ms + (world.arrival_s * 1000).astype(np.int64) + rng.integers(30_000, 300_000, n)
    known = np.flatnonzero(rng.random(n) >= LABELS_LOST)
    known = known[np.argsort(known_ms[known], kind="stable")]
    at_labels = zip(known.tolist(), rfc3339(known_ms[known]), _rounded(world.arrival_s[known]), strict=True)
    labels = [
        f'{{"model_id":"{keys[i]}","prediction_id":"{ids[i]}","event_time":"{at}","label":{truth}}}'
        for i, at, truth in at_labels
    ]
    return (
        Stream(PREDICTIONS, world.time_ms, partition, keys, questions),
        Stream(LABELS, known_ms[known], partition[known], [keys[i] for i in known.tolist()], labels),
    )


def _rounded(numbers: F64) -> list[float]:
    return np.round(numbers, 1).tolist()
