"""The two streams of the demo are what they claim to be."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import msgspec
import numpy as np
import pytest

from examples.demo import fleet, subway
from examples.demo.stream import DAY_MS, HOUR_MS, Stream, write_recording
from streamer.eventlog.recordings.recording import open_recording


@cache
def world():
    return fleet.simulate(np.random.default_rng(20))


@cache
def reports():
    return subway.read_reports(subway.DATA)


def test_a_seed_is_a_fleet():
    """The same seed gives the same world, another one another."""
    again = fleet.simulate(np.random.default_rng(20))
    assert all(np.array_equal(getattr(again, name), getattr(world(), name)) for name in fleet.World.__slots__)
    assert not np.array_equal(fleet.simulate(np.random.default_rng(21)).headway_s, world().headway_s)


def test_ten_days_see_every_hour_equally_often():
    """Any 500 events of a model hold each hour as often as any other 500 do, but for jitter at the edges of hours."""
    for model in (0, 77, 199):
        hour = world().time_ms[world().model == model] // HOUR_MS % 24
        counts = [np.bincount(hour[start : start + 500], minlength=24) for start in range(0, 2000, 37)]
        assert np.ptp(counts, axis=0).max() <= 10


def test_the_truth_is_what_is_done():
    """A drift multiplies values of its model alone, from its day on, a slow one bit by bit; no model drifts twice."""
    times = fleet.START_MS + np.array([19.9, 23.0, 26.0, 49.0]) * DAY_MS
    sudden, slow = fleet.DRIFTS[0], fleet.DRIFTS[-1]
    number = int(sudden.model.removeprefix("bus-")) - 1
    assert fleet.factors(sudden, np.full(4, number), times).tolist() == [1, 1.25, 1.25, 1.25]
    assert fleet.factors(sudden, np.full(4, number + 1), times).tolist() == [1, 1, 1, 1]
    number = int(slow.model.removeprefix("bus-")) - 1
    assert fleet.factors(slow, np.full(4, number), times) == pytest.approx([1, 1 + 0.35 / 4, 1 + 0.35 / 2, 1.35])
    assert len({drift.model for drift in fleet.DRIFTS}) == len(fleet.DRIFTS)


def test_the_models_are_right_while_the_world_is_as_it_was():
    """Before any drift errors have no bias, and with it only those of the drifting models grow."""
    answer = fleet.expected_arrival_s(world(), world().temperature_c)
    excess = world().arrival_s / answer - 1
    early = world().time_ms < fleet.START_MS + 20 * DAY_MS
    assert abs(excess[early].mean()) < 0.001
    late = [excess[~early & (world().model == model)].mean() for model in range(fleet.MODELS)]
    biased = {fleet.model_id(model) for model in np.flatnonzero(np.abs(late) > 0.02)}
    assert biased == {drift.model for drift in fleet.DRIFTS if drift.what == "error"}


def test_the_models_know_nothing_of_the_future():
    """Delays after 2014 could be anything: what the models answer stays."""
    found, _ = reports()
    training = found.time_ms < subway.TRAINING_END_MS
    other = replace(found, delay_min=np.where(training, found.delay_min, 59.0))
    assert np.array_equal(subway.predictions(found, training), subway.predictions(other, training))
    worse = replace(found, delay_min=np.where(training, found.delay_min + 5, found.delay_min))
    assert subway.predictions(worse, training).mean() > subway.predictions(found, training).mean() + 4


def test_the_models_are_of_some_use():
    """In 2015 the answers are nearer to the truth than the mean of each line would be."""
    found, _ = reports()
    training = found.time_ms < subway.TRAINING_END_MS
    year = ~training & (found.time_ms < subway.TRAINING_END_MS + 365 * DAY_MS) & (found.delay_min <= 60)
    mean = np.bincount(found.line[training], found.delay_min[training]) / np.bincount(found.line[training])
    error = np.abs(subway.predictions(found, training) - found.delay_min)[year].mean()
    assert error < 0.75 * np.abs(mean[found.line] - found.delay_min)[year].mean()


def test_reports_of_no_single_line_are_left_out():
    """Four lines remain, in order of time; the others are counted."""
    found, left_out = reports()
    assert len(found.line) + left_out == 215_602
    assert left_out == 3_876
    assert np.bincount(found.line).tolist() == [104_449, 92_115, 7_496, 7_666]
    assert (np.diff(found.time_ms) >= 0).all()


def test_subway_events_are_canonical():
    """A prediction and its label share an id, the label comes later, and a gap that was not measured is null."""
    made = subway.subway()
    asked, known = made.streams
    first = msgspec.json.decode(asked.values[0])
    label = next(msgspec.json.decode(v) for v in known.values if f'"{first["prediction_id"]}"' in v)
    assert first["features"].keys() == {"gap_min", "hour", "code", "bound"}
    assert first["model_id"] == label["model_id"]
    assert first["event_time"] < label["event_time"]
    assert any('"gap_min":null' in value for value in asked.values[:100])
    assert (np.diff(known.time_ms) >= 0).all()
    assert set(made.training["model_id"].to_pylist()) == set(subway.MODELS)


def test_recordings_hold_every_record_once(tmp_path):
    """Slices by stream and partition lose nothing: offsets count up, and keys and values are byte for byte."""
    time_ms = np.array([0, 5, 10, 15, 20, 25])
    first = Stream("a", time_ms, np.array([1, 0, 1, 0, 0, 1]), list("uvwxyz"), [f'{{"n":{i}}}' for i in range(6)])
    second = Stream("b", time_ms[:2], np.array([0, 0]), ["k", "l"], ["{}", "[]"])
    write_recording(tmp_path / "r.parquet", [first, second], slice_ms=12)
    with open_recording(tmp_path / "r.parquet") as recording:
        (chunk,) = recording.chunks()
        found = {(r.topic, r.partition): [(r.key_of(i), r.value_of(i)) for i in range(len(r))] for r in chunk.split()}
        assert chunk.timestamp_ms.tolist() == [5, 0, 10, 0, 5, 15, 20, 25]
    assert found["a", 0] == [(b"v", b'{"n":1}'), (b"x", b'{"n":3}'), (b"y", b'{"n":4}')]
    assert found["a", 1] == [(b"u", b'{"n":0}'), (b"w", b'{"n":2}'), (b"z", b'{"n":5}')]
    assert found["b", 0] == [(b"k", b"{}"), (b"l", b"[]")]
