"""Paths of event fields in the records of a producer, whose format need not change.

A path begins with a root: `$`, the value of the record; `$row`, one of several rows in it; `$key`, its key; or
`$headers`. It continues with `.name`, `['a name with dots']`, `[index]`, or `[?name=='text']`, the first item of a list
whose member `name` is this text, also as `[?(@.name=='text')]`: `$.payload.model`, `$.rows[0].x`,
`$.inputs[?name=='age'].data[0]`, `$headers.ce_id`. If a record has no value at the path, the field is absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import IntEnum
from functools import cache
from typing import Any, NamedTuple

from msgspec import UNSET

from streamer.codecs.event import Refused, parse_range, parse_spelling
from streamer.logs import log_of

log = log_of("codecs")


class Root(IntEnum):
    """Where a path begins: the place of that part in an `Envelope`."""

    RECORD = 0
    ROW = 1
    KEY = 2
    HEADERS = 3


ROOTS = {"$": Root.RECORD, "$row": Root.ROW, "$key": Root.KEY, "$headers": Root.HEADERS}


class Envelope(NamedTuple):
    """One event with all that paths can reach."""

    record: Any  # the parsed value
    row: Any = UNSET  # the item of the record's rows
    key: Any = UNSET
    headers: Any = UNSET


@dataclass(frozen=True, slots=True)
class Select:
    """A step to the first item of a list whose member `name` is `text`."""

    name: str
    text: str


Step = str | int | Select
Path = tuple[Root, *tuple[Step, ...]]
Getter = Callable[[Envelope], Any]

CONSTANT_FIELDS = ("model_id", "model_version", "source")
FORM = ("rows", "names")  # fields that describe the form of a record, and are no fields of the event

ENCODINGS = frozenset({"CSV", "JSON", "BASE64"})  # of a captured payload, beside its `data`

PLACES_LOOKED_AT = 1_000  # documents of a topic
KINDS = ("name", "schema", "key", "type", "kind", "feature", "code")  # members that tell the items of a list apart
NO_PATHS = ("rows", "depth", "lists", "numbers")
DEPTH_MAX = 16

_ROOT = re.compile(r"\$(?:row|key|headers)?(?![\w$])")
_STEP = re.compile(
    r"""\.(?P<name>[^.\[\]'"\s]+)|\[(?P<index>\d{1,6})\]|\['(?P<quoted>[^']+)'\]"""
    r"""|\[\?(?P<open>\()?(?:@\.)?(?P<member>[\w-]+)\s*==\s*'(?P<text>[^']*)'(?(open)\))\]"""
)


@dataclass(frozen=True, slots=True)
class FieldMap:
    """A path for each field of an event. The defaults are the canonical names; null: no such field.

    `features` is the path of an object whose members are the features, or a mapping of feature names to paths. If the
    object also holds other mapped fields (`features: $` for flat producers), those members, nested objects and lists
    are no features. Where the features are a list of values, `names` has their names. `model_id`, `model_version` and
    `source` may be constants: `=bus` is the text `bus`.

    `rows` is the path of a list, each item of which is an event. Paths that begin with `$row` lead into the item; those
    with `$` to what its events share. A prediction id that they share gets the number of the row, from 0: `id/2`.

    Objects among the values become columns to `depth` levels, as `user.age`; a list of at most 16 plain values becomes
    `embedding[0]`, `embedding[1]`. `lists` names the items of longer ones, by pattern of columns: `embedding: 0..15`.

    `numbers` says how a producer writes numbers in texts, by pattern of columns, also `prediction` and `label`. It
    gives an example: `amount: "1.234,5"`.

    Raises ValueError, with the path, for an invalid path.
    """

    model_id: str | None = "$.model_id"  # model of the event
    model_version: str | None = "$.model_version"  # version of the model; each is monitored separately
    prediction_id: str | None = "$.prediction_id"  # key that joins a label to its prediction
    event_time: str | None = "$.event_time"  # RFC 3339, RFC 1123, or an epoch; see formats.md
    features: str | Mapping[str, str] | None = "$.features"  # inputs of the model
    prediction: str | None = "$.prediction"  # output of the model
    label: str | None = "$.label"  # true value, in the same or a later event
    source: str | None = "$.source"  # feature source shared by models, beside or instead of a model
    segment: str | None = None  # value that `segments` can group events by; becomes the feature `segment`
    rows: str | None = None  # list of events in a record; null: the record is one event, or a list of events
    names: str | list[str] | None = None  # names of features that are a list of values: a path, or the names
    depth: int = 3  # levels of nested objects and lists that become columns; 0: none
    lists: Mapping[str, str] = field(default_factory=dict)  # items of lists that become columns, by pattern of columns
    numbers: Mapping[str, str] = field(default_factory=dict)  # how texts write numbers, by pattern of columns

    def __post_init__(self) -> None:
        if not 0 <= self.depth <= DEPTH_MAX:
            raise ValueError(f"depth is {self.depth}; it must be 0 to {DEPTH_MAX}")
        for name in CONSTANT_FIELDS:
            if (getattr(self, name) or "").startswith("=$") and _ROOT.match(getattr(self, name)[1:]):
                object.__setattr__(self, name, getattr(self, name)[1:])
                _say_path(name, getattr(self, name))
        for pattern, items in self.lists.items():
            parse_range(items, pattern)
        for pattern, example in self.numbers.items():
            parse_spelling(example, pattern)
        for name, path in self._texts():
            root = parse_path(path, name)[0]
            if root is Root.ROW and self.rows is None:
                raise ValueError(f"{name}: {path!r} is a path in a row; name the list of rows, as in rows: $.data")
        if self.rows is not None and self.rows_path()[0] is not Root.RECORD:
            raise ValueError(f"rows: {self.rows!r} is no path in the value of the record, which begins with $")

    def _texts(self) -> list[tuple[str, Any]]:
        """The paths with the names of their fields."""
        found = []
        for name in (one.name for one in fields(self) if one.name not in NO_PATHS):
            value = getattr(self, name)
            if isinstance(value, Mapping):
                found += [(f"features.{of}", path) for of, path in value.items()]
            elif value is not None and not isinstance(value, list) and not _is_constant(name, value):
                found.append((name, value))
        found += [("rows", self.rows.removesuffix("[*]"))] if self.rows is not None else []
        return found

    def paths(self) -> dict[str, Path]:
        """The paths of the fields of an event, except `features`."""
        one = [name for name, _ in self._texts() if name not in ("features", *FORM) and "." not in name]
        return {name: parse_path(getattr(self, name), name) for name in one}

    def value_paths(self) -> dict[str, Path]:
        """The paths of single values: prediction, label, and features that are mapped by name."""
        named = self.features if isinstance(self.features, Mapping) else {}
        paths = {name: path for name, path in self.paths().items() if name in ("prediction", "label")}
        return {**paths, **{name: parse_path(path, f"features.{name}") for name, path in named.items()}}

    def rows_path(self) -> Path:
        """The path of the list of rows; `$.data` and `$.data[*]` are the same."""
        return parse_path((self.rows or "$").removesuffix("[*]"), "rows")

    def constants(self) -> dict[str, str]:
        """The texts of the constant fields."""
        given = {name: getattr(self, name) for name in CONSTANT_FIELDS}
        return {name: text[1:] for name, text in given.items() if text and text.startswith("=")}

    def members(self) -> tuple[str, ...]:
        """The members of a record that fields other than `features` read."""
        first = (path[1] for path in self.paths().values() if path[0] is Root.RECORD and len(path) > 1)
        return tuple(dict.fromkeys(name for name in first if isinstance(name, str)))

    def roots(self) -> set[Root]:
        """Where the paths begin."""
        return {parse_path(path, name)[0] for name, path in self._texts()}

    def key_steps(self) -> bool:
        """Whether a path leads into the key, which is JSON then and no text."""
        return any(path[0] is Root.KEY and len(path) > 1 for path in (parse_path(p, n) for n, p in self._texts()))


def _is_constant(field: str, value: object) -> bool:
    if not isinstance(value, str) or not value.startswith("="):
        return False
    if field not in CONSTANT_FIELDS:
        raise ValueError(
            f"{field}: {value!r} is a constant, which only {', '.join(CONSTANT_FIELDS)} can be; give a path"
        )
    if value == "=":
        raise ValueError(f"{field}: {value!r} is a constant without a text; write the text after the equals sign")
    if value.startswith("=$"):
        raise ValueError(f"{field}: {value!r} is a constant that looks like a path, and is none; write another name")
    return True


@cache
def _say_path(field: str, path: str) -> None:
    """Log once that a constant is read as a path."""
    log.warning("fields.%s: '=%s' is read as the path %s, as no name begins with $; write %s", field, path, path, path)


def parse_path(path: Any, field: str) -> Path:
    """The root and the steps of a path. Raises ValueError, naming the field and the path."""
    root = _ROOT.match(path) if isinstance(path, str) else None
    if root is None:
        raise ValueError(
            f"{field}: {path!r} is not a path; a path begins with $, as in $.payload.model, or with $row, $key or "
            "$headers"
        )
    steps: list[Step] = []
    at = root.end()
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            raise ValueError(
                f"{field}: the path {path!r} is invalid from {path[at:]!r} on; write .name, [0], ['a name'] or "
                "[?name=='text']"
            )
        steps.append(_step_of(step))
        at = step.end()
    if not steps and ROOTS[root[0]] in (Root.RECORD, Root.HEADERS) and field not in ("features", "rows"):
        raise ValueError(f"{field}: the path {path!r} is the whole record; name a member, as in {root[0]}.{field}")
    return (ROOTS[root[0]], *steps)


def _step_of(step: re.Match[str]) -> Step:
    if step["index"] is not None:
        return int(step["index"])
    return Select(step["member"], step["text"]) if step["member"] else step["name"] or step["quoted"]


class ItemPlaces:
    """Whether paths by the place of an item read all that is meant; it looks at the first documents of a topic.

    A list may hold further items of the same form, which nothing reads, or its items may change places.
    """

    def __init__(self, fields: FieldMap) -> None:
        features = {"features": fields.features} if isinstance(fields.features, str) else {}
        named = {
            **fields.paths(),
            **fields.value_paths(),
            **{of: parse_path(path, of) for of, path in features.items()},
        }
        self._paths: list[tuple[str, Path, int, Path]] = [
            (name, (root, *steps[:at]), step, (Root.RECORD, *steps[at + 1 :]))
            for name, (root, *steps) in named.items()
            for at, step in enumerate(steps)
            if root is Root.RECORD and isinstance(step, int)
        ]
        self._used = {(holder, place) for _, holder, place, _ in self._paths}
        self._left = PLACES_LOOKED_AT if self._paths and fields.rows is None else 0
        self._kinds: dict[tuple[Path, int], str] = {}

    @property
    def are_looking(self) -> bool:
        return self._left > 0

    def concern(self, documents: Sequence[Any]) -> str:
        """The first concern about these documents, in words; "" for none. After one, there are no others."""
        for document in documents[: self._left]:
            self._left -= 1
            for name, holder, place, rest in self._paths:
                items = follow(Envelope(document), holder)
                if isinstance(items, list) and (found := self._of_items(name, holder, place, rest, items)):
                    self._left = 0
                    return found
        return ""

    def _of_items(self, name: str, holder: Path, place: int, rest: Path, items: list[Any]) -> str:
        if len(items) < 2 or not all(isinstance(one, dict) for one in items):
            return ""
        where, kind = text_of(holder), next((key for key in KINDS if isinstance(items[0].get(key), str)), "")
        are_alike = len({frozenset(one) for one in items}) == 1
        if are_alike and not kind and {used for used in self._used if used[0] == holder} == {(holder, place)}:
            return (
                f"fields.{name} reads item {place} of {where} alone, and a record has {len(items)} such items: "
                f"rows: {where} makes an event of each, with paths from $row on"
            )
        meant = [one for one in items if follow(Envelope(one), rest) is not UNSET]
        at_place = items[place] if place < len(items) else {}
        moved = kind and self._kinds.setdefault((holder, place), str(at_place.get(kind))) != str(at_place.get(kind))
        if moved or (meant and at_place not in meant):
            one = next(iter(meant), at_place) if len(meant) == 1 else {}
            return (
                f"fields.{name} reads item {place} of {where}, whose items change places: choose it by a member, as in "
                f"{where}[?{kind or 'name'}=='{one.get(kind, '...')}']"
            )
        return ""


def text_of(path: Path) -> str:
    """A path as text."""
    root, *steps = path
    shown = [f"[{one}]" if isinstance(one, int) else _text_of_step(one) for one in steps]
    return next(text for text, known in ROOTS.items() if known is root) + "".join(shown)


def _text_of_step(step: Step) -> str:
    if isinstance(step, Select):
        return f"[?{step.name}=='{step.text}']"
    return f".{step}" if re.fullmatch(r"[^.\[\]'\"\s]+", str(step)) else f"['{step}']"


def getter(path: Path) -> Getter:
    """`follow` for one path; faster for members of the record itself."""
    root, *steps = path
    if len(steps) == 1 and isinstance(name := steps[0], str):
        return lambda event: follow_step(event[root], name)
    return lambda event: follow(event, path)


def follow(event: Envelope, path: Path) -> Any:
    """The value at the path; `UNSET` if there is none."""
    root, *steps = path
    value = holder = event[root]
    for step in steps:
        holder, value = value, follow_step(value, step)
    if (
        type(value) is str
        and steps[-1:] == ["data"]
        and isinstance(holder, dict)
        and holder.get("encoding") in ENCODINGS
    ):
        return _captured(holder)
    return value


def _captured(payload: dict[str, Any]) -> Any:
    """What a text holds whose neighbour `encoding` says how it is written: its only row; else the text as it is."""
    from streamer.codecs.presets.inference import payload_rows  # here, as it reads payloads of tools

    try:
        rows = payload_rows(payload)
    except Refused:
        return payload["data"]
    if len(rows) != 1:
        return payload["data"]
    row = rows[0]
    return row[0] if isinstance(row, list) and len(row) == 1 else row


def follow_step(value: Any, step: Step) -> Any:
    """The value one step further; `UNSET` if there is none."""
    if isinstance(step, str):
        return value.get(step, UNSET) if isinstance(value, dict) else UNSET
    if not isinstance(value, list):
        return UNSET
    if isinstance(step, int):
        return value[step] if step < len(value) else UNSET
    return next((one for one in value if isinstance(one, dict) and one.get(step.name) == step.text), UNSET)
