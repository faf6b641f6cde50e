"""The port to the log: what a log gives (`Records`) and takes (`Output`, `Epoch`).

A log is polled for stretches of records and given outputs to commit. `Records` is one partition's stretch as columns
over one buffer, never a list of record objects, so that a million records a second can pass through. Three logs stand
behind the port: `memory_log` (tests, and the output side of a replay), `recorded_log` (files), `kafka_log` (a broker).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from streamer.logs.headers import Headers, decode_headers, encode_headers

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Records:
    """A stretch of one topic-partition in offset order, as columns. `n` records; spans are [start, end) in `data`."""

    topic: str
    partition: int
    data: U8
    offset: I64  # [n], increasing
    timestamp_ms: I64  # [n], the broker's or producer's record time; -1 unknown
    key: I64  # [n, 2]; start -1: null
    value: I64  # [n, 2]; start -1: null
    headers: I64  # [n, 2], as `encode_headers` writes them; start -1: none
    next_offset: int  # where a reader stands once this stretch is consumed

    def __len__(self) -> int:
        return len(self.offset)

    def key_of(self, i: int) -> bytes | None:
        return self._bytes(self.key, i)

    def value_of(self, i: int) -> bytes | None:
        return self._bytes(self.value, i)

    def headers_of(self, i: int) -> Headers:
        return decode_headers(self._bytes(self.headers, i))

    def _bytes(self, spans: I64, i: int) -> bytes | None:
        start, end = spans[i]
        return None if start < 0 else self.data[start:end].tobytes()

    def split(self, offset: int) -> tuple[Self, Self]:
        """The records before `offset`, and those from it on. Both share this stretch's buffer."""
        i = int(np.searchsorted(self.offset, offset))
        return self._cut(slice(0, i), min(offset, self.next_offset)), self._cut(slice(i, None), self.next_offset)

    def part(self, start: int, end: int) -> Self:
        """The records from index `start` to before index `end`."""
        return self._cut(slice(start, end), int(self.offset[end]) if end < len(self) else self.next_offset)

    def _cut(self, s: slice, next_offset: int) -> Self:
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
        )

    @classmethod
    def build(
        cls,
        topic: str,
        partition: int,
        rows: Iterable[tuple[int, int, bytes | None, bytes | None, Headers]],
        next_offset: int | None = None,
    ) -> Self:
        """Records from (offset, timestamp_ms, key, value, headers) rows: the slow, plain way, for small stretches."""
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


@dataclass(frozen=True, slots=True)
class Epoch:
    """One committed step of one fold unit: everything up to `ends` has been folded, and this many outputs came of it.

    A unit folds each epoch in one order (see `streamer/merge.py`), so the epochs of a unit are the script by which
    anyone can fold the same log again and get the same bytes.
    """

    unit: str  # "detect-<partition>" or "decide"
    number: int  # 1, 2, ... within the unit
    ends: Mapping[str, int]  # topic -> end offset of the unit's partition of it, for every topic seen so far
    outputs: int = 0
    digest: str = ""  # blake2b-128 over the outputs, in order


@dataclass(frozen=True, slots=True)
class Past:
    """What a unit has done before this process started."""

    epochs: Sequence[Epoch]  # 1, 2, ... without gaps
    committed: int  # epochs up to this number have their outputs in the log; later ones must publish again


class Log(Protocol):
    """Where records come from and outputs go."""

    def past(self) -> Mapping[str, Past]:
        """What each unit has already done; polling then starts at the first record those epochs need."""
        ...

    def poll(self, timeout_s: float) -> list[Records]:
        """Stretches of records, at most one a partition, waiting up to `timeout_s` if there are none."""
        ...

    def commit(self, outputs: Sequence[Output], epochs: Sequence[Epoch]) -> None:
        """Make outputs and progress durable, in that order of visibility. Raises `Doubt` when that is not certain."""
        ...

    def hold(self, topic: str, partition: int, held: bool) -> None:
        """Stop (or go on) fetching a partition, because its unit has buffered enough."""
        ...

    def behind(self) -> Collection[tuple[str, int]]:
        """Topic-partitions that hold more than has been polled, or of which that is not known yet."""
        ...

    def exhausted(self) -> bool:
        """Whether nothing will ever come again (recordings end; Kafka does not)."""
        ...

    def close(self) -> None:
        """Let go of everything; safe to call twice."""
        ...
