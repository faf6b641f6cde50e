"""Joint drift: the numbers of an event side by side, for the detector of their dependence.

Each subject has a row of columns: its first numeric columns in order of first sight, as many as the detector takes. The
prediction is one of them. The error and the lag of labels are not, because they come with other events.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Final, Self

import numpy as np

from detectors.arrays.types import I64
from detectors.base import NO_CATEGORY, Alarms
from detectors.joint.bank import JointBank, Score, moved
from detectors.registry import bank
from detectors.series.id_table import UNSEEN, IdTable
from detectors.series.table import ValueKind
from streamer.detect.alarm import Alarm, evidence_of
from streamer.detect.batch import Batch, KindValues, later
from streamer.detect.context import Context
from streamer.detect.monitor import ColumnStatus, Monitor, MonitorFindings
from streamer.detect.remap import Array, Arrays, Remap, Remaps, compact_all
from streamer.detect.settings import DetectSettings
from streamer.events import ERROR_COLUMN, LAG_COLUMN, NameTable
from streamer.runtime.snapshot import nested, unnested

JOINT: Final = "joint"  # the detector, the column of its alerts, and the key of its state
NO_PLACE: Final = -1
NO_NAMES: Final = NameTable(0)
SUBJECTS_MAX: Final = (1 << 31) - 1


class JointMonitor(Monitor):
    """The rows of columns of a fold unit, if the detector `joint` runs."""

    name: ClassVar = "joint"
    keys: ClassVar = (JOINT,)

    def __init__(self, of: JointBank, context: Context) -> None:
        self._bank = of
        self._table = context.series
        self._subjects = context.subjects
        self._rows = IdTable(SUBJECTS_MAX)  # by row of the bank, the subject
        self._place = np.empty((0, 2), np.int32)  # by row of numbers: row of the bank, and place in it or NO_PLACE
        # By row of the bank: columns, rows fed, and the number of the event of the first one in the subject.
        self._known = np.empty((0, 3), np.int64)
        self._columns = np.empty((0, of.columns), np.int32)  # by row of the bank and place

    @classmethod
    def create(cls, context: Context) -> Self | None:
        settings = context.settings.detectors
        if JOINT not in settings:
            return None
        of = bank(JOINT, settings[JOINT], 0)
        assert isinstance(of, JointBank)  # noqa: S101 -- the table of detectors says so
        return cls(of, context)

    @classmethod
    def detectors(cls, settings: DetectSettings) -> Sequence[str]:
        return (JOINT,) if JOINT in settings.detectors else ()

    @classmethod
    def depends_on(cls, settings: DetectSettings) -> Mapping[str, object]:
        return {name: settings.detectors[name] for name in cls.detectors(settings)}

    def observe(self, batch: Batch) -> MonitorFindings:
        numbers = batch.by_kind[ValueKind.NUMBER]
        self._give_places()
        keep = np.flatnonzero(self._place[numbers.row, 1] >= 0)
        event = numbers.event[keep]
        place = self._place[numbers.row[keep], 0]  # an event brings numbers to its model and to its segment, in turn
        first = np.flatnonzero((np.diff(event, prepend=-1) != 0) | (np.diff(place, prepend=-1) != 0))
        several = np.diff(first, append=len(event)) > 1
        of_row = np.repeat(np.where(several, np.cumsum(several) - 1, NO_PLACE), np.diff(first, append=len(event)))
        keep, of_row, first = keep[of_row >= 0], of_row[of_row >= 0], keep[first[several]]
        values = np.full((len(first), self._bank.columns), np.nan)
        values[of_row, self._place[numbers.row[keep], 1]] = numbers.value[keep]
        rows = self._place[numbers.row[first], 0].astype(np.int64)
        self._count(rows, numbers.sequence[first])
        multiple = batch.multiple(JOINT, self._bank.settings.arl0, numbers.place[first])
        found = self._bank.update(rows, values, batch.events.event_time_ms[numbers.event[first]], multiple)
        after = later(rows, found.at).tolist()
        return MonitorFindings([self._alarm(found, k, numbers, first, after[k]) for k in range(len(found))])

    def describe(self, subjects: Sequence[int]) -> Iterator[ColumnStatus]:
        for subject, column, facts in self._table.of_subjects(subjects):
            is_placed = facts.kind is ValueKind.NUMBER and facts.row < len(self._place)
            if is_placed and self._place[facts.row, 1] != NO_PLACE:
                yield ColumnStatus(subject, self._subjects.column(column), (JOINT,))
        for subject, row in zip(subjects, self._rows.find(np.array(subjects, np.int64)).tolist(), strict=True):
            if row != UNSEEN and (seen := int(self._known[row, 1])):
                states = ("starved",) if self._bank.learning(slice(row, row + 1))[0] else ()
                yield ColumnStatus(subject, JOINT, (JOINT,), "", states, "rows", seen)

    def dump(self) -> Arrays:
        arrays: Arrays = {
            "subjects": self._rows.keys,
            "place": self._place,
            "known": self._known,
            "columns": self._columns,
        }
        return nested(JOINT, arrays | nested("bank", self._bank.view(slice(0, self._bank.rows))))

    def load(self, arrays: Mapping[str, Array], *, reset: Collection[str], owned: bool) -> None:
        mine = unnested(JOINT, arrays)
        if JOINT in reset:  # the columns get new places, too
            return
        self._rows.load(mine["subjects"])
        self._place, self._known = mine["place"].copy(), mine["known"].copy()
        self._columns = mine["columns"].copy()
        state, rows = unnested("bank", mine), len(self._rows)
        if owned:
            self._bank.adopt(rows, state)
        else:
            self._bank.grow(rows)
            self._bank.load(slice(0, rows), state)

    @staticmethod
    def remap(arrays: Arrays, remaps: Remaps) -> Arrays:
        mine = unnested(JOINT, arrays)
        of, place = mine.pop("subjects"), mine.pop("place")
        rows, place = Remap.of(remaps.subjects.kept[of]), place[remaps.rows[ValueKind.NUMBER].kept[: len(place)]]
        has_place = place[:, 1] != NO_PLACE
        place[has_place, 0] = rows.place[place[has_place, 0]]
        subjects = remaps.subjects.new(of[rows.kept])
        return nested(JOINT, {"subjects": subjects, "place": place} | compact_all(mine, rows))

    def alarm_rows(self, remaps: Remaps) -> Mapping[str, Remap]:
        return {JOINT: Remap.of(remaps.subjects.kept[self._rows.keys])}

    def _give_places(self) -> None:
        """Give places to the new rows of numbers, in order."""
        known, rows = len(self._place), int(self._table.rows[ValueKind.NUMBER])
        if rows == known:
            return
        self._place = np.concatenate([self._place, np.full((rows - known, 2), NO_PLACE, np.int32)])
        keys = [self._table.subject_and_column(row) for row in range(known, rows)]
        mine = self._rows.add(np.array([subject for subject, _ in keys], np.int64))
        more = len(self._rows) - len(self._known)
        self._known = np.concatenate([self._known, np.zeros((more, 3), np.int64)])
        self._columns = np.concatenate([self._columns, np.full((more, self._bank.columns), NO_PLACE, np.int32)])
        self._bank.grow(len(self._rows))
        for row, of_bank, (_, column) in zip(range(known, rows), mine.tolist(), keys, strict=True):
            place = int(self._known[of_bank, 0])
            if place == self._bank.columns or column == ERROR_COLUMN or self._subjects.column(column) == LAG_COLUMN:
                continue
            self._place[row] = of_bank, place
            self._columns[of_bank, place] = column
            self._known[of_bank, 0] = place + 1

    def _count(self, rows: I64, sequence: I64) -> None:
        row, at, count = np.unique(rows, return_index=True, return_counts=True)
        new = self._known[row, 1] == 0
        self._known[row[new], 2] = sequence[at[new]]
        self._known[row, 1] += count

    def _alarm(self, alarms: Alarms, k: int, numbers: KindValues, first: I64, after: int) -> Alarm:
        """Alarm `k`; so many rows of the same subject come `after` it within the batch."""
        row, value = int(alarms.row[k]), first[int(alarms.at[k])]
        subject, now = self._rows.key_of(row), int(numbers.sequence[value])
        seen, began = int(self._known[row, 1]) - after, int(self._known[row, 2])
        ago = (int(alarms.onset_ago[k]) * (now - began + 1) + seen // 2) // seen  # as events may lack numbers
        model, version, _ = self._subjects.name_of(subject, ERROR_COLUMN)
        named = replace(alarms, category=np.full(len(alarms), NO_CATEGORY))
        facts = evidence_of(named, k, (model, version, JOINT), JOINT, JointBank.effect_unit, "", NO_NAMES)
        facts["columns"] = tuple(self._name(row, score) for score in moved(int(alarms.category[k])))
        topic = self._subjects.topic_of(subject)
        return Alarm(int(numbers.event[value]), (row, JOINT), subject, topic, max(now - ago, 0), facts)

    def _name(self, row: int, score: Score) -> str:
        """The column; between bars if the distance of its values from their middle has moved."""
        name = self._subjects.column(int(self._columns[row, score.column]))
        return f"|{name}|" if score.is_spread else name
