"""Value types that are made by the million: dataclasses that only the type checker freezes.

A frozen dataclass sets each field through `object.__setattr__`, which takes three times as long as plain assignment.
Types that are made several times an alert are therefore frozen for mypy alone; `make check` reports each assignment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """Make the class a dataclass with slots, compared and hashed by its fields. Do not assign to its fields."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
