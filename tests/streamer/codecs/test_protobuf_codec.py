"""Protobuf messages give the events of the same records as JSON."""

from __future__ import annotations

import base64

import pytest
from codec_oracle import NOON_MS, columns_of, decode, tables_of
from google.protobuf import struct_pb2, timestamp_pb2, wrappers_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from registry_kit import registry

from streamer.codecs.base import Reason
from streamer.codecs.json_codec import JsonSettings
from streamer.codecs.protobuf_codec import ProtobufCodec, ProtobufSettings
from streamer.codecs.schemas.registry import RegistrySettings
from streamer.errors import UsageError
from streamer.eventlog.base import Records
from streamer.events import Names

PROTO = "google/protobuf/"


def file_of() -> FileDescriptorProto:
    """A file with the types Features and Event, and Event.Late within; in the syntax proto3."""
    file = FileDescriptorProto(name="transit.proto", package="transit", syntax="proto3")
    file.dependency.extend([PROTO + "timestamp.proto", PROTO + "wrappers.proto", PROTO + "struct.proto"])
    weather = file.enum_type.add(name="Weather")
    for number, name in enumerate(("rain", "sun")):
        weather.value.add(name=name, number=number)
    features = file.message_type.add(name="Features")
    add(features, "headway_s", 1, Field.TYPE_DOUBLE)
    add(features, "weather", 2, Field.TYPE_ENUM, ".transit.Weather")
    add(features, "stops", 3, Field.TYPE_INT64)
    add(features, "crowded", 4, Field.TYPE_BOOL)
    add(features, "load", 5, Field.TYPE_MESSAGE, ".google.protobuf.DoubleValue")
    event = file.message_type.add(name="Event")
    add(event, "model_id", 1, Field.TYPE_STRING)
    add(event, "prediction_id", 2, Field.TYPE_STRING)
    add(event, "event_time", 3, Field.TYPE_MESSAGE, ".google.protobuf.Timestamp")
    add(event, "features", 4, Field.TYPE_MESSAGE, ".transit.Features")
    add(event, "prediction", 5, Field.TYPE_DOUBLE)
    add(event, "raw", 6, Field.TYPE_BYTES)
    add(event, "more", 7, Field.TYPE_MESSAGE, ".google.protobuf.Struct")
    add(event, "next", 8, Field.TYPE_MESSAGE, ".transit.Event")
    late = event.nested_type.add(name="Late")
    add(late, "model_id", 1, Field.TYPE_STRING)
    add(late, "prediction", 2, Field.TYPE_FLOAT)
    return file


def add(message, name, number, kind, type_name=None):
    message.field.add(name=name, number=number, type=kind, type_name=type_name, label=Field.LABEL_OPTIONAL)


def classes():
    pool = DescriptorPool()
    for module in (timestamp_pb2, wrappers_pb2, struct_pb2):
        file = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        pool.Add(file)
    pool.Add(file_of())
    names = ("transit.Event", "transit.Event.Late")
    return [GetMessageClass(pool.FindMessageTypeByName(name)) for name in names]


Event, Late = classes()


def message(i: int) -> bytes:
    one = Event(model_id=f"bus-{i % 3}", prediction_id=str(i), prediction=0.5 * i)
    one.event_time.FromMilliseconds(NOON_MS + i)
    one.features.headway_s, one.features.weather, one.features.stops = 1.5 * i, i % 2, i
    if i % 2:
        one.features.load.value = i
    one.raw, one.next.model_id = b"\x00\xff", "inner"
    one.more["depot"] = "north"
    return one.SerializeToString()


def document(i: int) -> dict:
    load = {"load": float(i)} if i % 2 else {}
    features = {"headway_s": 1.5 * i, "weather": ("rain", "sun")[i % 2], "stops": i, "crowded": False, **load}
    return {
        "model_id": f"bus-{i % 3}", "prediction_id": str(i), "event_time": NOON_MS + i, "features": features,
        "prediction": 0.5 * i,
    }  # fmt: skip


@pytest.fixture
def descriptors(tmp_path):
    found = FileDescriptorSet(file=[file_of()])
    path = tmp_path / "transit.desc"
    path.write_bytes(found.SerializeToString())
    return path


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


def test_bare_messages_of_a_descriptor_set_are_their_json(descriptors):
    """Zeros of proto3 are values; wrappers, enums and timestamps are what they stand for."""
    codec = ProtobufCodec(ProtobufSettings(schema_file=descriptors, message="transit.Event"))
    batch, dead, names = read(codec, [message(i) for i in range(20)])
    assert not len(dead), dead.detail
    assert same_as_json(batch, names, [document(i) for i in range(20)])


def test_a_module_may_hold_the_descriptors():
    """The descriptors of an installed package serve like a file."""
    codec = ProtobufCodec(ProtobufSettings(module="google.protobuf.timestamp_pb2", message="google.protobuf.Timestamp"))
    _, dead, _ = read(codec, [timestamp_pb2.Timestamp(seconds=5).SerializeToString()])
    assert dead.reason == [Reason.MISSING_MODEL]  # it was read, and names no model


@pytest.mark.parametrize("indexes", [b"\x00", b"\x02\x02"])
def test_framed_messages_come_with_the_path_of_their_type(tmp_path, indexes):
    """A registry gives the descriptors; message indexes name the type within; a replay reads the folder."""
    body = base64.b64encode(file_of().SerializeToString()).decode()
    settings = {"schema_folder": tmp_path}
    values = [b"\x00\x00\x00\x00\x07\x02\x02" + message(i) for i in range(5)]
    with registry() as fake:
        fake.answers["/schemas/ids/7"] = {"schema": 'syntax = "proto3";', "schemaType": "PROTOBUF"}
        fake.answers["/schemas/ids/7?format=serialized"] = {"schema": body, "schemaType": "PROTOBUF"}
        with_registry = ProtobufSettings(registry=RegistrySettings(fake.url), **settings)
        batch, dead, names = read(ProtobufCodec(with_registry), values)
        assert not len(dead), dead.detail
    batch, dead, names = read(ProtobufCodec(ProtobufSettings(**settings)), values)
    assert same_as_json(batch, names, [document(i) for i in range(5)])


def test_nested_types_have_a_path(tmp_path):
    """The indexes [1, 0] are the first type within the second one."""
    found = FileDescriptorSet(file=[file_of()])
    (tmp_path / "7.desc").write_bytes(found.SerializeToString())
    late = Late(model_id="m", prediction=0.25).SerializeToString()
    batch, dead, _ = read(
        ProtobufCodec(ProtobufSettings(schema_folder=tmp_path)), [b"\x00\x00\x00\x00\x07\x04\x02\x00" + late]
    )
    assert (dead.detail, batch.number.tolist()) == ([], [0.25])


BAD = [
    (b"\x00\x00\x00\x00\x07\x00" + message(1)[:-3], Reason.NOT_PROTOBUF, "no message of its type"),
    (b"\x00\x00\x00\x00\x07\x80", Reason.NOT_PROTOBUF, "message indexes"),
    (b"\x00\x00\x00\x00\x07\x02\x08" + message(1), Reason.OTHER_FORMAT, "the schema has no message"),
    (b"\x00\x00\x00\x00\x08\x00" + message(1), Reason.OTHER_FORMAT, "schema id 8: set registry or schema_folder"),
    (message(1), Reason.OTHER_FORMAT, "set schema_file and message"),
    (None, Reason.NULL_VALUE, "tombstone"),
]


@pytest.mark.parametrize(("value", "reason", "words"), BAD, ids=[words[:30] for *_, words in BAD])
def test_a_bad_record_has_its_reason(tmp_path, value, reason, words):
    """A record that can't be read is a dead letter with a sentence; its neighbours are read."""
    (tmp_path / "7.desc").write_bytes(FileDescriptorSet(file=[file_of()]).SerializeToString())
    good = b"\x00\x00\x00\x00\x07\x02\x02" + message(1)
    batch, dead, _ = read(ProtobufCodec(ProtobufSettings(schema_folder=tmp_path)), [good, value, good])
    assert (batch.offset.tolist(), dead.index, dead.reason) == ([100, 102], [1], [reason])
    assert words in dead.detail[0]


def test_deep_messages_are_refused(descriptors):
    """Messages nested without end are a dead letter, not the end of the process."""
    deep = b""
    for _ in range(3000):
        length, size = len(deep), b""
        while length > 127:
            size, length = size + bytes([length & 127 | 128]), length >> 7
        deep = b"\x42" + size + bytes([length]) + deep
    codec = ProtobufCodec(ProtobufSettings(schema_file=descriptors, message="transit.Event"))
    assert read(codec, [deep])[1].reason == [Reason.NOT_PROTOBUF]


@pytest.mark.parametrize(("settings", "words"), [
    ({"message": "transit.Evnt"}, "have no type transit.Evnt; they have transit.Features, transit.Event"),
    ({"schema_file": None, "module": "no.such.module"}, "no.such.module"),
])  # fmt: skip
def test_what_can_not_be_set_up_is_an_error_at_once(descriptors, settings, words):
    """A wrong type or module is reported before any record."""
    with pytest.raises(UsageError, match=words):
        ProtobufCodec(ProtobufSettings(**{"schema_file": descriptors, **settings}))


def test_a_file_that_is_no_descriptor_set_is_an_error(tmp_path):
    """The message says how to make one."""
    (tmp_path / "x.proto").write_text('syntax = "proto3";')
    with pytest.raises(UsageError, match="schema_file"):
        ProtobufCodec(ProtobufSettings(schema_file=tmp_path / "x.proto"))
