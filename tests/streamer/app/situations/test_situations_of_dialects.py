"""Records in the dialects of serializers and loggers: read where they mean one thing, named where they do not."""

from __future__ import annotations

import base64
import json

import pytest
from situation_kit import START_MS, Sent, decoded, event, iso, replayed, shifted

S, MS = START_MS // 1000, START_MS
KEYED = {"model_id": "$key", "event_time": "$.ts", "features": "$"}


def one(**fields):
    return {**event(0), "features": {"x": 1.5}, **fields}


def ce(kind: str) -> list[tuple[str, bytes]]:
    texts = {"id": "1", "type": f"org.kubeflow.serving.inference.{kind}", "inferenceservicename": "m", "time": iso(0)}
    return [(f"ce_{name}", text.encode()) for name, text in texts.items()]


TIMES = {
    "LocalDateTime of Jackson (team-yes-bang/plip-topic#38, fts-next#1654)": [2026, 3, 2, 6, 0],
    "the same with nanoseconds": [2026, 3, 2, 6, 0, 0, 123_000_000],
    "Instant of Gson": {"epochSecond": S, "nano": 0},
    "canonical JSON of MongoDB": {"$date": {"$numberLong": str(MS)}},
    "int64 of Protobuf": {"seconds": str(S)},
    "time.String() of Go": "2026-03-02 06:00:00.5 +0000 UTC m=+0.000000001",
    "ZonedDateTime of Java": "2026-03-02T07:00:00.25+01:00[Europe/Paris]",
    "ISO 8601 basic": "20260302T060000Z",
    "slashes": "2026/03/02 06:00:00",
    "DateTime of .NET": f"/Date({MS})/",
    "logs of web servers": "02/Mar/2026:07:00:00 +0100",
    "spaces around": " 2026-03-02T06:00:00Z\n",
    "Date.toString() of Java": "Mon Mar 02 06:00:00 UTC 2026",
}


@pytest.mark.parametrize("name", TIMES)
def test_times_of_serializers(name):
    """A time is read as its serializer meant it."""
    found = decoded([one(event_time=TIMES[name])])
    assert (found.dead, [ms // 1000 for ms in found.times_ms]) == ([], [S])


NESTED = {"name": "age", "value": 34}
READ = {
    "lines of JSON (timeplus-io/proton#274, snowflake-kafka-connector#719)":
        (json.dumps(one()).encode() + b"\n" + json.dumps(one(prediction_id="2")).encode() + b"\n", {"x": 2}),
    "objects without a separator (vectordotdev/vector#13245)":
        (json.dumps(one()).encode() + json.dumps(one(prediction_id="2")).encode(), {"x": 2}),
    "JSON encoded twice (network-analytics/mdt-dialout-collector#23)":
        (json.dumps(json.dumps(one())).encode(), {"x": 1}),
    "a byte-order mark (DaveGamble/cJSON#184)": (b"\xef\xbb\xbf" + json.dumps(one()).encode(), {"x": 1}),
    "a NUL of C at the end": (json.dumps(one()).encode() + b"\0", {"x": 1}),
    "features as a list of names and values": (one(features=[NESTED, {"name": "b", "value": "q"}]), {"age": 1, "b": 1}),
    "features as a list of keys and values": (one(features=[{"key": "age", "value": 3}]), {"age": 1}),
    "features as a list of pairs": (one(features=[["age", 3], ["b", "q"]]), {"age": 1, "b": 1}),
    "a version that pandas made a float (pandas-dev/pandas#8596)": (one(model_version=3.0), {"x": 1}),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_values_of_producers(name):
    """Deviations that mean one thing are read."""
    value, columns = READ[name]
    found = decoded([value])
    assert (found.dead, found.columns) == ([], columns)


NAMED = {
    "UTF-16": (json.dumps(one()).encode("utf-16"), "UTF-16"),
    "repr() of Python": (repr({**one(), "ok": True}).encode(), "json.dumps"),
    "CBOR": (b"\xa2\x68model_id\x61m\x6aevent_time\x1a\x69\xa5\x1a\x00", "CBOR"),
    "MessagePack": (b"\x82\xa8model_id\xa1m\xa1x\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", "MessagePack"),
    "base64": (base64.b64encode(json.dumps(one()).encode()), "base64"),
    "a list of values without names": (one(features=[1.5, 2.5]), "fields.names"),
    "a line of a log": (b"ERROR, " + json.dumps(one()).encode(), "at character 0"),
}


@pytest.mark.parametrize("name", NAMED)
def test_other_formats_are_named_with_the_next_step(name):
    """A record that can't be read says what it is."""
    value, words = NAMED[name]
    (detail,) = decoded([value]).dead
    assert words in detail


KEYS = {
    "a text": (b"bus-7", "bus-7"),
    "a JSON text": (b'"bus-7"', "bus-7"),
    "a string of Avro behind a frame": (b"\0\0\0\0\x05\x0abus-7", "bus-7"),
    "a JSON text behind a frame": (b'\0\0\0\0\x05"bus-7"', "bus-7"),
    "a long of Avro behind a frame": (b"\0\0\0\0\x05\xd0\x0f", "1000"),
    "an integer of Kafka": ((7).to_bytes(4), "7"),
    "a long of Kafka": ((70_000).to_bytes(8), "70000"),
}


@pytest.mark.parametrize("name", KEYS)
def test_keys_of_serializers(name):
    """A key names the model, whatever serializer wrote it; no frame becomes part of a name."""
    key, model = KEYS[name]
    found = decoded([Sent({"ts": MS, "x": 1.5}, key=key)], {"fields": KEYED})
    assert (found.dead, found.models) == ([], {model: 1})


def test_a_key_of_another_schema_is_named():
    """A record of Avro as key is no name of a model."""
    (detail,) = decoded([Sent({"ts": MS, "x": 1.5}, key=b"\0\0\0\0\x05\x06ab\x02\x02c")], {"fields": KEYED}).dead
    assert "the key is Confluent framing, schema id 5" in detail


SUBJECT = {"specversion": "1.0", "type": "t", "source": "s", "subject": "m", "time": iso(0)}
META = {"eventId": "r", "inferenceTime": iso(0)}
PRESETS = {
    "deletions of ExtractNewRecordState":
        ("debezium", [{**event(0), "x": 1, "__deleted": "false"}, {**event(1), "x": 1, "__deleted": "true"}], {},
         {"x": 1}),
    "a batch of CloudEvents":
        ("cloudevents", [[{**SUBJECT, "id": str(i), "data": {"x": i}} for i in (1, 2)]], {}, {"x": 2}),
    "names for one wide tensor (kserve/kserve#3938)":
        ("kserve-v2", [{"id": "1", "inputs": [{"name": "in", "shape": [2, 2], "data": [1, 2, 3, 4]}]}],
         {"fields": {"model_id": "=m", "names": ["age", "fare"]}}, {"age": 2, "fare": 2}),
    "Vertex without a response":
        ("vertex", [{"deployed_model_id": "m", "logging_time": iso(0), "request_payload": ['{"age": 3}'],
                     "response_payload": []}], {}, {"age": 1}),
    "lines of JSON in SageMaker":
        ("sagemaker", [{"captureData": {"endpointInput": {"data": '{"a": 1}\n{"a": 2}', "encoding": "JSON"}},
                        "eventMetadata": META}], {"fields": {"model_id": "=m"}}, {"a": 2}),
    "jsonData of Seldon": ("seldon", [Sent({"jsonData": {"a": 1}}, headers=ce("request"))], {}, {"a": 1}),
    "deleted and empty entities of GTFS":
        ("gtfs-rt", [{"header": {"timestamp": str(S)}, "entity": [
            {"id": "a", "alert": {}}, {"id": "b", "isDeleted": True, "vehicle": {"trip": {"routeId": "m"}}},
            {"id": "c", "vehicle": {"trip": {"routeId": "m"}}},
            {"id": "d", "vehicle": {"trip": {"routeId": "m"}, "position": {"speed": 8.5}}}]}], {}, {"speed": 1}),
}  # fmt: skip


@pytest.mark.parametrize("name", PRESETS)
def test_records_of_tools_as_they_come(name):
    """What belongs to the tool's form is no dead letter, and loses nothing beside it."""
    preset, records, settings, columns = PRESETS[name]
    found = decoded(records, {"preset": preset, **settings})
    assert (found.dead, found.columns, set(found.models)) == ([], columns, {"m"})


def test_texts_that_nearly_all_differ_are_shown(tmp_path):
    """Numbers in a spelling that is not read, and ids, are categories without shares, and no column is silently so."""
    spellings = {"comma": "12,5{}", "percent": "{} %", "price": "1 {}.50 EUR", "id": "id-{}"}
    records = []
    for i, x in enumerate(shifted(1, 1500, 30, 90, 9)):
        texts = {name: form.format(int(1000 * x)) for name, form in spellings.items()}
        records.append(event(i, features={**texts, "c": "ab"[i % 2]}))
    states = {name: one["states"] for name, one in replayed(tmp_path, records).columns("m").items()}
    assert states == {**{name: ["scattered"] for name in spellings}, "c": []}


def test_json_in_a_topic_of_csv_is_named():
    """The format that reads it is the next step."""
    assert "use format json" in decoded([one()], {"format": "csv"}).dead[0]


def test_labels_of_ids_that_became_floats(tmp_path):
    """Whole numbers among floats are the integers that they were (pandas-dev/pandas#8596)."""
    records = []
    for i in range(20):
        prediction_id = 10**15 + i
        records.append(event(i, prediction=1.0) | {"prediction_id": prediction_id})
        records.append(event(i, label=2.0) | {"prediction_id": float(prediction_id)})
    found = replayed(tmp_path, records)
    assert (found.dead, found.columns("m")["error"]["values"]) == ([], 20)
