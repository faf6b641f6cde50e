"""Predictions and labels as doubles: numbers unchanged, and names of classes as NaNs with a payload.

Classes are only compared for equality, across records. So the name of a class becomes a NaN that carries 48 bits of its
hash, which needs no table. Other code sees a missing number. Producers of predictions and of labels may differ in how
they write a class, so a text that is a number or a boolean is that number: `"1"`, `"1.0"` and `"true"` are 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import numpy as np

from detectors.arrays.types import F64
from detectors.series.decimals import number_in
from streamer.codecs.values import as_number, as_numbers

QUIET_NAN: Final = 0x7FF8 << 48
CLASS_BYTES: Final = 6
BOOLEANS: Final = {"true": 1.0, "false": 0.0}


def encode_labels(values: Sequence[Any]) -> F64:
    """Each value as a double; NaN for values that are neither number nor text."""
    numbers = as_numbers(values)
    if numbers is not None:
        return numbers
    found = np.array([as_number(value) for value in values])
    bits = found.view(np.uint64)
    for i, value in enumerate(values):
        if isinstance(value, str):
            number = _number_in(value)
            if number is None:
                bits[i] = class_bits(value)
            else:
                found[i] = number
    return found


def encode_texts(labels: Sequence[str]) -> F64:
    """What `encode_labels` makes of texts, of which few differ."""
    known = list(dict.fromkeys(labels))
    bits = dict(zip(known, encode_labels(known).view(np.uint64).tolist(), strict=True))
    return np.fromiter(map(bits.__getitem__, labels), np.uint64, len(labels)).view(np.float64)


def class_names(values: Sequence[Any]) -> dict[int, str]:
    """The names of classes among the values, by the bits that stand for them."""
    texts = {value for value in values if isinstance(value, str)}
    return {class_bits(text): text for text in sorted(texts) if _number_in(text) is None}


def _number_in(text: str) -> float | None:
    """The number that a text is; None for a name, such as `007`."""
    found = number_in(text)
    if found is not None and not {"e", "E"} & set(text):  # a class named 1e5 is likelier than one of 100,000
        return found
    return BOOLEANS.get(text.lower()) if len(text) <= len("false") else None


@lru_cache(maxsize=65_536)
def class_bits(name: str) -> int:
    """The bits of the NaN that stands for a class of this name."""
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=CLASS_BYTES, person=b"driftline-class").digest()
    return QUIET_NAN | (int.from_bytes(digest, "little") or 1)
