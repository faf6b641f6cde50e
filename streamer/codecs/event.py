"""One event as a Python object, between the bytes of a record and the columns of an `EventBatch`.

Codecs of formats without columns of their own make `Event`s; `batch_builder.py` turns them into columns.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from streamer.codecs.base import Reason

Identifier = str | int | None
Scalar = float | bool | str | None

DETAIL_CHARS_MAX = 200
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
