"""What it takes to know an alert that was seen before."""

from __future__ import annotations

from dataclasses import dataclass

from retrain.alert import Alert


@dataclass(slots=True)
class SeriesMark:
    """How far the alerts of one series have been seen, as offsets of their `at`; -1: none."""

    fired: int = -1
    ready: int = -1


def series_of(alert: Alert) -> str:
    """The name of the alert's series among those of its model and version."""
    # Only the column, which comes last, and the segment, whose length is told, may contain a slash, so no two series
    # share a name. Offsets compare within one topic-partition only, hence these are part of it.
    segment = f"#{len(alert.segment)}/{alert.segment}" if alert.segment else ""
    return f"{alert.at.partition}/{alert.at.topic}/{alert.detector}{segment}/{alert.column}"
