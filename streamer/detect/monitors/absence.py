"""Columns that the events of a model no longer carry: values and events to absences, absences to alarms.

Columns of a source and of a segment count, too. The columns that labels bring do not: the monitor of flows watches
whether labels arrive.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from detectors.delivery.absence import Absences, Absent, Seen
from retrain.messages.alert import AlertKind
from streamer.detect.alarm import Alarm
from streamer.detect.batch import Batch
from streamer.detect.context import Context
from streamer.detect.monitor import Monitor, MonitorFindings
from streamer.detect.remap import Array, Arrays, Remap, Remaps, compact
from streamer.detect.settings import DetectSettings
from streamer.events import ERROR_COLUMN, LAG_COLUMN
from streamer.runtime.snapshot import nested, unnested

ABSENCE: Final = "absence"  # the detector
KEY: Final = "absent"


class AbsenceMonitor(Monitor):
    """The absences of all columns of a fold unit."""

    name: ClassVar = "absence"
    keys: ClassVar = (KEY,)

    def __init__(self, context: Context) -> None:
        self._absences = Absences(context.settings.absence)
        self._table = context.series
        self._subjects = context.subjects
        self._names = context.names

    @classmethod
    def create(cls, context: Context) -> Self | None:
        return cls(context) if context.settings.absence.watch else None

    @classmethod
    def detectors(cls, settings: DetectSettings) -> Sequence[str]:
        return (ABSENCE,) if settings.absence.watch else ()

    def observe(self, batch: Batch) -> MonitorFindings:
        self._absences.add(self._table.keys(slice(len(self._absences), None))[0])
        values, series = batch.values, batch.values.routed.series
        mine = np.flatnonzero(series >= 0)
        mine = mine[~self._is_of_labels(self._table.keys(series[mine])[1])]
        seen = Seen(values.event[mine], series[mine], values.sequence[mine])
        found = self._absences.update(seen, batch.subject, batch.sequence)
        return MonitorFindings([self._alarm(found, k) for k in range(len(found.event))])

    def dump(self) -> Arrays:
        return nested(KEY, self._absences.dump())

    def load(self, arrays: Mapping[str, Array], *, reset: Collection[str], owned: bool) -> None:  # noqa: ARG002
        self._absences.load(unnested(KEY, arrays), self._table.keys(slice(None))[0])

    @staticmethod
    def remap(arrays: Arrays, remaps: Remaps) -> Arrays:
        kept = remaps.series.kept  # of series that came with the last batches, none may be known
        return {name: compact(array, Remap.of(kept[: len(array)])) for name, array in arrays.items()}

    def _is_of_labels(self, columns: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.isin(columns, [ERROR_COLUMN, self._names.columns.ids.get(LAG_COLUMN, ERROR_COLUMN)])

    def _alarm(self, found: Absent, k: int) -> Alarm:
        """Absence `k` as an alarm: `before` is the share of events that had the column."""
        event, series, now, allowed, first, last, values = (int(of[k]) for of in found)
        subject, column = self._table.key_of(series)
        model, version, name = self._subjects.name_of(subject, column)
        span = last - first + 1
        facts = {
            "model_id": model,
            "model_version": version,
            "column": name,
            "detector": ABSENCE,
            "statistic": float(now - last),
            "threshold": float(allowed),
            "effect": values / span,
            "effect_unit": "rate",
            "before": values / span,
            "after": 0.0,
            "n_reference": span,
            "n_current": now - last,
            "kind": AlertKind.ABSENT,
        }
        topic = self._subjects.topic_of(subject)
        return Alarm(event, (series, ABSENCE), subject, topic, last + 1, facts, becomes_ready=False)
