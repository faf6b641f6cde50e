"""Ranges of settings: one sentence for each value outside its range."""

from __future__ import annotations

from typing import Any

Range = tuple[float, float]  # least and most


def require_between(settings: Any, detector: str = "", /, **limits: Range) -> None:
    """ValueError unless each named setting lies within its limits, both included.

    `detector` begins the sentence, if it is given. NaN lies within no limits.
    """
    for name, (least, most) in limits.items():
        value = getattr(settings, name)
        if not least <= value <= most:
            raise ValueError(_sentence(detector, name, least, most, value))


def require_inside(settings: Any, detector: str = "", /, **limits: Range) -> None:
    """The same, with both limits excluded: the level of a test lies inside (0, 1)."""
    for name, (least, most) in limits.items():
        value = getattr(settings, name)
        if not least < value < most:
            raise ValueError(_sentence(detector, name, least, most, value))


def _sentence(detector: str, name: str, least: float, most: float, value: object) -> str:
    begin = f"{detector}: " if detector else ""
    return f"{begin}{name} must lie between {_text(least)} and {_text(most)}, got {value}"


def _text(limit: float) -> str:
    """Small numbers in full, powers of ten as 1e9."""
    return f"{limit:,}" if isinstance(limit, int) else f"{limit:g}".replace("e+0", "e").replace("e+", "e")
