"""Names that a full table has no room for: the first of each limit, and the record that brought it."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Limit(StrEnum):
    """The settings of `limits` that bound a table, by name."""

    MODELS = "models_max"
    COLUMNS = "columns_max"
    CATEGORIES = "categories_max"
    SERIES = "series_max"


class Strangers(NamedTuple):
    """The events of models, or versions, that had no room: they say what time it is all the same."""

    key: NDArray[np.uint64]  # [n] hash of the model
    event_time_ms: NDArray[np.int64]  # [n]


class TurnedAway(NamedTuple):
    """What had no room, and whose record brought it."""

    limit: Limit
    name: str  # of the model, version, column or category; of the topic where a model's versions on it are too many
    model: str  # or `source:<name>`
    version: str  # "" when events name none
    offset: int
    event_time_ms: int
