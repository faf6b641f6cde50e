"""Segments whose error, or prediction, departs from that of the model's other segments."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import F64, I64
from detectors.segment_gap import EFFECT_UNIT, OTHER_ROW, ROW, SEGMENT_GAP, GapBank, Gaps
from detectors.series.id_table import UNSEEN, IdTable
from retrain.messages.alert import AlertKind
from streamer.detect.alarm import Alarm
from streamer.detect.batch import Batch, BatchValues
from streamer.detect.context import Context
from streamer.detect.monitor import Monitor, MonitorFindings
from streamer.detect.remap import Array, Arrays, Remap, Remaps
from streamer.detect.settings import DetectSettings
from streamer.events import ERROR_COLUMN, NUMBER, PREDICTION_COLUMN, TEXT_NUMBER
from streamer.runtime.snapshot import nested, unnested

KEY: Final = "gaps"
ROWS_MAX: Final = (1 << 31) - 1
MEASURES: Final = ("statistic", "threshold", "effect", "before", "after", "n_reference", "n_current")


class Compared(NamedTuple):
    """Predictions and errors of segments; `m` of them, in order of events."""

    event: I64  # [m] index of the event
    subject: I64  # [m] the whole model
    segment: I64  # [m] the subject of the segment
    sequence: I64  # [m] number of the event in the segment
    column: I64  # [m]
    value: F64  # [m] finite

    @classmethod
    def of(cls, values: BatchValues) -> Compared:
        is_one = (values.column == ERROR_COLUMN) | (values.column == PREDICTION_COLUMN)
        is_number = ((values.category == NUMBER) | (values.category <= TEXT_NUMBER)) & np.isfinite(values.number)
        segment, sequence = values.segment[:, 0], values.segment[:, 1]
        take = np.flatnonzero(is_one & is_number & (segment >= 0) & (values.subject != segment))
        take = take[np.argsort(values.event[take], kind="stable")]
        column = values.column[take].astype(np.int64)
        return cls(values.event[take], values.subject[take], segment[take], sequence[take], column, values.number[take])

    def only(self, keep: NDArray[np.bool_]) -> Compared:
        """The values where `keep` is true."""
        event, subject, segment, sequence, column, value = self
        return Compared(event[keep], subject[keep], segment[keep], sequence[keep], column[keep], value[keep])


class SegmentGapMonitor(Monitor):
    """Compares the error of each segment, and its prediction, with those of its model's other segments.

    It keeps its state while the settings define no segments, and continues when they do again.
    """

    name: ClassVar = "segment_gap"
    keys: ClassVar = (KEY,)

    def __init__(self, context: Context) -> None:
        series_max = context.settings.limits.series_max
        self._segments = context.segments
        self._subjects = context.subjects
        self._rows = IdTable(min(series_max, ROWS_MAX))  # subject of a segment and column
        self._groups = IdTable(min(series_max, ROWS_MAX))  # subject of a model and column
        self._bank = GapBank()

    @classmethod
    def create(cls, context: Context) -> Self:
        return cls(context)

    @classmethod
    def detectors(cls, settings: DetectSettings) -> Sequence[str]:
        return (SEGMENT_GAP,) if settings.segments else ()

    def observe(self, batch: Batch) -> MonitorFindings:
        if not self._segments:
            return MonitorFindings()
        values = Compared.of(batch.arrived)
        rows = self._rows.add(values.segment << 1 | values.column)
        groups = self._groups.add(values.subject << 1 | values.column)
        known = (rows != UNSEEN) & (groups != UNSEEN)
        values, rows, groups = values.only(known), rows[known], groups[known]
        new = [self._rules(row) for row in range(self._bank.rows, len(self._rows))]
        self._bank.grow(np.array(new).reshape(-1, 3), len(self._groups))
        both = values.column == PREDICTION_COLUMN
        gaps = self._bank.update(rows, groups, values.value, values.sequence, both)
        return MonitorFindings(list(self._alarms(gaps, values)))

    def dump(self) -> Arrays:
        arrays: Arrays = {"rows": self._rows.keys, "groups": self._groups.keys}
        return nested(KEY, arrays | nested("bank", self._bank.dump()))

    def load(self, arrays: Mapping[str, Array], *, reset: Collection[str], owned: bool) -> None:  # noqa: ARG002
        """Restore what was dumped, under the rules of the present settings."""
        mine = unnested(KEY, arrays)
        self._rows.load(mine["rows"])
        self._groups.load(mine["groups"])
        self._bank.load(unnested("bank", mine))
        for row in range(self._bank.rows):
            self._bank.set_rules(row, self._rules(row))

    @staticmethod
    def remap(arrays: Arrays, remaps: Remaps) -> Arrays:
        mine, subjects = unnested(KEY, arrays), remaps.subjects
        rows, groups = (Remap.of(subjects.kept[mine[name] >> 1]) for name in ("rows", "groups"))
        for name, of in (("rows", rows), ("groups", groups)):
            keys = mine[name][of.kept]
            mine[name] = subjects.new(keys >> 1) << 1 | keys & 1
            mine[f"bank/{name}"] = mine[f"bank/{name}"][of.kept]
        latest = mine["bank/groups"]
        for column in (ROW, OTHER_ROW):
            latest[:, column] = rows.new(latest[:, column].astype(np.int64))
        mine["bank/rules"] = mine["bank/rules"][rows.kept]
        return nested(KEY, mine)

    def _rules(self, row: int) -> F64:
        settings = self._segments.settings_of(self._subjects.model_of(self._rows.key_of(row) >> 1))
        if settings is None:  # the settings have changed: no values arrive any more
            return np.array([0.0, 0.0, np.inf])
        return np.array([settings.gap_baseline, settings.gap_min, settings.gap_arl0])

    def _alarms(self, gaps: Gaps, values: Compared) -> Iterator[Alarm]:
        for k, at in enumerate(gaps.at.tolist()):
            row, segment = int(gaps.row[k]), int(values.segment[at])
            model, version, column = self._subjects.name_of(int(values.subject[at]), int(values.column[at]))
            facts: dict[str, Any] = {"model_id": model, "model_version": version, "column": column}
            facts |= {"detector": SEGMENT_GAP} | {name: getattr(gaps, name)[k].item() for name in MEASURES}
            facts |= {"effect_unit": EFFECT_UNIT, "kind": AlertKind.SEGMENT_GAP}
            topic, onset = self._subjects.topic_of(segment), int(gaps.onset[k])
            yield Alarm(int(values.event[at]), (row, SEGMENT_GAP), segment, topic, onset, facts, becomes_ready=False)
