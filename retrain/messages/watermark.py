"""Watermarks: the records of the topic `driftline.watermarks`, which advance event time where nothing alerts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Watermark:
    """The unit has folded an event of this time or later, for the first time."""

    unit: str
    at: datetime  # UTC, a whole multiple of the watermark interval
