"""Pending alerts: those that fired and wait for enough events of the new regime to become ready."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from retrain.messages.alert import Alert
from streamer.detect.alarm import Series
from streamer.detect.batch import TAKES
from streamer.detect.remap import Remap, Remaps


class PendingAlert(NamedTuple):
    """An alert, and the event with which it becomes ready."""

    alert: Alert
    due: int  # sequence number in the alert's subject


class PendingAlerts:
    """At most one alert for each series and detector, by subject.

    So a batch costs what its own subjects wait for, however many others wait.
    """

    def __init__(self) -> None:
        self._of: dict[int, dict[Series, PendingAlert]] = {}  # in the order in which they fired

    def __bool__(self) -> bool:
        return bool(self._of)

    def __contains__(self, subject: int) -> bool:
        return subject in self._of

    def of(self, subject: int) -> Mapping[Series, PendingAlert]:
        """The alerts of a subject that wait."""
        return self._of.get(subject, {})

    def add(self, subject: int, series: Series, alert: Alert, due: int) -> None:
        """Let an alert wait for event `due` of its subject."""
        self._of.setdefault(subject, {})[series] = PendingAlert(alert, due)

    def remove(self, subject: int, series: Series) -> Alert:
        """Remove an alert; returns it."""
        waiting = self._of[subject]
        alert, _ = waiting.pop(series)
        if not waiting:
            del self._of[subject]
        return alert

    def dump(self) -> list[Any]:
        """As JSON-able data."""
        return [
            [subject, *series, msgspec.to_builtins(alert), due]
            for subject, waiting in sorted(self._of.items())
            for series, (alert, due) in waiting.items()
        ]

    def load(self, dumped: list[Any]) -> None:
        """Restore what was dumped."""
        self._of = {}
        for subject, row, detector, alert, due in dumped:
            self.add(subject, (row, detector), msgspec.convert(alert, Alert), due)

    @staticmethod
    def remap(dumped: list[Any], active: list[Any], remaps: Remaps, alarm_rows: Mapping[str, Remap]) -> list[Any]:
        """What was dumped, without the alerts of evicted subjects.

        alarm_rows: of the detectors that run. The row of another detector is that of its alert among the `active`
        ones. A row that no table knows, of a detector that was reset or stopped, stays.
        """
        rows = {takes: remaps.rows[kind] for kind, takes in TAKES.items()}
        of_alert = {alert["alert_id"]: rows[takes] for takes, *_, alert, _ in active}
        found = []
        for subject, row, detector, alert, due in dumped:
            if remaps.subjects.kept[subject]:
                of = alarm_rows.get(detector, of_alert.get(alert["alert_id"]))
                new = int(of.place[row]) if of is not None and row < len(of.place) else row
                found.append([int(remaps.subjects.place[subject]), new, detector, alert, due])
        return found
