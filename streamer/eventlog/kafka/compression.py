"""The four codecs of Kafka record batches, inflated under a bound.

A batch of ten kilobytes may inflate to hundreds of megabytes. The codecs' own one-call functions notice that only
afterwards; here the bytes come in pieces, and each piece is counted.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import lz4.frame  # type: ignore[import-untyped]
import snappy  # type: ignore[import-untyped]
import zstandard

_PIECE_BYTES = 1 << 20
_SLICE_BYTES = 1 << 14
_XERIAL_MAGIC = b"\x82SNAPPY\x00"  # framing of snappy-java, which all Kafka clients write
_XERIAL_HEADER_BYTES = 16


class InflateError(ValueError):
    """The bytes are not what their codec says."""


class OversizeError(InflateError):
    """The bytes inflate to more than the bound."""


def inflate(codec: int, data: bytes, bytes_max: int) -> bytearray:
    """`data` without its compression; `codec` is the number in a batch's attributes (1 gzip, 2 snappy, 3 lz4, 4 zstd).

    Raises InflateError when the codec is unknown or the data damaged, and OversizeError when the result would be larger
    than `bytes_max`; no more than that is inflated.
    """
    if codec not in _CODECS:
        raise InflateError(f"compression codec {codec} is unknown")
    name, pieces_of = _CODECS[codec]
    inflated = bytearray()
    try:
        for piece in pieces_of(data, bytes_max):
            if len(inflated) + len(piece) > bytes_max:
                raise OversizeError(f"the {name} data inflates to more than {bytes_max:,} bytes")
            inflated += piece
    except OversizeError:
        inflated.clear()  # whoever keeps the error must not keep this
        raise
    except Exception as error:  # each codec has errors of its own, and none shares a base with the others
        raise InflateError(f"the {name} data is damaged: {error}") from None
    return inflated


def _gzip(data: bytes, _bytes_max: int) -> Iterator[bytes]:
    at = 0
    rest = b""
    while rest or at < len(data):  # gzip files may be several members in a row
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            if not rest:  # fed in slices, because each call copies what it leaves
                rest, at = data[at : at + _SLICE_BYTES], at + _SLICE_BYTES
            is_last = not rest
            piece = member.decompress(rest, _PIECE_BYTES)
            if is_last and not piece and not member.eof:
                raise EOFError("it ends early")
            rest = member.unused_data if member.eof else member.unconsumed_tail
            yield piece


def _lz4(data: bytes, _bytes_max: int) -> Iterator[bytes]:
    frame: Any = lz4.frame.LZ4FrameDecompressor()
    while not frame.eof:
        piece = frame.decompress(data, _PIECE_BYTES)
        if not piece and not frame.eof:
            raise EOFError("it ends early")
        data = b""
        yield piece


def _zstd(data: bytes, _bytes_max: int) -> Iterator[bytes]:
    with zstandard.ZstdDecompressor().stream_reader(BytesIO(data), read_across_frames=True) as reader:
        while piece := reader.read(_PIECE_BYTES):
            yield piece


def _snappy(data: bytes, bytes_max: int) -> Iterator[bytes]:
    if not data.startswith(_XERIAL_MAGIC):
        yield _snappy_block(data, bytes_max)
        return
    at = _XERIAL_HEADER_BYTES
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 0 or at + 4 + size > len(data):
            raise EOFError("it ends early")
        yield _snappy_block(data[at + 4 : at + 4 + size], bytes_max)
        at += 4 + size


def _snappy_block(block: bytes, bytes_max: int) -> bytes:
    size = shift = 0
    for byte in block[:5]:  # a block begins with its inflated size as a varint
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    if size > bytes_max:
        raise OversizeError(f"a block of the snappy data wants {size:,} bytes")
    inflated: bytes = snappy.decompress(block)
    return inflated


_CODECS: dict[int, tuple[str, Callable[[bytes, int], Iterator[bytes]]]] = {
    1: ("gzip", _gzip),
    2: ("snappy", _snappy),
    3: ("lz4", _lz4),
    4: ("zstd", _zstd),
}
