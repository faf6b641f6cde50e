"""The codec `avro`: records of a schema registry, records of one given schema, and Avro object containers.

A record is read by the schema that wrote it, with fastavro. Logical types other than decimals stay the numbers they
are stored as: times are read as epochs, dates are days. Decimals become numbers.

Some schemas let a few bytes stand for endless data: lists of items without bytes, and types that hold themselves. Such
schemas are not used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from importlib.util import find_spec
from io import BytesIO
from typing import Any, Final

import numpy as np

from detectors.arrays.types import I64
from streamer.codecs.base import Reason
from streamer.codecs.document_codec import DocumentCodec, values_at
from streamer.codecs.event import Refused
from streamer.codecs.schemas.framing import ID_BYTES, header_key, likeness, schema_key
from streamer.codecs.schemas.registry import SchemaText
from streamer.codecs.schemas.store import SchemaSettings, SchemaStore
from streamer.eventlog.base import Records

CONTAINER: Final = b"Obj\x01"
SINGLE_OBJECT: Final = b"\xc3\x01"
FINGERPRINT_BYTES: Final = 8
DEPTH_MAX: Final = 50  # of types within types
_ADDRESS: Final = re.compile(r" from <.*>$| at 0x[0-9a-f]+")
PRIMITIVES: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})

Read = Callable[[Any], Any]  # a payload to a document; raises many things


@dataclass(frozen=True, slots=True)
class AvroSettings(SchemaSettings):
    """The settings of Avro. Raises ValueError when fastavro is not installed."""

    def __post_init__(self) -> None:
        SchemaSettings.__post_init__(self)
        if find_spec("fastavro") is None:
            raise ValueError("format: avro needs fastavro: run `pip install 'driftline[avro]'`")


class AvroCodec(DocumentCodec):
    """Decodes Avro. Keeps no state besides its settings and the schemas it has read."""

    errors = (Exception,)  # a damaged record may raise anything in fastavro

    def __init__(self, settings: AvroSettings) -> None:
        """Raises `UsageError` when `schema_file` can't be used."""
        super().__init__(settings)
        self._schemas = SchemaStore(settings, compiled)
        self._own = self._schemas.of_file()
        self._readers: dict[int, Read] = {}

    def parsed(self, records: Records, index: I64) -> Iterator[Any]:
        """See `DocumentCodec`."""
        if self._own is not None:
            return map(self._own.read_bare, values_at(records, index))
        if (records.headers[index, 0] >= 0).any():
            return map(self.plain, [records] * len(index), index.tolist())
        start, end = records.value[index].T
        whole = np.flatnonzero(end - start > ID_BYTES)
        ids = np.full(len(index), -1, np.int64)
        bytes_of_id = start[whole, None] + np.arange(ID_BYTES)
        framed = records.data[bytes_of_id].astype(np.int64) @ np.array([1 << 40, 1 << 24, 1 << 16, 1 << 8, 1])
        ids[whole] = np.where(framed < 1 << 32, framed, -1)
        readers = {one: self._reader(one) for one in np.unique(ids).tolist()}
        payloads = values_at(records, index, np.where(ids >= 0, ID_BYTES, 0))
        if len(readers) == 1:  # as nearly always
            return map(next(iter(readers.values())), payloads)
        return map(_call, map(readers.__getitem__, ids.tolist()), payloads)

    def plain(self, records: Records, i: int) -> Any:
        """See `DocumentCodec`."""
        value, headers = records.value_of(i) or b"", records.headers_of(i)
        if value.startswith(CONTAINER):
            return self._container(value)
        schema, payload = self._own, value
        if schema is None:
            key = header_key(headers)
            key, payload = (key, value) if key is not None else schema_key(value)
            if key is None:
                what = likeness(value, headers)
                about = f": {what}" if what and "use format avro" not in what else ""
                raise Refused(Reason.OTHER_FORMAT, f"the value has no framing of a schema registry{about}")
            schema = self._schemas.get(key)
        try:
            return schema.read(payload) if self._own is None else schema.read_bare(payload)
        except Exception as error:
            why = _ADDRESS.sub("", str(error)) or "the value is cut short"  # letters must be the same in every run
            raise Refused(Reason.NOT_AVRO, f"the value does not fit its schema, {schema.name}: {why}") from None

    def _reader(self, key: int) -> Read:
        """The reader of the schema of an id; one that refuses where there is none."""
        try:
            return _refuse if key < 0 else self._schemas.get(key).read
        except Refused:
            return _refuse

    def _container(self, value: bytes) -> list[Any]:
        """The records of an object container. Raises `Refused`."""
        import fastavro

        try:
            container = fastavro.block_reader(BytesIO(value))
            if container.codec != "null":
                raise ValueError(f"its blocks are compressed with {container.codec}; only null is read")
            read_one = compiled(SchemaText("AVRO", json.dumps(container.writer_schema))).read_one
            found: list[Any] = []
            for block in container:
                rows = min(block.num_records, self.settings.rows_max + 1 - len(found))
                found += [read_one(block.bytes_) for _ in range(rows)]  # type: ignore[attr-defined]
        except Exception as error:
            why = _ADDRESS.sub("", str(error))
            raise Refused(Reason.NOT_AVRO, f"the Avro object container can't be read: {why}") from None
        return found


@dataclass(frozen=True, slots=True)
class AvroSchema:
    """A schema with its readers, which raise errors of fastavro, and ValueError for what is left over."""

    name: str
    read_one: Read  # the next document of a file
    read: Read  # the document of a payload, which it fills
    mark: bytes  # of single-object encoding

    def read_bare(self, payload: Any) -> Any:
        """The document of a payload; the mark of single-object encoding is taken off."""
        return self.read(payload[len(self.mark) :] if payload[: len(self.mark)] == self.mark else payload)


def compiled(text: SchemaText) -> AvroSchema:
    """The reader of a schema. Raises ValueError for one that can't be used."""
    from fastavro import parse_schema
    from fastavro.schema import fingerprint, to_parsing_canonical_form

    if text.kind != "AVRO":
        raise ValueError(f"it is a schema of {text.kind}, not of Avro")
    try:
        named: dict[str, Any] = {}
        for reference in text.references.values():
            parse_schema(_plain_types(json.loads(reference)), named)
        raw = json.loads(text.text)
        schema = parse_schema(_plain_types(raw), named)
        _check(schema, {}, named)
        canonical = to_parsing_canonical_form(schema)
        mark = SINGLE_OBJECT + bytes.fromhex(fingerprint(canonical, "CRC-64-AVRO"))[::-1]
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"it is no schema of Avro: {error}") from None
    has_decimals = "decimal" in text.text or any("decimal" in one for one in text.references.values())
    name = raw.get("name", raw.get("type")) if isinstance(raw, dict) else raw
    return AvroSchema(str(name), *_readers_of(schema, has_decimals), mark)


def _readers_of(schema: Any, has_decimals: bool) -> tuple[Read, Read]:
    """A reader of the next document of a file, and one of a payload."""
    from fastavro import schemaless_reader

    def read_one(source: BytesIO) -> Any:
        document = schemaless_reader(source, schema, None)
        return _without_decimals(document) if has_decimals else document

    def read(payload: Any) -> Any:
        source = BytesIO(payload)
        document = schemaless_reader(source, schema, None)
        if source.tell() != len(payload):
            raise ValueError(f"{len(payload) - source.tell()} bytes are left over")
        return _without_decimals(document) if has_decimals else document

    return read_one, read


def _call(read: Read, payload: Any) -> Any:
    return read(payload)


def _refuse(_: Any) -> Any:
    raise LookupError


def _without_decimals(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {name: _without_decimals(one) for name, one in value.items()}
    return [_without_decimals(one) for one in value] if isinstance(value, list) else value


def _plain_types(schema: Any) -> Any:
    """The schema without logical types, which would make an object of each value, except decimals."""
    if isinstance(schema, list):
        return [_plain_types(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: _plain_types(one) if name in _TYPES else one for name, one in schema.items()}
    if kept.get("logicalType") != "decimal":
        kept.pop("logicalType", None)
    return kept


_TYPES: Final = ("type", "fields", "items", "values")  # members of a schema that hold schemas


def _check(schema: Any, known: dict[str, bool | None], named: Mapping[str, Any], depth: int = 0) -> bool:
    """Whether a value of a parsed schema may take no bytes. Raises ValueError for a schema that can't be used.

    `known` has the same of named types; None for those whose definition is around.
    """
    if depth > DEPTH_MAX:
        raise ValueError(f"its types are nested deeper than {DEPTH_MAX} levels")
    if isinstance(schema, str):
        return _check_name(schema, known, named, depth)
    if isinstance(schema, list):
        for one in schema:
            _check(one, known, named, depth + 1)
        return False
    kind = schema["type"]
    if kind in ("array", "map"):
        if _check(schema["items" if kind == "array" else "values"], known, named, depth + 1) and kind == "array":
            raise ValueError("it has a list of items without bytes, which a few bytes could make endless")
        return False
    if kind in ("record", "error"):
        known[schema["name"]] = None
        empty = [_check(one["type"], known, named, depth + 1) for one in schema["fields"]]  # checks all of them
        known[schema["name"]] = all(empty)
        return all(empty)
    if kind == "fixed":
        known[schema["name"]] = schema["size"] == 0
        return bool(known[schema["name"]])
    return False if kind == "enum" else _check(kind, known, named, depth + 1)


def _check_name(name: str, known: dict[str, bool | None], named: Mapping[str, Any], depth: int) -> bool:
    if name in PRIMITIVES:
        return name == "null"
    if name in known and known[name] is None:
        raise ValueError(f"its type {name} holds itself, so that its values could be nested endlessly")
    if name not in known and name in named:
        known[name] = _check(named[name], known, named, depth + 1)
    return bool(known.get(name))
