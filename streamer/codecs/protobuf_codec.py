"""The codec `protobuf`: messages of a descriptor set, of a Python module with descriptors, or of a schema registry.

A message becomes a document. Fields without presence (proto3) are always there, as their zero is a value; others are
absent where they are not set. Enums are the names of their values, wrappers their content, bytes are base64.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from detectors.arrays.types import I64
from streamer.codecs.base import Reason
from streamer.codecs.document_codec import DocumentCodec
from streamer.codecs.event import Refused
from streamer.codecs.schemas.framing import header_key, likeness, message_indexes, named_key, schema_key
from streamer.codecs.schemas.registry import SchemaText
from streamer.codecs.schemas.store import SchemaSettings, SchemaStore
from streamer.errors import UsageError
from streamer.eventlog.base import Records

WRAPPERS: Final = "google.protobuf."
WRAPPED: Final = frozenset(
    WRAPPERS + name
    for name in (
        "DoubleValue", "FloatValue", "Int64Value", "UInt64Value", "Int32Value", "UInt32Value", "BoolValue",
        "StringValue", "BytesValue",
    )
)  # fmt: skip
STRUCTS: Final = frozenset(WRAPPERS + name for name in ("Struct", "Value", "ListValue"))

Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class ProtobufSettings(SchemaSettings):
    """The settings of Protobuf. Raises ValueError when protobuf is not installed.

    Args:
        message: of protobuf: full name of the message type: transit.VehiclePosition; without it, the first one of its
            file.
        module: of protobuf: Python module with the descriptors, instead of a descriptor set:
            google.transit.gtfs_realtime_pb2
    """

    message: str | None = None
    module: str | None = None

    def __post_init__(self) -> None:
        SchemaSettings.__post_init__(self)
        if find_spec("google") is None or find_spec("google.protobuf") is None:
            raise ValueError("format: protobuf needs protobuf: run `pip install 'driftline[protobuf]'`")
        if self.module is not None and self.schema_file is not None:
            raise ValueError("module: the descriptors are in schema_file already")


class ProtobufCodec(DocumentCodec):
    """Decodes Protobuf. Keeps no state besides its settings and the schemas it has read."""

    errors = (Exception,)  # a damaged record may raise anything in protobuf

    def __init__(self, settings: ProtobufSettings) -> None:
        """Raises `UsageError` when the descriptors can't be used."""
        super().__init__(settings)
        self._message = settings.message
        self._schemas = SchemaStore(settings, compiled)
        own = self._schemas.of_file() if settings.module is None else _of_module(settings.module)
        self._own = None if own is None else self._reader(own, (0,))
        self._readers: dict[Any, Callable[[bytes], Any]] = {}

    def parsed(self, records: Records, index: I64) -> Iterator[Any]:
        """See `DocumentCodec`."""
        read = partial(self._read, records) if self._own is None else self._own
        values = map(records.data.data.__getitem__, map(slice, *records.value[index].T.tolist()))
        if self._own is not None:
            return map(read, map(bytes, values))
        return map(read, index.tolist())

    def plain(self, records: Records, i: int) -> Any:
        """See `DocumentCodec`."""
        try:
            return self._read(records, i) if self._own is None else self._own(records.value_of(i) or b"")
        except Refused:
            raise
        except Exception as error:
            what = likeness(records.value_of(i) or b"", records.headers_of(i)) or ""
            about = f"; {what}" if what and "use format protobuf" not in what else ""
            why = str(error) or "the value is cut short"
            raise Refused(Reason.NOT_PROTOBUF, f"the value is no message of its type: {why}{about}") from None

    def _read(self, records: Records, i: int) -> Any:
        """The document of a framed record. Raises `Refused`, ValueError and errors of protobuf."""
        value, headers = records.value_of(i) or b"", records.headers_of(i)
        key = header_key(headers)
        key, payload = (key, value) if key is not None else schema_key(value)
        if key is None:
            raise Refused(
                Reason.OTHER_FORMAT,
                "the value has no framing of a schema registry: set schema_file and message for bare messages",
            )
        path, payload = message_indexes(payload)
        read = self._readers.get((key, path))
        if read is None:
            try:
                read = self._readers[key, path] = self._reader(self._schemas.get(key), path)
            except (UsageError, IndexError):
                raise Refused(
                    Reason.OTHER_FORMAT, f"{named_key(key)}: the schema has no message {self._message or list(path)}"
                ) from None
        return read(payload)

    def _reader(self, schema: MessageTypes, path: tuple[int, ...]) -> Callable[[bytes], Any]:
        """The reader of messages of one type. Raises `UsageError` and IndexError."""
        from google.protobuf.message_factory import GetMessageClass

        descriptor = schema.named(self._message) if self._message else schema.at(path)
        parse, convert = GetMessageClass(descriptor).FromString, _converter(descriptor)
        return lambda payload: convert(parse(payload))


@dataclass(frozen=True, slots=True)
class MessageTypes:
    """The message types of a schema."""

    pool: Any
    file: Any  # the descriptor of the file that holds the messages

    def at(self, path: tuple[int, ...]) -> Any:
        """The type at a path of indexes. Raises IndexError."""
        types = list(self.file.message_types_by_name.values())
        found = None
        for at in path:
            if at < 0:
                raise IndexError(at)
            found = types[at]
            types = list(found.nested_types)
        return found

    def named(self, name: str) -> Any:
        """The type of a full name. Raises `UsageError`."""
        try:
            return self.pool.FindMessageTypeByName(name)
        except KeyError:
            known = ", ".join(one.full_name for one in self.file.message_types_by_name.values())
            raise UsageError(f"message: the descriptors have no type {name}; they have {known}") from None


def _of_module(name: str) -> MessageTypes:
    try:
        file = import_module(name).DESCRIPTOR
        return MessageTypes(file.pool, file)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"module: {name} can't be read for its descriptors: {error}") from None


def compiled(text: SchemaText) -> MessageTypes:
    """The message types of a descriptor set, or of a schema of a registry. Raises ValueError."""
    from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
    from google.protobuf.descriptor_pool import DescriptorPool

    try:
        if text.kind == "DESCRIPTORS":
            files = list(FileDescriptorSet.FromString(bytes.fromhex(text.text)).file)
            if not files:
                raise ValueError("it is no descriptor set: make one with protoc --include_imports --descriptor_set_out")
        elif text.kind == "PROTOBUF":
            parts = [*text.references.items(), ("", text.text)]
            files = [FileDescriptorProto.FromString(base64.b64decode(one)) for _, one in parts]
            for file, (name, _) in zip(files, parts, strict=True):
                file.name = name or file.name or "schema.proto"
        else:
            raise ValueError(f"it is a schema of {text.kind}, not of Protobuf")
        pool = DescriptorPool()
        for file in files:
            _add(pool, file)
        return MessageTypes(pool, pool.FindFileByName(files[-1].name))
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"it is no schema of Protobuf: {error}") from None


def _add(pool: Any, file: Any) -> None:
    """Add a file to a pool, after those of Google's own types that it needs."""
    for name in file.dependency:
        try:
            pool.FindFileByName(name)
        except KeyError:
            _add(pool, _standard_file(name))
    pool.Add(file)


def _standard_file(name: str) -> Any:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    module = name.removesuffix(".proto").replace("/", ".") + "_pb2"
    if not name.startswith("google/"):
        raise ValueError(f"{name} is missing, which it imports")
    file = FileDescriptorProto()
    import_module(module).DESCRIPTOR.CopyToProto(file)
    return file


def _converter(descriptor: Any, known: dict[str, Convert] | None = None) -> Convert:
    """The function that makes documents of messages of a type. Types may hold themselves."""
    known = {} if known is None else known
    name = descriptor.full_name
    if name in known:
        return lambda message: known[name](message)
    if name in WRAPPED:
        return lambda message: message.value
    if name in STRUCTS:
        from google.protobuf.json_format import MessageToDict

        return partial(MessageToDict)
    known[name] = _refuse_early
    always: list[tuple[str, Convert | None]] = []
    where_set: list[tuple[str, Convert | None]] = []
    for field in descriptor.fields:
        convert = _field_converter(field, known)
        (where_set if field.has_presence else always).append((field.name, convert))
    known[name] = partial(_document, always=always, where_set=where_set)
    return known[name]


def _refuse_early(_: Any) -> Any:
    raise LookupError("a converter is used before it is made")


def _document(
    message: Any, *, always: list[tuple[str, Convert | None]], where_set: list[tuple[str, Convert | None]]
) -> dict[str, Any]:
    found = {}
    for name, convert in always:
        value = getattr(message, name)
        found[name] = value if convert is None else convert(value)
    for name, convert in where_set:
        if message.HasField(name):
            value = getattr(message, name)
            found[name] = value if convert is None else convert(value)
    return found


def _field_converter(field: Any, known: dict[str, Convert]) -> Convert | None:
    """What is done with the value of a field; None: nothing."""
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        return partial(_mapping, convert=_one_converter(message.fields_by_name["value"], known))
    one = _one_converter(field, known)
    if not field.is_repeated:
        return one
    return list if one is None else lambda values: [one(value) for value in values]


def _one_converter(field: Any, known: dict[str, Convert]) -> Convert | None:
    if field.message_type is not None:
        return _converter(field.message_type, known)
    if field.enum_type is not None:
        names = {number: value.name for number, value in field.enum_type.values_by_number.items()}
        return lambda number: names.get(number, number)
    return _base64 if field.type == field.TYPE_BYTES else None


def _mapping(values: Mapping[Any, Any], *, convert: Convert | None) -> dict[str, Any]:
    return {str(key): value if convert is None else convert(value) for key, value in values.items()}


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
