"""Values that wait by id: a ring in order of arrival, oldest first out, and a hash table of the ids in it.

An id may wait several times; its entries keep their order. One arrival makes at most `LEAVE_MAX` others leave, so a
clock that is years ahead spoils its own events and hardly any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.jit import lean_kernel
from detectors.arrays.types import I64, U64, Bools

EMPTY: Final = -1
TIME: Final = 2  # column of `who` with the event time in ms
HEAD, TAIL, WAITING, EXPIRED, EVICTED = range(5)  # columns of IdRing.meta: positions and counts
LEAVE_MAX: Final = 2  # more than come in, so that what has waited too long does leave
SIZE_MIN: Final = 64


class IdRing:
    """Entries that wait: an id, `width` whole numbers and a double each. 48 to 192 bytes each."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._allocate(SIZE_MIN)
        self.meta = np.zeros(5, np.int64)

    @property
    def state(self) -> tuple[Any, ...]:
        """The arrays that the kernels take: hash table, ids, `who`, values, their bits, and the counts."""
        return self._hash, self._id, self._who, self._value, self._value.view(np.int64), self.meta

    def dump(self) -> dict[str, NDArray[Any]]:
        """The entries that wait, oldest first, and the counts."""
        ring, meta = self._waiting(), self.meta.copy()
        meta[HEAD], meta[TAIL] = 0, len(ring)  # as if the ring began here: where it really does is chance
        return {"id": self._id[ring], "who": self._who[ring], "value": self._value[ring], "meta": meta}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restore what was dumped."""
        n, who = len(arrays["id"]), arrays["who"]
        self._allocate(_power_of_two(max(n, SIZE_MIN)))
        kept = min(self.width, who.shape[1])  # dumped under other settings, an entry may be wider or narrower
        self._who[:n, kept:], self._who[:n, :kept] = EMPTY, who[:, :kept]
        self._id[:n], self._value[:n] = arrays["id"], arrays["value"]
        self.meta = arrays["meta"].copy()
        _index(self._hash, self._id, n)

    def make_room(self, entries: int) -> None:
        """Make room for so many entries more."""
        if self.meta[TAIL] - self.meta[HEAD] + entries <= len(self._id):
            return
        kept = self.dump()
        n = len(kept["id"])
        self._allocate(_power_of_two(max(2 * n, n + entries)))
        self._id[:n], self._who[:n], self._value[:n] = kept["id"], kept["who"], kept["value"]
        self.meta[HEAD], self.meta[TAIL] = 0, n
        _index(self._hash, self._id, n)

    def _allocate(self, size: int) -> None:
        self._hash = np.full(2 * size, EMPTY, np.int32)  # place of an id -> position in the ring
        self._id = np.zeros(size, np.uint64)  # 0: left
        self._who = np.zeros((size, self.width), np.int64)
        self._value = np.zeros(size)

    def _waiting(self) -> I64:
        ring: I64 = np.arange(self.meta[HEAD], self.meta[TAIL]) & (len(self._id) - 1)
        here: NDArray[np.bool_] = self._id[ring] != 0
        return ring[here]


def entries_of(arrays: Mapping[str, NDArray[Any]], kept: Bools) -> dict[str, NDArray[Any]]:
    """What was dumped, with only the entries where `kept` is true."""
    meta = arrays["meta"].copy()
    meta[TAIL] = meta[WAITING] = np.count_nonzero(kept)
    return {"id": arrays["id"][kept], "who": arrays["who"][kept], "value": arrays["value"][kept], "meta": meta}


def _power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()


@lean_kernel
def find(hashed: NDArray[np.int32], ids: U64, key: np.uint64, start: int) -> int:
    """Where the next entry of the key stands in the hash table from `start` on, or the empty place behind them."""
    mask = len(hashed) - 1
    at = np.int64(start)
    while hashed[at] != EMPTY and ids[hashed[at]] != key:
        at = (at + 1) & mask
    return int(at)


@lean_kernel
def home(hashed: NDArray[np.int32], key: np.uint64) -> int:
    """The place in the hash table at which the entries of the key begin."""
    return int(np.int64(key & np.uint64(len(hashed) - 1)))


@lean_kernel
def after(hashed: NDArray[np.int32], at: int) -> int:
    """The next place in the hash table."""
    return int((at + 1) & (len(hashed) - 1))


@lean_kernel
def remove(hashed: NDArray[np.int32], ids: U64, at: int) -> None:
    """Take out what stands at `at`, moving later entries of its run up (Knuth 6.4, algorithm R)."""
    mask = len(hashed) - 1
    ids[hashed[at]] = np.uint64(0)
    hole = at
    probe = at
    while True:
        probe = (probe + 1) & mask
        if hashed[probe] == EMPTY:
            break
        base = np.int64(ids[hashed[probe]] & np.uint64(mask))
        if ((probe - base) & mask) >= ((probe - hole) & mask):
            hashed[hole] = hashed[probe]
            hole = probe
    hashed[hole] = EMPTY


@lean_kernel
def _index(hashed: NDArray[np.int32], ids: U64, n: int) -> None:
    mask = len(hashed) - 1
    for position in range(n):
        at = home(hashed, ids[position])
        while hashed[at] != EMPTY:
            at = (at + 1) & mask
        hashed[at] = position


@lean_kernel
def leave_oldest(state: Any, oldest_ms: int, open_max: int, matched: int, left_alone: I64) -> None:
    """Drop what has left already, and the oldest if they came before `oldest_ms` or are too many.

    Counts in `left_alone` [2] those that expired, and those that were evicted, with nothing but 0 in the column
    `matched` of `who`; none if that is `EMPTY`.
    """
    hashed, ids, who, _, _, meta = state
    mask = len(ids) - 1
    left = 0
    while meta[HEAD] < meta[TAIL]:
        oldest = meta[HEAD] & mask
        if ids[oldest] != 0:
            expired = who[oldest, TIME] < oldest_ms
            if left == LEAVE_MAX or (not expired and meta[WAITING] < open_max):
                return
            left += 1
            if matched >= 0 and who[oldest, matched] == 0:
                left_alone[0 if expired else 1] += 1
            meta[EXPIRED if expired else EVICTED] += 1
            meta[WAITING] -= 1
            at = home(hashed, ids[oldest])
            while hashed[at] != oldest:
                at = after(hashed, at)
            remove(hashed, ids, at)
        meta[HEAD] += 1


@lean_kernel
def append(state: Any, at: int, key: np.uint64) -> int:
    """Let an entry of the key wait, at the empty place `at` of the hash table; returns its position in the ring."""
    hashed, ids, _, _, _, meta = state
    position = meta[TAIL] & (len(ids) - 1)
    meta[TAIL] += 1
    meta[WAITING] += 1
    hashed[at] = position
    ids[position] = key
    return int(position)
