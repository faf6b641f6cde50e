"""Arrays that double when they are full, so that growing entry by entry costs a constant time an entry."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def ensure_length(array: NDArray[Any], size: int, fill: float) -> NDArray[Any]:
    """The array itself if it has `size` entries or more, else a longer copy whose new entries hold `fill`.

    The first axis grows, to twice its length at least.
    """
    if size <= len(array):
        return array
    added = max(size, 2 * len(array)) - len(array)
    return np.concatenate([array, np.full((added, *array.shape[1:]), fill, array.dtype)])
