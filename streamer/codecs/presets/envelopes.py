"""Envelopes around payloads: CloudEvents, and payloads within texts."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from streamer.codecs.base import Reason
from streamer.codecs.event import Refused, json_type
from streamer.codecs.json_lenient import parse

PREFIXES = ("ce_", "ce-")  # of headers in binary mode, in Kafka and in HTTP


def cloudevent(document: Any, headers: Mapping[str, str]) -> tuple[dict[str, Any], Any]:
    """The attributes and the data of an event: binary by headers, structured, or with `data_base64`."""
    attributes: dict[str, Any] = {
        name[3:].lower(): text for name, text in headers.items() if name[:3].lower() in PREFIXES
    }
    if attributes or not isinstance(document, dict) or not (document.keys() & {"data", "data_base64"}):
        return attributes, document
    found = {name: value for name, value in document.items() if name not in ("data", "data_base64")}
    data = document.get("data")
    if "data_base64" in document:
        try:
            data = base64.b64decode(document["data_base64"], validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise Refused(Reason.WRONG_TYPE, "data_base64 is no base64") from None
    return found, unpacked(data)


def unpacked(data: Any) -> Any:
    """The document that a text or bytes hold as JSON; anything else as it is. Raises `Refused` for bytes."""
    if isinstance(data, bytes):
        return parse(data)
    if isinstance(data, str) and data.lstrip()[:1] in ("{", "["):
        try:
            return parse(data.encode())
        except (Refused, UnicodeEncodeError):
            return data
    return data


def of_type(value: Any, kind: type, what: str) -> Any:
    """The value, if it is of this type. Raises `Refused`."""
    if not isinstance(value, kind):
        words = "an object" if kind is dict else "a list"
        raise Refused(Reason.WRONG_TYPE, f"{what} is {json_type(value)}; {words} is expected")
    return value


def numbered(prediction_id: Any, row: int, rows: int) -> Any:
    """The id of one of several rows that share an id: `id/2`."""
    return prediction_id if rows == 1 or prediction_id in (None, "") else f"{prediction_id}/{row}"
