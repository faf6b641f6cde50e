"""One event as Python holds it for a moment, between the bytes of a record and the columns of an `EventBatch`.

Codecs of formats that have no columns of their own make `Event`s; `assemble.py` makes columns of them.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from streamer.codecs.base import Reason

Identifier = str | int | None
Scalar = float | bool | str | None

DETAIL_CHARS_MAX = 200
NAME_CHARS_MAX = 256  # of a model, a version, a column or a category: beyond it, it is not a name but a text


class Event(msgspec.Struct, gc=False):
    """A canonical event. Every field may be absent; what else is in the record is skipped unread.

    The types are those that the fast parser accepts at once. Events that are made field by field may hold whatever JSON
    holds as `prediction` and in `features`.
    """

    model_id: Identifier = None
    model_version: Identifier = None
    prediction_id: Identifier = None
    event_time: str | int | float | None = None
    features: dict[str, Scalar] | None = None
    prediction: Scalar | UnsetType = UNSET
    label: Scalar = None
    source: Identifier = None


class Refused(Exception):  # noqa: N818 -- what happened to the record, not an error of ours
    """A record that can't be folded: the reason, and a sentence for people."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail[:DETAIL_CHARS_MAX]


def json_type(value: Any) -> str:
    """What a JSON value is, in words."""
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", int: "an integer", float: "a number"}
    return names.get(type(value), "null")
