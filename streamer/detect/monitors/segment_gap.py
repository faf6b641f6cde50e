"""The difference between segments as a signal: does one's error, or prediction, depart from that of the others?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import F64
from detectors.segment_gap import EFFECT_UNIT, SEGMENT_GAP, GapBank, Gaps
from detectors.series.id_table import UNSEEN, IdTable
from retrain.messages.alert import AlertKind
from streamer.detect.alarm import Alarm
from streamer.detect.batch import Compared
from streamer.detect.segments import Segments
from streamer.detect.subjects import Subjects
from streamer.events import PREDICTION_COLUMN
from streamer.runtime.snapshot import nested, unnested

ROWS_MAX: Final = (1 << 31) - 1


class SegmentGapMonitor:
    """Holds the error of each segment, and its prediction, against those of its model's other segments."""

    def __init__(self, segments: Segments, subjects: Subjects, series_max: int) -> None:
        self._segments = segments
        self._subjects = subjects
        self._rows = IdTable(min(series_max, ROWS_MAX))  # subject of a segment and column
        self._groups = IdTable(min(series_max, ROWS_MAX))  # subject of a model and column
        self._bank = GapBank()

    def alarms(self, values: Compared, tally: Counter[tuple[str, ...]]) -> list[Alarm]:
        """The alarms that come of a batch's values, in order of events."""
        rows = self._rows.lookup(values.segment << 1 | values.column)
        groups = self._groups.lookup(values.subject << 1 | values.column)
        known = (rows != UNSEEN) & (groups != UNSEEN)
        values, rows, groups = values.only(known), rows[known], groups[known]
        new = [self._rules(row) for row in range(self._bank.rows, len(self._rows))]
        self._bank.grow(np.array(new).reshape(-1, 3), len(self._groups))
        both = values.column == PREDICTION_COLUMN
        gaps = self._bank.update(rows, groups, values.value, values.number, both)
        tally["alarms", SEGMENT_GAP] += len(gaps.at)
        return list(self._found(gaps, values))

    def dump(self) -> dict[str, NDArray[Any]]:
        return {"rows": self._rows.keys, "groups": self._groups.keys} | nested("bank", self._bank.dump())

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Become what was dumped, under the rules of the present settings."""
        self._rows.load(arrays["rows"])
        self._groups.load(arrays["groups"])
        self._bank.load(unnested("bank", arrays))
        for row in range(self._bank.rows):
            self._bank.set_rules(row, self._rules(row))

    def _rules(self, row: int) -> F64:
        settings = self._segments.settings_of(self._subjects.model_of(self._rows.key_of(row) >> 1))
        if settings is None:  # under other settings than when it began: no values come any more
            return np.array([0.0, 0.0, np.inf])
        return np.array([settings.gap_baseline, settings.gap_min, settings.gap_arl0])

    def _found(self, gaps: Gaps, values: Compared) -> Iterator[Alarm]:
        for k, at in enumerate(gaps.at.tolist()):
            row, segment = int(gaps.row[k]), int(values.segment[at])
            model, version, column = self._subjects.name_of(int(values.subject[at]), int(values.column[at]))
            facts = {"model_id": model, "model_version": version, "column": column, "detector": SEGMENT_GAP}
            facts |= {name: getattr(gaps, name)[k].item() for name in _TOLD}
            facts |= {"effect_unit": EFFECT_UNIT, "kind": AlertKind.SEGMENT_GAP}
            topic, onset = self._subjects.topic_of(segment), int(gaps.onset[k])
            yield Alarm(int(values.event[at]), (row, SEGMENT_GAP), segment, topic, onset, facts, becomes_ready=False)


def told_of_segment(alarm: Alarm, subjects: Subjects) -> Alarm:
    """The alarm with its segment and model told apart."""
    model, segment = subjects.model_and_segment(alarm.subject) if alarm.subject >= 0 else ("", "")
    return replace(alarm, facts={**alarm.facts, "model_id": model, "segment": segment}) if segment else alarm


_TOLD: Final = ("statistic", "threshold", "effect", "before", "after", "n_reference", "n_current")
