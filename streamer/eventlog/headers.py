"""Record headers as one span of bytes: a count, then for each header its name and value, lengths as varints.

Headers are few and rarely read (dead letters, CloudEvents), so a `Records` carries them encoded and decodes on demand.
The layout is that of the header section of a Kafka v2 record (KIP-82; zig-zag varints), so raw record batches need no
re-encoding.
"""

from __future__ import annotations

Headers = tuple[tuple[str, bytes | None], ...]

OWNER_HEADER = "__driftline.group"  # of each output: the group of the service that writes it
ORIGIN_HEADER = "__driftline.origin"  # of a copy with another key: topic/partition/offset of its record
KEY_HEADER = "__driftline.key"  # the key that the record has there, unless that is null
ROWS_HEADER = "__driftline.rows"  # the rows that count in this copy, as in 0-3,7; absent: all
VARINT_BYTES_MAX = 10  # of 64 bits


def encode_headers(headers: Headers) -> bytes | None:
    """The headers as bytes; None when there are none."""
    if not headers:
        return None
    out = bytearray(encode_varint(len(headers)))
    for name, value in headers:
        encoded = name.encode()
        out += encode_varint(len(encoded)) + encoded
        out += encode_varint(-1) if value is None else encode_varint(len(value)) + value
    return bytes(out)


def decode_headers(data: bytes | None) -> Headers:
    """The inverse of `encode_headers`. Names that are not UTF-8 keep their bytes as replacement characters.

    Raises `ValueError` when the bytes are cut short or claim lengths they don't have.
    """
    if data is None:
        return ()
    count, at = _read_varint(data, 0)
    if count < 0:
        raise ValueError(f"Record headers claim a count of {count}.")
    headers = []
    for _ in range(count):
        size, at = _read_varint(data, at)
        name, at = _read(data, at, size).decode(errors="replace"), at + size
        size, at = _read_varint(data, at)
        headers.append((name, None if size == -1 else _read(data, at, size)))
        at += max(size, 0)
    return tuple(headers)


def encode_varint(number: int) -> bytes:
    """A signed integer of up to 64 bits as a zig-zag varint."""
    rest = number << 1 if number >= 0 else (-number << 1) - 1
    out = bytearray()
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def _read(data: bytes, at: int, size: int) -> bytes:
    # A negative size would step back and read the same bytes for ever.
    if not 0 <= size <= len(data) - at:
        raise ValueError(f"Record headers claim {size} bytes at {at} of {len(data)}.")
    return data[at : at + size]


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    result = 0
    for i, byte in enumerate(data[at : at + VARINT_BYTES_MAX]):
        result |= (byte & 127) << 7 * i
        if byte < 128:
            return (result >> 1) ^ -(result & 1), at + i + 1
    raise ValueError(f"Record headers end, or run on, within the number at {at} of {len(data)} bytes.")
