"""Patterns of names such as `bus-*`, as settings and silences use them. They are case-sensitive."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TypeVar

V = TypeVar("V")


def matches(name: str, pattern: str) -> bool:
    """Whether the name matches the pattern of `fnmatch`: `*`, `?`, `[abc]` and `[!abc]` are special."""
    return fnmatchcase(name, pattern)


def first_match(table: Mapping[str, V], name: str) -> V | None:
    """The value of the first pattern in the table that matches the name; None if none does."""
    return next((value for pattern, value in table.items() if fnmatchcase(name, pattern)), None)
