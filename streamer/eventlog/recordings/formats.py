"""The format of a recording, by its first bytes; for other files, the likely format and the accepted ones."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any

from streamer.eventlog.recordings.byte_stream import HEAD_BYTES
from streamer.eventlog.recordings.lines import BYTE_ORDER_MARK, is_envelope

LINES_TRIED = 10  # a few damaged lines at the top do not hide the format

ACCEPTED = (
    "A recording is Parquet as Driftline writes it, JSON lines (one event a line), or the output of `kcat -C -J`."
)

MAGIC = (
    (b"PK\x03\x04", "a zip archive"),
    (b"\xfd7zXZ\x00", "a file packed with xz"),
    (b"BZh", "a file packed with bzip2"),
    (b"\x04\x22\x4d\x18", "a file packed with lz4"),
    (b"ARROW1", "an Arrow file"),
    (b"Obj\x01", "an Avro file"),
    (b"ORC", "an ORC file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\xff\xfe", "text in UTF-16"),
    (b"\xfe\xff", "text in UTF-16"),
)


class RecordingFormat(StrEnum):
    """The formats of recordings."""

    PARQUET = "parquet"
    EVENTS = "events"
    ENVELOPES = "envelopes"


def kind_of(head: bytes) -> RecordingFormat | None:
    """The format of a recording that begins with these bytes (up to `HEAD_BYTES`); None for other files."""
    if head.startswith(b"PAR1"):
        return RecordingFormat.PARQUET
    text = head.removeprefix(BYTE_ORDER_MARK).lstrip()
    if text.startswith(b"["):
        return None
    if text.startswith(b"{") and b"\n" not in text and len(head) >= HEAD_BYTES:
        return (
            RecordingFormat.ENVELOPES
            if text.startswith(b'{"topic":') and b'"tstype":' in text
            else RecordingFormat.EVENTS
        )
    lines = [line for line in text.split(b"\n", LINES_TRIED)[:LINES_TRIED] if line.strip()]
    objects = [fields for fields in map(_parsed, lines) if isinstance(fields, dict)]
    if not objects:
        return None
    return RecordingFormat.ENVELOPES if is_envelope(objects[0]) else RecordingFormat.EVENTS


def refusal(name: str, head: bytes) -> str:
    """The error message for a file that is no recording."""
    if not head.strip():
        return f"{name} is empty, so there is nothing to replay. {ACCEPTED}"
    return f"{name} looks like {_likeness(head)}. {ACCEPTED}"


def _likeness(head: bytes) -> str:
    for magic, what in MAGIC:
        if head.startswith(magic):
            return what
    if b"\x00" in head:
        return "a binary file of an unknown kind"
    text = head.removeprefix(BYTE_ORDER_MARK).strip()
    if text.startswith(b"["):
        return "one JSON array (`jq -c '.[]'` makes lines of it)"
    if text.startswith(b"{"):
        return "JSON spread over several lines (`jq -c .` makes one line of each object)"
    first = text.partition(b"\n")[0]
    if max(first.count(mark) for mark in (b",", b";", b"\t")) >= 1:
        return "a table in text, such as CSV"
    return "text that is not JSON"


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line.decode(errors="surrogateescape"))
    except (ValueError, RecursionError):
        return None
