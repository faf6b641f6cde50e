"""Names that a full table has no room for: the first of each limit, and the record that brought it."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Limit(StrEnum):
    """The settings of `limits` that bound a table, by name."""

    MODELS = "models_max"
    COLUMNS = "columns_max"
    CATEGORIES = "categories_max"
    SERIES = "series_max"


class TurnedAway(NamedTuple):
    """What had no room, and whose record brought it."""

    limit: Limit
    name: str  # of the model, version, column or category; of the topic where a model's versions on it are too many
    model: str  # or `source:<name>`
    version: str  # "" when events name none
    offset: int
    event_time_ms: int
