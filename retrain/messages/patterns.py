"""Patterns of names such as `bus-*`, as settings, commands and silences use them. They are case-sensitive.

`*` stands for any text, `?` for a character, `[abc]` for one of these, `[a-c]` for one of a range and `[!abc]` for any
other one. Brackets also stand for themselves: `emb[0]` and `emb[*]` match the column `emb[0]`. `[[]`, `[*]` and `[?]`
are these characters and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TypeVar

V = TypeVar("V")


def matches(name: str, pattern: str) -> bool:
    """Whether the name matches the pattern."""
    return fnmatchcase(name, pattern) or ("[" in name and "[" in pattern and fnmatchcase(name, _literal(pattern)))


def first_match(table: Mapping[str, V], name: str) -> V | None:
    """The value of the first pattern in the table that matches the name; None if none does."""
    return next((value for pattern, value in table.items() if matches(name, pattern)), None)


def _literal(pattern: str) -> str:
    """The pattern with brackets that stand for themselves."""
    return pattern.replace("[", "[[]")
