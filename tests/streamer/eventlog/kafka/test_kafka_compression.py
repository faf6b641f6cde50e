"""Compressed batches: what inflates is bounded, complete, or an error; one record stands in for a batch too large."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zlib
from typing import Any

import pytest
from crc32c import crc32c
from kafka.record.memory_records import MemoryRecordsBuilder

from streamer.eventlog.kafka import batches as kafka_batches
from streamer.eventlog.kafka.batches import BATCH_BYTES_MAX, BatchStretch, read_stretches
from streamer.eventlog.kafka.compression import InflateError, inflate
from streamer.eventlog.kafka.fetch import RECORD_BYTES


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


CODECS = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


def batch(base: int, values: list[bytes | None], codec: int) -> bytes:
    """One batch from offset `base` on, as a broker would hand it out; its times are its indices."""
    builder = MemoryRecordsBuilder(2, codec, 1 << 30)
    for i, value in enumerate(values):
        builder.append(1000 + i, None, value, [])
    builder.close()
    data = bytearray(builder.buffer())
    struct.pack_into(">q", data, 0, base)
    return bytes(data)


def bomb(codec: str) -> bytes:
    """Three records at offsets 10 to 12 that inflate to more than a batch may take."""
    return batch(10, [bytes(BATCH_BYTES_MAX // 3 + 1)] * 3, CODECS[codec])


def read(data: bytes, fetch_offset: int = 0) -> list[BatchStretch]:
    return list(read_stretches("t", 0, data, fetch_offset))


def rows(stretches: list[BatchStretch]) -> list[tuple[int, int, bytes | None, bytes | None]]:
    found = [(stretch.records, i) for stretch in stretches for i in range(len(stretch.records))]
    return [(int(r.offset[i]), int(r.timestamp_ms[i]), r.key_of(i), r.value_of(i)) for r, i in found]


@pytest.mark.parametrize("codec", CODECS)
def test_one_record_stands_for_a_batch_that_inflates_too_far(codec: str) -> None:
    """It has the batch's first offset and time, and says where the batch ends; the neighbours are read as ever."""
    closed = bomb(codec)
    found = read(batch(8, [b"a", b"b"], CODECS[codec]) + closed + batch(13, [b"c"], CODECS[codec]))
    assert rows(found) == [(8, 1000, None, b"a"), (9, 1001, None, b"b"), (10, 1000, None, None), (13, 1000, None, b"c")]
    (one,) = [stretch.records.oversize for stretch in found if stretch.records.oversize]
    assert list(one) == [10]
    assert (one[10].last_offset, one[10].records, one[10].data) == (12, 3, closed)
    assert "too much memory" in one[10].detail
    assert found[-1].records.next_offset == 14


def test_a_read_that_begins_within_such_a_batch_finds_it() -> None:
    """The record that stands for it is at the offset where reading begins."""
    (found,) = read(bomb("zstd"), 11)
    assert rows([found]) == [(11, 1000, None, None)]
    assert list(found.records.oversize) == [11]
    assert found.records.next_offset == 13


@pytest.mark.parametrize("codec", CODECS)
def test_a_million_empty_records_are_too_many(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their bytes are few; their places in the columns are not."""
    monkeypatch.setattr(kafka_batches, "BATCH_BYTES_MAX", 1 << 20)
    (found,) = read(batch(0, [None] * 20_000, CODECS[codec]))
    assert rows([found]) == [(0, 1000, None, None)]
    assert found.records.oversize[0].records == 20_000
    assert "there are 20,000 of them" in found.records.oversize[0].detail


@pytest.mark.parametrize("codec", CODECS)
def test_memory_is_bounded_while_a_batch_is_read(codec: str) -> None:
    """Whatever the batch wants, no more than the bound and a little is taken, and nothing of it is kept."""
    closed = bomb(codec) * 4
    tracemalloc.start()
    try:
        found = read(closed)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == 4
    assert peak < BATCH_BYTES_MAX * 2
    assert kept < len(closed) + (1 << 20)


def test_one_poll_opens_one_such_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as many records towards the limit of a poll, because it takes as long to read as they."""
    found = read(bomb("zstd") * 3)
    assert [stretch.cost_bytes // RECORD_BYTES for stretch in found] == [BATCH_BYTES_MAX // RECORD_BYTES] * 3
    assert BATCH_BYTES_MAX // RECORD_BYTES > 100_000


def test_a_gzip_body_of_many_members_takes_time_by_its_length() -> None:
    """100,000 empty members, 2 MB: each costs what it holds, not what follows it."""
    import gzip

    members = gzip.compress(b"") * 100_000 + gzip.compress(b"end")
    assert inflate(1, members, 100) == b"end"


def patched(data: bytes, at: int, layout: str, value: Any) -> bytes:
    """The batch with one header field replaced and its checksum made right again."""
    changed = bytearray(data)
    struct.pack_into(layout, changed, at, value)
    struct.pack_into(">I", changed, 17, crc32c(bytes(changed[21:])))
    return bytes(changed)


@pytest.mark.parametrize("codec", CODECS)
def test_a_count_that_lies_is_no_oversize_batch(codec: str) -> None:
    """A batch that is too short for its records is damaged, however many they are."""
    with pytest.raises(kafka_batches.BatchError, match="too short for its 2147483647 records"):
        read(patched(batch(0, [b"a"], CODECS[codec]), 57, ">i", 2**31 - 1))
