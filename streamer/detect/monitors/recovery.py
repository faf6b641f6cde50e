"""Which series have drifted and are not back: whatever detector has said so, one judge says when it is over.

The values before a drift are those of the training reference, where there is one, else what
`detectors/recovery/history_sample.py` has kept from before the onset. A series of which too little is known is not
watched: its alerts do not end by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import I64
from detectors.base import Alarms
from detectors.recovery.history_sample import HistorySample
from detectors.recovery.judge import RecoveryJudge, categories_before, numbers_before
from detectors.series.table import SeriesTable, ValueKind
from retrain.messages.shift import strength_of
from streamer.detect.alarm import RowWatch, Verdict, Watches, Watching
from streamer.detect.batch import KindValues
from streamer.detect.monitors.detector_set import DetectorSet
from streamer.detect.reference_lookup import ReferenceLookup
from streamer.detect.subjects import Subjects
from streamer.runtime.snapshot import nested, unnested

BEFORE_MIN = 16  # values that must be known from before a drift


class RecoveryMonitor:
    """The rows of one panel that have drifted, and what it takes to know when they are back."""

    def __init__(self, panel: DetectorSet, trained: ReferenceLookup, subjects: Subjects, table: SeriesTable) -> None:
        self._panel = panel
        self._trained, self._subjects, self._table = trained, subjects, table
        self._earlier = HistorySample()
        self._judge = RecoveryJudge()

    def fold(
        self,
        values: KindValues,
        numbers: I64,
        found: Sequence[tuple[str, Alarms]],
        judged: list[Verdict],
    ) -> dict[str, Watches]:
        """Judge a batch's values, which are `numbers` in the lives of their series, and watch what its alarms name.

        `found` are the alarms of each detector; `judged` gets what is found out, in order. Returns the watch that the
        row of each alarm is under, by detector.
        """
        raised = [(int(alarms.at[k]), name, k, alarms) for name, alarms in found for k in range(len(alarms))]
        raised.sort(key=lambda one: one[0])  # stable: of one value, by detector
        is_ours = self._judge.watched(values.row)
        if raised:
            is_ours |= np.isin(values.row, np.unique([int(alarms.row[k]) for _, _, k, alarms in raised]))
        self._earlier.add(values.row[~is_ours], values.value[~is_ours], numbers[~is_ours])
        ours = np.flatnonzero(is_ours)
        start = 0
        watches: dict[str, Watches] = {name: [None] * len(alarms) for name, alarms in found}
        for at, name, k, alarms in raised:
            end = int(np.searchsorted(ours, at, side="right"))
            judged += self._feed(values, numbers, ours[start:end])
            start = end
            watches[name][k] = self._begin(name, alarms, k, int(numbers[at]))
        judged += self._feed(values, numbers, ours[start:])
        return watches

    def dump(self) -> dict[str, NDArray[Any]]:
        """The state; good until the next batch."""
        return {"earlier": self._earlier.dump(self._panel.rows)} | nested("judge", self._judge.dump())

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._earlier.load(arrays["earlier"])
        self._judge.load(unnested("judge", arrays))

    def _feed(self, values: KindValues, numbers: I64, part: I64) -> list[Verdict]:
        if not len(part):
            return []
        row, value = values.row[part], values.value[part]
        self._earlier.add(row, value, numbers[part])
        takes = self._panel.takes
        return [
            Verdict(int(values.event[part[one.at]]), (takes, one.row), one.verdict, one.distance, one.distance_max)
            for one in self._judge.update(row, value)
        ]

    def _begin(self, detector: str, alarms: Alarms, k: int, number: int) -> Watching:
        """Watch the row of an alarm at this number of its life, if it is not watched already and enough is known."""
        row, takes, kind = int(alarms.row[k]), self._panel.takes, self._panel.kind
        if row in self._judge:
            self._judge.reassess(row)
            is_category = kind is ValueKind.CATEGORY
            after, category = float(alarms.after[k]), float(alarms.category[k])
            return RowWatch((takes, row), is_category and self._judge.is_known(row, category, after))
        before = self._trained.sample(kind, self._subjects.name_of(*self._table.subject_and_column(row, kind)))
        if before is None:
            onset = number - max(int(alarms.onset_ago[k]), 0)
            before = self._earlier.between(row, number, self._judge.baseline_since(row), onset)
            if len(before) < BEFORE_MIN:  # what became the usual last is too young: then all that was before
                before = self._earlier.between(row, number, 0, onset)
        if len(before) < BEFORE_MIN:
            return None
        gone = strength_of(float(alarms.effect[k]), self._panel.banks[detector].effect_unit)
        make = numbers_before if kind is ValueKind.NUMBER else categories_before
        self._judge.begin(row, number, make(before, gone))
        return RowWatch((takes, row))
