"""Codecs of input formats, one file each. In the table `CODECS`, each has its settings class and its codec class.

To add one: write `streamer/codecs/<name>_codec.py` with a frozen settings dataclass, whose `__post_init__` rejects
invalid settings with a ValueError, and a `base.Codec` that takes these settings. Then add a line to `_TABLE`. A format
without columns of its own makes `event.Event`s and leaves the rest to `batch_builder.py`.

The classes are imported at the first access to `CODECS`, so the import of this package is cheap.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

CODECS: Mapping[str, tuple[type[Any], type[Any]]]

_TABLE = {
    "json": ("streamer.codecs.json_codec", "JsonSettings", "JsonCodec"),
    "json_schema": ("streamer.codecs.json_codec", "JsonSchemaSettings", "JsonSchemaCodec"),
    "avro": ("streamer.codecs.avro_codec", "AvroSettings", "AvroCodec"),
    "protobuf": ("streamer.codecs.protobuf_codec", "ProtobufSettings", "ProtobufCodec"),
    "arrow": ("streamer.codecs.arrow_codec", "ArrowSettings", "ArrowCodec"),
    "csv": ("streamer.codecs.csv_codec", "CsvSettings", "CsvCodec"),
}


def __getattr__(name: str) -> Any:
    if name != "CODECS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    table = {}
    for codec, (module, settings_class, codec_class) in _TABLE.items():
        loaded = import_module(module)
        table[codec] = (getattr(loaded, settings_class), getattr(loaded, codec_class))
    globals()["CODECS"] = table
    return table
