"""Texts as matrices of bytes, for array operations on all texts of one length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from detectors.arrays.types import I64, U8


def by_length(texts: Sequence[str]) -> Iterator[tuple[I64, U8]]:
    """Groups of texts of equal length in UTF-8: their `n` indices, and their bytes as [n, length]."""
    joined = "".join(texts).encode()
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    if len(joined) != lengths.sum():  # not ASCII: characters and bytes differ in number
        lengths = np.fromiter((len(text.encode()) for text in texts), np.int64, len(texts))
    data = np.frombuffer(joined, np.uint8) if joined else np.empty(0, np.uint8)
    if len(lengths) and lengths[0] and (lengths == lengths[0]).all():
        yield np.arange(len(texts)), data.reshape(len(texts), -1)
        return
    start = np.cumsum(lengths) - lengths
    for length in np.unique(lengths).tolist():
        index = np.flatnonzero(lengths == length)
        yield index, data[start[index, None] + np.arange(length)]
