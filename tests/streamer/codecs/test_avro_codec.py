"""Avro records give the events of the same records as JSON."""

from __future__ import annotations

import io
import json
import random
from decimal import Decimal
from uuid import UUID

import fastavro
import pytest
from codec_oracle import NOON_MS, columns_of, decode, tables_of
from registry_kit import registry

from streamer.codecs.avro_codec import AvroCodec, AvroSettings
from streamer.codecs.base import Reason
from streamer.codecs.field_paths import FieldMap
from streamer.codecs.json_codec import JsonSettings
from streamer.codecs.schemas.registry import RegistrySettings
from streamer.errors import UsageError
from streamer.eventlog.base import Records
from streamer.events import Names

GUID = UUID("0f8fad5b-d9cb-469f-a165-70867728950e")
SCHEMA = {
    "type": "record",
    "name": "Prediction",
    "namespace": "transit",
    "fields": [
        {"name": "model_id", "type": "string"},
        {"name": "model_version", "type": ["null", "string"]},
        {"name": "prediction_id", "type": "string"},
        {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {
            "name": "features",
            "type": {
                "type": "record",
                "name": "Features",
                "fields": [
                    {"name": "headway_s", "type": ["null", "double"]},
                    {"name": "weather", "type": {"type": "enum", "name": "Weather", "symbols": ["rain", "sun"]}},
                    {"name": "stops", "type": "int"},
                ],
            },
        },
        {"name": "prediction", "type": ["null", "double"]},
        {"name": "label", "type": ["null", "double", "string"]},
    ],
}


def event(i: int = 0, **changed):
    rng = random.Random(i)
    features = {"headway_s": rng.choice([None, 1.5, -2.0]), "weather": rng.choice(["rain", "sun"]), "stops": i}
    return {
        "model_id": f"bus-{i % 3}", "model_version": rng.choice([None, "7"]), "prediction_id": str(i),
        "event_time": NOON_MS + i, "features": features, "prediction": rng.choice([None, 2.5]), "label": None,
        **changed,
    }  # fmt: skip


def written(document, schema=SCHEMA) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), document)
    return out.getvalue()


def v0(document, key: int = 42, schema=SCHEMA) -> bytes:
    return b"\x00" + key.to_bytes(4) + written(document, schema)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "42.avsc").write_text(json.dumps(SCHEMA))
    (tmp_path / f"{GUID}.avsc").write_text(json.dumps(SCHEMA))
    return tmp_path


def read(codec, values, headers=()):
    rows = [(100 + i, NOON_MS, value and b"key", value, headers) for i, value in enumerate(values)]
    names = Names.fresh()
    batch, dead = codec.decode(Records.build("topic", 3, rows), names)
    return batch, dead, names


def same_as_json(batch, names, documents) -> bool:
    expected = Names.fresh()
    wanted, dead = decode(*documents, settings=JsonSettings(), names=expected)
    assert not len(dead), dead.detail
    return columns_of(batch) == columns_of(wanted) and tables_of(names) == tables_of(expected)


@pytest.mark.parametrize("frame", ["v0", "v1", "header"])
def test_framed_records_are_their_json(folder, frame):
    """The framing of either version, and an id in a header, lead to the schema in the folder."""
    events = [event(i) for i in range(50)]
    bodies = [written(one) for one in events]
    prefix = {"v0": b"\x00\x00\x00\x00\x2a", "v1": b"\x01" + GUID.bytes, "header": b""}[frame]
    headers = (("__value_schema_id", b"\x01" + GUID.bytes),) if frame == "header" else ()
    batch, dead, names = read(AvroCodec(AvroSettings(schema_folder=folder)), [prefix + one for one in bodies], headers)
    assert not len(dead), dead.detail
    assert same_as_json(batch, names, events)


def test_bare_records_have_the_schema_of_a_file(folder):
    """With `schema_file`, values are bare, also if they begin like a frame; single-object encoding is taken off."""
    file = folder / "42.avsc"
    canonical = fastavro.schema.to_parsing_canonical_form(fastavro.parse_schema(SCHEMA))
    mark = b"\xc3\x01" + bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))[::-1]
    events = [event(i) for i in range(20)]
    codec = AvroCodec(AvroSettings(schema_file=file))
    for prefix in (b"", mark):
        batch, dead, names = read(codec, [prefix + written(one) for one in events])
        assert not len(dead), dead.detail
        assert same_as_json(batch, names, events)


def test_a_container_is_several_events():
    """An Avro object container holds its own schema, and each of its records is an event."""
    events = [event(i, prediction=1.0) for i in range(3)]
    out = io.BytesIO()
    fastavro.writer(out, fastavro.parse_schema(SCHEMA), events)
    batch, dead, names = read(AvroCodec(AvroSettings()), [out.getvalue()])
    assert not len(dead), dead.detail
    assert same_as_json(batch, names, [events])
    assert batch.row.tolist() == [0, 1, 2]


def test_mapped_fields_and_decimals(tmp_path):
    """Fields of any name are mapped as in JSON; decimals are numbers."""
    schema = {
        "type": "record", "name": "Flat", "fields": [
            {"name": "route", "type": "string"},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
            {"name": "fare", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
            {"name": "eta", "type": "float"},
        ],
    }  # fmt: skip
    (tmp_path / "7.avsc").write_text(json.dumps(schema))
    raw = {"route": "99", "at": NOON_MS * 1000, "fare": Decimal("12.34"), "eta": 0.5}
    fields = FieldMap(
        model_id="$.route", model_version=None, prediction_id=None, event_time="$.at", features="$", prediction="$.eta"
    )
    codec = AvroCodec(AvroSettings(fields=fields, schema_folder=tmp_path))
    batch, dead, names = read(codec, [v0(raw, 7, schema)])
    assert not len(dead), dead.detail
    assert (batch.number.tolist(), batch.event_time_ms.tolist()) == ([0.5, 12.34], [NOON_MS])
    assert names.columns.names[2:] == ["fare"]


BAD = [
    (v0(event())[:-1], Reason.NOT_AVRO, "does not fit its schema, Prediction"),
    (v0(event()) + b"\x00", Reason.NOT_AVRO, "1 bytes are left over"),
    (v0(event(), 43), Reason.OTHER_FORMAT, "Confluent framing, schema id 43: set registry or schema_folder"),
    (b'{"model_id": "m"}', Reason.OTHER_FORMAT, "no framing of a schema registry"),
    (b"\x1f\x8b\x08\x00", Reason.OTHER_FORMAT, "gzip"),
    (b"", Reason.OTHER_FORMAT, "no framing"),
    (b"Obj\x01\x00", Reason.NOT_AVRO, "container"),
    (None, Reason.NULL_VALUE, "tombstone"),
]


@pytest.mark.parametrize(("value", "reason", "words"), BAD, ids=[words[:30] for *_, words in BAD])
def test_a_bad_record_has_its_reason(folder, value, reason, words):
    """A record that can't be read is a dead letter with a sentence; its neighbours are read."""
    batch, dead, _ = read(AvroCodec(AvroSettings(schema_folder=folder)), [v0(event(1)), value, v0(event(2))])
    assert (batch.offset.tolist(), dead.index, dead.reason) == ([100, 102], [1], [reason])
    assert words in dead.detail[0]


RISKY = [
    ({"type": "array", "items": "null"}, "a list of items without bytes"),
    ({"type": "array", "items": {"type": "record", "name": "E", "fields": []}}, "a list of items without bytes"),
    ({"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}, "a list of items without bytes"),
    ({"type": "record", "name": "L", "fields": [{"name": "next", "type": ["null", "L"]}]}, "holds itself"),
]


@pytest.mark.parametrize(("inner", "words"), RISKY, ids=[words for _, words in RISKY])
def test_a_schema_that_a_few_bytes_make_endless_is_not_used(tmp_path, inner, words):
    """Schemas whose values could be endless in few bytes are refused: records are dead letters, a file is an error."""
    schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": inner}]}
    file = tmp_path / "9.avsc"
    file.write_text(json.dumps(schema))
    bomb = b"\x00\x00\x00\x00\x09" + b"\xfe\xff\xff\xff\xff\xff\xff\x7f" * 2
    _, dead, _ = read(AvroCodec(AvroSettings(schema_folder=tmp_path)), [bomb])
    assert (dead.reason, words in dead.detail[0]) == ([Reason.OTHER_FORMAT], True)
    with pytest.raises(UsageError, match=words):
        AvroCodec(AvroSettings(schema_file=file))


def test_a_type_defined_before_a_list_of_it_counts(tmp_path):
    """An empty type is found also where a list only names it."""
    empty = {"type": "record", "name": "E", "fields": []}
    schema = {"type": "record", "name": "R", "fields": [
        {"name": "a", "type": empty}, {"name": "b", "type": {"type": "array", "items": "E"}}]}  # fmt: skip
    (tmp_path / "s.avsc").write_text(json.dumps(schema))
    with pytest.raises(UsageError, match="items without bytes"):
        AvroCodec(AvroSettings(schema_file=tmp_path / "s.avsc"))


def test_schemas_come_from_a_registry_once_and_stay_in_the_folder(tmp_path):
    """A registry is asked once for a schema and what it refers to; a replay reads both from the folder."""
    weather = {"type": "enum", "name": "Weather", "namespace": "transit", "symbols": ["rain", "sun"]}
    outer = json.loads(json.dumps(SCHEMA))
    outer["fields"][4]["type"]["fields"][1]["type"] = "transit.Weather"
    events = [event(i) for i in range(10)]
    values = [v0(one) for one in events]
    with registry() as fake:
        fake.answers["/schemas/ids/42"] = {
            "schema": json.dumps(outer), "references": [{"name": "transit.Weather", "subject": "w", "version": 3}],
        }  # fmt: skip
        fake.answers["/subjects/w/versions/3"] = {"schema": json.dumps(weather)}
        settings = AvroSettings(
            schema_folder=tmp_path / "schemas",
            registry=RegistrySettings(fake.url, username="me", password_env="HOME"),
        )
        codec = AvroCodec(settings)
        for _ in range(2):
            batch, dead, names = read(codec, values)
            assert not len(dead), dead.detail
            assert same_as_json(batch, names, events)
        assert [path for path, _ in fake.requests] == ["/schemas/ids/42", "/subjects/w/versions/3"]
        assert all(login.startswith("Basic ") for _, login in fake.requests)
    batch, dead, names = read(AvroCodec(AvroSettings(schema_folder=tmp_path / "schemas")), values)
    assert same_as_json(batch, names, events)
