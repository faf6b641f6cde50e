"""A small stream with labels, as recordings, and a request for a part of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

START = datetime(2026, 3, 1, tzinfo=UTC)
TOPICS = "topics:\n  rides.predictions: {format: json}\n  rides.labels: {format: json}\n"


def at(i: float) -> str:
    """The event time of event `i`: one a minute."""
    return (START + timedelta(minutes=i)).isoformat().replace("+00:00", "Z")


def prediction(i: int, model: str = "bus-1", **more) -> dict:
    """Prediction `i`: the model says 10 i; features are the minute and the line."""
    features = {"minute": i, "line": "A" if i % 2 else "B", "temp": None if i % 5 == 0 else i / 2}
    named = {"model_id": model, "model_version": "7", "prediction_id": f"{model}-{i}", "event_time": at(i)}
    return {**named, "features": features, "prediction": 10.0 * i, **more}


def label(i: int, value: object, model: str = "bus-1", later: float = 30) -> dict:
    """The label of prediction `i`, so many minutes later."""
    return {"model_id": model, "prediction_id": f"{model}-{i}", "event_time": at(i + later), "label": value}


def envelopes(path: Path, topic: str, events: list[dict], first: int = 0, partition: int = 0) -> str:
    """Write events as `kcat -J` does, each with its event time as the time of its record."""
    lines = []
    for i, event in enumerate(events):
        ts = int(datetime.fromisoformat(event["event_time"]).timestamp() * 1000)
        about = {"topic": topic, "partition": partition, "offset": first + i, "tstype": "create", "ts": ts}
        lines.append(json.dumps({**about, "broker": 0, "headers": [], "key": None, "payload": json.dumps(event)}))
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def window(start: int, end: int, topic: str = "rides.predictions", **more) -> dict:
    """A stretch of a topic as a request names it."""
    offsets = {"topic": topic, "partition": 0, "start_offset": start, "end_offset": end}
    return {**offsets, "start_time": at(start), "end_time": at(end - 1), **more}


def request(*windows: dict, **more) -> dict:
    """A retrain request of bus-1 for these windows."""
    named = {"request_id": "retrain-bus-1-00000000000000aa", "model_id": "bus-1", "model_version": "7"}
    rest = {"reason": "drift", "incident_id": "incident-1", "evidence": [{"column": "error", "effect": 0.4}]}
    times = {"requested_at": at(200), "expires_at": at(9000), "approval": "not_required", "schema_version": 1}
    return {**named, **rest, **times, "training_window": list(windows), **more}
