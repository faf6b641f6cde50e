"""A table of `limits` that is full, through the detect fold: one alert, at the record that had no room."""

import json

import msgspec
import pytest
from alert_kit import alerts_of

from detectors.registry import settings_of
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.detect.fold import DetectFold
from streamer.detect.settings import DetectSettings, Limits
from streamer.eventlog.base import Records
from streamer.runtime.snapshot import Snapshot

START_MS = 1_782_889_200_000
ROOMY = {"models_max": 3, "columns_max": 5, "categories_max": 3, "series_max": 9}


def fold(topics=("p",), **limits):
    codecs = {topic: JsonCodec(JsonSettings()) for topic in topics}
    return DetectFold(DetectSettings(codecs, {"rate": settings_of("rate")}, limits=Limits(**(ROOMY | limits))))


def records(rows, topic="p", start=0):
    """The events a minute apart, from a minute and an offset on."""
    values = [json.dumps({"event_time": START_MS + 60_000 * (start + i)} | row).encode() for i, row in enumerate(rows)]
    return Records.build(topic, 0, [(start + i, -1, None, value, ()) for i, value in enumerate(values)])


def event(model="bus", version="1", **features):
    return {"model_id": model, "model_version": version, "features": features}


def said(alert):
    return alert["column"], alert["category"], alert["model_id"], alert["model_version"], alert["at"]["offset"]


FULL = {
    "models": ([event(f"m{i}", x=1) for i in range(9)], ("(models_max)", "m3", "m3", "1", 3)),
    "versions": ([event("bus", i, x=1) for i in range(9)], ("(models_max)", "3", "bus", "3", 3)),
    "columns": ([event(**{f"x{i}": 1, "y": 1}) for i in range(9)], ("(columns_max)", "x2", "bus", "1", 2)),
    "categories": ([event(x=f"rain{i}", y="sun") for i in range(9)], ("(categories_max)", "rain1", "bus", "1", 1)),
    "series": (
        [event(f"m{i % 3}", i // 3, x=1, y=2) for i in range(9)], ("(series_max)", "y", "m1", "1", 4)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FULL)
def test_a_full_table_is_one_alert_where_it_had_no_room(name, conforms):
    """With the setting, the first name that had no room, and whose it was; however much comes after it."""
    rows, expected = FULL[name]
    (alert,) = alerts_of(fold(columns_max=9 if name == "series" else 5).step([records(rows * 3)]))
    conforms("alert.v1", json.dumps(alert).encode())
    assert said(alert) == expected
    room = ROOMY[alert["column"].strip("()")]
    assert (alert["kind"], alert["state"], alert["detector"]) == ("limit", "firing", "limits")
    assert (alert["threshold"], alert["before"], alert["after"]) == (room, room, room + 1)


@pytest.mark.parametrize("name", FULL)
def test_it_is_the_same_after_a_restart_and_in_any_cut(name):
    """What was published is part of the state, and where batches end never shows."""
    rows, expected = FULL[name]
    for cut in range(0, len(rows), 2):
        one = fold(columns_max=9 if name == "series" else 5)
        outputs = one.step([records(rows).part(0, cut)]) if cut else []
        state = one.dump()
        two = fold(columns_max=9 if name == "series" else 5)
        two.load(Snapshot(msgspec.json.decode(msgspec.json.encode(state.meta)), state.arrays))
        assert [said(alert) for alert in alerts_of(outputs + two.step([records(rows).part(cut, 9)]))] == [expected]


def test_a_table_that_is_just_full_is_none():
    """As much as there is room for raises nothing; nor does a name that is too long to be one."""
    rows = [event(f"m{i}", x=1, y=2, **{"z" * 5000: 1}) for i in range(3)] * 9
    assert alerts_of(fold().step([records(rows)])) == []


def test_versions_on_more_topics_than_there_is_room_for_are_an_alert():
    """A model has room in four versions and topics for each that `models_max` allows."""
    topics = [f"t{i}" for i in range(9)]
    outputs = fold(topics, models_max=1).step([records([event(x=1)], topic) for topic in topics])
    assert [said(alert) for alert in alerts_of(outputs)] == [("(models_max)", "t4", "bus", "1", 0)]


def test_of_several_topics_the_record_that_comes_first_is_named():
    """Records of several topics are one order, and what they had no room for is reported in it."""
    one = fold(["a", "b"], models_max=1)
    one.step([records([event("first", x=1)], "a")])
    late, early = records([event("late", x=1)], "a", 5), records([event("early", x=1)], "b", 2)
    late = Records.build("a", 0, [(5, START_MS + 900_000, None, value_of(late), ())])
    early = Records.build("b", 0, [(2, START_MS + 800_000, None, value_of(early), ())])
    outputs = one.step([late, early])
    assert [said(alert)[1] for alert in alerts_of(outputs)] == ["early"]
    assert [output.topic for output in outputs] == ["b-dlt", "driftline.alerts", "a-dlt"]


def value_of(one):
    """The value of the only record."""
    start, end = one.value[0].tolist()
    return bytes(one.data[start:end])


def test_more_room_that_is_full_again_is_an_alert_again():
    """Under a greater limit the next name that has no room is an alert; under the same one it is not."""
    rows = FULL["models"][0]
    one = fold()
    one.step([records(rows)])
    for room, expected in ((3, []), (5, ["m5"])):
        two = fold(models_max=room)
        two.load(one.dump())
        assert [alert["category"] for alert in alerts_of(two.step([records(rows)]))] == expected
