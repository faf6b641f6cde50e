"""A small fleet that gives every kind of monitor something to find, and the fold that watches it."""

import json
from random import Random

import numpy as np

from detectors.delivery.absence import AbsenceSettings
from detectors.delivery.flow import FlowSettings
from detectors.registry import settings_of
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.detect.fold import DetectFold
from streamer.detect.remap import Survivors
from streamer.detect.settings import DetectSettings, LabelSettings, Limits, SegmentSettings
from streamer.eventlog.base import Records

START_MS = 1_782_889_200_000
DAY_MS = 86_400_000
DETECTORS = {
    "adwin": settings_of("adwin", clock=8),
    "ks_window": settings_of("ks_window", window=20, reference_size=20),
    "kswin": settings_of("kswin"),
    "category_window": settings_of("category_window", window=30, reference_size=30),
    "category_rates": settings_of("category_rates", baseline_size=40),
    "joint": settings_of("joint"),
    "shiryaev_roberts": settings_of("shiryaev_roberts"),
    "rate": settings_of("rate", baseline_size=40),
}


def fold(limits=None, **changed):
    given = {
        "codecs": {"p": JsonCodec(JsonSettings()), "q": JsonCodec(JsonSettings())},
        "detectors": DETECTORS,
        "min_events_after_onset": 120,
        "labels": LabelSettings(watch_lag=True, timeout_s=3 * 86_400),
        "flows": FlowSettings(watch=False),
        "absence": AbsenceSettings(events_min=20),
        "segments": {"*": SegmentSettings("depot", gap_baseline=30)},
        "limits": limits or Limits(),
    }
    return DetectFold(DetectSettings(**(given | changed)))


def world(seed, n=4000):
    """Events of six models and a source on two topics, half of which drift, in order of time: (topic, event)."""
    random = Random(seed)
    late = []
    for i in range(n):
        at, k = START_MS + 60_000 * i, random.randrange(7)
        model, topic = f"m{k}", "pq"[k % 2 and random.random() < 0.5]
        moved = i > n * random.uniform(0.42, 0.45) and k % 2 == 0
        x, depot = random.gauss(3 * moved, 1), random.choice(["north", "south"])
        features = {"x": x, "y": x + random.gauss(0, 1) if not moved else random.gauss(0, 1), f"only{k}": 1}
        features |= {"z": random.choice(["sun", "rain", f"of{k}"]) if not moved else "rain", "depot": depot}
        features |= {"w": None if random.random() < (0.5 if moved else 0.02) else 1.0}
        if moved and i > 0.6 * n:
            del features["y"]
        if k == 6:
            yield topic, {"source": "weather", "event_time": at, "features": features}
            continue
        event = {"model_id": model, "model_version": str(i // 1500 + k // 3), "prediction_id": f"{model}-{i}"}
        yield topic, event | {"event_time": at, "features": features, "prediction": 5.0}
        late.append((topic, event | {"event_time": at, "label": 5.0 + random.gauss(0, 1 + 3 * moved)}))
        if len(late) > 200:
            topic, label = late.pop(0)
            yield topic, label | {"event_time": at}


def records(events):
    """Of numbered events of two topics, the stretches."""
    rows = {"p": [], "q": []}
    for i, (topic, event) in events:
        rows[topic].append((i, event["event_time"], None, json.dumps(event).encode(), ()))
    return [Records.build(topic, 0, row) for topic, row in rows.items()]


def owner(event):
    return event.get("model_id") or f"source:{event['source']}"


def bytes_of(outputs):
    return [(output.topic, output.key, output.value) for output in outputs]


def kept_models(one, gone):
    models = np.array([name not in gone for name in one.context.names.models.names])
    return Survivors(models, models[[one.context.subjects.model_of(s) for s in range(len(one.context.subjects.ids))]])


def fresh_like(one):
    """A fold that knows the columns and categories of another, and nothing else."""
    other = fold()
    for table in ("columns", "categories"):
        getattr(other.context.names, table).load(getattr(one.context.names, table).names)
    return other
