"""Producers that have shapes of their own."""

from __future__ import annotations

import pytest
from codec_oracle import columns_of, decode

from streamer.codecs.base import Reason
from streamer.codecs.field_paths import Envelope, FieldMap, Root, follow, getter, parse_path
from streamer.codecs.json_codec import JsonSettings
from streamer.events import EventKind, Names

NESTED = {
    "meta": {"trace": "0af7", "ts": 1_795_418_160.25, "schema.version": 3},
    "payload": {"model": {"name": "eta-bus", "rev": 12}, "outputs": [{"name": "eta_s", "value": 371.2}]},
    "request": {"id": "r-1", "inputs": {"headway_s": 412, "weather": "rain", "stops": [1, 2]}},
}
FLAT = {
    "model": "eta-tram",
    "ts": "2026-11-23T07:16:00.250Z",
    "uuid": "u-1",
    "headway_s": 412.0,
    "weather": "rain",
    "y_hat": 371.2,
    "tags": ["a"],
    "geo": {"lat": 43.6},
}
NESTED_MAP = FieldMap(
    model_id="$.payload.model.name",
    model_version="$.payload.model.rev",
    prediction_id="$.request.id",
    event_time="$.meta.ts",
    features="$.request.inputs",
    prediction="$.payload.outputs[0].value",
)
FLAT_MAP = FieldMap(
    model_id="$.model", event_time="$.ts", prediction_id="$.uuid", features="$", prediction="$.y_hat", label="$.y"
)


def decode_mapped(fields, *values):
    names = Names.fresh()
    batch, dead = decode(*values, settings=JsonSettings(fields=fields), names=names)
    return columns_of(batch), dead, names


def test_a_nested_producer():
    """Fields deep in a service's log line are found by their paths, list indices included."""
    columns, dead, names = decode_mapped(NESTED_MAP, NESTED)
    assert not len(dead), dead.detail
    assert (names.models.names, names.versions.names) == (["eta-bus"], ["12"])
    assert names.columns.names[2:] == ["headway_s", "weather", "stops[0]", "stops[1]"]
    assert columns["event_time_ms"] == [1_795_418_160_250]
    assert (columns["prediction"], columns["number"]) == ([371.2], [371.2, 412.0, None, 1.0, 2.0])
    assert columns["category"] == [-1, -1, 1, -1, -1]


def test_a_flat_producer():
    """Where fields and features share an object, the mapped members and nested things are no features."""
    columns, dead, names = decode_mapped(
        FLAT_MAP, FLAT, {"model": "eta-tram", "uuid": "u-1", "ts": FLAT["ts"], "y": 402}
    )
    assert not len(dead), dead.detail
    assert names.columns.names[2:] == ["headway_s", "weather"]
    assert columns["kind"] == [EventKind.PREDICTION, EventKind.LABEL]
    assert columns["join_id"][0] == columns["join_id"][1] != 0
    assert (columns["start"], columns["label"]) == ([3, 0], [None, 402.0])


def test_named_features():
    """Features may be named one by one; an absent one is missing, and with all absent there are none."""
    fields = FieldMap(features={"temp_c": "$.w.t", "gust": "$.w['wind.gust']"}, source="=weather", model_id=None)
    columns, dead, names = decode_mapped(fields, {"w": {"t": 4.5}}, {"w": {"wind.gust": 9, "t": None}}, {"x": 1})
    assert names.models.names == ["source:weather"]
    assert names.columns.names[2:] == ["temp_c", "gust"]
    assert columns["number"] == [4.5, None, None, 9.0]
    assert dead.reason == [Reason.NOTHING_TO_WATCH]


def test_constants_and_switched_off_fields():
    """A constant stands for a field that the producer leaves out; None leaves a field unread that is there."""
    fields = FieldMap(model_id="=bus", model_version="=v1", label=None, prediction_id=None)
    columns, _, names = decode_mapped(fields, {"model_id": "x", "prediction": 1, "label": 2, "prediction_id": "p"})
    assert (names.models.names, names.versions.names) == (["bus"], ["v1"])
    assert (columns["kind"], columns["join_id"]) == ([EventKind.PREDICTION], [0])


@pytest.mark.parametrize(
    ("value", "reason", "words"),
    [
        (b'{"payload"', Reason.NOT_JSON, "character"),
        (b"[]", Reason.NOT_AN_OBJECT, "a list"),
        (b"7", Reason.NOT_AN_OBJECT, "an integer"),
        ({**NESTED, "payload": 5}, Reason.MISSING_MODEL, "model_id"),
        ({**NESTED, "payload": {"model": {"name": ["x"]}}}, Reason.WRONG_TYPE, "model_id is a list"),
        ({**NESTED, "request": {"inputs": "none"}}, Reason.WRONG_TYPE, "features are text"),
        ({**NESTED, "meta": {"ts": {}}}, Reason.BAD_EVENT_TIME, "event_time is an object"),
    ],
)
def test_bad_records_of_mapped_producers(value, reason, words):
    """What is wrong with a mapped record is said in the words of the event's fields; its neighbours are decoded."""
    columns, dead, _ = decode_mapped(NESTED_MAP, NESTED, value, NESTED)
    assert columns["offset"] == [100, 102]
    assert dead.reason == [reason]
    assert words in dead.detail[0]


def test_a_mapped_producer_may_write_nan():
    """The stand-in for numbers that Python's json writes is a missing value here too."""
    columns, dead, _ = decode_mapped(FLAT_MAP, {**FLAT, "headway_s": float("nan"), "y_hat": float("inf")})
    assert not len(dead)
    assert columns["number"] == [None, None, None]


def test_paths():
    """A path is a list of member names and indices; one that leads nowhere finds nothing."""
    event = Envelope({"a": [{"b.c": 1}], "ü-1": 2}, [7, 8], "k", {"ce_id": "e-1"})
    assert parse_path("$.a[0]['b.c']", "label") == (Root.RECORD, "a", 0, "b.c")
    assert follow(event, parse_path("$.a[0]['b.c']", "label")) == 1
    assert follow(event, parse_path("$.ü-1", "label")) == 2
    assert follow(event, parse_path("$row[1]", "label")) == 8
    assert follow(event, parse_path("$key", "label")) == "k"
    assert follow(event, parse_path("$headers.ce_id", "label")) == "e-1"
    paths = ("$.a.b", "$.a[1]", "$['ü-1'][0]", "$.z.y", "$row.x", "$key.x", "$headers.none")
    nothing = [follow(event, parse_path(path, "label")) for path in paths]
    assert len({id(found) for found in nothing}) == 1
    assert getter((Root.RECORD, "a"))(event) == [{"b.c": 1}]
    assert getter((Root.RECORD, 0))(event) is nothing[0]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model_id": "payload.model"}, r"model_id: 'payload.model' is not a path; a path begins with \$"),
        ({"model_id": ""}, "model_id: '' is not a path"),
        ({"label": 5}, "label: 5 is not a path"),
        ({"prediction": "$.a..b"}, r"prediction: the path '\$.a..b' is invalid from '..b' on"),
        ({"prediction": "$.a[x]"}, r"is invalid from '\[x\]' on"),
        ({"prediction": "$a"}, r"prediction: '\$a' is not a path"),
        ({"prediction": "$rows.x"}, r"prediction: '\$rows.x' is not a path"),
        ({"prediction": "$row.x"}, r"prediction: '\$row.x' is a path in a row; name the list of rows"),
        ({"rows": "$key.x"}, r"rows: '\$key.x' is no path in the value of the record"),
        ({"rows": "data"}, "rows: 'data' is not a path"),
        ({"prediction_id": "$headers"}, r"prediction_id: the path '\$headers' is the whole record"),
        ({"model_id": "=$fleet"}, r"model_id: '=\$fleet' is a constant that looks like a path, and is none"),
        ({"event_time": "$"}, "event_time: the path '\\$' is the whole record"),
        ({"features": {"temp": "w.t"}}, "features.temp: 'w.t' is not a path"),
        ({"features": {"temp": "$"}}, "features.temp: the path"),
        ({"label": "=5"}, "label: '=5' is a constant, which only model_id, model_version, source can be"),
        ({"source": "="}, "source: '=' is a constant without a text"),
    ],
)
def test_bad_paths_are_refused_with_a_sentence(fields, words):
    """A path that can't be read is refused where the map is made; the sentence names the field and the path."""
    with pytest.raises(ValueError, match=words):
        FieldMap(**fields)
