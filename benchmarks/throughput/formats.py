"""What an event costs in each format, from the bytes of a record to columns, beside the parse of its library alone.

Events have 4 fields, 12 numbers and a text. Both are the best of five rounds, in turns, in CPU time.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import fastavro
import msgspec
import numpy as np
import pyarrow as pa

from streamer.codecs import CODECS
from streamer.codecs.field_paths import FieldMap
from streamer.eventlog.base import Records
from streamer.events import Names

EVENTS = 20_000
ROWS = 100  # of a record that holds several
STRETCH = 4096  # records decoded at once, as in the service
START_MS = 1_795_435_200_000
COLUMNS = [f"f{i}" for i in range(12)]
SCHEMA = {
    "type": "record",
    "name": "Event",
    "fields": [
        {"name": "model_id", "type": "string"},
        {"name": "prediction_id", "type": "string"},
        {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {
            "name": "features",
            "type": {
                "type": "record",
                "name": "Features",
                "fields": [
                    *({"name": name, "type": "double"} for name in COLUMNS),
                    {"name": "weather", "type": "string"},
                ],
            },
        },
        {"name": "prediction", "type": "double"},
    ],
}


@dataclass(frozen=True)
class FormatCost:
    """Microseconds an event."""

    name: str
    ours: float
    library: float


def costs() -> list[FormatCost]:
    """All formats."""
    events = _events()
    lists = [events[i : i + ROWS] for i in range(0, EVENTS, ROWS)]
    schema = fastavro.parse_schema(SCHEMA)
    avro = [_avro(one, schema) for one in events]
    tables = [_arrow(rows) for rows in lists]
    one, many = ([json.dumps(item).encode() for item in items] for items in (events, lists))
    mapped = FieldMap(source=None)
    parse, read = msgspec.json.Decoder().decode, fastavro.schemaless_reader
    rows = FieldMap(
        rows="$.data", model_id="$row.model_id", model_version=None, prediction_id="$row.prediction_id", source=None,
        event_time="$row.event_time", features="$row.features", prediction="$row.prediction", label=None,
    )  # fmt: skip
    within = [b'{"data": %b}' % value for value in many]
    return [
        _cost("json", "json", {}, one, parse),
        _cost(f"json, {ROWS} events a record", "json", {}, many, parse),
        _cost("json with mapped fields", "json", {"fields": mapped}, one, parse),
        _cost(f"json with mapped fields, {ROWS} rows a record", "json", {"fields": rows}, within, parse),
        _cost("avro", "avro", {}, avro, lambda value: read(io.BytesIO(value[5:]), schema, None)),
        _cost(f"arrow, {ROWS} rows a record", "arrow", {}, tables, lambda value: pa.ipc.open_stream(value).read_all()),
    ]


def _events() -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(EVENTS, len(COLUMNS))).round(4).tolist()
    return [
        {
            "model_id": f"bus-{i % 200}", "prediction_id": str(i), "event_time": START_MS + i,
            "features": {**dict(zip(COLUMNS, row, strict=True)), "weather": ("rain", "sun")[i % 2]}, "prediction": 1.5,
        }
        for i, row in enumerate(values)
    ]  # fmt: skip


def _avro(event: dict[str, Any], schema: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, event)
    return out.getvalue()


def _arrow(rows: list[dict[str, Any]]) -> bytes:
    flat = [{**row["features"], **{name: value for name, value in row.items() if name != "features"}} for row in rows]
    table, out = pa.Table.from_pylist(flat), io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def _cost(
    name: str, format_: str, settings: dict[str, Any], values: list[bytes], parse: Callable[[bytes], Any]
) -> FormatCost:
    settings_class, codec_class = CODECS[format_]
    codec: Any = codec_class(settings_class(**settings))
    if format_ == "avro":
        from streamer.codecs.avro_codec import compiled
        from streamer.codecs.schemas.registry import SchemaText

        codec._schemas._known[1] = compiled(SchemaText("AVRO", json.dumps(SCHEMA)))
        values = [b"\0\0\0\0\1" + value for value in values]
    records = Records.build("t", 0, [(i, START_MS, None, value, ()) for i, value in enumerate(values)])
    parts = [records.part(i, min(i + STRETCH, len(records))) for i in range(0, len(records), STRETCH)]
    ours, library = [], []
    for _ in range(5):
        names, began = Names.fresh(), time.process_time()
        events = sum(len(codec.decode(part, names)[0]) for part in parts)
        ours.append(time.process_time() - began)
        if events != EVENTS:
            raise RuntimeError(f"{name}: {events} events")
        began = time.process_time()
        for first in range(0, len(values), STRETCH):
            _ = [parse(value) for value in values[first : first + STRETCH]]
        library.append(time.process_time() - began)
    return FormatCost(name, min(ours) / EVENTS * 1e6, min(library) / EVENTS * 1e6)


def print_costs() -> None:
    """A line a format."""
    print("\nus an event, from bytes to columns                   driftline   its library's parse alone   ratio")
    for one in costs():
        print(f"{one.name:50}{one.ours:12.2f}{one.library:28.2f}{one.ours / one.library:8.2f}", flush=True)


if __name__ == "__main__":
    print_costs()
