"""One producer's wrong clock among right ones, through both folds: what others get is as if its clock were right.

The yardstick is the same log with that producer's clock right. So offsets and names are equal, and every difference is
the clock's.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from random import Random

import msgspec
import pytest

from detectors.delivery.flow import FlowSettings
from detectors.registry import settings_of
from retrain.messages.control import Control, ControlKind
from retrain.messages.request import Approval
from retrain.messages.silence import Matcher
from retrain.policy.settings import RetrainSettings
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.contracts.topics import OutputTopics
from streamer.decide import DecideFold
from streamer.detect.fold import DetectFold
from streamer.detect.settings import DetectSettings, LabelSettings
from streamer.eventlog.memory import MemoryStore
from streamer.events import time_of

TOPICS = OutputTopics()
HOUR, DAY = 3_600_000, 86_400_000
START_MS = 1_782_889_200_000
LAST_MS, YEAR_1_MS = 253_402_300_799_999, -62_135_596_800_000
HOURS, STEP_MS, LAG_MS = 96, 15_000, 10_000
BAD = "bad"
HEAVY = 0.4  # the share of events that the bad producer writes
CHANGES = {"m1": 30, "m2": 40, "m3": 50, BAD: 30}  # the hour from which a model's values differ
SILENT, SILENT_FROM = "m4", 60  # a model, and the hour before which its last event is


@dataclass(frozen=True)
class Clock:
    """A wrong clock: by how much events and their records are off, or what they are dated instead."""

    ahead_ms: int = 0
    event_ms: int | None = None
    record_ms: int | None = None

    def event(self, at_ms: int) -> int:
        return self.event_ms if self.event_ms is not None else at_ms + self.ahead_ms

    def record(self, at_ms: int) -> int:
        return self.record_ms if self.record_ms is not None else at_ms + self.ahead_ms


RIGHT = Clock()
CLOCKS = {
    "1 h": Clock(HOUR),
    "2 h": Clock(2 * HOUR),
    "30 d": Clock(30 * DAY),
    "10 y": Clock(3650 * DAY),
    "1 h behind": Clock(-HOUR),
    "30 d behind": Clock(-30 * DAY),
    "records of 10 y": Clock(record_ms=START_MS + 3650 * DAY),
    "records of -1": Clock(record_ms=-1),
    "records of -1, events of 10 y": Clock(3650 * DAY, record_ms=-1),
    "year 1": Clock(event_ms=YEAR_1_MS, record_ms=-1),
    "9999": Clock(event_ms=LAST_MS, record_ms=LAST_MS),
    "9999, records of -1": Clock(event_ms=LAST_MS, record_ms=-1),
}


def settings() -> DetectSettings:
    codec = JsonCodec(JsonSettings())
    return DetectSettings(
        {"predictions": codec, "labels": codec},
        {"adwin": settings_of("adwin"), "rate": settings_of("rate", baseline_size=100)},
        min_events_after_onset=100,
        labels=LabelSettings(timeout_s=2 * 3600, watch_lag=True),
        flows=FlowSettings(learn_s=12 * 3600, window_s=2 * 3600),
        tells_time=True,
    )


def event(random: Random, model: str, i: int, hour: int, at_ms: int) -> dict:
    """A prediction; the errors of m1, the features of m2 and the faults of m3 change."""
    is_changed = hour >= CHANGES.get(model, HOURS)
    x = random.gauss(2 * (is_changed and model in {"m2", BAD}), 1)
    features = {"x": x, "y": None if is_changed and model == "m3" and i % 2 else 1.0 + random.random()}
    return {"model_id": model, "prediction_id": f"{model}-{i}", "event_time": at_ms, "features": features}


def write_hour(store: MemoryStore, hour: int, clock: Clock) -> None:
    """An hour of predictions, each with its label ten seconds later; the bad producer writes its share of both."""
    random, records = Random(hour), []
    for k in range(HOUR // STEP_MS):
        i, at_ms = hour * HOUR // STEP_MS + k, START_MS + hour * HOUR + k * STEP_MS
        model = BAD if random.random() < HEAVY else f"m{random.randrange(5 if hour < SILENT_FROM else 4)}"
        mine = clock if model == BAD else RIGHT
        made = event(random, model, i, hour, mine.event(at_ms)) | {"prediction": 0.0}
        error = random.gauss(3 * (model == "m1" and hour >= CHANGES["m1"]), 1)
        label = {key: made[key] for key in ("model_id", "prediction_id")} | {"label": error}
        label["event_time"] = mine.event(at_ms + LAG_MS)
        records.append(("predictions", mine.record(at_ms), made))
        records.append(("labels", mine.record(at_ms + LAG_MS), label))
    for topic, record_ms, value in records:
        store.append(topic, None, json.dumps(value).encode(), timestamp_ms=record_ms)


def write_commands(store: MemoryStore, hour: int) -> None:
    """A silence for a day and a half, and an answer to what was asked of people in the hour before."""
    at_ms = START_MS + hour * HOUR
    commands = []
    if hour == 20:
        until = time_of(at_ms + 36 * HOUR)
        commands.append(Control(ControlKind.SILENCE, "s-1", time_of(at_ms), "ann", matcher=Matcher("m2"), until=until))
    if hour == 45:
        requests = store.read(TOPICS.requests)
        found = [json.loads(requests.value_of(i) or b"") for i in range(len(requests))]
        commands += [
            Control(ControlKind.APPROVE, one["request_id"], time_of(at_ms), "ann")
            for one in found
            if one["model_id"] == "m1"
        ]
    for command in commands:
        store.append(TOPICS.control, None, msgspec.json.encode(command), timestamp_ms=at_ms)


@cache
def lived(clock: Clock) -> MemoryStore:
    """The log after four days, an hour an epoch, with the clock of one producer so wrong."""
    store, detect = MemoryStore(), DetectFold(settings())
    decide = DecideFold(RetrainSettings(storm_models_min=None, expires_after_s=86_400, approval=Approval.REQUIRED))
    at: Counter[str] = Counter()

    def new(topic):
        records = store.read(topic, start=at[topic])
        at[topic] += len(records)
        return records

    for hour in range(HOURS):
        write_hour(store, hour, clock)
        write_commands(store, hour)
        for fold, topics in (
            (detect, ("predictions", "labels")),
            (decide, (TOPICS.alerts, TOPICS.watermarks, TOPICS.control)),
        ):
            outputs = fold.step([new(topic) for topic in topics])
            for output in outputs:
                store.append(output.topic, output.key, output.value, output.headers, START_MS + (hour + 1) * HOUR)
    return store


def of_others(clock: Clock, topic: str) -> list[dict]:
    """What a topic has of the other models, without the silences and without where windows of labels end.

    Those hold the labels that came before the alert was ready: which ones, the order of the topics decides.
    """
    found = [one for one in published(clock, topic) if one.get("model_id") not in {BAD, SILENT}]
    for one in found:
        for window in (*one.get("windows", ()), *one.get("training_window", ()), *(one.get("history") or ())):
            if window["role"] == "labels":
                del window["end_offset"], window["end_time"]
    return found


def published(clock: Clock, topic: str) -> list[dict]:
    records = lived(clock).read(getattr(TOPICS, topic))
    return [json.loads(records.value_of(i) or b"") for i in range(len(records))]


def silences(clock: Clock) -> dict[str, int]:
    """The hour at which each flow of the silent model is found to be silent."""
    alerts = [one for one in published(clock, "alerts") if one["model_id"] == SILENT]
    assert {one["kind"] for one in alerts} == {"silent"}
    return {one["column"]: one["at"]["offset"] * STEP_MS // HOUR for one in alerts}


def test_there_is_something_to_harm():
    """With a right clock, others have drift of errors and of features, faults, a silence, and requests of both ends."""
    alerts = of_others(RIGHT, "alerts")
    assert {(one["model_id"], one["column"]) for one in alerts} == {("m1", "error"), ("m2", "x"), ("m3", "y")}
    assert {one["model_id"] for one in of_others(RIGHT, "requests")} == {"m1", "m2"}
    reasons = {one["reason"] for one in of_others(RIGHT, "decisions")}
    assert reasons == {"silence_began", "silence_updated", "silence_expired", "approved", "expired"}
    assert silences(RIGHT).keys() == {"(events)", "(labels)"}
    assert len(of_others(RIGHT, "watermarks")) == HOURS * 12


@pytest.mark.parametrize("topic", ["alerts", "watermarks", "incidents", "requests", "decisions"])
@pytest.mark.parametrize("name", CLOCKS)
def test_others_get_what_they_would(name, topic):
    """Their alerts, incidents, requests and decisions are equal, in the same order, and so is the time.

    A clock that is ahead by a day at most is believed by its unit, so watermarks are early by as much.
    """
    found, right = of_others(CLOCKS[name], topic), of_others(RIGHT, topic)
    if topic != "watermarks" or not 0 < CLOCKS[name].ahead_ms <= DAY:
        assert found == right
        return
    times = [round(datetime.fromisoformat(one["at"]).timestamp() * 1000) for one in found]
    assert times == sorted(times)
    assert times[-1] - START_MS - HOURS * HOUR <= CLOCKS[name].ahead_ms


@pytest.mark.parametrize("name", CLOCKS)
def test_a_silence_of_another_model_is_found(name):
    """Events that move no time are no ticks of the topic's clock, so it is found some hours earlier or later."""
    found, right = silences(CLOCKS[name]), silences(RIGHT)
    assert found.keys() == right.keys()
    assert all(found[column] > SILENT_FROM and abs(found[column] - right[column]) <= 3 for column in right)
