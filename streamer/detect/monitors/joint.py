"""The numbers of an event side by side, for the detector of joint drift.

Each subject has a row of columns: its first numeric columns in order of first sight, as many as the detector takes. The
prediction is one of them; what labels bring to light (the error, their lag) is not, as it comes with other events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import I64
from detectors.base import NO_CATEGORY, Alarms, Bank
from detectors.joint.bank import JointBank, Score, moved
from detectors.series.id_table import UNSEEN, IdTable
from detectors.series.table import SeriesTable, ValueKind
from streamer.detect.alarm import Alarm
from streamer.detect.batch import KindValues, later
from streamer.detect.evidence import facts_of
from streamer.detect.subjects import Subjects
from streamer.events import ERROR_COLUMN, LAG_COLUMN, NameTable
from streamer.runtime.snapshot import nested, unnested

JOINT: Final = "joint"  # the detector, and the column of its alerts
NO_PLACE: Final = -1
NO_NAMES: Final = NameTable(0)
SUBJECTS_MAX: Final = (1 << 31) - 1


class WatchedRows(NamedTuple):
    """How many rows of columns a subject has had, and whether it still has to learn what is usual."""

    seen: int
    learning: bool


class JointMonitor:
    """The rows of columns of a fold unit, where the detector `joint` runs; `bank` is None where it doesn't."""

    def __init__(self, bank: Bank | None, table: SeriesTable, subjects: Subjects) -> None:
        assert bank is None or isinstance(bank, JointBank)  # noqa: S101 -- the table of detectors says so
        self._bank = bank
        self._table = table
        self._subjects = subjects
        self._rows = IdTable(SUBJECTS_MAX)  # by row of the bank, the subject
        self._place = np.empty((0, 2), np.int32)  # by row of numbers: row of the bank, and place in it or NO_PLACE
        self._known = np.empty(
            (0, 3), np.int64
        )  # by row of the bank: columns, rows fed, number of the first one's event
        self._columns = np.empty((0, bank.columns if bank else 0), np.int32)  # by row of the bank and place

    def alarms(self, numbers: KindValues, event_time_ms: I64, tally: Counter[tuple[str, ...]]) -> list[Alarm]:
        """The alarms that come of a batch's numbers, in order of events."""
        if self._bank is None:
            return []
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
        self._count(rows, numbers.life[first])
        found = self._bank.update(rows, values, event_time_ms[numbers.event[first]])
        tally["alarms", JOINT] += len(found)
        after = later(rows, found.at).tolist()
        return [self._alarm(found, k, numbers, first, after[k]) for k in range(len(found))]

    def rows_of(self, subject: int) -> WatchedRows | None:
        """The rows of columns of a subject; None where no two of its numbers came together."""
        row = int(self._rows.find(np.array([subject]))[0])
        if self._bank is None or row == UNSEEN or not self._known[row, 1]:
            return None
        return WatchedRows(int(self._known[row, 1]), bool(self._bank.learning(slice(row, row + 1))[0]))

    def watches(self, row: int) -> bool:
        """Whether a row of numbers is one of the columns that are watched together."""
        return row < len(self._place) and bool(self._place[row, 1] != NO_PLACE)

    def dump(self) -> dict[str, NDArray[Any]]:
        """The state, the bank's not copied: good until the next update."""
        if self._bank is None:
            return {}
        arrays: dict[str, NDArray[Any]] = {
            "subjects": self._rows.keys,
            "place": self._place,
            "known": self._known,
            "columns": self._columns,
        }
        return arrays | nested("bank", self._bank.view(slice(0, self._bank.rows)))

    def load(self, arrays: Mapping[str, NDArray[Any]], anew: Collection[str], *, is_ours: bool) -> None:
        """Become what was dumped; where the detector begins `anew`, the columns get their places anew too.

        `is_ours`: the arrays may be kept and written to, which spares a copy of what is large.
        """
        if self._bank is None or JOINT in anew or "subjects" not in arrays:
            return
        self._rows.load(arrays["subjects"])
        self._place, self._known = arrays["place"].copy(), arrays["known"].copy()
        self._columns = arrays["columns"].copy()
        state, rows = unnested("bank", arrays), len(self._rows)
        if is_ours:
            self._bank.adopt(rows, state)
        else:
            self._bank.grow(rows)
            self._bank.load(slice(0, rows), state)

    def _give_places(self) -> None:
        """Give the rows of numbers that are new their places, in order."""
        assert self._bank is not None  # noqa: S101
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

    def _count(self, rows: I64, life: I64) -> None:
        row, at, count = np.unique(rows, return_index=True, return_counts=True)
        new = self._known[row, 1] == 0
        self._known[row[new], 2] = life[at[new]]
        self._known[row, 1] += count

    def _alarm(self, alarms: Alarms, k: int, numbers: KindValues, first: I64, after: int) -> Alarm:
        """Alarm `k`; so many rows of the same subject come `after` it within the batch."""
        row, value = int(alarms.row[k]), first[int(alarms.at[k])]
        subject, life = self._rows.key_of(row), int(numbers.life[value])
        seen, began = int(self._known[row, 1]) - after, int(self._known[row, 2])
        ago = (int(alarms.onset_ago[k]) * (life - began + 1) + seen // 2) // seen  # as events may lack numbers
        model, version, _ = self._subjects.name_of(subject, ERROR_COLUMN)
        named = replace(alarms, category=np.full(len(alarms), NO_CATEGORY))
        facts = facts_of(named, k, (model, version, JOINT), JOINT, JointBank.effect_unit, "", NO_NAMES)
        facts["columns"] = tuple(self._name(row, score) for score in moved(int(alarms.category[k])))
        topic = self._subjects.topic_of(subject)
        return Alarm(int(numbers.event[value]), (row, JOINT), subject, topic, max(life - ago, 0), facts)

    def _name(self, row: int, score: Score) -> str:
        """The column; between bars where it is the distance of its values from their middle that moved."""
        name = self._subjects.column(int(self._columns[row, score.column]))
        return f"|{name}|" if score.is_spread else name
