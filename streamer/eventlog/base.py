"""The port to the log: a log gives `Records` and takes `Output` and `Epoch`.

The loop polls a log for stretches of records and commits outputs to it. `Records` is one partition's stretch as columns
over one buffer, never a list of record objects, so a million records a second can pass through. Three logs implement
the port: `MemoryLog` (tests, and the output side of a replay), `RecordedLog` (files) and `KafkaLog` (a broker).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

import numpy as np

from detectors.arrays.types import I64, U8, Bools
from streamer.eventlog.headers import Headers, decode_headers, encode_headers
from streamer.eventlog.history import Epoch, History, Note, Start

__all__ = [
    "Epoch",
    "History",
    "Log",
    "Note",
    "Output",
    "OversizeBatch",
    "RebalanceInProgress",
    "Records",
    "Start",
    "UnitNotReady",
]


ROW_BYTES = 64  # of a record in the columns


@dataclass(frozen=True, slots=True)
class OversizeBatch:
    """A batch of records that is kept closed, because its records would take too much memory."""

    last_offset: int
    records: int
    data: bytes  # as the broker holds it: header, then compressed records
    detail: str  # why it is closed, for people


@dataclass(frozen=True, slots=True)
class Records:
    """A stretch of one topic-partition in offset order, as columns. `n` records; spans are [start, end) in `data`.

    A record with null key and value whose offset is in `oversize` stands for that batch. Parts of a stretch share the
    mapping, so it may name offsets of other parts.
    """

    topic: str
    partition: int
    data: U8
    offset: I64  # [n], increasing
    timestamp_ms: I64  # [n], the broker's or producer's record time; -1 unknown
    key: I64  # [n, 2]; start -1: null
    value: I64  # [n, 2]; start -1: null
    headers: I64  # [n, 2], as `encode_headers` writes them; start -1: none
    next_offset: int  # the position of a reader after this stretch
    oversize: Mapping[int, OversizeBatch] = field(default_factory=dict)  # offset of a stand-in -> its batch

    def __len__(self) -> int:
        return len(self.offset)

    @property
    def size_bytes(self) -> int:
        """Of memory: the bytes of all records and their places in the columns."""
        places = (self.key, self.value, self.headers)
        return len(self) * ROW_BYTES + sum(int((spans[:, 1] - spans[:, 0]).sum()) for spans in places)

    def key_of(self, i: int) -> bytes | None:
        return self._bytes(self.key, i)

    def value_of(self, i: int) -> bytes | None:
        return self._bytes(self.value, i)

    def headers_of(self, i: int) -> Headers:
        return decode_headers(self._bytes(self.headers, i))

    def headers_with(self, name: str, i: int) -> Headers:
        """The headers, or none if `name` is not among them; without a decoding then."""
        encoded = self._bytes(self.headers, i)
        return decode_headers(encoded) if encoded and name.encode() in encoded else ()

    def _bytes(self, spans: I64, i: int) -> bytes | None:
        start, end = spans[i].tolist()
        return None if start < 0 else self.data[start:end].tobytes()

    def split(self, offset: int) -> tuple[Self, Self]:
        """The records before `offset`, and those from `offset` on. Both share this stretch's buffer."""
        i = int(np.searchsorted(self.offset, offset))
        return self._cut(slice(0, i), min(offset, self.next_offset)), self._cut(slice(i, None), self.next_offset)

    def part(self, start: int, end: int) -> Self:
        """The records from index `start` to before index `end`."""
        return self._cut(slice(start, end), int(self.offset[end]) if end < len(self) else self.next_offset)

    def only(self, keep: Bools) -> Self:
        """The records where `keep` [n] is true."""
        return self._cut(keep, self.next_offset)

    def _cut(self, s: slice | Bools, next_offset: int) -> Self:
        return type(self)(
            self.topic,
            self.partition,
            self.data,
            self.offset[s],
            self.timestamp_ms[s],
            self.key[s],
            self.value[s],
            self.headers[s],
            next_offset,
            self.oversize,
        )

    @classmethod
    def build(
        cls,
        topic: str,
        partition: int,
        rows: Iterable[tuple[int, int, bytes | None, bytes | None, Headers]],
        next_offset: int | None = None,
    ) -> Self:
        """Records from (offset, timestamp_ms, key, value, headers) rows; slow, for small stretches."""
        rows = list(rows)
        parts: list[bytes] = []
        spans = np.full((3, len(rows), 2), -1, np.int64)
        end = 0
        for i, (_, _, key, value, headers) in enumerate(rows):
            for j, part in enumerate((key, value, encode_headers(headers))):
                if part is not None:
                    parts.append(part)
                    spans[j, i] = end, end + len(part)
                    end += len(part)
        return cls(
            topic,
            partition,
            np.frombuffer(b"".join(parts), np.uint8),
            np.array([r[0] for r in rows], np.int64),
            np.array([r[1] for r in rows], np.int64),
            spans[0],
            spans[1],
            spans[2],
            next_offset if next_offset is not None else (rows[-1][0] + 1 if rows else 0),
        )


@dataclass(frozen=True, slots=True)
class Output:
    """One record to publish."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class RebalanceInProgress(Exception):  # noqa: N818 - no error: the caller retries
    """The group rebalances and nothing was done: poll, check the assignment, and retry."""


class UnitNotReady(RebalanceInProgress):
    """One unit can't be taken over yet, for a reason outside this process: others can; try again later."""


class Log(Protocol):
    """The source of records and the sink of outputs and progress.

    `assignment` gives and takes units. For a unit that is new in this process, `past` returns its history, `resume`
    starts reading, and `note` adds notes to the history before the next epoch.
    """

    def poll(self, timeout_s: float) -> list[Records]:
        """Stretches of records, at most one a partition; waits up to `timeout_s` if there are none."""
        ...

    def assignment(self) -> Collection[str] | None:
        """The units of this process, if they may have changed since the last call; else None.

        `poll` gives no records of a unit until `resume`.
        """
        ...

    def past(self, unit: str, since: Epoch | None = None) -> History | None:
        """The unit's history, from its beginning or after the epoch `since`; None if the log has no such epoch.

        Raises `RebalanceInProgress` and `UnitNotReady`.
        """
        ...

    def resume(self, unit: str, ends: Mapping[str, int], topic_ids: Mapping[str, str]) -> Start:
        """Read the unit's topics from `ends` on; returns the first offsets of the topics that `ends` lacks, for `note`.

        Raises `GapError` if the log has lost records from `ends` on, or if a topic has another id than in `topic_ids`,
        `RebalanceInProgress`, and `UnitNotReady`.
        """
        ...

    def skip(self, unit: str, ends: Mapping[str, int]) -> Start:
        """As `resume`, but skips lost records; returns the offset at which each topic continues.

        Raises `RebalanceInProgress`.
        """
        ...

    def note(self, unit: str, notes: Sequence[Note]) -> None:
        """Add notes to the unit's history. Raises `RebalanceInProgress` and `InDoubtError`."""
        ...

    def clear_attempts(self, units: Mapping[str, int]) -> None:
        """Clear the last attempt at each of these units from its history, if that is still possible.

        For a process that ends because of a commit, and not because of its records. `units`: unit -> records of its
        epoch, if too many outputs exceeded the deadline of the commit; else 0. Raises nothing.
        """
        ...

    def commit(self, outputs: Sequence[Output], epochs: Sequence[Epoch]) -> list[Epoch]:
        """Make outputs and progress durable, in that order of visibility; returns the epochs with their offsets.

        Raises `InDoubtError` when the outcome is not certain, and `RebalanceInProgress`.
        """
        ...

    def hold(self, topic: str, partition: int, held: bool) -> None:
        """Stop or continue fetching a partition: its unit has buffered enough."""
        ...

    def lagging(self) -> Collection[tuple[str, int]]:
        """Topic-partitions with records that are not polled yet, or whose end is not known yet."""
        ...

    def exhausted(self) -> bool:
        """Whether no further record can come (recordings end; Kafka does not)."""
        ...

    def close(self) -> None:
        """Release all resources; safe to call twice."""
        ...
