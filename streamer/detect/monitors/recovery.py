"""The recovery of series that have drifted: one judge decides when they have recovered, whatever detector alarmed.

The values before a drift are those of the training reference, or, without one, those that
`detectors/recovery/history_sample.py` kept from before the onset. A series of which too little is known is not watched:
its alerts do not end by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from detectors.arrays.types import F64, I64
from detectors.base import Alarms
from detectors.recovery.history_sample import HistorySample
from detectors.recovery.judge import ROW as WATCHED_ROW
from detectors.recovery.judge import RecoveryJudge, categories_before, numbers_before
from detectors.series.table import ValueKind
from retrain.messages.shift import strength_of
from streamer.detect.alarm import AlarmEvidence, RowWatch, Verdict, Watching
from streamer.detect.batch import KindValues
from streamer.detect.context import Context
from streamer.detect.monitors.detector_set import DetectorSet
from streamer.detect.monitors.evidence import BEFORE_MIN, RowEvidence, ValuesBefore
from streamer.detect.remap import Array, Arrays, Remap, compact
from streamer.runtime.snapshot import nested, unnested

WatchedAlarm = tuple[Watching, AlarmEvidence | None]


class RowRecovery:
    """The rows of one detector set that have drifted and have not recovered yet."""

    def __init__(self, detectors: DetectorSet, context: Context) -> None:
        self._detectors = detectors
        self._context = context
        self._earlier = HistorySample(np.float32 if detectors.kind is ValueKind.NUMBER else np.float64)
        self._judge = RecoveryJudge()

    def update(
        self,
        values: KindValues,
        found: Sequence[tuple[str, Alarms]],
        verdicts: list[Verdict],
        evidence: RowEvidence,
    ) -> dict[str, list[WatchedAlarm]]:
        """Judge the values of a batch and watch the rows of its alarms.

        found: the alarms of each detector. verdicts: gets the new ones, in order. Returns the watch of the row of each
        alarm and what is known of the alarm, by detector.
        """
        raised = [(int(alarms.at[k]), name, k, alarms) for name, alarms in found for k in range(len(alarms))]
        raised.sort(key=lambda one: one[0])  # stable: of one value, by detector
        is_ours = self._judge.watched(values.row)
        if raised:
            is_ours |= np.isin(values.row, np.unique([int(alarms.row[k]) for _, _, k, alarms in raised]))
        self._earlier.add(values.row[~is_ours], values.value[~is_ours], values.number[~is_ours])
        ours = np.flatnonzero(is_ours)
        start = 0
        watches: dict[str, list[WatchedAlarm]] = {name: [(None, None)] * len(alarms) for name, alarms in found}
        for at, name, k, alarms in raised:
            end = int(np.searchsorted(ours, at, side="right"))
            verdicts += self._feed(values, ours[start:end])
            start = end
            known = evidence.of_alarm(name, alarms, k, self._history(alarms, k, int(values.number[at])))
            watches[name][k] = self._begin(name, alarms, k, int(values.number[at])), known
        verdicts += self._feed(values, ours[start:])
        return watches

    def dump(self) -> Arrays:
        """The state; it shows this object's own memory until the next batch."""
        return {"earlier": self._earlier.dump(self._detectors.rows)} | nested("judge", self._judge.dump())

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Restore what was dumped."""
        self._earlier.load(arrays["earlier"])
        self._judge.load(unnested("judge", arrays))

    @staticmethod
    def remap(arrays: Arrays, rows: Remap) -> Arrays:
        """What was dumped, without the evicted rows."""
        judge = unnested("judge", arrays)
        past, watched = judge.pop("past"), judge["head"][:, WATCHED_ROW]
        past, kept = past[rows.kept[past[:, 0]]], rows.kept[watched]
        past[:, 0] = rows.new(past[:, 0])
        judge = {name: array[kept] for name, array in judge.items()}
        judge["head"][:, WATCHED_ROW] = rows.new(judge["head"][:, WATCHED_ROW])
        return {"earlier": compact(arrays["earlier"], rows)} | nested("judge", {"past": past} | judge)

    def _feed(self, values: KindValues, part: I64) -> list[Verdict]:
        if not len(part):
            return []
        row, value = values.row[part], values.value[part]
        self._earlier.add(row, value, values.number[part])
        takes = self._detectors.takes
        return [
            Verdict(int(values.event[part[one.at]]), (takes, one.row), one.verdict, one.distance, one.distance_max)
            for one in self._judge.update(row, value)
        ]

    def _history(self, alarms: Alarms, k: int, number: int) -> ValuesBefore:
        """The values before an alarm: of the baseline, or of the drift that its row is in if this is a further one."""
        row, ago = int(alarms.row[k]), int(alarms.onset_ago[k])

        def before(ago: int) -> F64:
            onset, since = number - max(ago, 0), self._judge.baseline_since(row)
            drifted = self._judge.drifted_at(row)
            if drifted is not None and onset > drifted:
                return self._earlier.between(row, number, drifted, onset)
            found = self._earlier.between(row, number, since, onset)
            return found if len(found) >= BEFORE_MIN else self._earlier.between(row, number, 0, onset)

        return ValuesBefore(before, ago)

    def _begin(self, detector: str, alarms: Alarms, k: int, number: int) -> Watching:
        """Watch the row of an alarm, `number` in its series, if it is not watched yet and enough is known of it."""
        row, takes, kind = int(alarms.row[k]), self._detectors.takes, self._detectors.kind
        if row in self._judge:
            self._judge.reassess(row)
            is_category = kind is ValueKind.CATEGORY
            after, category = float(alarms.after[k]), float(alarms.category[k])
            return RowWatch((takes, row), is_category and self._judge.is_known(row, category, after))
        before = self._sample(kind, row)
        if before is None:
            onset = number - max(int(alarms.onset_ago[k]), 0)
            before = self._earlier.between(row, number, self._judge.baseline_since(row), onset)
            if len(before) < BEFORE_MIN:  # the present baseline is too young: then all values before it
                before = self._earlier.between(row, number, 0, onset)
        if len(before) < BEFORE_MIN:
            return None
        gone = strength_of(float(alarms.effect[k]), self._detectors.banks[detector].effect_unit)
        make = numbers_before if kind is ValueKind.NUMBER else categories_before
        self._judge.begin(row, number, make(before, gone))
        return RowWatch((takes, row))

    def _sample(self, kind: ValueKind, row: int) -> F64 | None:
        subject, column = self._context.series.subject_and_column(row, kind)
        return self._context.references.sample(kind, self._context.subjects.name_of(subject, column))
