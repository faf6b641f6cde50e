"""Damaged records of every format: dead letters or events, never a crash, and the same on the fast and the plain path.

`DRIFTLINE_FUZZ=1000000` tries so many records of each format, in 5 to 15 minutes each on a free core.
"""

from __future__ import annotations

import io
import json
import os
import random

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from codec_oracle import NOON_MS, columns_of, tables_of
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.transit import gtfs_realtime_pb2

from streamer.codecs import CODECS
from streamer.codecs.field_paths import FieldMap
from streamer.eventlog.base import Records
from streamer.events import Names

RECORDS = int(os.environ.get("DRIFTLINE_FUZZ", "4000"))
AT_ONCE = 200
pytestmark = [pytest.mark.timeout(max(300, RECORDS // 50))]
FEATURES = {"x": 1.5, "fare": "1,234.50", "weather": "rain", "n": None, "y": -7, "deep": {"a": [1, 2]}}
EVENT = {
    "model_id": "m", "model_version": "3", "prediction_id": "p1", "event_time": NOON_MS, "features": FEATURES,
    "prediction": 0.5, "label": "late",
}  # fmt: skip
VALUES = ["null", "double", "string", "bytes", {"type": "array", "items": "int"}]
SCHEMA = {
    "type": "record",
    "name": "Event",
    "fields": [
        {"name": "model_id", "type": "string"},
        {"name": "event_time", "type": "long"},
        {"name": "features", "type": {"type": "map", "values": VALUES}},
        {"name": "prediction", "type": ["null", "double", "string"]},
    ],
}  # fmt: skip
ROWS = FieldMap(
    rows="$.data", model_id="$.m", event_time="$row.event_time", features="$row.features", prediction="$row.prediction"
)


def avro() -> bytes:
    out = io.BytesIO()
    features = {"x": 1.5, "weather": "rain", "n": None, "raw": b"\x00\xff", "list": [1, 2]}
    event = {"model_id": "m", "event_time": NOON_MS, "features": features, "prediction": 0.5}
    fastavro.schemaless_writer(out, fastavro.parse_schema(SCHEMA), event)
    return out.getvalue()


def feed() -> bytes:
    message = gtfs_realtime_pb2.FeedMessage()
    message.header.gtfs_realtime_version, message.header.timestamp = "2.0", NOON_MS // 1000
    for i in range(3):
        one = message.entity.add(id=f"v{i}").vehicle
        one.trip.route_id, one.position.latitude, one.position.longitude = "99", 49.25, -123.0
    return message.SerializeToString()


def arrow() -> bytes:
    table = pa.table(
        {
            "model_id": ["m", "n"],
            "event_time": [NOON_MS] * 2,
            "x": [1.5, None],
            "c": ["a", None],
            "prediction": [0.5, 1],
        }
    )
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("schemas")
    (folder / "7.avsc").write_text(json.dumps(SCHEMA))
    protobuf = FileDescriptorSet()
    gtfs_realtime_pb2.DESCRIPTOR.CopyToProto(protobuf.file.add())
    (folder / "8.desc").write_bytes(protobuf.SerializeToString())
    return folder


CSV_COLUMNS = ["model_id", "event_time", "x", "c", "prediction"]
FRAME = b"\x00\x00\x00\x00"
TEXT = json.dumps(EVENT).encode()
FORMATS = {
    "json": ("json", TEXT, {}),
    "json list": ("json", json.dumps([EVENT, EVENT]).encode(), {}),
    "json mapped": ("json", TEXT, {"fields": FieldMap(segment="$.features.weather")}),
    "json numbers": ("json", TEXT, {"fields": FieldMap(numbers={"fare": "1,234.5", "prediction": "1.234,5"})}),
    "json rows": ("json", json.dumps({"m": "m", "data": [EVENT, EVENT]}).encode(), {"fields": ROWS}),
    "json_schema": ("json_schema", FRAME + b"\x07" + TEXT, {}),
    "csv": ("csv", b"m,%d,1.5,rain,0.5\nn,,x,,1" % NOON_MS, {"columns": CSV_COLUMNS}),
    "avro": ("avro", FRAME + b"\x07" + avro(), {"schema_folder": True}),
    "avro bare": ("avro", avro(), {"schema_file": "7.avsc"}),
    "protobuf": ("protobuf", FRAME + b"\x08\x00" + feed(), {"schema_folder": True, "preset": "gtfs-rt"}),
    "arrow": ("arrow", arrow(), {}),
    "kserve-v2": ("json", json.dumps({"inputs": [{"name": "x", "shape": [2], "data": [1, 2]}], "id": "a"}).encode(),
                  {"preset": "kserve-v2", "fields": FieldMap(model_id="=m")}),
}  # fmt: skip


def damaged(value: bytes, rng: random.Random) -> bytes:
    hurt = bytearray(value)
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        at = rng.randrange(len(hurt) + 1)
        match rng.randrange(6):
            case 0:
                hurt[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del hurt[at : at + rng.randrange(1, 9)]
            case 2:
                hurt[at:at] = rng.choice((b"\x00", b"\xff" * 9, b'"', b"[", b"{", b"null", b"1e999", b"\n", b"\x80"))
            case 3:
                del hurt[at:]
            case 4:
                hurt[at:at] = hurt[at : at + rng.randrange(30)]
            case _:
                hurt[at : at + 1] = rng.choice(b"0123456789-.,:tfn").to_bytes()
    return bytes(hurt)


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_records_are_dead_letters_or_events(name, files):
    """Fast and plain path give the same batches, letters and names, record for record."""
    format_, value, settings = FORMATS[name]
    settings = {k: files if v is True else files / v if k == "schema_file" else v for k, v in settings.items()}
    settings_class, codec_class = CODECS[format_]
    fast, plain = (codec_class(settings_class(**settings)) for _ in range(2))
    plain._columns_of, plain._layouts = lambda *_, **__: None, None
    if format_ == "arrow":
        plain._columns._able = False
    rng, letters, events = random.Random(name), 0, 0
    for first in range(0, RECORDS, AT_ONCE):
        values = [damaged(value, rng) for _ in range(AT_ONCE)] if rng.random() < 0.9 else [value] * AT_ONCE
        records = Records.build("t", 0, [(first + i, NOON_MS, None, one, ()) for i, one in enumerate(values)])
        found = []
        if first % (2 * AT_ONCE) == 0:  # the second time, most names are known, as layouts need
            tables = [Names.fresh(models_max=50, columns_max=50, categories_max=50) for _ in range(2)]
        for codec, names in zip((fast, plain), tables, strict=True):
            batch, dead = codec.decode(records, names)
            found.append((columns_of(batch), batch.dropped, dead.index, dead.reason, dead.detail, tables_of(names)))
        assert found[0] == found[1], np.flatnonzero([a != b for a, b in zip(*found, strict=True)])
        letters, events = letters + len(dead), events + len(batch)
    assert letters > RECORDS // 50
    assert events > RECORDS // 50
