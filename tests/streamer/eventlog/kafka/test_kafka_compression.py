"""Compressed batches: what inflates is bounded, complete, or an error."""

from __future__ import annotations

import random
import zlib

import pytest
from kafka.record.memory_records import MemoryRecordsBuilder

from streamer.eventlog.kafka.compression import InflateError, inflate


def compressed(codec: int, data: bytes) -> bytes:
    builder = MemoryRecordsBuilder(2, codec, 1 << 30)
    builder.append(0, None, data, [])
    builder.close()
    return bytes(builder.buffer())[61:]


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_inflating_is_bounded(codec: int) -> None:
    """Ten kilobytes that want to be ten megabytes are refused at the bound, and pass under a higher one."""
    bomb = compressed(codec, bytes(10 << 20))
    with pytest.raises(InflateError, match=r"inflates to more|wants"):
        inflate(codec, bomb, 1 << 14)
    assert inflate(codec, bomb, 11 << 20).endswith(bytes(10 << 20) + b"\0")


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_cut_compressed_data_is_an_error(codec: int) -> None:
    """Compressed data cut anywhere is damaged; it neither loops nor passes as complete."""
    whole = compressed(codec, random.Random(1).randbytes(500) * 4)
    expected = inflate(codec, whole, 1 << 20)
    for end in range(len(whole)):
        try:
            assert inflate(codec, whole[:end], 1 << 20) != expected
        except InflateError:
            continue


def test_gzip_members_in_a_row() -> None:
    """A gzip body of two members is both of them."""
    member = zlib.compressobj(wbits=31)
    first = member.compress(b"one") + member.flush()
    assert inflate(1, first + first, 100) == b"oneone"


def test_snappy_without_framing() -> None:
    """A bare snappy block, as some producers write it, is read too."""
    import snappy

    assert inflate(2, snappy.compress(b"abc" * 100), 1000) == b"abc" * 100
