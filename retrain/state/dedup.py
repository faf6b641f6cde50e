"""Deduplication of alerts: how far each series has been handled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from retrain.messages.alert import Alert, AlertState

NONE: Final = (-1, 0)  # before every position


@dataclass(slots=True)
class SeriesMark:
    """How far the alerts of one series have been handled, as positions of their `at`.

    Alerts of a series arrive in the order of their places, so the last place separates new alerts from repeated ones.
    """

    fired: tuple[int, int] = NONE
    ready: tuple[int, int] = NONE
    resolved: tuple[int, int] = NONE

    def is_duplicate(self, alert: Alert) -> bool:
        """Whether the alert, in this state, has been handled before."""
        if alert.state is AlertState.READY:
            return alert.at.position <= max(self.ready, self.resolved)
        return alert.at.position <= (self.resolved if alert.state is AlertState.RESOLVED else self.fired)

    def record(self, alert: Alert) -> bool:
        """Mark the alert as handled. Returns whether it is a new one: not a later state of one that fired before."""
        position = alert.at.position
        is_new = position > self.fired
        self.fired = max(self.fired, position)
        if alert.state is AlertState.READY:
            self.ready = position
        elif alert.state is AlertState.RESOLVED:
            self.resolved = position
        return is_new


def series_of(alert: Alert) -> str:
    """The name of the alert's series, unique among those of its model and version."""
    # Only the column, which comes last, and the segment, whose length is given, may contain a slash, so no two series
    # share a name. Offsets compare within one topic-partition only, hence these are part of it.
    segment = f"#{len(alert.segment)}/{alert.segment}" if alert.segment else ""
    return f"{alert.at.partition}/{alert.at.topic}/{alert.detector}{segment}/{alert.column}"
