"""The reference page of all settings, `docs/configuration.md`, and the schema for editors, from the models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, Final

from streamer.config.environment import variable_of
from streamer.config.problems import SettingPath
from streamer.config.schema import ANY_NAME, Setting, branches, config_schema, is_duration, schema_at, settings
from streamer.contracts.field_docs import sentence

SCHEMA_FILE: Final = "schemas/config.v1.json"

_HEAD: Final = f"""\
# Configuration

Generated from the settings in the code by `make docs`. `driftline check-config` names every problem of a file with its
line. Editors complete and check it with [`{SCHEMA_FILE}`]({SCHEMA_FILE}): begin the file with
`# yaml-language-server: $schema=<path of the schema>`.

The smallest configuration; everything else has a default:

```yaml
kafka: {{bootstrap: localhost:9092}}
topics: {{my.predictions: {{format: json}}}}
```

Unknown settings are errors. Relative files are relative to the configuration file. A variable overrides a setting:
`{variable_of(("metrics", "host"))}=0.0.0.0`, with two underscores between levels and commas between the
items of a list; an empty one counts as not set. Settings below a topic have no variable.

A **duration** is a number of seconds, or whole numbers with the units w, d, h, m and s, each at most once and in this
order: `90s`, `1h30m`, `7d`. So `cooldown_s: 7d` is `cooldown_s: 604800`. Durations are event time, except in `kafka`,
`commit`, `checkpoints`, `launch` and `notify`.

A **pattern** of models or columns: `*` is any text, `?` a character, `[abc]` or `[a-c]` one of these, `[!abc]` any
other one. Brackets also stand for themselves, so `emb[0]` and `emb[*]` match the column `emb[0]`; `[[]` is a bracket
alone. Patterns match whole names, in their case, and the first match counts. A pattern that fits nothing is named by
`columns`, by `replay`, and by `run` when it stops; by `check-config` if it fits nothing in the training data.
"""
_CHOSEN: Final = {  # the meaning of keys that a user chooses
    "topics": "topic", "sources": "source", "segments": "pattern", "watch": "pattern", "cast": "pattern",
    "launch": "pattern",
}  # fmt: skip
_BOUNDS: Final = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def page() -> str:
    """`docs/configuration.md`."""
    parts = [_HEAD]
    for section, group in groupby(settings(), key=lambda s: s.path[0]):
        parts += _section(section, list(group))
    return "\n".join(parts)


def schema_text() -> str:
    """`docs/schemas/config.v1.json`."""
    return json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n"


def _section(name: str, members: list[Setting]) -> Iterator[str]:
    yield f"## {name}\n"
    yield f"{sentence(_text((name,)))}\n"
    members = sorted(members, key=lambda s: s.path[:-1])
    for path, group in groupby(members, key=lambda s: s.path[:-1]):
        if len(path) > 1:
            yield f"### {_title(path)}\n"
            yield f"{sentence(_text(path))}\n"
        yield "| setting | type | default | meaning |"
        yield "|---|---|---|---|"
        for setting in group:
            text = setting.schema.get("description", "")
            yield f"| `{setting.path[-1]}` | {_type(setting.schema)} | {_default(setting)} | {_escaped(text)} |"
        yield ""


def _title(path: SettingPath) -> str:
    chosen = _CHOSEN.get(str(path[0]), "name") if path else ""
    return ".".join(f"`<{chosen}>`" if part == ANY_NAME else str(part) for part in path)


def _text(path: SettingPath) -> str:
    *alternatives, node = branches(schema_at(path) or {})
    texts = (branch.get("description", "") for branch in (node, *alternatives))
    return next((text for text in texts if text), "")


def _type(schema: Mapping[str, Any]) -> str:
    words = [_one_type(branch) for branch in branches(schema) if branch.get("type") != "null"]
    if is_duration(schema):  # a number of seconds with its bounds, or text with units
        words = [word.replace("number", "duration") for word in words if word != "text"]
    return _escaped(" or ".join(dict.fromkeys(word for word in words if word)))


def _one_type(schema: Mapping[str, Any]) -> str:
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    if schema.get("format") == "path":
        return "file"
    names = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}
    names |= {"array": "list", "object": "mapping"}
    bounds = [f"{sign} {schema[key]:,}" for key, sign in _BOUNDS.items() if key in schema]
    return " ".join([names.get(schema.get("type", ""), ""), ", ".join(bounds)]).strip()


def _default(setting: Setting) -> str:
    if setting.required:
        return "required"
    value = setting.schema.get("default")
    if value is None:
        return "none"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"`{json.dumps(value) if isinstance(value, list | bool) else value}`"


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
