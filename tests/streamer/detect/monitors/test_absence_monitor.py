"""Columns that events no longer carry, through the detect fold."""

import json

import msgspec
import pytest
from alert_kit import alerts_of

from detectors.delivery.absence import AbsenceSettings
from detectors.registry import settings_of
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.detect.fold import DetectFold
from streamer.detect.settings import DetectSettings, SegmentSettings
from streamer.eventlog.base import Records
from streamer.runtime.snapshot import Snapshot

START_MS, GONE = 1_782_889_200_000, 500


def fold(**changed):
    codecs = {"p": JsonCodec(JsonSettings())}
    return DetectFold(DetectSettings(codecs, {"rate": settings_of("rate")}, **changed))


def records(rows):
    """The events a minute apart."""
    values = [json.dumps({"event_time": START_MS + 60_000 * i} | row).encode() for i, row in enumerate(rows)]
    return Records.build("p", 0, [(i, -1, None, value, ()) for i, value in enumerate(values)])


def trips(n=800):
    """Events of a bus, without x from the middle on; every second without z."""
    for i in range(n):
        features = {"y": i % 7, **({"x": i % 11} if i < GONE else {}), **({"z": "rain"} if i % 2 else {})}
        yield {"model_id": "bus", "model_version": "3", "features": features}


def test_the_alert_of_a_feature_that_vanishes_names_where_it_was_last(conforms):
    """With the share of events that had it; those that go on are not."""
    (alert,) = alerts_of(fold().step([records(trips())]))
    conforms("alert.v1", json.dumps(alert).encode())
    said = {key: alert[key] for key in ("kind", "model_id", "model_version", "column", "before", "after", "state")}
    assert said == {
        "kind": "absent", "model_id": "bus", "model_version": "3", "column": "x", "before": 1.0, "after": 0.0,
        "state": "firing",
    }  # fmt: skip
    assert alert["onset"]["offset"] == GONE
    assert GONE + 100 <= alert["at"]["offset"] < GONE + 164


def test_it_is_the_same_after_a_restart_in_any_place():
    """Where the state is dumped and loaded again changes nothing."""
    whole = alerts_of(fold().step([records(trips())]))
    for cut in (64, 450, GONE + 40, GONE + 130):
        one = fold()
        outputs = one.step([records(trips()).part(0, cut)])
        dumped = one.dump()
        meta = msgspec.json.decode(msgspec.json.encode(dumped.meta))
        other = fold()
        other.load(Snapshot(meta, {name: array.copy() for name, array in dumped.arrays.items()}))
        outputs += other.step([records(trips()).part(cut, 800)])
        assert alerts_of(outputs) == whole


def test_a_source_is_watched_too():
    """It goes by its own name."""
    rows = [{"source": "weather", "features": {"y": 1, **({"x": 2} if i < GONE else {})}} for i in range(800)]
    (alert,) = alerts_of(fold().step([records(rows)]))
    assert (alert["kind"], alert["model_id"], alert["column"]) == ("absent", "source:weather", "x")


def test_a_segment_is_watched_too():
    """One depot of two no longer sends x: the segment has an alert; the model, with it in half its events, has none."""
    rows = [
        {"model_id": "bus", "features": {"depot": d, **({"x": 2} if i < GONE or d == "north" else {})}}
        for i in range(800)
        for d in ("north", "south")
    ]
    (alert,) = alerts_of(fold(segments={"bus": SegmentSettings(by="depot")}).step([records(rows)]))
    assert (alert["kind"], alert["segment"], alert["column"]) == ("absent", "depot=south", "x")


def test_labels_that_stop_are_no_absence_of_the_error():
    """Whether labels come is watched by flows."""
    rows = [{"model_id": "bus", "prediction": 1.5, **({"label": 2.5} if i < GONE else {})} for i in range(800)]
    assert alerts_of(fold().step([records(rows)])) == []


def test_a_new_version_without_the_column_is_none():
    """It never had it."""
    rows = [
        {"model_id": "bus", "model_version": str(i // GONE), "features": {"y": 1, **({"x": 2} if i < GONE else {})}}
        for i in range(1000)
    ]
    assert alerts_of(fold().step([records(rows)])) == []


@pytest.mark.parametrize(("watch", "alerts"), [(True, 1), (False, 0)])
def test_it_can_be_switched_off_and_on_again(watch, alerts):
    """State that was made without it is one without knowledge of columns: they are learned from there on."""
    off = fold(absence=AbsenceSettings(watch=False))
    assert alerts_of(off.step([records(trips(200))])) == []
    dumped = off.dump()
    one = fold(absence=AbsenceSettings(watch=watch))
    one.load(Snapshot(dumped.meta, {name: array.copy() for name, array in dumped.arrays.items()}))
    assert len(alerts_of(one.step([records(trips()).part(200, 800)]))) == alerts
