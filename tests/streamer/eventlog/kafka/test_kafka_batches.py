"""Record batches to columns, on batches written by kafka-python's own builder."""

from __future__ import annotations

import contextlib
import random
import struct
from itertools import pairwise

import numpy as np
import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.errors import CorruptRecordError
from kafka.record import MemoryRecords
from kafka.record.memory_records import MemoryRecordsBuilder

from streamer.eventlog.base import Records
from streamer.eventlog.kafka import batches as kafka_batches
from streamer.eventlog.kafka.batches import BatchError, read_stretches

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
PRODUCER = 7

Row = tuple[int, bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]

rows_st = st.lists(
    st.tuples(
        st.integers(min_value=0, max_value=2**50),
        st.none() | st.binary(max_size=40),
        st.none() | st.binary(max_size=400),
        st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=9)), max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=30,
)


def batch(rows: list[Row], base: int = 0, codec: int = 0, producer: int | None = None) -> bytes:
    """One batch of the rows from offset `base` on, as a broker would hand it out."""
    if producer is None:
        builder = MemoryRecordsBuilder(2, codec, 1 << 30)
    else:
        builder = MemoryRecordsBuilder(2, codec, 1 << 30, transactional=True, producer_id=producer, producer_epoch=0,
                                       base_sequence=0)  # fmt: skip
    for timestamp, key, value, headers in rows:
        builder.append(timestamp, key, value, list(headers))
    builder.close()
    data = bytearray(builder.buffer())
    struct.pack_into(">q", data, 0, base)
    return bytes(data)


def marker(base: int, abort: bool, producer: int = PRODUCER) -> bytes:
    """A control batch that ends the producer's transaction."""
    data = bytearray(batch([(0, struct.pack(">hh", 0, 0 if abort else 1), b"\0" * 6, ())], base, producer=producer))
    return patched(data, 21, ">h", 0x30)


def patched(data: bytes | bytearray, at: int, layout: str, value: int) -> bytes:
    """The batch with one header field replaced and its checksum made right again."""
    data = bytearray(data)
    struct.pack_into(layout, data, at, value)
    struct.pack_into(">I", data, 17, crc32c(bytes(data[21:])))
    return bytes(data)


def simple(n: int, base: int = 0, codec: int = 0, producer: int | None = None) -> bytes:
    return batch([(1000 + i, b"k%d" % i, b"value %d" % i, ()) for i in range(n)], base, codec, producer)


def rows_of(records: Records) -> list[tuple[int, int, bytes | None, bytes | None, object]]:
    return [
        (int(offset), int(records.timestamp_ms[i]), records.key_of(i), records.value_of(i), records.headers_of(i))
        for i, offset in enumerate(records.offset)
    ]


def rows_by_the_client(data: bytes | bytearray) -> list[tuple[int, int, bytes | None, bytes | None, object]]:
    return [(r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in MemoryRecords(data).next_batch()]


def read(data: bytes, fetch_offset: int = 0, aborted: list[tuple[int, int]] | None = ()) -> list[Records]:  # type: ignore[assignment]
    return [stretch.records for stretch in read_stretches("t", 3, data, fetch_offset, aborted)]


def offsets(stretches: list[Records]) -> list[int]:
    return [int(o) for s in stretches for o in s.offset]


@pytest.mark.parametrize("codec", CODECS)
@settings(max_examples=40, deadline=None)
@given(rows=rows_st, base=st.integers(min_value=0, max_value=2**60))
def test_columns_equal_what_kafka_python_reads(codec: str, rows: list[Row], base: int) -> None:
    """Every codec, null keys and values, empty ones and headers read as the client's own parser reads them."""
    data = batch(rows, base, CODECS[codec])
    (records,) = read(data, base)
    assert rows_of(records) == rows_by_the_client(data)
    assert (records.topic, records.partition, records.next_offset) == ("t", 3, base + len(rows))


def test_columns_equal_those_of_build() -> None:
    """Spans mark null and absent parts exactly as `Records.build` marks them."""
    rows: list[Row] = [(5, None, b"v", ()), (6, b"", None, (("h", None), ("g", b"x"))), (7, None, b"", ())]
    (raw,) = read(batch(rows))
    built = Records.build("t", 3, [(i, *row) for i, row in enumerate(rows)])
    for mine, theirs in ((raw.key, built.key), (raw.value, built.value), (raw.headers, built.headers)):
        np.testing.assert_array_equal(mine < 0, theirs < 0)
    assert rows_of(raw) == rows_of(built)


def test_many_batches_make_one_stretch() -> None:
    """Batches of any codec that stand in one fetch become one stretch in offset order."""
    data = b"".join(simple(4, 4 * i, codec) for i, codec in enumerate((0, 3, 0, 4, 1, 2)))
    (records,) = read(data)
    assert offsets([records]) == list(range(24))
    assert records.value_of(23) == b"value 3"


def test_stretches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fetch that inflates to much comes as several stretches, each continuing where the last one ended."""
    monkeypatch.setattr(kafka_batches, "STRETCH_BYTES_MAX", 1000)
    stretches = read(b"".join(simple(20, 20 * i, 3) for i in range(20)))
    assert len(stretches) > 3
    assert all(before.next_offset == after.offset[0] for before, after in pairwise(stretches))
    assert offsets(stretches) == list(range(400))


def test_fetch_that_begins_inside_a_batch() -> None:
    """Records before the offset that was asked for are left out, whole batches of them too."""
    data = simple(5) + simple(5, 5) + simple(5, 10)
    for start in range(16):
        stretches = read(data, start)
        assert offsets(stretches) == list(range(start, 15))
        assert stretches[-1].next_offset == 15


def test_cut_last_batch_is_left_for_the_next_fetch() -> None:
    """A fetch cut anywhere gives its whole batches and stands before the cut one."""
    whole, data = simple(5), simple(5) + simple(5, 5)
    for end in range(len(whole), len(data)):
        stretches = read(data[:end])
        assert offsets(stretches) == list(range(5))
        assert stretches[-1].next_offset == 5
    assert read(b"") == []


def test_append_time_is_the_time_of_all_records() -> None:
    """Under log-append time every record carries the batch's greatest time."""
    (records,) = read(patched(simple(3), 21, ">h", 0x08))
    assert records.timestamp_ms.tolist() == [1002, 1002, 1002]


def test_aborted_transaction_is_not_seen() -> None:
    """Of two interleaved transactions only the committed one is read, and the position ends behind the markers."""
    other = PRODUCER + 1
    data = b"".join([
        simple(2, 0, 3, PRODUCER), simple(2, 2, 0, other), simple(1, 4, 0, PRODUCER), marker(5, True),
        simple(2, 6, 0, PRODUCER), marker(8, False), marker(9, False, other),
    ])  # fmt: skip
    stretches = read(data, 0, [(0, PRODUCER)])
    assert offsets(stretches) == [2, 3, 6, 7]
    assert stretches[-1].next_offset == 10
    assert offsets(read(data, 0, None)) == [0, 1, 2, 3, 4, 6, 7]


def test_only_aborted_data_still_moves_on() -> None:
    """A fetch with nothing for us gives an empty stretch that says where to go on, lest the reader stand for ever."""
    (records,) = read(simple(3, 0, 0, PRODUCER) + marker(3, True), 0, [(0, PRODUCER)])
    assert (len(records), records.next_offset) == (0, 4)


def test_compacted_batches() -> None:
    """Holes of compaction stay holes, and a batch without any records left moves the position behind it."""
    builder = MemoryRecordsBuilder(2, 0, 1 << 20)
    for _ in range(3):
        builder.append(1, b"k", b"v", [])
        builder.skip(4)
    builder.close()
    holes = bytes(builder.buffer())
    (records,) = read(holes)
    assert (records.offset.tolist(), records.next_offset) == ([0, 5, 10], 11)
    empty = patched(patched(simple(1)[:61], 57, ">i", 0), 8, ">i", 49)
    (records,) = read(patched(empty, 23, ">i", 41))
    assert (len(records), records.next_offset) == (0, 42)


def test_damaged_batch_gives_what_is_before_it_and_then_the_error() -> None:
    """A flipped bit is found by the checksum; the batches before it are not lost."""
    data = bytearray(simple(3) + simple(3, 3))
    data[-2] ^= 4
    stretches = read_stretches("t", 3, bytes(data), 0)
    assert offsets([next(stretches).records]) == [0, 1, 2]
    with pytest.raises(BatchError, match="t-3: the batch at offset 3 does not match its checksum"):
        next(stretches)


def test_leader_epoch_is_that_of_the_last_batch() -> None:
    """Each stretch says under which leader its end was written, by which the client finds truncation."""
    data = b"".join(patched(simple(1, i), 12, ">i", 5 + i) for i in range(3))
    assert [s.leader_epoch for s in read_stretches("t", 3, data, 0)] == [7]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (patched(simple(2), 57, ">i", 1), "malformed record"),
        (patched(simple(2), 57, ">i", 3), "malformed record"),
        (patched(simple(2), 57, ">i", 2**31 - 1), "too short for its 2147483647 records"),
        (patched(simple(2), 57, ">i", -1), "impossible header"),
        (patched(simple(2), 23, ">i", 0), "malformed record"),
        (patched(simple(2), 8, ">i", 0), "impossible header"),
        (patched(simple(2), 8, ">i", -100), "impossible header"),
        (
            patched(simple(2), 16, ">b", 1),
            "has format 1, from before Kafka 0.11, and only format 2",
        ),
        (patched(simple(2), 21, ">h", 5), "codec 5 is unknown"),
        (patched(simple(2), 21, ">h", 3), "lz4 data is damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_impossible_batches_are_named(data: bytes, said: str) -> None:
    """Each way a batch can be wrong, right checksum or not, is an error with the offset and the cause."""
    with pytest.raises(BatchError, match=said):
        read(data)


@pytest.mark.parametrize("length", [2**63 - 1, 2**62, 2**31, 200, 40, 13, 11, 0, -1, -2, -(2**63)])
@pytest.mark.parametrize("field", range(8))
def test_every_length_in_a_record_is_bounded(field: int, length: int) -> None:
    """A record whose lengths lie never makes the kernel read outside the batch; it is an error, never a crash."""
    numbers = [12, 0, 0, 1, 1, 1, 1, 1]
    numbers[field] = length
    size, ms, delta, key, value, headers, name, content = (varint(n) for n in numbers)
    record = size + b"\0" + ms + delta + key + b"K" + value + b"V" + headers + name + b"N" + content + b"C"
    header = bytearray(simple(1)[:61])
    struct.pack_into(">i", header, 8, 49 + len(record))
    try:
        stretches = read(patched(bytes(header) + record, 57, ">i", 1))
    except BatchError:
        return
    for stretch in stretches:
        rows_of(stretch)


def framed(*bodies: bytes) -> bytes:
    """A batch of records given as bytes behind their lengths."""
    records = b"".join(varint(len(body)) + body for body in bodies)
    header = bytearray(simple(1)[:61])
    struct.pack_into(">i", header, 8, 49 + len(records))
    struct.pack_into(">i", header, 23, len(bodies) - 1)
    return patched(bytes(header) + records, 57, ">i", len(bodies))


def test_records_must_fill_their_length_and_name_their_headers() -> None:
    """A record with bytes to spare, or with a header whose name is null, is malformed although all fits its batch."""
    first, second = b"\0\0\0\1\1\0", b"\0\0\2\1\1\0"
    assert offsets(read(framed(first, second))) == [0, 1]
    named = first[:-1] + varint(1) + varint(0) + varint(-1)
    assert read(framed(named))[0].headers_of(0) == (("", None),)
    for bad in (framed(first + second, second), framed(first[:-1] + varint(1) + varint(-1) + varint(-1))):
        with pytest.raises(BatchError, match="malformed"):
            read(bad)


def test_abort_hides_transactional_batches_only() -> None:
    """What a producer wrote outside of transactions stays visible when a transaction of its is aborted."""
    outside = patched(simple(1, 1, 0, PRODUCER), 21, ">h", 0)
    assert offsets(read(simple(1, 0, 0, PRODUCER) + outside + marker(2, True), 0, [(0, PRODUCER)])) == [1]


def varint(number: int) -> bytes:
    rest = (number << 1) ^ (number >> 63)
    rest &= 2**64 - 1
    out = bytearray()
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    return bytes([*out, rest])


@pytest.mark.parametrize("codec", CODECS)
def test_random_damage_never_crashes(codec: str) -> None:
    """Bytes flipped anywhere, with the checksum made right again, are a BatchError or what the client reads too."""
    rng = random.Random(codec)
    good = batch([(i, b"key%d" % i, b"v" * i, (("h", b"x"),) * (i % 3)) for i in range(40)], 0, CODECS[codec])
    for _ in range(1500):
        data = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(23 if rng.random() < 0.2 else 61, len(data))] = rng.randrange(256)
        data = bytearray(data[: rng.randint(61, len(data))]) if rng.random() < 0.1 else data
        struct.pack_into(">i", data, 8, len(data) - 12)
        struct.pack_into(">I", data, 17, crc32c(bytes(data[21:])))
        try:
            stretches = read(bytes(data))
        except BatchError:
            continue
        accepted = [row for records in stretches for row in rows_of_spans(records)]
        # The client also stumbles over an attributes byte above 127 and over header names that are not UTF-8.
        with contextlib.suppress(CorruptRecordError):
            assert accepted == rows_by_the_client(data)


def rows_of_spans(records: Records) -> list[tuple[int, int, bytes | None, bytes | None, object]]:
    """The rows, once it is sure that no span leaves the data."""
    for spans in (records.key, records.value, records.headers):
        assert (spans[:, 1] <= len(records.data)).all()
        assert (spans[:, 0] <= spans[:, 1]).all()
    assert (np.diff(records.offset) > 0).all()
    return rows_of(records)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_never_crash(data: bytes) -> None:
    """Bytes that never were a batch give nothing or a BatchError."""
    with contextlib.suppress(BatchError):
        assert offsets(read(data)) == []
