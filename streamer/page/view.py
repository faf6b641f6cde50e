"""What all views have in common: their parameters, their result, and the answer that something is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

PAGE_MAX: Final = 1_000_000
Parameters = Mapping[str, str]  # of the URL; of several of one name, the last


class Missing(Exception):  # noqa: N818 -- an answer, not an error
    """There is nothing of this name: the page says so, and what was probably meant."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(what)
        self.name = name


@dataclass(frozen=True, slots=True)
class Page:
    """One view: `data` is JSON-able and is what `/api/v1` gives, `extra` is for the template alone."""

    template: str
    data: Mapping[str, Any]
    extra: Mapping[str, Any] = field(default_factory=dict)


def page_of(given: Parameters) -> int:
    """The number of the page in the URL, from 1; 1 for anything else."""
    text = given.get("page", "")
    return min(max(int(text), 1), PAGE_MAX) if text.isascii() and text.isdigit() and len(text) < 8 else 1
