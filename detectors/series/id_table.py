"""64-bit keys to dense indices, in order of first sight.

Every value is looked up here, so the table is a hash table in plain arrays with a compiled kernel: open addressing with
linear probing and Fibonacci hashing (D. E. Knuth, "The Art of Computer Programming", volume 3, section 6.4). Indices
depend only on the order of keys, never on how the keys were cut into calls.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.jit import kernel
from detectors.arrays.types import I64

UNSEEN = -1


class IdTable:
    """At most half full; 16 to 32 bytes a key."""

    def __init__(self, limit: int) -> None:
        """Hold at most `limit` keys; keys beyond it get `UNSEEN`."""
        self.limit = limit
        self._keys = np.empty(64, np.int64)  # by index, in order of first sight
        self._count = 0
        self._slots = np.full(128, UNSEEN, np.int32)  # hash -> index

    def __len__(self) -> int:
        return self._count

    @property
    def keys(self) -> I64:
        """The keys by index: a copy, `len(self)` long."""
        return self._keys[: self._count].copy()

    def keys_of(self, indices: slice | I64) -> I64:
        """The keys of these indices."""
        return self._keys[: self._count][indices]

    def key_of(self, index: int) -> int:
        """The key of this index."""
        return int(self._keys[index])

    def add(self, keys: I64) -> I64:
        """The index [n] of each key [n]; a new key gets the next index, or `UNSEEN` when the table is full."""
        found = np.empty(len(keys), np.int64)
        done = 0
        while True:
            done, self._count = _add(self._slots, self._keys, self._count, self.limit, keys, done, found)
            if done == len(keys):
                return found
            self._grow()

    def find(self, keys: I64) -> I64:
        """The index [n] of each key [n], or `UNSEEN`; adds none."""
        found = np.empty(len(keys), np.int64)
        _add(self._slots, self._keys, self._count, self._count, keys, 0, found)
        return found

    def load(self, keys: I64) -> None:
        """Become the table whose `keys` these are, in order of their indices."""
        self._count = 0
        self._slots[:] = UNSEEN
        self.add(keys)

    def _grow(self) -> None:
        self._keys = np.concatenate([self._keys, np.empty_like(self._keys)])
        self._slots = np.full(2 * len(self._slots), UNSEEN, np.int32)
        _rehash(self._slots, self._keys, self._count)


@kernel
def _place(slots: NDArray[np.int32], key: int) -> np.int64:
    """The slot at which probing for a key starts: a Fibonacci hash, folded so that the whole key counts."""
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(32)
    return np.int64(mixed & np.uint64(len(slots) - 1))


@kernel
def _add(
    slots: NDArray[np.int32], known: I64, count: int, limit: int, keys: I64, done: int, found: I64
) -> tuple[int, int]:
    """Add keys from index `done` on, until the table must grow. Returns the first index left, and the new count."""
    mask = len(slots) - 1
    for i in range(done, len(keys)):
        key = keys[i]
        at = _place(slots, key)
        while slots[at] != UNSEEN and known[slots[at]] != key:
            at = (at + 1) & mask
        if slots[at] == UNSEEN:
            if count >= limit:
                found[i] = UNSEEN
                continue
            if count == len(known):
                return i, count
            slots[at] = count
            known[count] = key
            count += 1
        found[i] = slots[at]
    return len(keys), count


@kernel
def _rehash(slots: NDArray[np.int32], known: I64, count: int) -> None:
    mask = len(slots) - 1
    for index in range(count):
        at = _place(slots, known[index])
        while slots[at] != UNSEEN:
            at = (at + 1) & mask
        slots[at] = index
