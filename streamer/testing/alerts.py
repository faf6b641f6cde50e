"""Alerts and control records for tests, with times like "1d 2h".

Times count from 2026-01-01 UTC, and a model has one event a second, so the offset of an event is its time in seconds.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from retrain.messages.alert import Alert, AlertKind, AlertState, Place
from retrain.messages.control import Control, ControlKind

START = datetime(2026, 1, 1, tzinfo=UTC)
TOPIC = "bus.predictions"

_UNITS_S = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def seconds(time: str) -> int:
    """`"1d 2h"` in seconds. Units: d, h, m, s. Raises `ValueError` for anything else."""
    parts = time.split()
    if not parts or not all(re.fullmatch(r"\d+[dhms]", part) for part in parts):
        raise ValueError(f"{time!r} is not a time like '1d 2h 30m'")
    return sum(int(part[:-1]) * _UNITS_S[part[-1]] for part in parts)


def moment(time: str) -> datetime:
    """The event time `time` after the start."""
    return START + timedelta(seconds=seconds(time))


def place(time: str, topic: str = TOPIC, partition: int = 0) -> Place:
    """The event of that time."""
    return Place(topic, partition, seconds(time), moment(time))


def firing(time: str, model: str = "bus-099", column: str = "headway_s", version: str = "7", **changes: Any) -> Alert:
    """An alert that fires at `time`, by default for a clear drift that began there. `changes` are fields of `Alert`."""
    fields: dict[str, Any] = {
        "alert_id": f"{model}:{version}:{column}:{time}",
        "state": AlertState.FIRING,
        "model_id": model,
        "model_version": version,
        "column": column,
        "detector": "adwin",
        "statistic": 0.9,
        "threshold": 0.5,
        "effect": 1.0,
        "effect_unit": "sd",
        "before": 412.0,
        "after": 530.0,
        "onset": place(time),
        "at": place(time),
        "n_reference": 1000,
        "n_current": 300,
    }
    return Alert(**fields | changes)


def ready(time: str, fired: str, *args: str, **changes: Any) -> Alert:
    """The alert that fired at `fired` and became ready at `time`."""
    return firing(fired, *args, **{"state": AlertState.READY, "ready_at": place(time), **changes})


def said(kind: str, request_id: str, time: str, actor: str = "ann", **changes: Any) -> Control:
    """The command of `actor` on a request at `time`. `changes` are fields of `Control`."""
    fields: dict[str, Any] = {"kind": ControlKind(kind), "request_id": request_id, "at": moment(time), "actor": actor}
    return Control(**fields | changes)


def random_alerts(random: Random, n: int) -> list[Alert]:
    """`n` alerts of a few models, versions and columns, as the detect fold could write them.

    Some are late, some repeated, some about a source. Those of one series stand in the order of their places, as in
    the alerts topic.
    """
    alerts: list[Alert] = []
    for i in range(n):
        again = [a for a in alerts if a.state is AlertState.FIRING and a.kind is AlertKind.DRIFT]
        at = Place(TOPIC, 0, i, _random_time(random, i))
        if again and random.random() < 0.4:
            fired = random.choice(again)
            newest = max((a for a in again if _series(a) == _series(fired)), key=lambda a: a.at.offset)
            alerts.append(replace(newest, state=AlertState.READY, ready_at=at))
            continue
        names: dict[str, Any] = {
            "model_id": random.choice(["bus-1", "bus-2", "source:weather"]),
            "model_version": random.choice(["", "7", "7", "8"]),
            "column": random.choice(["headway_s", "dwell_s"]),
            "detector": random.choice(["adwin", "ks_window"]),
        }
        effect: dict[str, Any] = {
            "effect": random.choice([0.05, 0.5, 2.0]),
            "effect_unit": random.choice(["sd", "ks_distance", "tv_distance"]),
        }
        if random.random() < 0.2:
            names |= {"detector": "rate", "kind": random.choice([AlertKind.MISSING, AlertKind.LABEL_LAG])}
        alerts.append(firing("0s", alert_id=f"alert-{i}", onset=at, at=at, **names, **effect))
    return alerts


def _random_time(random: Random, i: int) -> datetime:
    """Half a day a step, now and then up to three days late."""
    late_s = random.choice([0, 0, random.randrange(3 * 86_400)])
    return START + timedelta(seconds=(i + 6) * 43_200 - late_s)


def _series(alert: Alert) -> tuple[str, str, str, str]:
    return alert.model_id, alert.model_version, alert.column, alert.detector
