"""Paths of event fields in the JSON of a producer, whose format need not change.

A path begins with `$`, the whole value of the record, and continues with `.name`, `['a name with dots']` or `[index]`:
`$.payload.model`, `$.rows[0].x`. If a record has no value at the path, the field is absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from msgspec import UNSET

Path = tuple[str | int, ...]
Getter = Callable[[dict[str, Any]], Any]

CONSTANT_FIELDS = ("model_id", "model_version", "source")

_STEP = re.compile(r"\.([^.\[\]'\"\s]+)|\[(\d{1,6})\]|\['([^']+)'\]")


@dataclass(frozen=True, slots=True)
class FieldMap:
    """A path for each field of an event. The defaults are the canonical names; null: no such field.

    `features` is the path of an object whose members are the features, or a mapping of feature names to paths. If the
    object also holds other mapped fields (`features: $` for flat producers), those members, nested objects and lists
    are no features. `model_id`, `model_version` and `source` may be constants: `=bus` is the text `bus`.

    Raises ValueError, with the path, for an invalid path.
    """

    model_id: str | None = "$.model_id"  # model of the event
    model_version: str | None = "$.model_version"  # version of the model; each is monitored separately
    prediction_id: str | None = "$.prediction_id"  # key that joins a label to its prediction
    event_time: str | None = "$.event_time"  # RFC 3339, or seconds or milliseconds since 1970
    features: str | Mapping[str, str] | None = "$.features"  # inputs of the model
    prediction: str | None = "$.prediction"  # output of the model
    label: str | None = "$.label"  # true value, in the same or a later event
    source: str | None = "$.source"  # feature source shared by models, beside or instead of a model
    segment: str | None = None  # value that `segments` can group events by; becomes the feature `segment`

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Mapping):
                for name, path in value.items():
                    parse_path(path, f"features.{name}")
            elif value is not None and not self._is_constant(field.name, value):
                parse_path(value, field.name)

    @staticmethod
    def _is_constant(field: str, value: object) -> bool:
        if not isinstance(value, str) or not value.startswith("="):
            return False
        if field not in CONSTANT_FIELDS:
            raise ValueError(
                f"{field}: {value!r} is a constant, which only {', '.join(CONSTANT_FIELDS)} can be; give a path"
            )
        if value == "=":
            raise ValueError(f"{field}: {value!r} is a constant without a text; write the text after the equals sign")
        return True

    def paths(self) -> dict[str, Path]:
        """The paths of all fields that are read from the record, except `features`."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "features"}
        return {name: parse_path(path, name) for name, path in given.items() if path and not path.startswith("=")}

    def constants(self) -> dict[str, str]:
        """The texts of the constant fields."""
        given = {name: getattr(self, name) for name in CONSTANT_FIELDS}
        return {name: text[1:] for name, text in given.items() if text and text.startswith("=")}


def parse_path(path: Any, field: str) -> Path:
    """The steps of a path: member names and list indices. Raises ValueError, naming the field and the path."""
    if not isinstance(path, str) or not path.startswith("$"):
        raise ValueError(f"{field}: {path!r} is not a path; a path begins with $, as in $.payload.model")
    steps: list[str | int] = []
    at = 1
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            raise ValueError(
                f"{field}: the path {path!r} is invalid from {path[at:]!r} on; write .name, [0] or ['a name']"
            )
        name, index, quoted = step.groups()
        steps.append(int(index) if index is not None else name or quoted)
        at = step.end()
    if not steps and not field == "features":
        raise ValueError(f"{field}: the path {path!r} is the whole record; name a member, as in $.{field}")
    return tuple(steps)


def getter(path: Path) -> Getter:
    """`follow` for one path in documents that are objects; faster for the members of the object itself."""
    name = path[0]
    if len(path) > 1 or not isinstance(name, str):
        return lambda document: follow(document, path)
    return lambda document: document.get(name, UNSET)


def follow(document: Any, path: Path) -> Any:
    """The value at the path; `UNSET` if there is none."""
    for step in path:
        if isinstance(step, str):
            document = document.get(step, UNSET) if isinstance(document, dict) else UNSET
        else:
            document = document[step] if isinstance(document, list) and step < len(document) else UNSET
    return document
