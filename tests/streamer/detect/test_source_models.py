"""Alerts of a source name the models that use it; end to end, a replay asks for them."""

import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from alert_kit import alerts_of
from click.testing import CliRunner

from detectors.registry import settings_of
from retrain.policy.settings import RetrainSettings
from retrain.policy.source_settings import SourceSettings
from streamer.audit.requests import RequestLedger
from streamer.cli import main
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.contracts.topics import OutputTopics
from streamer.decide import DecideFold
from streamer.detect.fold import DetectFold
from streamer.detect.settings import DetectSettings, SegmentSettings
from streamer.eventlog.base import Records
from streamer.runtime.snapshot import Snapshot
from streamer.testing.alerts import ready, said

START_MS = 1_782_889_200_000
SHIFT, N = 1500, 2400
CONFIG = """
topics: {events: {}}
detectors: {adwin: {}}
sources: {weather: {models: ["bus-*", tram-7]}}
retrain: {min_events_after_onset: 100, storm_models_min: %s}
"""


def fold(*patterns):
    codec = JsonCodec(JsonSettings())
    sources = {"weather": SourceSettings(list(patterns))}
    detectors = {"adwin": settings_of("adwin")}
    return DetectFold(DetectSettings(codecs={"events": codec}, detectors=detectors, sources=sources))


def events(late_at=None):
    """A source that shifts, and models that take no notice; one of them is first seen at `late_at`."""
    rng = np.random.default_rng(4)
    for i in range(N):
        at = START_MS + 60_000 * i
        temp_c = float(rng.normal() + 6 * (i >= SHIFT))
        yield {"source": "weather", "event_time": at, "features": {"temp_c": temp_c}}
        model = "bus-late" if i == late_at else f"bus-{i % 3}" if i % 4 else "train"
        yield {"model_id": model, "event_time": at, "features": {"x": float(rng.normal())}}


def records(late_at=None):
    rows = [(i, -1, b"", json.dumps(event).encode(), ()) for i, event in enumerate(events(late_at))]
    return Records.build("events", 0, rows)


def test_an_alert_of_a_source_names_its_models():
    """Those that are named, seen or not, and those that fit a pattern and were seen; alerts of models name none."""
    (fired, ready) = alerts_of(fold("bus-*", "tram-7").step([records()]))
    assert fired["models"] == ready["models"] == ["tram-7", "bus-1", "bus-2", "bus-0"]
    assert fired["model_count"] == 4
    (fired, _) = alerts_of(fold("ferry-*").step([records()]))
    assert (fired["models"], fired["model_count"]) == ([], 0)


def test_an_alert_of_a_segment_of_a_source_names_them_too():
    """The models use the source, whichever part of it moves."""
    settings = fold("bus-*").settings
    segmented = DetectFold(replace(settings, segments={"source:*": SegmentSettings("place")}))
    rows = []
    for i, event in enumerate(events()):
        if "source" in event:
            event["features"]["place"] = "north"
        rows.append((i, -1, b"", json.dumps(event).encode(), ()))
    fired = [one for one in alerts_of(segmented.step([Records.build("events", 0, rows)])) if one["state"] == "firing"]
    assert {one["segment"] for one in fired} == {"", "place=north"}
    assert [one["models"] for one in fired] == [["bus-1", "bus-2", "bus-0"]] * len(fired)


def test_models_count_from_their_first_event_on_however_the_stream_is_cut():
    """A model first seen at the event before the alarm is named, one behind it is not; in every cut, and restored."""
    (fired, _) = alerts_of(fold("bus-*").step([records()]))
    at = fired["at"]["offset"] // 2
    for late_at, known in ((at - 1, True), (at, False)):
        whole = records(late_at)
        expected = fold("bus-*").step([whole])
        assert ("bus-late" in alerts_of(expected)[0]["models"]) is known
        for cut in (2 * at, 2 * at + 1, 2 * at + 2):
            first, second = fold("bus-*"), fold("bus-*")
            outputs = first.step([whole.part(0, cut)])
            second.load(Snapshot.from_bytes(first.dump().to_bytes()))
            assert outputs + second.step([whole.part(cut, len(whole))]) == expected


def test_a_source_that_is_held_is_listed_until_somebody_judges_it():
    """The ledger shows it under the id of its incident, as a storm, and no longer once a person has approved."""
    sources = {"weather": SourceSettings(["bus-1", "bus-2"])}
    decide, ledger = DecideFold(RetrainSettings(storm_models_min=2), sources=sources), RequestLedger(OutputTopics())
    drift = ready("2h", "1h", "source:weather", version="")
    ledger.read(published(decide.step([record_on("driftline.alerts", drift)])))
    (held,) = ledger.statuses()
    assert (held.model_id, held.state, held.comment) == ("source:weather", "requested", "2 models")
    ledger.read(published(decide.step([record_on("driftline.control", said("approve", held.request_id, "3h"))])))
    assert {one.model_id for one in ledger.statuses()} == {"bus-1", "bus-2"}


def record_on(topic, record):
    return Records.build(topic, 0, [(0, -1, b"", msgspec.json.encode(record), ())])


def published(outputs):
    return [Records.build(one.topic, 0, [(0, -1, one.key, one.value, ())]) for one in outputs]


def test_long_names_do_not_make_an_alert_large():
    """Names stand in an alert while they have 8,192 characters together; all models are counted."""
    names = [f"{i:0250}" for i in range(200)]
    (fired, _) = alerts_of(fold(*names).step([records()]))
    assert (fired["models"], fired["model_count"]) == (names[:32], 200)


@pytest.mark.parametrize(("many", "requests"), [(100, ["bus-0", "bus-1", "bus-2", "tram-7"]), (4, [])])
def test_a_replay_asks_for_the_models_of_a_source_or_holds_them(tmp_path, many, requests):
    """One incident, of the source: its four models are asked for, or held where four are many; nothing else."""
    (tmp_path / "driftline.yaml").write_text(CONFIG % many)
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, events())))
    ran = CliRunner().invoke(
        main, ["replay", str(tmp_path / "r.jsonl"), "--config", str(tmp_path / "driftline.yaml"), "--topic", "events"]
    )
    assert ran.exit_code == 0, ran.output
    printed = [json.loads(line) for line in ran.stdout.splitlines()]
    assert {one["model_id"] for one in printed if one["type"] in ("alert", "incident")} == {"source:weather"}
    assert [one["model_id"] for one in printed if one["type"] == "request"] == requests
    last = [one for one in printed if one["type"] == "incident"][-1]
    assert (last["model_count"], last["decision"]) == (4, "request_made" if requests else "held_for_source")
