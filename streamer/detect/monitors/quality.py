"""The quality of the data as signals: values that are missing, of the wrong type, or unlike any in training.

Each is a stream of zeros and ones a column, in which only ones are looked at: what is not a fault costs nothing. A row
of the bank is made with the first fault of its kind, so that clean columns take no memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import I64
from detectors.base import Alarms, Bank
from detectors.rate.bank import RateBank
from detectors.reference import CategoryReference, Reference
from detectors.series.id_table import IdTable
from detectors.series.table import NO_ROW, SeriesTable, ValueKind
from retrain.messages.alert import AlertKind
from streamer.detect.alarm import Alarm
from streamer.detect.batch import KindValues, RoutedValues
from streamer.detect.evidence import facts_of
from streamer.detect.monitors.detector_set import DetectorSet
from streamer.detect.monitors.training_range import Ranges
from streamer.detect.reference_lookup import ReferenceLookup
from streamer.detect.subjects import Subjects
from streamer.events import OTHERS, NameTable
from streamer.references.table import AnyReference, Key
from streamer.runtime.snapshot import nested, unnested

RATE: Final = "rate"  # the detector
FAULTS: Final = (AlertKind.MISSING, AlertKind.TYPE_FAULT, AlertKind.OUT_OF_RANGE, AlertKind.UNSEEN)
COUNTED_AS: Final = (ValueKind.MISSING, ValueKind.MISFIT)  # those of them that every series counts, by index
NEED_TRAINING: Final = FAULTS[2:]
FAULT_BITS: Final = 2
NO_NAMES: Final = NameTable(0)
ROWS_MAX: Final = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults of a batch, in order of its values; `k` of them."""

    fault: I64  # [k] index into FAULTS
    series: I64  # [k]
    number: I64  # [k] of the value, in its series, from 0
    event: I64  # [k]
    life: I64  # [k]

    def only(self, keep: NDArray[np.bool_]) -> Faults:
        """The faults where `keep` is true."""
        return Faults(self.fault[keep], self.series[keep], self.number[keep], self.event[keep], self.life[keep])


class QualityMonitor:
    """Counts the faults of all series of a fold unit, where the detector `rate` runs."""

    def __init__(
        self, bank: Bank | None, table: SeriesTable, subjects: Subjects, trained: ReferenceLookup, series_max: int
    ) -> None:
        assert bank is None or isinstance(bank, RateBank)  # noqa: S101 -- the table of detectors says so
        self._bank = bank
        self._table = table
        self._subjects = subjects
        self._trained = trained
        self._ranges = Ranges()
        self._rows = IdTable(min(len(FAULTS) * series_max, ROWS_MAX))

    def refer(self, panel: DetectorSet, row: int, key: Key) -> None:
        """Hold a row of the panel, that of (model, version, column), against its training data, where there are any."""
        reference = self._trained.of(panel.kind, key)
        if isinstance(reference, Reference):
            self._ranges.know_numbers(panel.rows, row, reference)
        elif reference is not None and OTHERS not in reference.names:  # else some that were there have no name
            self._ranges.know_categories(panel.rows, row, self._trained.ids_of(reference))

    def faults(self, arrived: RoutedValues, numbers: KindValues, categories: KindValues) -> Faults:
        """What is wrong with these values, of which some are `numbers` and some `categories` of rows."""
        row, series, number, _ = arrived.routed
        stray = np.flatnonzero((row == NO_ROW) & (series >= 0)) if self._bank else np.empty(0, np.int64)
        is_missing = arrived.kind[stray] == ValueKind.MISSING
        places = [
            stray[is_missing],
            stray[~is_missing],
            numbers.place[self._ranges.out_of_range(numbers.row, numbers.value)],
            categories.place[self._ranges.unseen(categories.row, categories.value)],
        ]
        place = np.concatenate(places)
        fault = np.repeat(np.arange(len(FAULTS)), [len(part) for part in places])
        order = np.argsort(place, kind="stable")
        place = place[order]
        return Faults(fault[order], series[place], number[place], arrived.event[place], arrived.life[place])

    def alarms(self, faults: Faults, tally: Counter[tuple[str, ...]]) -> list[Alarm]:
        """The alarms that come of a batch's faults, in order of events."""
        if self._bank is None or not len(faults.fault):
            return []
        known = len(self._rows)
        rows = self._rows.add(faults.series << FAULT_BITS | faults.fault)
        if (rows == NO_ROW).any():
            faults, rows = faults.only(rows != NO_ROW), rows[rows != NO_ROW]
        self._bank.grow(len(self._rows))
        for row, first, n in _new(rows, known):
            self._begin(self._bank, row, faults, first, n)
        alarms = self._bank.update_ones(rows, faults.number)
        tally["alarms", RATE] += len(alarms)
        return [self._alarm(alarms, k, faults) for k in range(len(alarms))]

    def dump(self) -> dict[str, NDArray[Any]]:
        """The state; good until the next batch."""
        arrays: dict[str, NDArray[Any]] = {"keys": self._rows.keys}
        if self._bank is not None:
            arrays |= nested("bank", self._bank.view(slice(0, len(self._rows))))
        return arrays

    def load(self, arrays: Mapping[str, NDArray[Any]], anew: Collection[str]) -> None:
        """Become what was dumped; fresh where the detector is among those that begin anew."""
        if self._bank is None or RATE in anew:
            return
        self._rows.load(arrays["keys"])
        self._bank.grow(len(self._rows))
        self._bank.load(slice(0, len(self._rows)), unnested("bank", arrays))

    def _begin(self, bank: RateBank, row: int, faults: Faults, first: int, n: int) -> None:
        """What is usual for a new row, whose `n` faults in this batch begin with `first`, where that is known."""
        series, fault = int(faults.series[first]), int(faults.fault[first])
        reference = self._compared_with(FAULTS[fault], self._subjects.name_of(*self._table.key_of(series)))
        if reference is not None:
            size, ones = _ones_in_training(FAULTS[fault], reference)
            if FAULTS[fault] is AlertKind.MISSING and ones:  # nulls mostly come in runs, which a sample doesn't tell
                bank.set_usual_rate(row, int(faults.number[first]), size, ones)
            else:
                bank.set_usual(row, size, ones)
        elif self._table.count_of(series, COUNTED_AS[fault]) > n:  # there were some before anybody counted
            bank.start_at(row, int(faults.number[first]))

    def _compared_with(self, kind: AlertKind, key: Key) -> AnyReference | None:
        """The training data that tell how usual such faults of (model, version, column) are, where there are any."""
        if kind is AlertKind.OUT_OF_RANGE:
            return self._trained.of(ValueKind.NUMBER, key)
        return self._trained.of(ValueKind.CATEGORY, key) if kind is AlertKind.UNSEEN else self._trained.of_any(key)

    def _alarm(self, alarms: Alarms, k: int, faults: Faults) -> Alarm:
        at, row = int(alarms.at[k]), int(alarms.row[k])
        series, kind = int(faults.series[at]), FAULTS[faults.fault[at]]
        subject, column = self._table.key_of(series)
        key = self._subjects.name_of(subject, column)
        reference = self._compared_with(kind, key)
        is_trained = reference is not None and (
            kind in NEED_TRAINING or _ones_in_training(kind, reference)[0] == int(alarms.n_reference[k])
        )  # else what is usual was learnt anew
        digest = reference.digest if reference and is_trained else ""
        facts = facts_of(alarms, k, key, RATE, RateBank.effect_unit, digest, NO_NAMES, kind)
        seen, life, first = int(faults.number[at]) + 1, int(faults.life[at]), self._table.first_event_of(series)
        ago = (int(alarms.onset_ago[k]) * (life - first + 1) + seen // 2) // seen  # as events may lack the column
        topic = self._subjects.topic_of(subject)
        return Alarm(int(faults.event[at]), (row, RATE), subject, topic, max(life - ago, 0), facts, becomes_ready=False)


def _new(rows: I64, known: int) -> Iterator[tuple[int, int, int]]:
    """Each row that is new: the row, the index of its first fault, and how many it has in this batch."""
    if len(rows) and int(rows.max()) >= known:
        found, first, count = np.unique(rows, return_index=True, return_counts=True)
        new = found >= known
        yield from zip(found[new].tolist(), first[new].tolist(), count[new].tolist(), strict=True)


def _ones_in_training(kind: AlertKind, reference: AnyReference) -> tuple[int, int]:
    """Of how many values of the training data how many were such faults, or stand for those more data would have had.

    Beyond the extremes of n values lies what lies beyond the second of 2 of n + 1; unseen categories come as often as
    those that were seen once (I. J. Good, 1953). Training data hold no text in a column of numbers.
    """
    if kind is AlertKind.UNSEEN and isinstance(reference, CategoryReference):
        return reference.n_seen, int(np.count_nonzero(reference.counts == 1))
    if kind is AlertKind.OUT_OF_RANGE:
        return reference.n_seen, min(1, reference.n_seen)
    return reference.n_seen + reference.n_missing, reference.n_missing if kind is AlertKind.MISSING else 0
