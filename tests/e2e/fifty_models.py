"""A recorded hour of fifty bus models, five of which drift at known places: the input of the end-to-end tests."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache

import numpy as np

EVENTS = 100_000
MODELS = 50
PARTITIONS = 4
DRIFTING = (3, 11, 24, 37, 48)  # models whose headway changes
START_MS = 1_782_889_200_000  # 2026-07-01T07:00:00Z


@dataclass
class Stream:
    """The values by partition, in the order to produce them, and the truth."""

    values: dict[int, list[bytes]] = field(default_factory=lambda: {p: [] for p in range(PARTITIONS)})
    keys: dict[int, list[bytes]] = field(default_factory=lambda: {p: [] for p in range(PARTITIONS)})
    offsets: dict[str, list[int]] = field(default_factory=dict)  # of each model's events, in its partition
    onset: dict[str, int] = field(default_factory=dict)  # of each drifting model: number of its first changed event


@cache
def stream(seed: int = 21) -> Stream:
    """Events of all models in random order; a drifting model changes somewhere between its 900th and 1,100th event.

    The seed is one without a false alarm. Of 40 such streams without drift, of seeds 20 to 59, three had one; at the
    default `arl0` 4 are expected.
    """
    rng = np.random.default_rng(seed)
    made = Stream()
    which = rng.integers(0, MODELS, EVENTS)
    numbers = {f"bus-{m:03}": 0 for m in range(MODELS)}
    onsets = {f"bus-{m:03}": int(rng.integers(900, 1100)) for m in DRIFTING}
    headway, dwell, temperature = rng.normal(size=EVENTS), rng.gamma(4.0, 8.0, EVENTS), rng.normal(15, 4, EVENTS)
    for i, m in enumerate(which):
        model = f"bus-{m:03}"
        drifted = numbers[model] >= onsets.get(model, EVENTS)
        headway_s = 420 + 60 * headway[i] + 75 * drifted
        event = {
            "model_id": model,
            "model_version": "7",
            "prediction_id": f"{model}-{numbers[model]}",
            "event_time": START_MS + 36 * i,
            "features": {
                "headway_s": round(float(headway_s), 3),
                "dwell_s": round(float(dwell[i]), 3),
                "temperature_c": round(float(temperature[i]), 2),
                "weather": ("dry", "rain")[i % 7 == 0],
            },
        }
        partition = int(m) % PARTITIONS
        if numbers[model] == onsets.get(model):
            made.onset[model] = numbers[model]
        made.offsets.setdefault(model, []).append(len(made.values[partition]))
        made.values[partition].append(json.dumps(event).encode())
        made.keys[partition].append(model.encode())
        numbers[model] += 1
    return made


def onset_error(request: dict) -> int:
    """How many events of the model lie between the true onset and the one that the request names."""
    made = stream()
    offsets = np.array(made.offsets[request["model_id"]])
    said = int(np.searchsorted(offsets, request["training_window"][0]["start_offset"]))
    return abs(said - made.onset[request["model_id"]])
