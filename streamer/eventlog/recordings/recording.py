"""Recordings: topics in files, for replay. `open_recording` reads them, `RecordingWriter` writes them.

    Parquet                 the format of `parquet_writer.py`: any topics and partitions, byte for byte
    JSON lines              one canonical event a line, also .gz or .zst, or `-` for standard input
    output of kcat -C -J    one envelope a line, also compressed

The first bytes decide the format, never the name. A refusal names the likely format and the accepted ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, Self

from streamer.errors import UsageError
from streamer.eventlog.recordings.byte_stream import HEAD_BYTES, ByteStream, open_stream
from streamer.eventlog.recordings.chunk import Chunk, Group, out_of_order
from streamer.eventlog.recordings.lines import BYTE_ORDER_MARK, LineSource, envelopes, is_envelope, plain_events
from streamer.eventlog.recordings.parquet_reader import ParquetSource
from streamer.eventlog.recordings.parquet_writer import RecordingFolder, RecordingWriter
from streamer.eventlog.recordings.places import topic_of

__all__ = ["CHUNK_ROWS", "Recording", "RecordingFolder", "RecordingWriter", "open_recording"]

CHUNK_ROWS = 8192  # a few MB, so that a chunk is still in the processor's cache when it is folded
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


class Source(Protocol):
    """A reader of one format, from the first row to the last, once."""

    name: str  # as the user gave it
    rows: int | None  # number of rows; None: not known before the end
    size_bytes: int | None  # as stored; None: not known (standard input)
    topics_max: int | None  # how many topics it can hold; None: any number

    def chunks(self, rows_max: int) -> Iterator[Chunk]:
        """The rows in recorded order, at most `rows_max` at once."""
        ...

    def bytes_read(self) -> int:
        """The bytes read so far, as stored; 0 when the size isn't known."""
        ...

    def close(self) -> None:
        """Close the file; safe to call twice."""
        ...


class Recording:
    """One recording, open for reading once."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.name = source.name
        self.rows = source.rows
        self.size_bytes = source.size_bytes
        self.topics_max = source.topics_max
        self.rows_read = 0

    def chunks(self, chunk_rows: int = CHUNK_ROWS) -> Iterator[Chunk]:
        """The rows in recorded order, at most `chunk_rows` at once.

        Raises `UsageError` naming the file and the row when it is damaged, or when the offsets of a partition don't
        increase.
        """
        reached: dict[Group, int] = {}
        for chunk in self.source.chunks(chunk_rows):
            wrong = out_of_order(chunk, reached)
            if wrong is not None:
                row, before = wrong
                topic, partition = chunk.groups[chunk.group[row]]
                raise UsageError(
                    f"Row {self.rows_read + row} of {self.name} is offset {chunk.offset[row]} of {topic}[{partition}], "
                    f"which must exceed the offset before it ({before}). Sort the rows of each partition by offset and "
                    "drop repeated ones."
                )
            self.rows_read += len(chunk)
            yield chunk

    def bytes_read(self) -> int:
        """The bytes read so far, as stored; 0 when the size isn't known."""
        return self.source.bytes_read()

    def close(self) -> None:
        """Close the file; safe to call twice. Standard input stays open."""
        self.source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_recording(path: str | Path, topic: str | None = None) -> Recording:
    """Open a recording; `-` is standard input.

    Plain events carry no topic: they get `topic`, else the file's name up to its first dot (`stdin` for `-`). Other
    recordings hold their topics, and `topic` is ignored. Raises `UsageError` when the file can't be read or has another
    format.
    """
    stream = open_stream(path)
    try:
        return Recording(_source(stream, str(path), topic or _topic_of(path)))
    except UsageError:
        stream.close()
        raise


def _source(stream: ByteStream, where: str, topic: str) -> Source:
    match kind_of(stream.head):
        case RecordingFormat.EVENTS:
            return LineSource(stream, plain_events(topic), topics_max=1)
        case RecordingFormat.ENVELOPES:
            return LineSource(stream, envelopes(stream.name))
        case RecordingFormat.PARQUET if stream.size_bytes is not None and stream.compression is None:
            # Parquet is read from its end, so its reader opens the file again.
            stream.close()
            return ParquetSource(where, stream.size_bytes)
        case RecordingFormat.PARQUET:
            raise UsageError(
                f"{stream.name} holds a Parquet recording, which can only be read from a plain file. Unpack it to one "
                "and name that."
            )
        case None:
            raise UsageError(refusal(stream.name, stream.head))


def _topic_of(path: str | Path) -> str:
    return "stdin" if str(path) == "-" else topic_of(str(path))


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
