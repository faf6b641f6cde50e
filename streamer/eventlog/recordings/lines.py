"""Recordings as lines of text: plain events, one JSON object a line, and the envelopes that `kcat -C -J` prints.

Plain lines become spans over the blocks as they were read, found with NumPy; nothing is made for a single line. The
offset of a line is its number in the file, from 0 and counting blank lines, so that `sed -n "$((offset + 1))p"` shows
it. Envelopes are unpacked one by one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from detectors.arrays.types import I64, U8
from streamer.errors import UsageError
from streamer.eventlog.base import Records
from streamer.eventlog.headers import Headers
from streamer.eventlog.recordings.byte_stream import ByteStream
from streamer.eventlog.recordings.chunk import Chunk, Group

BLOCK_BYTES = 4 << 20  # read at a time
LINE_BYTES_MAX = 256 << 20  # a longer line means a file of another kind
NEWLINE, RETURN = 10, 13
BLANKS = np.frombuffer(b" \t\r", np.uint8)
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


Unpack = Callable[[U8, I64, I64], Chunk]  # a block, and the numbers and spans of lines in it


class LineSource:
    """The lines of a stream as chunks; `unpack` parses blocks of lines."""

    rows: int | None = None

    def __init__(self, stream: ByteStream, unpack: Unpack, topics_max: int | None = None) -> None:
        self.name = stream.name
        self.size_bytes = stream.size_bytes
        self.topics_max = topics_max
        self._stream = stream
        self._unpack = unpack

    def chunks(self, rows_max: int) -> Iterator[Chunk]:
        """The lines in order, at most `rows_max` at once."""
        for data, number, spans in numbered_lines(self.name, self._stream.read):
            for first in range(0, len(spans), rows_max):
                rows = slice(first, first + rows_max)
                yield self._unpack(data, number[rows], spans[rows])

    def bytes_read(self) -> int:
        """The bytes read so far, as stored; 0 when the size isn't known."""
        return self._stream.bytes_read()

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._stream.close()


def plain_events(topic: str) -> Unpack:
    """Each line is the value of a record of `topic`, partition 0, without key, headers or timestamp."""

    def unpack(data: U8, number: I64, spans: I64) -> Chunk:
        none, unknown = np.full_like(spans, -1), np.full_like(number, -1)
        return Chunk([(topic, 0)], np.zeros_like(number), data, number, unknown, key=none, value=spans, headers=none)

    return unpack


def envelopes(name: str) -> Unpack:
    """Each line is a record in the envelope of `kcat -C -J`."""

    def unpack(data: U8, number: I64, spans: I64) -> Chunk:
        groups: dict[Group, int] = {}
        group, rows = [], []
        for line, (start, end) in zip(number.tolist(), spans.tolist(), strict=True):
            try:
                pair, row = _open_envelope(data[start:end].tobytes())
            except (ValueError, TypeError, RecursionError) as error:
                raise UsageError(
                    f"Line {line + 1} of {name} is not an envelope as the first line is ({error}): the recording is "
                    "damaged or mixed. Record it again with `kcat -C -J`."
                ) from error
            group.append(groups.setdefault(pair, len(groups)))
            rows.append(row)
        r = Records.build("", 0, rows)
        ids = np.array(group, np.int64)
        return Chunk(list(groups), ids, r.data, r.offset, r.timestamp_ms, r.key, r.value, r.headers)

    return unpack


def is_envelope(fields: Any) -> bool:
    """Whether a parsed line has the form of `kcat -C -J`."""
    return isinstance(fields, dict) and {"topic", "partition", "offset", "payload"} <= fields.keys()


def _open_envelope(line: bytes) -> tuple[Group, tuple[int, int, bytes | None, bytes | None, Headers]]:
    # kcat prints payloads that are not UTF-8 as they are; surrogate escapes carry those bytes through the parser.
    fields = json.loads(line.decode(errors="surrogateescape"))
    if not is_envelope(fields):
        raise ValueError("topic, partition, offset or payload is missing")
    offset, time = int(fields["offset"]), int(fields.get("ts", -1))
    flat = fields.get("headers") or []
    names, values = flat[0::2], flat[1::2]
    headers = tuple((str(name), _raw(value)) for name, value in zip(names, values, strict=True))
    row = offset, time, _raw(fields.get("key")), _raw(fields["payload"]), headers
    return (str(fields["topic"]), int(fields["partition"])), row


def _raw(content: Any) -> bytes | None:
    if content is None:
        return None
    # With `-s value=avro` kcat prints the value itself, as JSON, in place of a text.
    text = content if isinstance(content, str) else json.dumps(content)
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")


def numbered_lines(name: str, read: Callable[[int], bytes]) -> Iterator[tuple[U8, I64, I64]]:
    """Blocks of whole lines: the bytes, and the number (from 0) and span of every line that is not blank."""
    lines = 0
    for block in _blocks(name, read):
        data = np.frombuffer(block, np.uint8)
        newline = np.flatnonzero(data == NEWLINE)
        end = newline if block.endswith(b"\n") else np.append(newline, len(data))
        start = np.concatenate([[0], end[:-1] + 1])
        number = lines + np.arange(len(end))
        lines += len(end)
        if start[0] == 0 and number[0] == 0 and block.startswith(BYTE_ORDER_MARK):
            start[0] = len(BYTE_ORDER_MARK)
        end = end - ((end > start) & (data[np.maximum(end, 1) - 1] == RETURN))
        full = end > start
        for i in np.flatnonzero(full & np.isin(data[np.minimum(start, len(data) - 1)], BLANKS)):
            full[i] = bool(block[start[i] : end[i]].strip())
        yield data, number[full], np.stack([start[full], end[full]], axis=1)


def _blocks(name: str, read: Callable[[int], bytes]) -> Iterator[bytes]:
    """The bytes of `read`, cut after newlines only."""
    carried: list[bytes] = []
    carried_bytes = 0
    while block := read(BLOCK_BYTES):
        cut = block.rfind(b"\n") + 1
        if cut:
            yield b"".join([*carried, block[:cut]])
            carried, carried_bytes = [], 0
        carried.append(block[cut:])
        carried_bytes += len(block) - cut
        if carried_bytes > LINE_BYTES_MAX:
            raise UsageError(
                f"{name} holds a line longer than {LINE_BYTES_MAX >> 20} MiB, which no log takes as a record. "
                "Give it one event a line."
            )
    if carried_bytes:
        yield b"".join(carried)
