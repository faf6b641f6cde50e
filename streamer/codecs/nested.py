"""Objects and lists among the values of an event as columns of their own: `user.age`, `embedding[0]`.

Objects are opened to a depth. A list of plain values is opened if it has at most `ITEMS_MAX` of them, or to the items
that a setting names. Other objects and lists stay as they are, and no detector watches them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from retrain.messages.patterns import first_match

ITEMS_MAX: Final = 16  # a longer list is likelier an embedding or a history than a row of columns
RANGE_MAX: Final = 10_000

_RANGE = re.compile(r"(\d{1,5})\.\.(\d{1,5})", re.ASCII)
_OPEN: Final = {dict, list}


def parse_range(text: str, pattern: str) -> range:
    """The items of a list that `0..15` names. Raises ValueError, naming the pattern, for any other text."""
    found = _RANGE.fullmatch(text) if isinstance(text, str) else None
    if found is None or not int(found[1]) <= int(found[2]) < RANGE_MAX:
        raise ValueError(
            f"lists: {pattern!r} has {text!r}; it must name the first and the last item, as in 0..15, below {RANGE_MAX}"
        )
    return range(int(found[1]), int(found[2]) + 1)


class Unnesting:
    """Opens the objects and lists of events; compiled once from settings."""

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
