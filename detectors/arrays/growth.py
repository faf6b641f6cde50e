"""Room that is doubled when it runs out, so that growing entry by entry costs a constant an entry."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def longer(array: NDArray[Any], size: int, fill: float) -> NDArray[Any]:
    """The array itself if it has so many entries, else a longer one with `fill` behind them."""
    if size <= len(array):
        return array
    more = max(size, 2 * len(array)) - len(array)
    return np.concatenate([array, np.full((more, *array.shape[1:]), fill, array.dtype)])
