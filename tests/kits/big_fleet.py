"""A fleet of 16,000 models for the page: profiles of all, drift of some, one storm, names as real fleets have them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from random import Random
from typing import Any

import msgspec
from page_kit import MOVED, published
from service_kit import PlayedService

from retrain.messages.alert import AlertKind
from streamer.audit.source import PROFILE
from streamer.testing.alerts import START, firing, ready

GROUPS = {"bus-": 200, "tram-": 48, "subway-": 152, "vehicle-": 1_600, **{f"stop-{side}-": 2_800 for side in (
    "centre", "east", "north", "south", "west")}}  # fmt: skip
MODELS = [f"{prefix}{i:04}" for prefix, n in GROUPS.items() for i in range(1, n + 1)]
COLUMNS = ("prediction", "error", "headway_s", "dwell_time_s", "temperature_c", "hour", "boardings", "door_count",
           "speed", "stops", "load", "delay_s")  # fmt: skip
DAY = timedelta(days=1)


def decided(seed: int = 1) -> list[tuple[str, bytes]]:
    """Alerts of some hundred models, and what the service makes of them."""
    random = Random(seed)
    service = PlayedService(approval_by_model={"*": "training"}, storm_models_min=100, storm_window_s=7200.0)
    alerts = [
        one
        for model in random.sample(MODELS, 120)
        for one in _drift(model, random.choice(COLUMNS), random.randrange(1, 500), random)
    ]
    faulty = {"effect": 0.37, "effect_unit": "rate", "before": 0.01, "after": 0.38}
    alerts += [
        firing(f"{500 + i // 40}h {i % 40}m", model, "door_count", kind=AlertKind.MISSING, **faulty)
        for i, model in enumerate(name for name in MODELS if name.startswith("stop-east-01"))
    ]
    told = "temperature_c moved by 45: 17 before, 62 after."
    storm_of = {"effect": 0.9, "effect_unit": "ks_distance", "before": 17.0, "after": 62.0, "summary": told}
    storm = [model for model in MODELS if model.startswith("bus-")]
    alerts += [firing(f"600h {i % 60}m", model, "temperature_c", **storm_of) for i, model in enumerate(storm)]
    service.publish(*sorted(alerts, key=lambda one: (one.event_time, one.alert_id)))
    return published(service)


def _drift(model: str, column: str, hour: int, random: Random) -> Iterator[Any]:
    effect = 0.2 + 0.7 * random.random()
    of = {"effect_unit": "ks_distance", "effect": effect, "before": 412.0, "after": 412.0 + 300 * effect}
    yield firing(f"{hour}h", model, column, **of)
    if random.random() < 0.5:
        told = f"{column} is {1 + effect:.2g} times as large."
        yield ready(f"{hour + 24}h", f"{hour}h", model, column, distribution=MOVED, summary=told, **of)


def profiles(days: int, columns: int = len(COLUMNS)) -> Iterator[tuple[str, bytes]]:
    """A line for each column of each model and day, as a replay writes them."""
    random = Random(2)
    for day in range(days):
        start, end = START + day * DAY, START + (day + 1) * DAY
        for model in MODELS:
            for column in COLUMNS[:columns]:
                yield PROFILE, msgspec.json.encode(_profile(model, column, start, end, random))


def _profile(model: str, column: str, start: Any, end: Any, random: Random) -> dict[str, Any]:
    middle = 400 + 10 * random.random()
    return {
        "unit": "detect-0", "start": start, "end": end, "model_id": model, "model_version": "7", "segment": "",
        "topic": "predictions", "column": column, "intervals": 1, "count": 720, "missing": 0, "faults": 0,
        "mean": middle, "sd": 50.0, "p05": middle - 80, "p25": middle - 30, "p50": middle, "p75": middle + 30,
        "p95": middle + 80, "compared": 10, "trained": True, "psi": 0.02, "ks": 0.02, "n_reference": 1000.0,
        "psi_chance": 0.05, "ks_chance": 0.07, "kind": "number", "cells": [0.1] * 10,
    }  # fmt: skip
