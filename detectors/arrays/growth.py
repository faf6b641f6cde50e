"""Arrays that double when they are full, so that growing entry by entry costs a constant time an entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

PARTS_MAX: Final = 64


def ensure_length(array: NDArray[Any], size: int, fill: float) -> NDArray[Any]:
    """The array itself if it has `size` entries or more, else a longer copy whose new entries hold `fill`.

    The first axis grows, to twice its length at least.
    """
    if size <= len(array):
        return array
    added = max(size, 2 * len(array)) - len(array)
    return np.concatenate([array, np.full((added, *array.shape[1:]), fill, array.dtype)])


def array_bytes(of: Any, depth: int = 6) -> int:
    """The memory of all arrays that an object holds, in bytes: in attributes, and in mappings and sequences of parts.

    Attributes of attributes count, down to `depth`; an array that is met twice counts once. Mappings and sequences of
    more than `PARTS_MAX` entries hold data, not parts, and are passed over.
    """
    return _bytes_within(of, depth, set())


def _bytes_within(of: Any, depth: int, seen: set[int]) -> int:
    if id(of) in seen or depth < 0 or isinstance(of, str | bytes | int | float | type | None):
        return 0
    seen.add(id(of))
    if isinstance(of, np.ndarray):
        return of.nbytes if of.base is None else _bytes_within(of.base, depth, seen)
    if isinstance(of, Mapping | Sequence):
        parts = list(of.values() if isinstance(of, Mapping) else of) if len(of) <= PARTS_MAX else []
    else:
        slots = (name for kind in type(of).__mro__ for name in getattr(kind, "__slots__", ()))
        parts = [*getattr(of, "__dict__", {}).values(), *(getattr(of, name, None) for name in slots)]
    return sum(_bytes_within(part, depth - 1, seen) for part in parts)
