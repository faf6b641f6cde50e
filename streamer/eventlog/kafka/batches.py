"""Kafka record batches (format v2) to `Records`, without an object per record.

A fetch brings the bytes of whole batches; the last one may be cut. `read_stretches` walks over the batches, skips the
ones that a reader of committed data must not see and inflates the others. A kernel finds the parts of each record.

Source of the format: https://kafka.apache.org/documentation/#recordbatch; of aborted transactions: KIP-98.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from crc32c import crc32c
from numba import njit

from detectors.arrays.types import I64, U8
from streamer.eventlog.base import ROW_BYTES, OversizeBatch, Records
from streamer.eventlog.kafka.compression import InflateError, OversizeError, inflate

BATCH_BYTES_MAX = 64 << 20  # a batch whose records and their places take more memory is kept closed
STRETCH_BYTES_MAX = 16 << 20  # a stretch ends with the batch that reaches this size, inflated

_HEADER = struct.Struct(">qiibIhiqqqhii")
_LENGTH_END = 12  # the length field counts the bytes from here on
_CRC_START = 21  # the checksum covers the bytes from here on
_RECORD_BYTES_MIN = 7
_ABORT_MARKER = 0
# The kernel reads a few varints beyond the end of a record before it checks, so the buffer is padded.
_PADDING = bytes(64)

_Int = Any  # a machine integer: Python's to a reader, 64 bits to numba


class BatchError(ValueError):
    """A batch that can't be read: damaged, malformed, or of an old format."""


class BatchHeader(NamedTuple):
    """The 61 bytes before a batch's records, in their order."""

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    first_timestamp_ms: int
    max_timestamp_ms: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def last_offset(self) -> int:
        return self.base_offset + self.last_offset_delta

    @property
    def codec(self) -> int:
        return self.attributes & 0x07

    @property
    def append_time(self) -> bool:
        return bool(self.attributes & 0x08)

    @property
    def transactional(self) -> bool:
        return bool(self.attributes & 0x10)

    @property
    def control(self) -> bool:
        return bool(self.attributes & 0x20)


class BatchStretch(NamedTuple):
    """Consecutive records, and the leader epoch of the last of them (KIP-320)."""

    records: Records
    leader_epoch: int
    cost_bytes: int  # of memory that it took to read


class _Batch(NamedTuple):
    header: BatchHeader
    body: bytes | bytearray | memoryview  # inflated records; empty when the batch is skipped
    record_count: int
    oversize: OversizeBatch | None = None  # the body is then one record that stands for the batch

    @property
    def cost_bytes(self) -> int:
        return len(self.body) if self.oversize is None else BATCH_BYTES_MAX


def read_stretches(
    topic: str,
    partition: int,
    fetched: bytes | memoryview,
    fetch_offset: int,
    aborted: Iterable[tuple[int, int]] | None = (),
) -> Iterator[BatchStretch]:
    """The records of a fetch from `fetch_offset` on, in stretches of bounded size.

    An empty stretch may still advance the position. `aborted` holds (first offset, producer id) of the aborted
    transactions, which the broker sends with a fetch; None reads uncommitted data. One record stands in for a batch of
    more than `BATCH_BYTES_MAX` (see `Records.oversize`). Raises BatchError at a batch that can't be read, after it has
    yielded all records before it.
    """
    walk = _walk(fetched, fetch_offset, aborted)
    fault: BatchError | None = None
    while fault is None:
        batches, fault = _gather(walk)
        if not batches and fault is None:
            return
        cost_bytes = sum(batch.cost_bytes for batch in batches)
        records, whole = _columns(topic, partition, batches, fetch_offset)
        if whole < len(batches):
            fault = BatchError(f"the batch at offset {batches[whole].header.base_offset} holds a malformed record")
        if whole:
            fetch_offset = max(fetch_offset, batches[whole - 1].header.last_offset + 1)
            records = replace(records, next_offset=fetch_offset)
            yield BatchStretch(records, batches[whole - 1].header.leader_epoch, cost_bytes)
    raise BatchError(f"{topic}-{partition}: {fault}") from fault


def _gather(walk: Iterator[_Batch]) -> tuple[list[_Batch], BatchError | None]:
    batches: list[_Batch] = []
    size = 0
    try:
        for batch in walk:
            batches.append(batch)
            size += batch.cost_bytes
            if size >= STRETCH_BYTES_MAX:
                break
    except BatchError as error:
        return batches, error
    return batches, None


def _walk(
    fetched: bytes | memoryview, fetch_offset: int, aborted: Iterable[tuple[int, int]] | None
) -> Iterator[_Batch]:
    """Every whole batch; skipped ones come without their records."""
    view = memoryview(fetched)
    begins = deque(sorted(aborted or ()))
    aborting: set[int] = set()
    at = 0
    while at + _HEADER.size <= len(view):
        header = BatchHeader._make(_HEADER.unpack_from(view, at))
        end = at + _LENGTH_END + header.length
        _check_header(header)
        if end > len(view):
            return  # the broker may cut a fetch anywhere; the rest comes with the next fetch
        _check_crc(header, view[at:end])
        wanted = not header.control and header.last_offset >= fetch_offset
        if aborted is not None and header.producer_id >= 0:
            while begins and begins[0][0] <= header.last_offset:
                aborting.add(begins.popleft()[1])
            if header.control and _is_abort(header, view[at:end]):
                aborting.discard(header.producer_id)
            elif header.transactional and header.producer_id in aborting:
                wanted = False
        yield _open(header, view[at:end], fetch_offset) if wanted else _Batch(header, b"", 0)
        at = end


def _check_header(header: BatchHeader) -> None:
    where = f"the batch at offset {header.base_offset}"
    if header.magic != 2:
        raise BatchError(
            f"{where} has format {header.magic}, from before Kafka 0.11, and only format 2 can be read: copy the topic "
            "with a current producer, or let its old records expire, then restart"
        )
    if header.length < _HEADER.size - _LENGTH_END or header.record_count < 0 or header.last_offset_delta < 0:
        raise BatchError(f"{where} has an impossible header")


def _check_crc(header: BatchHeader, batch: memoryview) -> None:
    if crc32c(batch[_CRC_START:]) != header.crc:
        raise BatchError(f"the batch at offset {header.base_offset} does not match its checksum")


def _open(header: BatchHeader, batch: memoryview, fetch_offset: int) -> _Batch:
    records: bytes | bytearray | memoryview = batch[_HEADER.size :]
    if header.codec:
        try:
            records = inflate(header.codec, bytes(records), BATCH_BYTES_MAX)
        except OversizeError as error:
            return _closed(header, batch, fetch_offset, str(error))
        except InflateError as error:
            raise BatchError(f"the batch at offset {header.base_offset} can't be inflated: {error}") from error
    # The count is checked before anything is allocated by it.
    if header.record_count * _RECORD_BYTES_MIN > len(records):
        raise BatchError(f"the batch at offset {header.base_offset} is too short for its {header.record_count} records")
    if len(records) + header.record_count * ROW_BYTES > BATCH_BYTES_MAX:
        return _closed(header, batch, fetch_offset, f"there are {header.record_count:,} of them")
    return _Batch(header, records, header.record_count)


def _closed(header: BatchHeader, batch: memoryview, fetch_offset: int, reason: str) -> _Batch:
    """One record with null key and value in place of all, at the first offset that is to be read."""
    delta = max(fetch_offset - header.base_offset, 0)
    rest = b"\x00\x00" + _varint(delta) + b"\x01\x01\x00"  # attributes, time, offset, key, value, headers
    detail = f"the batch is not opened, because its records would take too much memory: {reason}"
    oversize = OversizeBatch(header.last_offset, header.record_count, bytes(batch), detail)
    return _Batch(header, _varint(len(rest)) + rest, 1, oversize)


def _varint(number: int) -> bytes:
    """A number from 0 on, zig-zag encoded."""
    number <<= 1
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def _is_abort(header: BatchHeader, batch: memoryview) -> bool:
    """Whether a control batch ends its producer's transaction by an abort (and not by a commit)."""
    marker, _ = _columns("", 0, [_open(header, batch, header.base_offset)], header.base_offset)
    key = marker.key_of(0) if len(marker) else None
    return key is not None and len(key) >= 4 and int.from_bytes(key[2:4], "big") == _ABORT_MARKER


def _columns(topic: str, partition: int, batches: Sequence[_Batch], fetch_offset: int) -> tuple[Records, int]:
    """The records of the batches before the first malformed one, and the number of these batches."""
    facts = np.array([_facts(b) for b in batches], np.int64).reshape(-1, 6)
    data = _in_one(batches)
    total = int(facts[:, 1].sum())
    offset, timestamp_ms = np.empty((2, total), np.int64)
    key, value, headers = np.empty((3, total, 2), np.int64)
    whole, rows = _parse(data, facts, offset, timestamp_ms, key, value, headers)
    wanted = slice(int(np.searchsorted(offset[:rows], fetch_offset)), rows)  # a fetch may begin inside a batch
    offset, timestamp_ms, key = offset[wanted], timestamp_ms[wanted], key[wanted]
    value, headers = value[wanted], headers[wanted]
    oversize = {max(b.header.base_offset, fetch_offset): b.oversize for b in batches if b.oversize is not None}
    return Records(topic, partition, data, offset, timestamp_ms, key, value, headers, 0, oversize), whole


def _in_one(batches: Sequence[_Batch]) -> U8:
    """The bodies end to end with padding behind them; one large body is not copied."""
    body = batches[0].body if len(batches) == 1 else b""
    if not isinstance(body, bytearray):
        return np.frombuffer(b"".join([*(b.body for b in batches), _PADDING]), np.uint8)
    body += _PADDING
    return np.frombuffer(body, np.uint8)


def _facts(batch: _Batch) -> tuple[int, int, int, int, int, int]:
    """A batch for the kernel: bytes, records, base offset, greatest delta, time, 1 if all records have that time."""
    header = batch.header
    first_ms = header.max_timestamp_ms if header.append_time else header.first_timestamp_ms
    size = len(batch.body)
    return size, batch.record_count, header.base_offset, header.last_offset_delta, first_ms, int(header.append_time)


@njit(cache=True, nogil=True, inline="always")
def _read_varint(data: U8, at: int) -> tuple[_Int, _Int]:
    """A zig-zag varint and the position behind it; -1 when the number exceeds 64 bits."""
    bits = np.uint64(0)
    for i in range(10):
        byte = np.uint64(data[at + i])
        bits |= (byte & np.uint64(127)) << np.uint64(7 * i)
        if byte < 128:
            return np.int64(bits >> np.uint64(1)) ^ -np.int64(bits & np.uint64(1)), at + i + 1
    return np.int64(0), -1


@njit(cache=True, nogil=True, inline="always")
def _read_span(data: U8, at: int, stop: int) -> tuple[_Int, _Int, _Int]:
    """Start and end of a length-prefixed part (-1, -1: null) and the position behind it; -1 when it exceeds `stop`."""
    size, at = _read_varint(data, at)
    if at < 0 or size < -1 or size > stop - at:
        return -1, -1, -1
    if size < 0:
        return -1, -1, at
    return at, at + size, at + size


@njit(cache=True, nogil=True, inline="always")
def _skip_headers(data: U8, at: int, stop: int) -> tuple[_Int, _Int]:
    """Number of headers and the position behind them; -1 when they are malformed."""
    count, at = _read_varint(data, at)
    if at < 0 or count < 0:
        return count, -1
    for _ in range(count):
        name, _end, at = _read_span(data, at, stop)
        if name < 0 or at < 0:
            return count, -1
        _start, _end, at = _read_span(data, at, stop)
        if at < 0:
            return count, -1
    return count, at


@njit(cache=True, nogil=True, error_model="numpy")
def _parse(data: U8, facts: I64, offset: I64, timestamp_ms: I64, key: I64, value: I64, headers: I64) -> tuple[int, int]:
    """Fill the columns from consecutive batches in `data`; the number of well-formed batches, and of their records."""
    row = 0
    end = 0
    for batch in range(len(facts)):
        first_row = row
        at = end
        end = at + facts[batch, 0]
        last_delta: _Int = np.int64(-1)
        for _ in range(facts[batch, 1]):
            length, at = _read_varint(data, at)
            if at < 0 or length < 0 or length > end - at:
                return batch, first_row
            stop = at + length
            ms, at = _read_varint(data, at + 1)  # a byte of attributes without meaning comes first
            if at < 0:
                return batch, first_row
            delta, at = _read_varint(data, at)
            if at < 0 or delta <= last_delta or delta > facts[batch, 3]:
                return batch, first_row
            last_delta = delta
            offset[row] = facts[batch, 2] + delta
            timestamp_ms[row] = facts[batch, 4] if facts[batch, 5] else facts[batch, 4] + ms
            key[row, 0], key[row, 1], at = _read_span(data, at, stop)
            if at < 0:
                return batch, first_row
            value[row, 0], value[row, 1], at = _read_span(data, at, stop)
            if at < 0:
                return batch, first_row
            headers_start = at
            count, at = _skip_headers(data, at, stop)
            if at != stop:
                return batch, first_row
            headers[row, 0] = headers_start if count else -1
            headers[row, 1] = stop if count else -1
            row += 1
        if at != end:
            return batch, first_row
    return len(facts), row
