"""A detect fold with small windows, and records for it."""

import json

import numpy as np
from alert_kit import alerts_of

from detectors.reference import CategoryReference, Reference
from detectors.registry import settings_of
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.detect.fold import DetectFold
from streamer.detect.references.table import References
from streamer.detect.settings import DetectSettings
from streamer.eventlog.base import Records

DETECTORS = {
    "adwin": settings_of("adwin", delta=0.01),
    "ks_window": settings_of("ks_window", window=40, reference_size=40, alpha=1e-4),
    "category_window": settings_of("category_window", window=40, reference_size=40, alpha=1e-4),
    "rate": settings_of("rate", baseline_size=40, arl0=1e5),
}
JUNK = (
    b"",
    b"{",
    b"[1]",
    None,
    b'{"event_time": 5}',
    b"\xff\xfe",
    b'{"model_id": "m0", "event_time": "nonsense", "prediction": 1}',
)
START_MS = 1_782_889_200_000
TRAINED = References(
    {
        ("m0", "", "x"): Reference.of([-1.0, 0.0, 1.0], 40),
        ("m0", "", "weather"): CategoryReference.of({"sun": 7, "rain": 5, "zephyr": 2, "fog-210": 1}),
        ("m1", "", "weather"): CategoryReference.of({f"fog-{i}": 3 for i in range(300)}),
    }
)


def fold(**changes):
    codec = JsonCodec(JsonSettings(tombstones="dead_letter"))
    codecs = {"predictions": codec, "labels": codec, "sources": codec}
    return DetectFold(
        DetectSettings(**{"codecs": codecs, "detectors": DETECTORS, "min_events_after_onset": 50} | changes)
    )


def records(topic, values, first=0):
    rows = [(first + i, -1, b"k%d" % i, v, (("trace", b"t%d" % i),)) for i, v in enumerate(values)]
    return Records.build(topic, 3, rows)


def prediction(model, i, x, **more):
    event = {
        "model_id": model, "prediction_id": f"{model}-{i}", "event_time": 1000 * i + START_MS,
        "features": {"x": x, "weather": "rain"}, "prediction": 2 * x,
    }  # fmt: skip
    return json.dumps(event | more).encode()


def fired(outputs):
    return [(a["model_id"], a["column"]) for a in alerts_of(outputs) if a["state"] == "firing"]


def wild(seed, n=400):
    """Predictions of three models with a shift, gaps, junk and faults; their labels; a source."""
    rng = np.random.default_rng(seed)
    predictions, labels, sources = [], [], []
    for i in range(n):
        x = float(rng.normal() + 3 * (i > n / 2))
        weather = ("rain", "sun", f"fog-{i}")[rng.integers(2) + (i > n / 2)]
        features = {"x": x, "y": float(rng.integers(0, 3)), "weather": weather}
        if rng.random() < 0.1:
            features["y"] = (None, "text", [1], float("nan"))[rng.integers(4)]
        if rng.random() < 0.2:
            del features["y"]
        model = f"m{rng.integers(3)}"
        predictions.append(prediction(model, i, x, features=features))
        if rng.random() < 0.05:
            predictions.append(JUNK[rng.integers(len(JUNK))])
        label = {"model_id": model, "prediction_id": f"{model}-{rng.integers(i + 2)}", "label": float(rng.normal())}
        labels.append(json.dumps(label | {"event_time": 1000 * i + START_MS}).encode())
        sources.append(json.dumps({"source": "weather", "event_time": i, "features": {"t": x}}).encode())
    return {"predictions": predictions, "labels": labels, "sources": sources}
