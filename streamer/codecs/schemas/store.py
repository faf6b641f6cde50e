"""Where the schemas of a topic come from: a file, a folder of schemas by id, a registry.

The folder is looked at first. What a registry answers is written there, so that a replay needs no registry. That
includes the answer that there is no such schema, after the time for which it is awaited: records that became dead
letters for want of it are so again when they are folded again, also if it is registered since.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from streamer.codecs.base import Reason
from streamer.codecs.document_codec import RecordSettings
from streamer.codecs.event import Refused
from streamer.codecs.schemas.framing import SchemaKey, named_key
from streamer.codecs.schemas.registry import NoSuchSchema, RegistrySettings, SchemaRegistry, SchemaText
from streamer.errors import UsageError
from streamer.logs import log_of

MISSING: Final = ".missing"  # ends the name of a file that stands for a schema that the registry did not have
SUFFIXES: Final = (".json", ".avsc", ".pb", ".desc")  # of files in a folder of schemas
KEYS_MAX: Final = 4096  # schemas of a topic that are kept in memory
S = TypeVar("S")

log = log_of("codecs")


@dataclass(frozen=True, slots=True)
class SchemaSettings(RecordSettings):
    """The settings of formats with a schema.

    Args:
        schema_file: of avro and protobuf: file of the one schema of all records, which have no framing then; for
            protobuf a descriptor set (`protoc --include_imports --descriptor_set_out`).
        schema_folder: of avro and protobuf: folder of schemas by id or GUID (`42.avsc`); answers of the registry are
            kept there for replays.
        registry: the schema registry.
    """

    schema_file: Path | None = None
    schema_folder: Path | None = None
    registry: RegistrySettings | None = None


@dataclass(slots=True)
class SchemaStore(Generic[S]):
    """The schemas of a topic, compiled, by id or GUID.

    `compile` makes a schema usable; it raises ValueError, with a message, for one that is not.
    """

    settings: SchemaSettings
    compile: Callable[[SchemaText], S]
    _known: dict[SchemaKey, S | Refused] = field(default_factory=dict)
    _registry: SchemaRegistry | None = None

    def of_file(self) -> S | None:
        """The schema of `schema_file`, if any. Raises `UsageError`."""
        path = self.settings.schema_file
        if path is None:
            return None
        try:
            return self.compile(_read(path))
        except (OSError, ValueError) as problem:
            raise UsageError(f"schema_file {path} can't be used: {problem}") from None

    def get(self, key: SchemaKey) -> S:
        """The schema of an id or GUID. Raises `Refused` where there is none, and `RegistryError`."""
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= KEYS_MAX:
                self._known.clear()
            found = self._known[key] = self._compiled(key)
        if isinstance(found, Refused):
            raise found
        return found

    def _compiled(self, key: SchemaKey) -> S | Refused:
        try:
            text = self._in_folder(key) or self._fetched(key)
        except NoSuchSchema:
            return Refused(Reason.OTHER_FORMAT, f"{named_key(key)}: the registry has no such schema")
        except (OSError, ValueError) as problem:
            return Refused(Reason.OTHER_FORMAT, f"{named_key(key)}: its file can't be read: {problem}")
        if text is None:
            return Refused(Reason.OTHER_FORMAT, f"{named_key(key)}: set registry or schema_folder of the topic")
        try:
            return self.compile(text)
        except ValueError as problem:
            return Refused(Reason.OTHER_FORMAT, f"{named_key(key)}: the schema can't be used: {problem}")

    def _in_folder(self, key: SchemaKey) -> SchemaText | None:
        folder = self.settings.schema_folder
        paths = () if folder is None else (folder / f"{key}{suffix}" for suffix in SUFFIXES)
        return next((_read(path) for path in paths if path.is_file()), None)

    def _fetched(self, key: SchemaKey) -> SchemaText | None:
        if self.settings.registry is None:
            return None
        folder = self.settings.schema_folder
        if folder is not None and (folder / f"{key}{MISSING}").is_file():
            raise NoSuchSchema(key)
        if self._registry is None:
            self._registry = SchemaRegistry(self.settings.registry)
        try:
            text = self._registry.schema(key)
        except NoSuchSchema:
            if folder is not None:
                self._keep(folder / f"{key}{MISSING}", "the registry did not have it; delete this file to ask again\n")
            raise
        if folder is not None:
            self._keep(folder / f"{key}.json", json.dumps({"driftline_schema": asdict(text)}))
        return text

    def _keep(self, path: Path, text: str) -> None:
        """Write an answer to the folder; without it, only a replay lacks something."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(".new")
            draft.write_text(text)
            draft.replace(path)
        except OSError as error:
            log.warning("%s can't be written (%s), so a replay will need the registry", path, error)


def _read(path: Path) -> SchemaText:
    """The schema in a file: kept from a registry, of Avro, or a descriptor set of Protobuf. Raises ValueError."""
    data = path.read_bytes()
    kept = _json_in(data)
    if isinstance(kept, dict) and isinstance(one := kept.get("driftline_schema"), dict):
        return SchemaText(str(one["kind"]), str(one["text"]), dict(one.get("references") or {}))
    if kept is not None:
        return SchemaText("AVRO", data.decode())
    return SchemaText("DESCRIPTORS", data.hex())


def _json_in(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
