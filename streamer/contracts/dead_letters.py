"""Dead letters: records that can't be folded, kept byte for byte with the reason.

A dead letter has the key, value and headers of its record, plus headers with its place and its fault. Their names
follow Kafka Connect (`__connect.errors.topic`, ...), so the same tools work. The owner of a record that was an output
stands there too, because each output has one owner header: that of the service that writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streamer.codecs.base import Reason
from streamer.eventlog.base import Output, Records
from streamer.eventlog.headers import KEY_HEADER, ORIGIN_HEADER, OWNER_HEADER, ROWS_HEADER, Headers

OURS = "__driftline."
PREFIX = f"{OURS}errors."
COPIED = (ORIGIN_HEADER, KEY_HEADER, ROWS_HEADER)  # stay with a record
BYTES_MAX = 900_000  # of key, headers and value; fits the default `message.max.bytes`, with our headers

HEADER_BYTES = 10  # of a header, besides name and text: two lengths of up to five bytes
GROUP_CHARS_MAX = 249  # as of topics
SIZE_DIGITS = 10  # of a size in bytes, as text


def dead_letter(records: Records, i: int, reason: Reason, detail: str, topic: str) -> Output:
    """Record `i` as a record of the dead-letter topic `topic`; a batch that is not opened, with its bytes as value.

    The broker would reject a record of more than `BYTES_MAX`, and the fold could never continue. Such a record loses
    the end of its value, then all of its headers, then the end of its key; our headers hold the original sizes.
    """
    about = {
        "topic": records.topic,
        "partition": str(records.partition),
        "offset": str(records.offset[i]),
        "timestamp": str(records.timestamp_ms[i]),
        "reason": reason.value,
        "message": detail,
    }
    key, headers, value = records.key_of(i), records.headers_of(i), records.value_of(i)
    for name, text in headers:
        if name == OWNER_HEADER:
            about["group"] = (text or b"").decode(errors="replace")[:GROUP_CHARS_MAX]
    headers = tuple(header for header in headers if header[0] != OWNER_HEADER)
    if (batch := records.oversize.get(int(records.offset[i]))) is not None:
        about |= {"batch.last.offset": str(batch.last_offset), "batch.records": str(batch.records)}
        value = batch.data
    return _letter(topic, key, value, headers, about, BYTES_MAX)


def fitted(output: Output, bytes_max: int) -> Output:
    """A dead letter of at most so many bytes, as far as that is possible; any other output as it is.

    What was cut before keeps the size that it had at first.
    """
    about = {name.removeprefix(PREFIX): text for name, text in output.headers if name.startswith(PREFIX)}
    if "reason" not in about:
        return output
    said = {name: (text or b"").decode() for name, text in about.items()}
    theirs = tuple(header for header in output.headers if not header[0].startswith(PREFIX))
    if bytes_max < _size_of_ours(said):
        said = {name: text for name, text in said.items() if name != "message"}
    return _letter(output.topic, output.key, output.value, theirs, said, max(bytes_max - _size_of_ours(said), 0))


def _letter(
    topic: str, key: bytes | None, value: bytes | None, headers: Headers, about: dict[str, str], room: int
) -> Output:
    """A dead letter whose key, headers and value have `room` bytes; `about` is what our headers say."""
    about = dict(about)
    if key is not None and len(key) > room:
        about.setdefault("key.cut.from.bytes", str(len(key)))
        key = key[:room]
    room -= len(key or b"")
    size = sum(len(name.encode()) + len(text or b"") for name, text in headers)
    if size + HEADER_BYTES * len(headers) > room:
        about["headers.dropped.bytes"] = str(size)
        headers, size = (), 0
    room -= size + HEADER_BYTES * len(headers)
    if value is not None and len(value) > room:
        about.setdefault("cut.from.bytes", str(len(value)))
        value = value[:room]
    ours = tuple((PREFIX + name, text.encode()) for name, text in about.items())
    return Output(topic, key, value, headers + ours)


def _size_of_ours(about: Mapping[str, str]) -> int:
    """Bytes of our headers, with those that hold original sizes."""
    names = {*about, "key.cut.from.bytes", "headers.dropped.bytes", "cut.from.bytes"}
    texts = sum(len(about.get(name, "").encode()) or SIZE_DIGITS for name in names)
    return texts + sum(len(PREFIX + name) + HEADER_BYTES for name in names)


def set_aside_letter(records: Records, i: int, topic: str) -> tuple[Reason, Output]:
    """The reason and the dead letter of record `i`: a poison record, or the stand-in for a batch that is not opened."""
    reason, detail = Reason.POISON_RECORD, "each process that folded this record died, even on this record alone"
    if (batch := records.oversize.get(int(records.offset[i]))) is not None:
        reason, detail = Reason.BATCH_TOO_LARGE, batch.detail
    return reason, dead_letter(records, i, reason, detail, topic)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter as it is read back: the record, its place, and why it could not be folded."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int  # of the record, since 1970; -1 unknown
    reason: str
    message: str
    key: bytes | None
    value: bytes | None
    headers: Headers  # of the record itself
    is_whole: bool  # false: a part was cut off, or the value is a batch that is not opened


def read_dead_letter(records: Records, i: int) -> DeadLetter | None:
    """Record `i` of a dead-letter topic; None for one that Driftline has not written."""
    headers = records.headers_of(i)
    about = {name.removeprefix(PREFIX): (text or b"").decode() for name, text in headers if name.startswith(PREFIX)}
    try:
        partition, offset, timestamp_ms = (int(about[name]) for name in ("partition", "offset", "timestamp"))
        topic, reason = about["topic"], about["reason"]
    except (KeyError, ValueError):
        return None
    return DeadLetter(
        topic=topic,
        partition=partition,
        offset=offset,
        timestamp_ms=timestamp_ms,
        reason=reason,
        message=about.get("message", ""),
        key=records.key_of(i),
        value=records.value_of(i),
        headers=tuple(header for header in headers if header[0] in COPIED or not header[0].startswith(OURS)),
        is_whole=not {"key.cut.from.bytes", "headers.dropped.bytes", "cut.from.bytes", "batch.records"} & about.keys(),
    )
