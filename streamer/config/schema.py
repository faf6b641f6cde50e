"""The configuration as a JSON Schema, for editors, the reference page and suggestions of names.

Types, ranges and defaults come from the models. Descriptions come from the comments at the settings, so each setting is
documented in one place, beside its code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from streamer.clock import DURATION_PATTERN
from streamer.codecs import CODECS
from streamer.config.models import DEFAULT_FORMAT, Config, topic_settings
from streamer.config.problems import SettingPath
from streamer.contracts.field_docs import class_text, field_texts

ANY_NAME: Final = "*"  # stands for a key the user chooses, such as a topic
SCHEMA_ID: Final = "urn:driftline:schema:config.v1"


@dataclass(frozen=True, slots=True)
class Setting:
    """One scalar or list that a user may set."""

    path: tuple[str, ...]
    schema: Mapping[str, Any]  # of the value, references resolved
    required: bool

    @property
    def types(self) -> frozenset[str]:
        return types_of(self.schema)

    @property
    def is_file(self) -> bool:
        """Whether the value names a file."""
        return any(branch.get("format") == "path" for branch in branches(self.schema))

    @property
    def is_duration(self) -> bool:
        """Whether the value is a time in seconds, which may also be text with units."""
        return is_duration(self.schema)


_PLAIN: Final = {"number", "integer", "string", "boolean"}  # values that share the description of their mapping


class _Described(GenerateJsonSchema):
    """Adds the description of each field from its source, and drops titles, which repeat the names."""

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        return _describe(super().model_schema(schema), schema["cls"])

    def dataclass_schema(self, schema: Any) -> JsonSchemaValue:
        return _describe(super().dataclass_schema(schema), schema["cls"])


def _describe(json_schema: JsonSchemaValue, cls: type) -> JsonSchemaValue:
    texts = field_texts(cls)
    json_schema.pop("title", None)
    json_schema["description"] = class_text(cls)
    for name, prop in json_schema.get("properties", {}).items():
        prop.pop("title", None)
        if name in texts and "$ref" not in prop:  # a section is described by its own class
            prop.setdefault("description", texts[name])
            values = prop.get("additionalProperties")
            if isinstance(values, dict) and values.get("type") in _PLAIN:
                values.setdefault("description", texts[name])
        if name.endswith("_s") and not name.endswith("_per_s"):
            _allow_units(prop)
    return json_schema


def _allow_units(prop: JsonSchemaValue) -> None:
    """Add the text of a duration to the choices of a number; `streamer.config.durations` converts it."""
    number = {key: prop.pop(key) for key in [*prop] if key not in {"description", "default", "anyOf"}}
    prop["anyOf"] = [*prop.get("anyOf", [number]), {"type": "string", "pattern": DURATION_PATTERN}]


@cache
def config_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a whole `driftline.yaml`."""
    schema = Config.model_json_schema(schema_generator=_Described)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "driftline.yaml",
        "description": "Configuration of Driftline, version 1.",
    }
    _allow_added_detectors(schema)
    _tell_formats_apart(schema)
    return head | schema


def _allow_added_detectors(schema: dict[str, Any]) -> None:
    """Let each detector also have a name with `+`, which adds it to the default ones."""
    section = schema["properties"]["detectors"]
    section["patternProperties"] = {f"^\\+{name}$": dict(prop) for name, prop in section["properties"].items()}


def _tell_formats_apart(schema: dict[str, Any]) -> None:
    """Require `format` of a topic where it is not the default; and accept its earlier name, `codec`."""
    for name in CODECS:
        topic = schema["$defs"][topic_settings(name).__name__]
        topic["patternProperties"] = {"^codec$": dict(topic["properties"]["format"])}
        if name != DEFAULT_FORMAT:
            del topic["properties"]["format"]["default"]
            topic["anyOf"] = [{"required": ["format"]}, {"required": ["codec"]}]


def schema_at(path: SettingPath) -> Mapping[str, Any] | None:
    """The schema of the value at `path`, or None for an unknown path."""
    node: Mapping[str, Any] = resolved(config_schema())
    for part in path:
        below = _below(node, part)
        if below is None:
            return None
        node = resolved(below)
    return node


def names_at(path: SettingPath) -> list[str]:
    """The known keys of the section at `path`."""
    node = schema_at(path)
    return [] if node is None else list(_properties(node))


def types_of(schema: Mapping[str, Any]) -> frozenset[str]:
    """The possible JSON types of a value; choices are text."""
    types = {b.get("type", "string" if b.keys() & {"enum", "const"} else None) for b in branches(schema)}
    return frozenset(t for t in types if t)


def is_duration(schema: Mapping[str, Any]) -> bool:
    """Whether a value is a time in seconds, which may also be text with units."""
    return any(branch.get("pattern") == DURATION_PATTERN for branch in branches(schema))


def settings() -> Iterator[Setting]:
    """All settings, in the order of the models."""
    yield from _settings(resolved(config_schema()), ())


def _settings(node: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Setting]:
    extra = _extra(node)
    children = _properties(node) or ({} if extra is None else {ANY_NAME: extra})
    for name, child in children.items():
        schema = resolved(child)
        here = (*path, name)
        if "object" in types_of(schema) and "string" not in types_of(schema):
            yield from _settings(schema, here)
        else:
            yield Setting(here, schema, name in node.get("required", ()))


def resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema with its own reference followed; its description and default win over those of the target."""
    while "$ref" in schema:
        target = config_schema()["$defs"][schema["$ref"].removeprefix("#/$defs/")]
        schema = target | {key: value for key, value in schema.items() if key != "$ref"}
    return schema


def _below(node: Mapping[str, Any], part: str | int) -> Mapping[str, Any] | None:
    if isinstance(part, int):
        items: Mapping[str, Any] | None = node.get("items")
        return items
    return _properties(node).get(part) or _extra(node)


def branches(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The schema and all its alternatives, references followed."""
    node = resolved(schema)
    for branch in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from branches(branch)
    yield node


def _properties(node: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    merged: dict[str, Mapping[str, Any]] = {}
    for branch in branches(node):
        for name, prop in branch.get("properties", {}).items():
            known = merged.get(name, {})
            merged[name] = _either(known, prop) if "const" in prop and known.keys() & {"const", "enum"} else prop
    return merged


def _either(known: Mapping[str, Any], prop: Mapping[str, Any]) -> Mapping[str, Any]:
    """A choice among the constants of two alternatives; the default of the first."""
    choices = [*known.get("enum", [known.get("const")]), prop["const"]]
    return {**{k: v for k, v in known.items() if k != "const"}, "enum": list(dict.fromkeys(choices))}


def _extra(node: Mapping[str, Any]) -> Mapping[str, Any] | None:
    extras = (branch.get("additionalProperties") for branch in branches(node))
    return next((extra for extra in extras if isinstance(extra, Mapping)), None)
