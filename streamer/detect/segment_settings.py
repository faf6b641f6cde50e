"""Settings of segments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SEGMENTS_MAX: Final = 254  # of a model; with the one of all others, they fit a byte


@dataclass(frozen=True, slots=True)
class SegmentSettings:
    """Which column tells the segment of a model's events. Each segment is watched as the whole is, and beside it.

    by: a feature (or `segment`, where `fields.segment` of a topic maps it) that is text or a whole number.
    segments_max: segments of a model, those that are seen first; the events of all others are the segment `(other)`.
    gap_usual: pairs of values from which the usual difference between a segment and the others is learnt, for
        `segment_gap`; 0 takes segments to be equal at first, so that a difference that was always there is told too.
    gap_min: how much larger than usual a difference must be, as a rank-biserial correlation, 0 to less than 1.
    gap_arl0: pairs of values, on average, to a false alarm of one segment and column; 100 to 10^12.
    """

    by: str
    segments_max: int = 50
    gap_usual: int = 500
    gap_min: float = 0.1
    gap_arl0: float = 1e6

    def __post_init__(self) -> None:
        """Raises `ValueError` with a sentence."""
        if not self.by:
            raise ValueError("by is empty, but must name the column that tells the segment.")
        if not 1 <= self.segments_max <= SEGMENTS_MAX:
            raise ValueError(f"segments_max is {self.segments_max}, but must be 1 to {SEGMENTS_MAX}.")
        if not (self.gap_usual == 0 or 30 <= self.gap_usual <= 1_000_000):
            raise ValueError(f"gap_usual is {self.gap_usual}, but must be 0, or 30 to 1,000,000.")
        if not 0 <= self.gap_min < 1:
            raise ValueError(f"gap_min is {self.gap_min}, but must be 0 to less than 1.")
        if not 100 <= self.gap_arl0 <= 1e12:
            raise ValueError(f"gap_arl0 is {self.gap_arl0:g}, but must be 100 to 1e12.")
