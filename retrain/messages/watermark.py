"""Watermarks: the records of the topic `driftline.watermarks`, which advance event time where nothing alerts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Watermark:
    """Some event that a unit has folded is of this time or a later one, and none before it was."""

    unit: str
    at: datetime  # UTC, a whole multiple of the pace of marks
