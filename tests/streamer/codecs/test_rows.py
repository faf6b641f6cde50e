"""Records with several events, and fields that stand in the key, the headers or the rows of a record."""

from __future__ import annotations

import json

import pytest
from codec_oracle import NOON_MS, columns_of, decode, join_id, records_of

from streamer.codecs.base import Reason
from streamer.codecs.field_paths import FieldMap, parse_path
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.eventlog.base import Records
from streamer.events import Names

ROW = {"model_id": "m", "event_time": NOON_MS, "prediction": 1.0}


def decoded(fields, *values):
    names = Names.fresh()
    batch, dead = decode(*values, settings=JsonSettings(fields=fields), names=names)
    return columns_of(batch), dead, names


def test_a_list_of_events_is_one_record_with_rows():
    """Its events have the offset of the record, and are numbered."""
    batch, dead = decode(ROW, [ROW, {**ROW, "prediction": 2.0}, ROW], ROW)
    columns = columns_of(batch)
    assert not len(dead)
    assert columns["offset"] == [100, 101, 101, 101, 102]
    assert columns["row"] == [0, 0, 1, 2, 0]
    assert columns["prediction"] == [1.0, 1.0, 2.0, 1.0, 1.0]


def test_a_record_is_taken_whole_or_not_at_all():
    """One bad row, and no name of the others gets an id."""
    names = Names.fresh(models_max=2)
    new = [{**ROW, "model_id": name} for name in ("a", "b", "c")]
    batch, dead = decode(new, [{**ROW, "model_id": "d"}, {**ROW, "event_time": "noon"}], new[:2], names=names)
    assert names.models.names == ["a", "b"]
    assert columns_of(batch)["offset"] == [102, 102]
    assert dead.reason == [Reason.TOO_MANY_MODELS, Reason.BAD_EVENT_TIME]
    assert dead.detail[0] == "row 2: 'c' is rejected: the table holds 2 names already"
    assert dead.detail[1].startswith("row 1: event_time is 'noon'")
    assert [(away.name, away.offset) for away in batch.turned_away] == [("c", 100)]
    assert len(batch.strangers.key) == 3


def test_rows_share_the_fields_of_their_record():
    """Paths with `$row` lead into the item, others to what all items share; a shared id gets the number of the row."""
    fields = FieldMap(
        model_id="=eta", prediction_id="$.correlationid", event_time="$.time", features="$row", prediction=None,
        rows="$.data[*]",
    )  # fmt: skip
    time = "2026-11-23T11:00:00Z"
    record = {"correlationid": "c-1", "time": time, "data": [{"x": 1, "y": 2}, {"x": 3, "y": 4}]}
    columns, dead, names = decoded(fields, record, {"correlationid": "c-2", "time": time, "data": [{"x": 5}]})
    assert not len(dead), dead.detail
    assert names.columns.names[2:] == ["x", "y"]
    assert columns["number"] == [1, 2, 3, 4, 5]
    assert columns["join_id"] == [join_id("eta", one) for one in ("c-1/0", "c-1/1", "c-2")]


def test_rows_of_values_get_their_names_from_elsewhere():
    """From a list in the configuration, or in the record."""
    for names in (["x", "y"], "$.columns"):
        fields = FieldMap(model_id="=m", features="$row", rows="$.instances", names=names)
        columns, dead, found = decoded(fields, {"columns": ["x", "y"], "instances": [[1, 2], [3, "rain"]]})
        assert not len(dead), dead.detail
        assert found.columns.names[2:] == ["x", "y"]
        assert columns["number"] == [1, 2, 3, None]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"columns": ["x"], "instances": [[1], [1, 2]]}, "row 1: there are 2 features and 1 names for them"),
        ({"columns": [1], "instances": [[1]]}, "row 0: names of features are a list; a list of texts is expected"),
        (
            {"instances": [[1]]},
            "row 0: features are a list; an object is expected. If these are values, name them by fields.names",
        ),
        ({"instances": {}}, "rows are an object; a list is expected"),
        ({"instances": []}, "the value is a list without events"),
        ({}, "the record has nothing at the path of rows; a list is expected"),
    ],
)
def test_rows_that_do_not_fit_are_refused(record, words):
    """With the number of the row, where it is one."""
    fields = FieldMap(model_id="=m", features="$row", rows="$.instances", names="$.columns")
    _, dead, _ = decoded(fields, record)
    assert dead.detail == [words]


def test_items_of_a_list_are_found_by_a_member():
    """As in lists of tensors or contexts, where only the name is sure."""
    paths = {"age": "$.inputs[?name=='age'].data[0]", "sex": "$.inputs[?(@.name == 'sex')].v"}
    inputs = [{"name": "sex", "v": "f"}, {"name": "age", "data": [44]}, {"name": "age", "data": [1]}, 7]
    fields = FieldMap(model_id="=m", features=paths)
    columns, dead, names = decoded(fields, {"inputs": inputs}, {"inputs": inputs[1:]})
    assert not len(dead), dead.detail
    assert names.columns.names[2:] == ["age", "sex"]
    assert columns["number"] == [44, None, 44, None]
    forms = ("?name=='x'", "?@.name=='x'", "?(@.name == 'x')", "?(name=='x')")
    assert {parse_path(f"$.inputs[{form}].v", "sex") for form in forms} == {parse_path("$.inputs[?name=='x'].v", "sex")}
    for form in ("?(@.name=='x'", "?@.name=='x')"):
        with pytest.raises(ValueError, match="is invalid from"):
            parse_path(f"$.inputs[{form}].v", "sex")


def test_features_may_be_json_in_a_text():
    """As in logs whose payload is a text of its own; other texts are refused."""
    fields = FieldMap(model_id="=m", features="$.payload[0]")
    columns, dead, names = decoded(fields, {"payload": ['{"age": 44.0}']}, {"payload": ["{age"]}, {"payload": ["x"]})
    assert (names.columns.names[2:], columns["number"]) == (["age"], [44])
    assert dead.detail == ["features are text; an object is expected"] * 2


def test_fields_may_stand_in_the_key_and_the_headers():
    """As text, or as members of a key that is JSON; what is not there is absent."""
    value = json.dumps({"features": {"x": 1}, "event_time": NOON_MS}).encode()
    rows = [
        (100, NOON_MS, b"bus-7", value, (("ce_id", b"old"), ("ce_id", b"e-1"), ("none", None))),
        (101, NOON_MS, None, value, ()),
        (102, NOON_MS, b"\xff", value, ()),
    ]
    fields, names = FieldMap(model_id="$key", prediction_id="$headers.ce_id"), Names.fresh()
    batch, dead = JsonCodec(JsonSettings(fields=fields)).decode(Records.build("topic", 3, rows), names)
    assert names.models.names == ["bus-7"]
    assert columns_of(batch)["join_id"] == [join_id("bus-7", "e-1")]
    assert dead.reason == [Reason.MISSING_MODEL, Reason.NOT_UTF8]

    keyed, names = Records.build("topic", 3, [(100, NOON_MS, b'{"id": {"model": "m"}}', value, ())]), Names.fresh()
    JsonCodec(JsonSettings(fields=FieldMap(model_id="$key.id.model"))).decode(keyed, names)
    assert names.models.names == ["m"]


@pytest.mark.parametrize(
    "time",
    [
        {"seconds": 1_795_418_160, "nanos": 250_000_000},
        {"seconds": "1795418160", "nanos": 250_000_000},
        {"$date": "2026-11-23T07:16:00.250Z"},
        {"$date": 1_795_418_160_250},
        {"$date": {"$numberLong": "1795418160250"}},
    ],
)
def test_times_may_be_objects(time):
    """Those of Protobuf's and MongoDB's JSON, whatever the unit of numbers is."""
    batch, dead = decode({**ROW, "event_time": time}, settings=JsonSettings(event_time_unit="s"))
    assert not len(dead), dead.detail
    assert columns_of(batch)["event_time_ms"] == [1_795_418_160_250]


def test_tombstones_may_be_skipped():
    """All of them, or those with a key, as a compacted topic is full of; that is logged once."""
    batch, dead = decode(ROW, None, ROW, settings=JsonSettings(tombstones="skip"))
    assert not len(dead)
    assert columns_of(batch)["offset"] == [100, 102]
    assert decode(None)[1].reason == [Reason.NULL_VALUE]


@pytest.mark.parametrize(("setting", "dead"), [("skip_keyed", [2]), ("dead_letter", [1, 2, 3]), ("skip", [])])
def test_a_record_with_a_key_and_no_value_is_a_tombstone(setting, dead, caplog):
    """Without a key, no compacted topic would take it: a producer is at fault."""
    value = json.dumps(ROW).encode()
    rows = [(i, NOON_MS, key, value, ()) for i, (key, value) in enumerate([(b"k", value), (b"k", None), (None, None)])]
    codec = JsonCodec(JsonSettings(tombstones=setting))
    records = Records.build("t", 0, [*rows, (3, NOON_MS, b"", None, ())])
    for _ in range(2):
        batch, letters = codec.decode(records, Names.fresh())
    assert (batch.offset.tolist(), letters.index) == ([0], dead)
    assert [one.message.startswith("topic t: records with a key") for one in caplog.records] == (
        [True] if setting == "skip_keyed" else []
    )


def test_a_time_without_a_zone_is_said_once(caplog):
    """With the time and the setting; where a zone is set, nothing is said."""
    local = {**ROW, "event_time": "2026-11-23T07:16:00"}
    codec = JsonCodec(JsonSettings())
    for _ in range(2):
        codec.decode(records_of([local]), Names.fresh())
    (said,) = caplog.messages
    assert "topic topic: event_time is '2026-11-23T07:16:00', which has no time zone" in said
    assert "topics.topic.time_zone" in said
    JsonCodec(JsonSettings(time_zone="Asia/Tokyo")).decode(records_of([local]), Names.fresh())
    assert len(caplog.messages) == 1


def test_models_may_be_whole_numbers():
    """Events whose models are all numbers need no source."""
    batch, dead = decode({"model_id": 7, "prediction": 1.0}, {"model_id": 8, "prediction": 1.0, "source": "s"})
    assert not len(dead), dead.detail
    assert batch.model.tolist() == [0, 1]
