"""Record headers as one span of bytes: a count, then for each header its name and value, lengths as varints.

Headers are few and rarely read (dead letters, CloudEvents), so a `Records` carries them encoded and decodes on demand.
The layout is that of the header section of a Kafka v2 record (KIP-82; zig-zag varints), so raw record batches need no
re-encoding.
"""

from __future__ import annotations

Headers = tuple[tuple[str, bytes | None], ...]


def encode_headers(headers: Headers) -> bytes | None:
    """The headers as bytes; None when there are none."""
    if not headers:
        return None
    out = bytearray(_varint(len(headers)))
    for name, value in headers:
        encoded = name.encode()
        out += _varint(len(encoded)) + encoded
        out += _varint(-1) if value is None else _varint(len(value)) + value
    return bytes(out)


def decode_headers(data: bytes | None) -> Headers:
    """The inverse of `encode_headers`. Names that are not UTF-8 keep their bytes as replacement characters."""
    if data is None:
        return ()
    count, at = _read_varint(data, 0)
    headers = []
    for _ in range(count):
        size, at = _read_varint(data, at)
        name, at = data[at : at + size].decode(errors="replace"), at + size
        size, at = _read_varint(data, at)
        headers.append((name, None if size < 0 else data[at : at + size]))
        at += max(size, 0)
    return tuple(headers)


def _varint(number: int) -> bytes:
    rest = number << 1 if number >= 0 else (-number << 1) - 1
    out = bytearray()
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    shift = result = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 127) << shift
        if byte < 128:
            return (result >> 1) ^ -(result & 1), at
        shift += 7
