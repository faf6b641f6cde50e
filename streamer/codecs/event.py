"""One event as a Python object, between the bytes of a record and the columns of an `EventBatch`.

Codecs of formats without columns of their own make `Event`s; `batch_builder.py` turns them into columns. Objects and
lists among the values become columns of their own, such as `user.age` and `embedding[0]`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from detectors.series.decimals import number_in
from retrain.messages.patterns import first_match
from streamer.codecs.base import Reason

Identifier = str | int | None
Scalar = float | bool | str | None

DETAIL_CHARS_MAX = 200
ITEMS_MAX: Final = 16  # a longer list is likelier an embedding or a history than a row of columns
RANGE_MAX: Final = 10_000
_RANGE = re.compile(r"(\d{1,5})\.\.(\d{1,5})", re.ASCII)
_OPEN: Final = {dict, list}
# How producers write numbers, by an example -> the marks between thousands, and the mark of decimals.
SPELLINGS: Final[Mapping[str, tuple[str, str]]] = {
    "1,234.5": (",", "."),
    "1.234,5": (".", ","),
    "1 234,5": (" \u00a0\u202f", ","),
    "1'234.5": ("'\u2019", "."),
}
NOT_SO: Final = b""  # in place of a text that is a number, but written otherwise: neither a number nor a category
COLUMNS_CACHED: Final = 10_000
NAME_CHARS_MAX = 256  # of a model, a version, a column or a category; a longer text is no name


class Event(msgspec.Struct, gc=False):
    """A canonical event. Every field may be absent; other members of the record are skipped.

    The types are those of the fast parser. Events that are read field by field may hold any JSON value as `prediction`
    and in `features`.
    """

    model_id: Identifier = None
    model_version: Identifier = None
    prediction_id: Identifier = None
    event_time: str | int | float | None = None
    features: dict[str, Scalar] | None = None
    prediction: Scalar | UnsetType = UNSET
    label: Scalar = None
    source: Identifier = None


class Refused(Exception):  # noqa: N818 -- a state of the record, not an error of ours
    """A record that can't be folded, with the reason and a message for people."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail[:DETAIL_CHARS_MAX]


def json_type(value: Any) -> str:
    """The type of a JSON value, in words."""
    names = {
        dict: "an object",
        list: "a list",
        str: "text",
        bool: "a boolean",
        int: "an integer",
        float: "a number",
        bytes: "bytes",
    }
    return "bytes" if isinstance(value, bytes) else names.get(type(value), "null")


def parse_range(text: str, pattern: str) -> range:
    """The items of a list that `0..15` names. Raises ValueError, naming the pattern, for any other text."""
    found = _RANGE.fullmatch(text) if isinstance(text, str) else None
    if found is None or not int(found[1]) <= int(found[2]) < RANGE_MAX:
        raise ValueError(
            f"lists: {pattern!r} has {text!r}; it must name the first and the last item, as in 0..15, below {RANGE_MAX}"
        )
    return range(int(found[1]), int(found[2]) + 1)


class Unnesting:
    """Opens the objects and lists of events; compiled once from settings.

    Objects are opened to a depth; so are lists of at most `ITEMS_MAX` plain values. A setting names the items of
    others. The rest stays as it is, and no detector watches it.
    """

    def __init__(self, depth: int, lists: Mapping[str, str]) -> None:
        self._depth = depth
        self._lists = {pattern: parse_range(text, pattern) for pattern, text in lists.items()}

    def features(self, members: dict[str, Any]) -> dict[str, Any]:
        """The features with columns for nested values, in order."""
        if _OPEN.isdisjoint(map(type, members.values())):
            return members
        return dict(pair for name, value in members.items() for pair in self._columns(name, value, self._depth))

    def prediction(self, value: dict[str, Any] | list[Any]) -> dict[str, Any]:
        """The columns of a prediction of several values, such as `prediction.yes`; empty if it is not opened."""
        found = dict(self._columns("prediction", value, self._depth))
        return {} if "prediction" in found else found

    def _columns(self, name: str, value: Any, depth: int) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict) and value and depth:
            for key, one in value.items():
                yield from self._columns(f"{name}.{key}", one, depth - 1)
        elif isinstance(value, list) and (items := self._items(name, value, depth)):
            yield from ((f"{name}[{i}]", value[i]) for i in items if i < len(value))
        else:
            yield name, value

    def _items(self, name: str, values: list[Any], depth: int) -> range:
        """The items of a list that become columns."""
        wanted = first_match(self._lists, name)
        if wanted is None:
            wanted = range(len(values) if depth and len(values) <= ITEMS_MAX else 0)
        return wanted if _OPEN.isdisjoint(map(type, values[wanted.start : wanted.stop])) else range(0)


def parse_spelling(example: str, pattern: str) -> re.Pattern[str]:
    """The numbers that are written as an example is. Raises ValueError, naming the pattern, for any other text."""
    if example not in SPELLINGS:
        known = ", ".join(f'"{one}"' for one in SPELLINGS)
        raise ValueError(f"numbers: {pattern!r} has {example!r}; it can be one of {known}")
    thousands, decimals = (re.escape(marks) for marks in SPELLINGS[example])
    grouped = rf"[1-9]\d{{0,2}}([{thousands}])\d{{3}}(?:\1\d{{3}}){{0,5}}"
    return re.compile(rf"-?(?:{grouped}|0|[1-9]\d{{0,17}})(?:{decimals}\d{{1,18}})?", re.ASCII)


def spellings_of(text: str) -> list[str]:
    """The examples of how a text may be written that is a number."""
    return [one for one in SPELLINGS if parse_spelling(one, "").fullmatch(text.strip())]


class Spellings:
    """Reads numbers in texts as a setting says that they are written; compiled once from settings."""

    def __init__(self, numbers: Mapping[str, str]) -> None:
        self._numbers = numbers
        self._fitting = {example: parse_spelling(example, pattern) for pattern, example in numbers.items()}
        self._of: dict[str, str | None] = {}  # column -> example; a cache

    def of_column(self, name: str) -> str | None:
        """The example of a column, if any."""
        if name not in self._of:
            if len(self._of) >= COLUMNS_CACHED:
                self._of.clear()
            self._of[name] = first_match(self._numbers, name)
        return self._of[name]

    def features(self, members: dict[str, Any] | None) -> dict[str, Any] | None:
        """The features with numbers for texts."""
        if members is None or str not in set(map(type, members.values())):
            return members
        return {name: self.value(name, one) if type(one) is str else one for name, one in members.items()}

    def value(self, name: str, value: Any) -> Any:
        """The number that the text of a column is; `NOT_SO` where it would be another one by its plain spelling."""
        if not isinstance(value, str) or (example := self.of_column(name)) is None:
            return value
        text = value.strip()
        if self._fitting[example].fullmatch(text):
            thousands, decimals = SPELLINGS[example]
            return float(text.translate(dict.fromkeys(map(ord, thousands))).replace(decimals, "."))
        return value if number_in(text) is None else NOT_SO
