"""A model whose events come from four depots, and the fold that watches it by depot."""

import json

import numpy as np
from alert_kit import alerts_of

from detectors.registry import settings_of
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.detect.fold import DetectFold
from streamer.detect.settings import DetectSettings, SegmentSettings
from streamer.eventlog.base import Records

START_MS = 1_782_889_200_000
DEPOTS = ("north", "south", "east", "west")


def fold(**changes):
    """A fold that watches every model by depot, with small windows."""
    detectors = {name: settings_of(name) for name in ("adwin", "joint")} | {
        "rate": settings_of("rate", baseline_size=40)
    }
    codec = JsonCodec(JsonSettings())
    given = {
        "codecs": {"events": codec},
        "detectors": detectors,
        "min_events_after_onset": 100,
        "segments": {"*": SegmentSettings("depot")},
    }
    return DetectFold(DetectSettings(**given | changes))


def events(n, shift=0.0, worse=1.0, at=0.5, seed=1, model="bus-1"):
    """`n` trips, each a prediction and, a hundred trips later, its label.

    From `at` of them on, those from the north, one in sixteen, have their feature shifted by so many standard
    deviations, and errors that are `worse` by a factor.
    """
    rng = np.random.default_rng(seed)
    late = []
    for i in range(n):
        depot = DEPOTS[0] if rng.integers(16) == 0 else DEPOTS[rng.integers(1, 4)]
        moved = depot == "north" and i >= at * n
        x, scale = float(rng.normal() + shift * moved), worse if moved else 1.0
        trip = {"model_id": model, "prediction_id": f"{model}-{i}", "event_time": START_MS + 60_000 * i}
        yield trip | {"features": {"x": x, "depot": depot}, "prediction": 5.0}
        late.append(trip | {"event_time": START_MS + 60_000 * (i + 100), "label": 5.0 + float(rng.normal() * scale)})
        if i >= 100:
            yield late[i - 100]


def records(stream, topic="events"):
    """These events as a stretch of the topic."""
    rows = [(i, -1, b"", json.dumps(event).encode(), ()) for i, event in enumerate(stream)]
    return Records.build(topic, 0, rows)


def fired(outputs):
    """Segment, column and detector of each alert that fired."""
    return [(a["segment"], a["column"], a["detector"]) for a in alerts_of(outputs) if a["state"] == "firing"]
