"""Detectors by pattern of models and columns, through the detect fold."""

import json

import msgspec
import numpy as np
import pytest
from alert_kit import alerts_of

from detectors.reference import Reference
from detectors.registry import settings_of
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.detect.fold import DetectFold
from streamer.detect.inspect import columns_of
from streamer.detect.monitors.drift import DetectorAssignment
from streamer.detect.references.table import References
from streamer.detect.settings import DetectSettings
from streamer.eventlog.base import Records
from streamer.runtime.snapshot import Snapshot

START_MS, N, MOVES = 1_782_889_200_000, 3000, 1500
WATCH = {"bus-*": {"x": ["adwin"], "y*": [], "w": ["category_window"]}, "*": {"x": ["ks_window"]}}
DETECTORS = ("adwin", "ks_window", "category_window")


def fold(watch=None, **changed):
    detectors = {name: settings_of(name) for name in DETECTORS}
    return DetectFold(DetectSettings({"p": JsonCodec(JsonSettings())}, detectors, watch=watch or {}, **changed))


def records():
    """All columns of two models move, from the middle on."""
    rng = np.random.default_rng(1)
    values = []
    for i in range(N):
        x, y = rng.normal(size=2) + 3 * (i >= MOVES)
        word = rng.choice(["a", "b"], p=[0.9, 0.1] if i >= MOVES else [0.1, 0.9])
        for model in ("bus-1", "tram"):
            event = {"model_id": model, "event_time": START_MS + i, "features": {"x": x, "y1": y, "w": word}}
            values.append(json.dumps(event).encode())
    return Records.build("p", 0, [(i, -1, None, value, ()) for i, value in enumerate(values)])


def firing_alerts(outputs):
    """The alerts that fire."""
    return [alert for alert in alerts_of(outputs) if alert["state"] == "firing"]


def who(alerts):
    return {(alert["model_id"], alert["column"], alert["detector"]) for alert in alerts}


def moved(one, other):
    """The other fold, with the state of the one."""
    dumped = one.dump()
    meta = msgspec.json.decode(msgspec.json.encode(dumped.meta))
    other.load(Snapshot(meta, {name: array.copy() for name, array in dumped.arrays.items()}))
    return other


def test_the_first_patterns_that_fit_count():
    """Of a model, then of a column; where none fits, all detectors."""
    watched = DetectorAssignment({"bus-*": {"x": ["a"], "*x": []}, "*": {"x": [], "z": ["b"]}}, ["a", "b"])
    assert watched.of("bus-1", "x") == {"a"}
    assert watched.of("bus-1", "xx") == set()
    assert watched.of("bus-1", "z") == {"b"}
    assert watched.of("bus-1", "y") == {"a", "b"}
    assert watched.of("tram", "x") == set()


def test_each_column_is_watched_by_its_own():
    """And its alerts are those that it has where all detectors watch all columns."""
    alerts, all_alerts = firing_alerts(fold(WATCH).step([records()])), firing_alerts(fold().step([records()]))
    assert who(alerts) == {
        ("bus-1", "x", "adwin"), ("bus-1", "w", "category_window"), ("tram", "x", "ks_window"),
        ("tram", "y1", "adwin"), ("tram", "y1", "ks_window"), ("tram", "w", "category_window"),
    }  # fmt: skip
    assert alerts == [alert for alert in all_alerts if who([alert]) <= who(alerts)]
    assert len(alerts) < len(all_alerts)


@pytest.mark.parametrize("cut", [1000, 2999])
def test_it_is_the_same_after_a_restart(cut):
    """What watches what is part of the state."""
    whole = firing_alerts(fold(WATCH).step([records()]))
    one = fold(WATCH)
    alerts = firing_alerts(one.step([records().part(0, cut)]))
    assert alerts + firing_alerts(moved(one, fold(WATCH)).step([records().part(cut, 2 * N)])) == whole


def test_a_detector_that_watches_a_column_again_starts_again():
    """What it knew of the column before it was taken from it counts no more; the others go on."""
    none = {"*": {"x": []}}
    begun = fold(WATCH)
    begun.step([records().part(0, 1000)])
    paused = moved(begun, fold(none))
    paused.step([records().part(1000, 2000)])
    after = firing_alerts(moved(paused, fold(WATCH)).step([records().part(2000, 2 * N)]))
    fresh = fold(none)
    fresh.step([records().part(0, 2000)])
    assert after == firing_alerts(moved(fresh, fold(WATCH)).step([records().part(2000, 2 * N)]))
    assert ("tram", "x", "ks_window") in who(after)


def test_without_patterns_all_watch_again():
    """Taking the section out of the configuration brings every detector back to every column."""
    one = fold(WATCH)
    one.step([records().part(0, 1000)])
    alerts = firing_alerts(moved(one, fold()).step([records().part(1000, 2 * N)]))
    assert who(alerts) == who(firing_alerts(fold().step([records()])))


def test_one_that_watches_again_is_given_the_training_data():
    """As every detector that begins is."""
    reference = Reference.of(np.random.default_rng(2).normal(size=500), size_max=500)
    references = References({("tram", "", "x"): reference})
    paused = fold({"*": {"x": []}}, references=references)
    paused.step([records().part(0, 1000)])
    alerts = firing_alerts(moved(paused, fold(WATCH, references=references)).step([records().part(1000, 2 * N)]))
    (alert,) = [alert for alert in alerts if who([alert]) == {("tram", "x", "ks_window")}]
    assert alert["reference_digest"] == reference.digest


def test_columns_names_those_that_watch():
    """A column that no detector watches says so."""
    one = fold(WATCH)
    one.step([records().part(0, 1000)])
    rows = {row.column: (row.detectors, row.states) for row in columns_of("p/0", one, "bus-1")}
    assert rows["x"][0] == ("adwin",)
    assert rows["y1"] == ((), ("unwatched",))
    assert rows["w"][0] == ("category_window",)
