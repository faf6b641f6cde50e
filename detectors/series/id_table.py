"""64-bit keys to dense indices, in order of first sight.

The tables behind "which row is this?": looked up for every value, so a hash table in plain arrays with a numba kernel.
Indices depend only on the order of keys, never on how the keys were cut into calls.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.jit import kernel
from detectors.arrays.types import I64

UNSEEN = -1


class IdTable:
    """Open addressing with linear probing, at most half full; 16 to 32 bytes a key."""

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
        return int(self._keys[index])

    def lookup(self, keys: I64) -> I64:
        """The index of each key, given out at first sight."""
        found = np.empty(len(keys), np.int64)
        done = 0
        while True:
            done, self._count = _lookup(self._slots, self._keys, self._count, self.limit, keys, done, found)
            if done == len(keys):
                return found
            self._grow()

    def find(self, keys: I64) -> I64:
        """The index of each key that has one, else `UNSEEN`; none is given out."""
        found = np.empty(len(keys), np.int64)
        _lookup(self._slots, self._keys, self._count, self._count, keys, 0, found)
        return found

    def load(self, keys: I64) -> None:
        """Become the table that gave `keys` in this order."""
        self._count = 0
        self._slots[:] = UNSEEN
        self.lookup(keys)

    def _grow(self) -> None:
        self._keys = np.concatenate([self._keys, np.empty_like(self._keys)])
        self._slots = np.full(2 * len(self._slots), UNSEEN, np.int32)
        _rehash(self._slots, self._keys, self._count)


@kernel
def _place(slots: NDArray[np.int32], key: int) -> np.int64:
    """Where probing for a key starts: a Fibonacci hash, folded so that the whole key counts."""
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(32)
    return np.int64(mixed & np.uint64(len(slots) - 1))


@kernel
def _lookup(
    slots: NDArray[np.int32], known: I64, count: int, limit: int, keys: I64, done: int, found: I64
) -> tuple[int, int]:
    """Look keys up from `done` on; stops where the table must grow. Returns how far it came, and the new count."""
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
