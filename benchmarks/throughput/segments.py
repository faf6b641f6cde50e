"""What segments cost: the same events folded without them and with four of each model."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from detectors.registry import settings_of
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.detect.fold import DetectFold
from streamer.detect.settings import DetectSettings, SegmentSettings
from streamer.eventlog.base import Records

EVENTS: Final = 60_000  # predictions; the label of each comes 500 later
MODELS: Final = 200
RUNS: Final = 4  # the first compiles, and warms up
DETECTORS: Final = ("adwin", "ks_window", "rate")


def main() -> None:
    """Print the CPU time a record, the best of three."""
    recorded = Records.build("events", 0, [(i, -1, b"", json.dumps(e).encode(), ()) for i, e in enumerate(events())])
    for name, by_depot in (("without segments", {}), ("four segments", {"*": SegmentSettings("depot")})):
        best_s = min([folded_s(recorded, by_depot) for _ in range(RUNS)][1:])
        print(f"{name:16}  {best_s / len(recorded) * 1e6:.2f} µs a record")


def events() -> Iterator[dict[str, Any]]:
    """Predictions with four numbers and a depot, and their labels."""
    rng = np.random.default_rng(1)
    for i in range(EVENTS):
        features = dict(zip("abcd", rng.normal(size=4).tolist(), strict=True))
        features["depot"] = ("north", "south", "east", "west")[rng.integers(4)]
        trip = {"model_id": f"bus-{i % MODELS}", "event_time": 1_782_889_200_000 + 1000 * i}
        yield trip | {"prediction_id": str(i), "features": features, "prediction": rng.normal()}
        if i >= 500:
            late = (i - 500) % MODELS
            yield trip | {"model_id": f"bus-{late}", "prediction_id": str(i - 500), "label": rng.normal()}


def folded_s(recorded: Records, by_depot: dict[str, SegmentSettings]) -> float:
    """CPU time of folding all of it."""
    detectors = {name: settings_of(name) for name in DETECTORS}
    codecs = {"events": JsonCodec(JsonSettings())}
    fold = DetectFold(DetectSettings(codecs=codecs, detectors=detectors, segments=by_depot))
    started_s = time.process_time()
    fold.step([recorded])
    return time.process_time() - started_s


if __name__ == "__main__":
    main()
