"""Records in another format than the topic's are named, with the format that reads them."""

from __future__ import annotations

import gzip
import json
import pickle
import zlib
from uuid import UUID

import numpy as np
import pytest
from codec_oracle import NOON_MS, columns_of, decode, records_of

from streamer.codecs import CODECS
from streamer.codecs.base import Reason
from streamer.codecs.json_codec import JsonCodec, JsonSchemaCodec, JsonSchemaSettings, JsonSettings
from streamer.codecs.schemas.framing import frame_bytes, is_protobuf, message_indexes, schema_key
from streamer.eventlog.base import Records
from streamer.events import Names

EVENT = {"model_id": "m", "event_time": NOON_MS, "features": {"x": 1.5}, "prediction": 2.0}
GUID = UUID("0f8fad5b-d9cb-469f-a165-70867728950e")
BODY = json.dumps(EVENT).encode()
AVRO = b"\x02m\x00\x00\x00\x00\x00\x00\xf8\x3f"
PROTOBUF = b"\x0a\x01m\x11\x00\x00\x00\x00\x00\x00\xf8\x3f\x18\x07"

NAMED = [
    (b"\x00\x00\x00\x00\x2a" + AVRO, "Confluent framing, schema id 42: use format avro"),
    (b"\x00\x00\x00\x00\x07\x00" + PROTOBUF, "Confluent framing, schema id 7: use format protobuf"),
    (b"\x01" + GUID.bytes + AVRO, f"Confluent framing, schema GUID {GUID}: use format avro"),
    (b"\x03\x00" + GUID.bytes + AVRO, f"AWS Glue framing, schema version {GUID}"),
    (b"\xc3\x01" + bytes(8) + AVRO, "Avro single-object encoding: use format avro"),
    (b"Obj\x01\x04\x14avro.codec", "an Avro object container: use format avro"),
    (b"\xff\xff\xff\xff\x10\x00\x00\x00", "an Arrow IPC stream: use format arrow"),
    (b"ARROW1\x00\x00", "an Arrow IPC file: use format arrow"),
    (b"PAR1\x15\x04", "a Parquet file"),
    (gzip.compress(BODY), "a gzip stream: let the producer compress batches"),
    (zlib.compress(BODY), "a zlib stream"),
    (b"\x28\xb5\x2f\xfd\x04\x00", "a zstd frame"),
    (pickle.dumps(EVENT), "a Python pickle, which is never opened"),
    (PROTOBUF, "like a Protobuf message: use format protobuf"),
    (b"\x82\xa1a\x01\xa1b\xff", "like MessagePack"),
    (b"<event/>", "XML or HTML"),
    (b"bus,2026-03-02T06:00:00Z,1.5", "like a line of CSV: use format csv"),
]


@pytest.mark.parametrize(("value", "words"), NAMED, ids=[words[:40] for _, words in NAMED])
@pytest.mark.parametrize("mapped", [False, True])
def test_another_format_is_named(value, words, mapped):
    """A value in another format is a dead letter that names the framing and what to set; its neighbours are read."""
    fields = {"fields": type(JsonSettings().fields)(source=None)} if mapped else {}
    batch, dead = decode(EVENT, value, EVENT, settings=JsonSettings(**fields))
    assert (batch.offset.tolist(), dead.index, dead.reason) == ([100, 102], [1], [Reason.OTHER_FORMAT])
    assert words in dead.detail[0]


@pytest.mark.parametrize("value", [b"not json", b"", b"   ", b"\xff\xfe{", b"{", b'{"model_id": "\xff"}', b"[1,2"])
def test_what_is_like_nothing_known_keeps_its_reason(value):
    """Broken JSON is reported as such, and not as another format."""
    assert decode(value)[1].reason[0] in (Reason.NOT_JSON, Reason.NOT_UTF8)


def test_the_id_of_a_schema_may_stand_in_a_header():
    """A binary value whose header names a schema is named by it."""
    headers = (("__value_schema_id", b"\x00\x00\x00\x00\x2a"),)
    records = Records.build("t", 0, [(0, NOON_MS, None, AVRO, headers)])
    _, dead = JsonCodec(JsonSettings()).decode(records, Names.fresh())
    assert dead.detail == ["Confluent framing, schema id 42 in the header __value_schema_id: use format avro"]


@pytest.mark.parametrize("frame", [b"\x00\x00\x00\x00\x07", b"\x01" + GUID.bytes, b""])
@pytest.mark.parametrize("codec", [JsonCodec(JsonSettings()), JsonSchemaCodec(JsonSchemaSettings())])
def test_framed_json_is_the_json_behind_the_frame(codec, frame, caplog):
    """JSON behind a frame gives the events of the bare JSON; the format `json` says once which format is meant."""
    framed = records_of([frame + BODY, frame + json.dumps([EVENT, EVENT]).encode()])
    batch, dead = codec.decode(framed, Names.fresh())
    assert not len(dead), dead.detail
    assert columns_of(batch) == columns_of(decode(EVENT, [EVENT, EVENT])[0])
    said = [one.getMessage() for one in caplog.records if "json_schema" in one.getMessage()]
    assert len(said) <= 1


def test_framed_json_logs_its_format_once(caplog):
    """One warning names the frame and the setting, however many records have it."""
    codec = JsonCodec(JsonSettings())
    for _ in range(3):
        codec.decode(records_of([b"\x00\x00\x00\x00\x07" + BODY] * 3), Names.fresh())
    said = [one.getMessage() for one in caplog.records]
    assert said == [
        "topic topic: values are JSON behind Confluent framing, schema id 7; set topics.topic.format to json_schema"
    ]


def test_frames_of_a_stretch_are_those_of_its_values():
    """The sizes of frames found on columns are those of single values, also where values are short."""
    rng = np.random.default_rng(7)
    values = [bytes(rng.integers(0, 3, rng.integers(0, 25)).astype(np.uint8)) for _ in range(2000)]
    records = records_of(values)
    sizes = frame_bytes(records, np.arange(len(values)))
    assert sizes.tolist() == [len(value) - len(schema_key(value)[1]) for value in values]


def test_message_indexes_are_zig_zag_varints():
    """The path of a Protobuf message: a count, then the numbers; one zero byte stands for the first message."""
    assert message_indexes(b"\x00rest") == ((0,), b"rest")
    assert message_indexes(b"\x04\x02\x00rest") == ((1, 0), b"rest")
    for cut in (b"", b"\x04\x02", b"\x80", b"\x01", b"\xfe\xff\xff\xff\x0f"):
        with pytest.raises(ValueError, match="message indexes"):
            message_indexes(cut)


def test_protobuf_is_told_by_its_tags():
    """Tags and lengths must fill the value."""
    assert is_protobuf(PROTOBUF)
    assert not any(map(is_protobuf, [b"", PROTOBUF[:-1], PROTOBUF + b"\x00", b"\x07", b"\x80" * 12]))


def test_formats_are_in_the_table():
    """The formats that sentences recommend exist."""
    named = {words.rpartition("use format ")[2] for _, words in NAMED if "use format" in words}
    assert named <= set(CODECS), named - set(CODECS)
