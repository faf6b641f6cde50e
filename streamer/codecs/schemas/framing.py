"""The bytes before or around a payload: frames of schema registries, and the first bytes of other formats.

00, 4 bytes of id           Confluent, version 0
01, 16 bytes of GUID        Confluent, version 1
header __value_schema_id    Confluent, either of the above in a header, and the bare payload as value
03, 00 or 05, 16 bytes      AWS Glue: version of the schema, after its compression
c3 01, 8 bytes              Avro single-object encoding: fingerprint of the schema
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final
from uuid import UUID

import numpy as np

from detectors.arrays.types import I64
from streamer.eventlog.base import Records
from streamer.eventlog.headers import Headers

SCHEMA_HEADER: Final = "__value_schema_id"
ID_BYTES, GUID_BYTES = 5, 17  # a magic byte, then the id

SchemaKey = int | str  # an id, or a GUID

_MAGIC: Final = (
    (b"Obj\x01", "an Avro object container: use format avro"),
    (b"\xff\xff\xff\xff", "an Arrow IPC stream: use format arrow"),
    (b"ARROW1", "an Arrow IPC file: use format arrow"),
    (b"PAR1", "a Parquet file: send one event a record; driftline replay reads whole tables"),
    (b"\x1f\x8b", "a gzip stream: let the producer compress batches (compression.type), not values"),
    (b"\x28\xb5\x2f\xfd", "a zstd frame: let the producer compress batches (compression.type), not values"),
    (b"\x04\x22\x4d\x18", "an lz4 frame: let the producer compress batches (compression.type), not values"),
    (b"\xff\x06\x00\x00sNaPpY", "a snappy stream: let the producer compress batches (compression.type), not values"),
    (b"\x82SNAPPY\x00", "a snappy block: let the producer compress batches (compression.type), not values"),
    (b"BZh", "a bzip2 stream: let the producer compress batches (compression.type), not values"),
    (b"\xfd7zXZ\x00", "an xz stream: let the producer compress batches (compression.type), not values"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\xac\xed\x00\x05", "a serialized Java object: use another serializer in the producer"),
    (b"<", "XML or HTML: no format of Driftline reads it"),
    (b"eyJ", "JSON in base64: use another serializer in the producer"),
)  # fmt: skip
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff", b"{\x00", b"\x00{")
_ZLIB: Final = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_PICKLE: Final = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_MSGPACK_MAPS: Final = {bytes([head]) for head in (*range(0x81, 0x90), 0xDE, 0xDF)}
INTEGER_BYTES: Final = (4, 8)  # of keys by the serializers of Kafka for integers and longs
_CBOR_MAPS: Final = {bytes([head]) for head in (*range(0xA1, 0xB8), 0xB8, 0xB9, 0xBF)}
_WIRE_BYTES: Final = {1: 8, 5: 4}  # wire types of Protobuf with a fixed size
_VARINT_BYTES_MAX: Final = 10


def strip_frame(value: bytes) -> tuple[str | None, bytes]:
    """What frames a value, in words, and its payload; None and the value where it has no frame of Confluent."""
    key, payload = schema_key(value)
    return (None if key is None else named_key(key)), payload


def schema_key(value: bytes) -> tuple[SchemaKey | None, bytes]:
    """The id or GUID of the schema that frames a value, and the payload."""
    if value[:1] == b"\x00" and len(value) >= ID_BYTES:
        return int.from_bytes(value[1:ID_BYTES]), value[ID_BYTES:]
    if value[:1] == b"\x01" and len(value) >= GUID_BYTES:
        return str(UUID(bytes=value[1:GUID_BYTES])), value[GUID_BYTES:]
    return None, value


def header_key(headers: Headers) -> SchemaKey | None:
    """The id or GUID of the schema that a header names; of several headers the last."""
    found = [text for name, text in headers if name == SCHEMA_HEADER and text]
    key, rest = schema_key(found[-1]) if found else (None, b"")
    return None if rest else key


def named_key(key: SchemaKey) -> str:
    """A frame of Confluent, in words."""
    return f"Confluent framing, schema id {key}" if isinstance(key, int) else f"Confluent framing, schema GUID {key}"


def key_text(key: bytes) -> str:
    """The text that a key is: as it is, behind the frame of a registry, or as a JSON text; integers in digits.

    Raises UnicodeDecodeError, or ValueError for a framed key of another schema.
    """
    schema, payload = schema_key(key)
    if schema is not None:
        size, at = _varint(payload, 0)
        if at > 0 and size == 2 * (len(payload) - at):  # a string of Avro, whose length is in zigzag
            return payload[at:].decode()
        if payload[:1] == b'"':
            return key_text(payload)
        if len(key) in INTEGER_BYTES:
            return str(int.from_bytes(key))
        if at == len(payload) > 0:
            return str((size >> 1) ^ -(size & 1))
        raise ValueError(f"{named_key(schema)}, and neither a string nor an integer: let the key be a text")
    if len(key) in INTEGER_BYTES and key[:1] == b"\x00":
        return str(int.from_bytes(key))
    if len(key) > 1 and key[:1] == key[-1:] == b'"':
        try:
            return str(json.loads(key))
        except ValueError:
            pass
    return key.decode()


def frame_bytes(records: Records, index: I64) -> I64:
    """The size of the frame of each value at `index`; 0: none."""
    start, end = records.value[index].T
    size = end - start
    first = np.where(size > 0, records.data[np.minimum(start, max(len(records.data) - 1, 0))], 255)
    framed = np.where((first == 0) & (size >= ID_BYTES), ID_BYTES, 0)
    return np.where((first == 1) & (size >= GUID_BYTES), GUID_BYTES, framed).astype(np.int64)


def likeness(value: bytes, headers: Headers = ()) -> str | None:
    """What a value is, which is no JSON, and the format that reads it; None if it is like nothing known."""
    key, payload = schema_key(value)
    if key is not None:
        return f"{named_key(key)}: use format {_format_of(payload)}"
    key = header_key(headers)
    if key is not None:
        return f"{named_key(key)} in the header {SCHEMA_HEADER}: use format {_format_of(value)}"
    if value.startswith((b"{'", b"[{'")):
        return "the value is a Python dict as text: use json.dumps in the producer"
    if value[:2] in _UTF16 and b"\x00" in value[:4] and len(value) % 2 == 0:
        return "the value is text in UTF-16: let the producer write UTF-8"
    if value[:1] in (b"{", b"["):  # broken JSON, as most values are that come here
        return None
    for magic, what in _MAGIC:
        if value.startswith(magic):
            return f"the value is {what}"
    if value[:2] in (b"\x03\x00", b"\x03\x05") and len(value) > 18:
        version = UUID(bytes=value[2:18])
        return f"AWS Glue framing, schema version {version}: use the serializer of another registry in the producer"
    if value[:2] == b"\xc3\x01" and len(value) > 10:
        return "the value has Avro single-object encoding: use format avro"
    if value[:2] in _ZLIB:
        return "the value is a zlib stream: let the producer compress batches (compression.type), not values"
    if value[:2] in _PICKLE and value[-1:] == b".":
        return "the value is a Python pickle, which is never opened: use another serializer in the producer"
    text = _text_of(value)
    if text is not None:
        return "the value is like a line of CSV: use format csv" if _is_like_csv(text) else None
    if is_protobuf(value):
        return "the value is like a Protobuf message: use format protobuf"
    if value[:1] in _CBOR_MAPS and value[1:2] and 0x60 < value[1] < 0x7A:  # a map whose first key is a text
        return "the value is like CBOR: no format of Driftline reads it"
    if value[:1] in _MSGPACK_MAPS:
        return "the value is like MessagePack: no format of Driftline reads it"
    return None


def _text_of(value: bytes) -> str | None:
    """The value as text; None if it is none."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return text if "".join(text.split()).isprintable() else None


def _is_like_csv(text: str) -> bool:
    line = text.strip().partition("\n")[0]
    return any(mark in line for mark in ",;\t|") and not line.startswith(("{", "[", '"')) and line[-1:] not in "})"


def _format_of(payload: bytes) -> str:
    """The likely format of a payload behind a frame."""
    if payload.lstrip()[:1] in (b"{", b"["):
        return "json_schema"
    indexes = payload[:1] == b"\x00"  # the first message of its file, as nearly always
    return "protobuf" if indexes and is_protobuf(payload[1:]) else "avro"


def is_protobuf(value: bytes) -> bool:
    """Whether bytes are a Protobuf message from end to end, by tags and lengths."""
    at = fields = 0
    while at < len(value):
        tag, at = _varint(value, at)
        number, wire = tag >> 3, tag & 7
        if at < 0 or not 0 < number < 1 << 16:
            return False
        if wire in _WIRE_BYTES:
            at += _WIRE_BYTES[wire]
        elif wire in (0, 2):
            length, at = _varint(value, at)
            at += length if wire == 2 and at >= 0 else 0
        else:
            return False
        fields += 1
        if at < 0:
            return False
    return fields > 0 and at == len(value)


def _varint(value: bytes, at: int) -> tuple[int, int]:
    """A number and the place after it; -1 for the place if there is none."""
    result = 0
    for i, byte in enumerate(value[at : at + _VARINT_BYTES_MAX]):
        result |= (byte & 127) << 7 * i
        if byte < 128:
            return result, at + i + 1
    return 0, -1


def message_indexes(payload: bytes) -> tuple[tuple[int, ...], bytes]:
    """The path of a message type in its Protobuf file, and the message, behind a frame. Raises ValueError."""
    numbers = _zigzags(payload)
    count, at = next(numbers)
    if count < 0 or count > len(payload):
        raise ValueError(f"a list of {count} message indexes")
    path = []
    for _ in range(count):
        number, at = next(numbers)
        path.append(number)
    return tuple(path) or (0,), payload[at:]


def _zigzags(payload: bytes) -> Iterator[tuple[int, int]]:
    at = 0
    while True:
        raw, at = _varint(payload, at)
        if at < 0:
            raise ValueError("the list of message indexes is cut short")
        yield (raw >> 1) ^ -(raw & 1), at
