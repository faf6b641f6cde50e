"""The loop over a log in memory, with folds of small windows."""

import json

import numpy as np
from crash_kit import CrashingLog

from detectors.registry import settings_of
from retrain.policy.settings import RetrainSettings
from streamer.clock import ManualClock
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.decide import DecideFold
from streamer.detect.fold import DetectFold
from streamer.detect.settings import DetectSettings
from streamer.eventlog.units import Units
from streamer.runtime.epoch_size import CommitSettings
from streamer.runtime.loop import Observer, Service
from streamer.runtime.recovery import NoCheckpoints, Recovery

DETECTORS = {
    "adwin": settings_of("adwin", delta=0.01),
    "ks_window": settings_of("ks_window", window=40, reference_size=40),
}
START_MS = 1_782_889_200_000
PUBLISHED = ("driftline.alerts", "driftline.incidents", "driftline.retrain-requests", "predictions-dlt")


def log_with_events(seed, events=600, partitions=2):
    """Predictions and labels of four models on two partitions; half of the models shift on the way."""
    rng = np.random.default_rng(seed)
    log = CrashingLog(["predictions", "labels", "driftline.alerts"], poll_records_max=50)
    for i in range(events):
        m = int(rng.integers(4))
        x = float(rng.normal() + 4 * (m % 2 and i > events / 2))
        event = {"model_id": f"m{m}", "prediction_id": str(i), "event_time": START_MS + i, "prediction": x}
        log.store.append("predictions", None, json.dumps(event).encode(), partition=m % partitions)
        if i % 3 == 0:
            late = {"model_id": f"m{m}", "prediction_id": str(max(i - 9, 0)), "event_time": START_MS + i, "label": x}
            log.store.append("labels", None, json.dumps(late).encode(), partition=m % partitions)
        if i % 50 == 7:
            log.store.append("predictions", b"k", b"{broken", partition=m % partitions)
    log.end_input()
    return log


def service_over(log, **changes):
    codec = JsonCodec(JsonSettings())
    detect = DetectSettings({"predictions": codec, "labels": codec}, DETECTORS, min_events_after_onset=30)

    settings = CommitSettings(**{"interval_s": 0} | changes)
    nothing = NoCheckpoints()
    recovery = Recovery(log, TestFolds(detect), nothing)
    return Service(Units(frozenset({"driftline.alerts"})), recovery, settings, ManualClock(), Observer(), nothing)


class TestFolds:
    """Folds of one kind of settings."""

    __test__ = False
    settings, fingerprint = "{}", "these"

    def __init__(self, detect):
        self.detect = detect

    def fresh(self, unit, settings):  # noqa: ARG002
        return DecideFold(RetrainSettings()) if unit == "decide" else DetectFold(self.detect)


def published(log):
    """What stands in each output topic, as (key, value, headers)."""
    found = {}
    for topic in PUBLISHED:
        records = log.store.read(topic)
        found[topic] = [(records.key_of(i), records.value_of(i), records.headers_of(i)) for i in range(len(records))]
    return found
