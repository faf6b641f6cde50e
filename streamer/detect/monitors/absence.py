"""Columns that a model's events no longer carry: values and events to absences, absences to alarms.

A column of a source, or of a segment, is one as well. The columns that labels bring are none: whether those come is the
affair of flows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.delivery.absence import Absences, AbsenceSettings, Absent, Seen
from detectors.series.table import SeriesTable
from retrain.messages.alert import AlertKind
from streamer.detect.alarm import Alarm
from streamer.detect.batch import RoutedValues
from streamer.detect.lives import Lives
from streamer.detect.subjects import Subjects
from streamer.events import ERROR_COLUMN, LAG_COLUMN, Names

ABSENCE: Final = "absence"  # the detector


class AbsenceMonitor:
    """The absences of all columns of a fold unit."""

    def __init__(self, settings: AbsenceSettings, table: SeriesTable, subjects: Subjects, names: Names) -> None:
        self._absences = Absences(settings)
        self._is_on = settings.watch
        self._table = table
        self._subjects = subjects
        self._names = names

    def alarms(self, arrived: RoutedValues, lives: Lives, tally: Counter[tuple[str, ...]]) -> list[Alarm]:
        """The alarms of a batch, in order of events."""
        if not self._is_on:
            return []
        self._absences.add(self._table.keys(slice(len(self._absences), None))[0])
        series = arrived.routed.series
        mine = np.flatnonzero(series >= 0)
        mine = mine[~self._is_of_labels(self._table.keys(series[mine])[1])]
        found = self._absences.update(
            Seen(arrived.event[mine], series[mine], arrived.life[mine]), lives.subject, lives.number
        )
        tally["alarms", ABSENCE] += len(found.event)
        return [self._alarm(found, k) for k in range(len(found.event))]

    def dump(self) -> dict[str, NDArray[Any]]:
        """The state; good until the next batch."""
        return self._absences.dump()

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Become what was dumped, beside a table of series that was; nothing of it where absences are not watched."""
        if self._is_on:
            self._absences.load(arrays, self._table.keys(slice(None))[0])

    def _is_of_labels(self, columns: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.isin(columns, [ERROR_COLUMN, self._names.columns.ids.get(LAG_COLUMN, ERROR_COLUMN)])

    def _alarm(self, found: Absent, k: int) -> Alarm:
        """Absence `k` as an alarm: `before` is the share of events that had the column."""
        event, series, life, allowed, first, last, values = (int(of[k]) for of in found)
        subject, column = self._table.key_of(series)
        model, version, name = self._subjects.name_of(subject, column)
        span = last - first + 1
        facts = {
            "model_id": model,
            "model_version": version,
            "column": name,
            "detector": ABSENCE,
            "statistic": float(life - last),
            "threshold": float(allowed),
            "effect": values / span,
            "effect_unit": "rate",
            "before": values / span,
            "after": 0.0,
            "n_reference": span,
            "n_current": life - last,
            "kind": AlertKind.ABSENT,
        }
        topic = self._subjects.topic_of(subject)
        return Alarm(event, (series, ABSENCE), subject, topic, last + 1, facts, becomes_ready=False)
