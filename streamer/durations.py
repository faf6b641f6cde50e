"""Spans of time as people write them: 30m, 4h, 30d."""

from __future__ import annotations

import re
from typing import Final

SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def seconds_of(text: str) -> int:
    """The seconds of a whole number from 1 to 999,999,999 and s, m, h, d or w. ValueError for anything else.

    >>> seconds_of("4h")
    14400
    """
    found = re.fullmatch(r"(\d{1,9})([smhdw])", text)
    if not found or not int(found[1]):
        raise ValueError(f"{text!r} is not like 30m, 4h or 2d")
    return int(found[1]) * SECONDS[found[2]]
