"""Alerts that fired and wait for enough events of the new regime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from retrain.messages.alert import Alert
from streamer.detect.alarm import Series
from streamer.detect.batch import TAKES
from streamer.detect.remap import Remap, Remaps
from streamer.detect.windows import WindowStart


class PendingAlert(NamedTuple):
    """An alert, and the event with which it becomes ready."""

    alert: Alert
    due: int  # sequence number in the alert's subject
    is_settled: bool = False  # whether the onset is not estimated again
    start: WindowStart | None = None  # None where no windows are wanted


class PendingAlerts:
    """Alerts that fired and wait for enough events of the new regime: at most one for each series and detector.

    They are held by subject, so a batch costs what its own subjects wait for, however many others wait.
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

    def __iter__(self) -> Iterator[tuple[int, PendingAlert]]:
        """Each alert that waits, with its subject."""
        return ((subject, one) for subject, waiting in self._of.items() for one in waiting.values())

    def add(self, subject: int, series: Series, pending: PendingAlert) -> None:
        """Let an alert wait."""
        self._of.setdefault(subject, {})[series] = pending

    def remove(self, subject: int, series: Series) -> None:
        """Remove an alert."""
        waiting = self._of[subject]
        del waiting[series]
        if not waiting:
            del self._of[subject]

    def dump(self) -> list[Any]:
        """As JSON-able data."""
        return [
            [subject, *series, msgspec.to_builtins(alert), due, is_settled, msgspec.to_builtins(start)]
            for subject, waiting in sorted(self._of.items())
            for series, (alert, due, is_settled, start) in waiting.items()
        ]

    def load(self, dumped: list[Any]) -> None:
        """Restore what was dumped."""
        self._of = {}
        for subject, row, detector, alert, due, is_settled, start in dumped:
            begun = msgspec.convert(start, WindowStart | None)
            self.add(subject, (row, detector), PendingAlert(msgspec.convert(alert, Alert), due, is_settled, begun))

    @staticmethod
    def remap(dumped: list[Any], active: list[Any], remaps: Remaps, alarm_rows: Mapping[str, Remap]) -> list[Any]:
        """What was dumped, without the alerts of evicted subjects.

        alarm_rows: of the detectors that run. The row of another detector is that of its alert among the `active`
        ones. A row that no table knows, of a detector that was reset or stopped, stays.
        """
        rows = {takes: remaps.rows[kind] for kind, takes in TAKES.items()}
        of_alert = {alert["alert_id"]: rows[takes] for takes, *_, alert, _ in active}
        found = []
        for subject, row, detector, alert, due, is_settled, dumped_start in dumped:
            if remaps.subjects.kept[subject]:
                of = alarm_rows.get(detector, of_alert.get(alert["alert_id"]))
                new = int(of.place[row]) if of is not None and row < len(of.place) else row
                start = msgspec.convert(dumped_start, WindowStart | None)
                begun = None if start is None else msgspec.to_builtins(start.remap(remaps.subjects))
                found.append([int(remaps.subjects.place[subject]), new, detector, alert, due, is_settled, begun])
        return found
