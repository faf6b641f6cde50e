"""Alerts that the decide fold ignores without a record: repeated ones, and those of older versions."""

from __future__ import annotations

from collections import defaultdict

from retrain.messages.alert import Alert
from retrain.messages.decision import Decision
from retrain.messages.outcome import Outcome
from retrain.state.dedup import SeriesMark, series_of
from retrain.state.versions import Order, Versions
from streamer.audit.trail import Trail


class IgnoredAlerts:
    """Follows alerts in the order of their topic, as the decide fold does, by its own rules for repeats and versions.

    A promotion counts from its time on, as records do not hold the order of alerts and commands.
    """

    def __init__(self, trail: Trail) -> None:
        self.promotions = promotions_of(trail)
        self._versions: dict[str, Versions] = {}
        self._marks: dict[tuple[str, str], dict[str, SeriesMark]] = defaultdict(dict)  # of model and version, by series
        self._promoted: dict[str, int] = defaultdict(int)  # model -> promotions so far

    def handle(self, alert: Alert) -> Outcome | None:
        """`DUPLICATE` or `OLDER_VERSION`; None for an alert that counts. Call it once for each alert, in order."""
        versions = self._versions.setdefault(alert.model_id, Versions(alert.model_version, alert.event_time))
        self._promote(alert, versions)
        marks, series = self._marks[alert.model_id, alert.model_version], series_of(alert)
        if series in marks and marks[series].is_duplicate(alert):
            return Outcome.DUPLICATE
        superseded = versions.newest
        order = versions.add(alert.model_version, alert.event_time)
        if order is Order.OLDER:
            return Outcome.OLDER_VERSION
        if order is Order.NEWER:
            self._marks.pop((alert.model_id, superseded), None)
        self._marks[alert.model_id, alert.model_version].setdefault(series, SeriesMark()).record(alert)
        return None

    def _promote(self, alert: Alert, versions: Versions) -> None:
        for one in self.promotions.get(alert.model_id, ())[self._promoted[alert.model_id] :]:
            if one.at > alert.event_time:
                return
            self._promoted[alert.model_id] += 1
            superseded = versions.newest
            versions.promote(one.model_version, one.at)
            if versions.newest != superseded:
                self._marks.pop((alert.model_id, superseded), None)


def promotions_of(trail: Trail) -> dict[str, list[Decision]]:
    """Model -> its promotions, in order."""
    found: dict[str, list[Decision]] = defaultdict(list)
    for one in trail.decisions:
        if one.reason is Outcome.PROMOTED:
            found[one.model_id].append(one)
    return found
