"""Join keys of labels and predictions: a hash of (model, prediction id).

The hash is MurmurHash64A (A. Appleby, 2008, public domain) over the id's UTF-8 bytes, seeded with BLAKE2b-64 of the
model's name. It is the same in every process. All ids of one length are hashed at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np

from detectors.arrays.types import U8, U64
from streamer.codecs.byte_matrix import by_length

_M = np.uint64(0xC6A4A7935BD1E995)
_R = np.uint64(47)
_MURMUR_BYTES_MAX = 256  # longer ids are rare, and BLAKE2b is faster for a single text


def join_ids(models: Sequence[str], prediction_ids: Sequence[str]) -> U64:
    """A hash for each pair, never 0. Equal pairs have equal hashes."""
    seeds = np.fromiter(map(_seed, models), np.uint64, len(models))
    out = np.zeros(len(models), np.uint64)
    for index, matrix in by_length(prediction_ids):
        if matrix.shape[1] <= _MURMUR_BYTES_MAX:
            out[index] = _murmur(matrix, seeds[index])
        else:
            out[index] = [_blake(row.tobytes(), int(seed)) for row, seed in zip(matrix, seeds[index], strict=True)]
    out[out == 0] = 1
    return out


@lru_cache(maxsize=65_536)
def _seed(model: str) -> int:
    return _blake(model.encode(), 0)


def _blake(data: bytes, seed: int) -> int:
    return int.from_bytes(blake2b(data, digest_size=8, key=seed.to_bytes(8, "little")).digest(), "little")


def _murmur(text: U8, seed: U64) -> U64:
    """MurmurHash64A of each row of [n, length] bytes."""
    n, length = text.shape
    padded = np.zeros((n, -(-length // 8) * 8), np.uint8)
    padded[:, :length] = text
    words = padded.view("<u8").astype(np.uint64, copy=False)
    h: U64 = seed ^ (np.full(n, length, np.uint64) * _M)
    for i in range(length // 8):
        k = words[:, i] * _M
        k = (k ^ (k >> _R)) * _M
        h = (h ^ k) * _M
    if length % 8:
        h = (h ^ words[:, -1]) * _M
    h = (h ^ (h >> _R)) * _M
    return h ^ (h >> _R)
