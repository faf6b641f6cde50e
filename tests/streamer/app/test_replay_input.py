"""What a replay reports of recordings that its settings do not read as their producer meant them."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from streamer.cli import main

START_S = 1_782_864_000  # 2026-07-01
FEATURES = dict.fromkeys(("headway_s", "dwell_s", "load", "hour", "rain", "stop"), 1.5)


@pytest.fixture
def replayed(tmp_path):
    """Runs a replay over events and an optional configuration; returns its exit code and its standard error."""

    def run(events, text=""):
        (tmp_path / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
        (tmp_path / "c.yaml").write_text(text)
        config = ("--config", str(tmp_path / "c.yaml")) if text else ()
        ran = CliRunner().invoke(main, ["replay", str(tmp_path / "events.jsonl"), "--topic", "p", *config])
        return ran.exit_code, [line for line in ran.stderr.splitlines() if not line.startswith("replay:")]

    return run


def flat(time=lambda i: START_S + i, **more):
    """Events as pandas writes a table: a line for each row, all columns beside each other."""
    return [{"model_id": "m", "event_time": time(i), **FEATURES, **more} for i in range(40)]


def test_a_flat_table_is_named_with_the_setting_that_reads_it(replayed):
    """Nothing at all is watched, so the command fails; with the setting it watches every column."""
    code, lines = replayed(flat())
    assert code == 6
    assert lines[-2:] == [
        "warning: p: 0 of 6 columns are watched (headway_s, dwell_s, load, hour, rain, stop), as no event has "
        "$.features: set fields.features of the topic to $",
        "driftline: nothing was watched; the warnings above name the settings",
    ]
    code, lines = replayed(flat(), "topics: {p: {fields: {features: $}}}\n")
    assert (code, [line for line in lines if "warning" in line]) == (0, [])
    assert lines[-1].startswith("240 values")


def test_a_flat_table_with_predictions_is_a_warning(replayed):
    """The prediction is watched, so the replay succeeds, and the summary names the columns that are not."""
    code, lines = replayed(flat(prediction=2.0, a=1, b=2, c=True))
    assert code == 0
    assert lines[-1] == (
        "warning: p: 0 of 9 columns are watched (headway_s, dwell_s, load, hour, rain, stop and 3 more), as no event "
        "has $.features: set fields.features of the topic to $"
    )


def test_features_below_another_name_are_found(replayed):
    """The path of the object that holds them is the advice."""
    events = [{"model_id": "m", "event_time": START_S + i, "prediction": 1.0, "inputs": FEATURES} for i in range(9)]
    assert replayed(events)[1][-1].endswith("as no event has $.features: set fields.features of the topic to $.inputs")


@pytest.mark.parametrize(
    "events",
    [
        [{"model_id": "m", "event_time": START_S, "features": {"x": 1.0}, "host": "a", "trace": {"id": 7}}],
        [{"model_id": "m", "event_time": START_S, "prediction": 1.0}],
        [{"model_id": "m", "event_time": START_S, "prediction_id": "1", "label": 1.0}],
    ],
    ids=["other members", "prediction alone", "label alone"],
)
def test_events_as_they_should_be_raise_no_warning(replayed, events):
    """Members beside features, predictions without features and labels are ordinary."""
    code, lines = replayed(events)
    assert (code, [line for line in lines if "warning" in line]) == (0, [])


def test_records_that_are_all_dead_letters_end_with_6(replayed):
    """The reasons are named; one good record among them is enough for 0."""
    code, lines = replayed([{"id": 1}] * 3)
    assert code == 6
    assert lines[-3].startswith("warning: p: 3 of 3 records are dead letters (3 missing_model): check the codec and")
    assert lines[-1] == "driftline: nothing was watched; the warnings above name the settings"
    assert replayed([{"id": 1}] * 3 + flat(prediction=1.0)[:1])[0] == 0


def test_many_dead_letters_are_named_with_what_to_do(replayed):
    """By their most frequent reason; a hundredth of the records is ordinary."""
    empty = {"model_id": "m", "prediction_id": "1", "event_time": START_S}
    good = {**empty, "features": {"x": 1.0}}
    line = replayed([good, good, empty, {"id": 1}, empty])[1][-1]
    assert line == (
        "warning: p: 3 of 5 records are dead letters (2 nothing_to_watch, 1 missing_model); compare the paths of "
        "features and prediction with the records; each is in the output, with its reason"
    )
    assert "warning" not in replayed([good] * 100 + [empty])[1][-1]


def test_features_that_are_all_objects_end_with_6(replayed):
    """Their values are counted as faults, and none is watched."""
    code, lines = replayed([{"model_id": "m", "event_time": START_S, "features": {"x": [{"y": 1}], "z": [[1]]}}] * 3)
    assert code == 6
    assert [line.split(": ")[1].split(" holds")[0] for line in lines[-3:-1]] == ["column x of m", "column z of m"]
    assert any(
        line.startswith("warning: p: all values of 3 records are lists or objects, so none is") for line in lines
    )


def test_times_in_the_wrong_unit_are_named(replayed):
    """Seconds that are read as milliseconds lie in 1970; nanoseconds are no time at all."""
    events = [{"model_id": "m", "event_time": START_S + i, "features": {"x": 1.0}} for i in range(9)]
    code, lines = replayed(events, "topics: {p: {event_time_unit: ms}}\n")
    assert code == 0
    assert lines[-1] == (
        "warning: event times begin on 1970-01-21, so they are probably read in the wrong unit: "
        "set event_time_unit of the topic, or write RFC 3339"
    )
    unit = "topics: {p: {event_time_unit: ms}}\n"
    code, lines = replayed([{**event, "event_time": event["event_time"] * 10**9} for event in events], unit)
    assert code == 6
    assert lines[-2].startswith("warning: 9 dead letters have no event time that can be read (bad_event_time): set")
    assert not any("warning" in line for line in replayed(events)[1])
