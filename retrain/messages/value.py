"""Values that are made by the million: dataclasses that the type checker keeps from being changed.

A frozen dataclass sets each field through `object.__setattr__`, which takes three times as long as setting it. What is
made several times an alert is frozen for mypy alone, by which every change of one is an error of `make check`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """The class as a dataclass with slots, equal and of one hash where all fields are; not to be changed once made."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
