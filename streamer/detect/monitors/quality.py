"""Data quality: values that are missing, of the wrong type, or unlike any in training.

Each kind of fault of a column is a stream of zeros and ones, of which only the ones cost time. A row of the bank is
made with the first fault of its kind, so that clean columns take no memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import ClassVar, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.growth import ensure_length
from detectors.arrays.types import I64, U64
from detectors.base import Alarms
from detectors.rate.bank import RateBank
from detectors.reference import CategoryReference, Reference
from detectors.registry import bank
from detectors.series.calendar import YES
from detectors.series.id_table import IdTable
from detectors.series.table import NO_ROW, WATCHED, ValueKind
from retrain.messages.alert import AlertKind
from streamer.detect.alarm import Alarm, evidence_of
from streamer.detect.batch import Batch
from streamer.detect.context import Context
from streamer.detect.monitor import Monitor, MonitorFindings
from streamer.detect.references.table import AnyReference, Key
from streamer.detect.remap import Array, Arrays, Remap, Remaps, compact_all
from streamer.detect.settings import DetectSettings
from streamer.events import OTHERS, NameTable
from streamer.runtime.snapshot import nested, unnested

RATE: Final = "rate"  # the detector
KEY: Final = "quality"
FAULTS: Final = (AlertKind.MISSING, AlertKind.TYPE_FAULT, AlertKind.OUT_OF_RANGE, AlertKind.UNSEEN)
COUNTED_AS: Final = (ValueKind.MISSING, ValueKind.MISFIT)  # those of them that every series counts, by index
NEED_TRAINING: Final = FAULTS[2:]
FAULT_BITS: Final = 2
NO_NAMES: Final = NameTable(0)
ROWS_MAX: Final = (1 << 31) - 1


class Faults(NamedTuple):
    """The faults of a batch, in order of its values; `k` of them."""

    fault: I64  # [k] index into FAULTS
    series: I64  # [k]
    number: I64  # [k] of the value, in its series, from 0
    event: I64  # [k]
    sequence: I64  # [k] number of the event in its subject
    place: I64  # [k] index among all values of the batch

    def only(self, keep: NDArray[np.bool_]) -> Faults:
        """The faults where `keep` is true."""
        return Faults(*(array[keep] for array in self))


class QualityMonitor(Monitor):
    """Counts the faults of all series of a fold unit, if the detector `rate` runs."""

    name: ClassVar = "quality"
    keys: ClassVar = (KEY,)

    def __init__(self, of: RateBank, context: Context) -> None:
        self._bank = of
        self._context = context
        self._table, self._subjects, self._references = context.series, context.subjects, context.references
        self._ranges = Ranges()
        self._referred = dict.fromkeys(WATCHED, 0)  # rows of each kind whose reference has been looked up
        self._rows = IdTable(min(len(FAULTS) * context.settings.limits.series_max, ROWS_MAX))

    @classmethod
    def create(cls, context: Context) -> Self | None:
        settings = context.settings.detectors
        if RATE not in settings:
            return None
        of = bank(RATE, settings[RATE], 0)
        assert isinstance(of, RateBank)  # noqa: S101 -- the table of detectors says so
        return cls(of, context)

    @classmethod
    def detectors(cls, settings: DetectSettings) -> Sequence[str]:
        return (RATE,) if RATE in settings.detectors else ()

    @classmethod
    def depends_on(cls, settings: DetectSettings) -> Mapping[str, object]:
        return {name: settings.detectors[name] for name in cls.detectors(settings)}

    def observe(self, batch: Batch) -> MonitorFindings:
        self._refer()
        faults = self._faults(batch)
        if not len(faults.fault):
            return MonitorFindings()
        known = len(self._rows)
        rows = self._rows.add(faults.series << FAULT_BITS | faults.fault)
        if (rows == NO_ROW).any():
            faults, rows = faults.only(rows != NO_ROW), rows[rows != NO_ROW]
        self._bank.grow(len(self._rows))
        for row, first, n in _new(rows, known):
            self._begin(row, faults, first, n)
        multiple = batch.multiple(RATE, self._bank.settings.arl0, faults.place)
        alarms = self._bank.update_ones(rows, faults.number, multiple)
        return MonitorFindings([self._alarm(alarms, k, faults) for k in range(len(alarms))])

    def dump(self) -> Arrays:
        state = self._bank.view(slice(0, len(self._rows)))
        return nested(KEY, {"keys": self._rows.keys} | nested("bank", state))

    def load(self, arrays: Mapping[str, Array], *, reset: Collection[str], owned: bool) -> None:  # noqa: ARG002
        mine = unnested(KEY, arrays)
        if RATE not in reset:
            self._rows.load(mine["keys"])
            self._bank.grow(len(self._rows))
            self._bank.load(slice(0, len(self._rows)), unnested("bank", mine))
        self._refer()

    @staticmethod
    def remap(arrays: Arrays, remaps: Remaps) -> Arrays:
        mine = unnested(KEY, arrays)
        keys, series = mine["keys"], remaps.series
        mine["keys"] = series.new(keys >> FAULT_BITS) << FAULT_BITS | keys & ((1 << FAULT_BITS) - 1)
        return nested(KEY, compact_all(mine, Remap.of(series.kept[keys >> FAULT_BITS])))

    def _refer(self) -> None:
        """Look up the training data of the rows of numbers and categories that are new."""
        for kind in WATCHED:
            known, rows = self._referred[kind], int(self._table.rows[kind])
            self._referred[kind] = rows
            for row in range(known, rows) if self._references else ():
                key = self._subjects.name_of(*self._table.subject_and_column(row, kind))
                reference = self._references.of(kind, key)
                if isinstance(reference, Reference):
                    self._ranges.set_numbers(rows, row, reference)
                elif reference is not None and OTHERS not in reference.names:  # else some categories have no name
                    self._ranges.set_categories(rows, row, self._references.ids_of(reference))

    def _faults(self, batch: Batch) -> Faults:
        """The faults among the values of a batch. A function of the clock leaves its range when its time comes."""
        values, numbers, categories = batch.values, *(batch.by_kind[kind] for kind in WATCHED)
        outside = self._ranges.out_of_range(numbers.row, numbers.value)
        row, series, number = values.routed.row, values.routed.series, values.routed.number
        stray = np.flatnonzero((row == NO_ROW) & (series >= 0))
        is_missing = values.routed.kind[stray] == ValueKind.MISSING
        places = [
            stray[is_missing],
            stray[~is_missing],
            numbers.place[outside[batch.of_clock[outside] != YES]],
            categories.place[self._ranges.unseen(categories.row, categories.value)],
        ]
        place = np.concatenate(places)
        fault = np.repeat(np.arange(len(FAULTS)), [len(part) for part in places])
        order = np.argsort(place, kind="stable")
        place = place[order]
        return Faults(fault[order], series[place], number[place], values.event[place], values.sequence[place], place)

    def _begin(self, row: int, faults: Faults, first: int, n: int) -> None:
        """Set the baseline of a new row, whose `n` faults in this batch begin with `first`, if it is known."""
        series, fault = int(faults.series[first]), int(faults.fault[first])
        reference = self._compared_with(FAULTS[fault], self._subjects.name_of(*self._table.key_of(series)))
        if reference is not None:
            size, ones = _ones_in_training(FAULTS[fault], reference)
            if FAULTS[fault] is AlertKind.MISSING and ones:  # nulls mostly come in runs, which no sample shows
                self._bank.set_usual_rate(row, int(faults.number[first]), size, ones)
            else:
                self._bank.set_usual(row, size, ones)
        elif self._table.count_of(series, COUNTED_AS[fault]) > n:  # there were some before the row began
            self._bank.start_at(row, int(faults.number[first]))

    def _compared_with(self, kind: AlertKind, key: Key) -> AnyReference | None:
        """The training data that hold the rate of such faults of (model, version, column); None without any."""
        if kind is AlertKind.OUT_OF_RANGE:
            return self._references.of(ValueKind.NUMBER, key)
        return (
            self._references.of(ValueKind.CATEGORY, key) if kind is AlertKind.UNSEEN else self._references.of_any(key)
        )

    def _alarm(self, alarms: Alarms, k: int, faults: Faults) -> Alarm:
        at, row = int(alarms.at[k]), int(alarms.row[k])
        series, kind = int(faults.series[at]), FAULTS[faults.fault[at]]
        subject, column = self._table.key_of(series)
        key = self._subjects.name_of(subject, column)
        reference = self._compared_with(kind, key)
        is_trained = reference is not None and (
            kind in NEED_TRAINING or _ones_in_training(kind, reference)[0] == int(alarms.n_reference[k])
        )  # else the baseline was relearned
        digest = reference.digest if reference and is_trained else ""
        facts = evidence_of(alarms, k, key, RATE, RateBank.effect_unit, digest, NO_NAMES, kind)
        seen, now, first = int(faults.number[at]) + 1, int(faults.sequence[at]), self._table.first_event_of(series)
        ago = (int(alarms.onset_ago[k]) * (now - first + 1) + seen // 2) // seen  # as events may lack the column
        topic = self._subjects.topic_of(subject)
        return Alarm(int(faults.event[at]), (row, RATE), subject, topic, max(now - ago, 0), facts, becomes_ready=False)


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


class Ranges:
    """The range of each row of numbers, and the categories of each row of categories, in training."""

    def __init__(self) -> None:
        self._low = np.empty(0)
        self._high = np.empty(0)
        self._has_categories = np.zeros(0, bool)
        self._known = np.empty(0, np.uint64)  # sorted marks of row and category
        self._more: list[U64] = []

    def set_numbers(self, rows: int, row: int, reference: Reference) -> None:
        """Set the range of row `row` of `rows`."""
        self._low = ensure_length(self._low, rows, -np.inf)
        self._high = ensure_length(self._high, rows, np.inf)
        self._low[row], self._high[row] = reference.low, reference.high

    def set_categories(self, rows: int, row: int, ids: I64) -> None:
        """Set the categories of row `row` of `rows`."""
        self._has_categories = ensure_length(self._has_categories, rows, False)
        self._has_categories[row] = True
        self._more.append(_marks(np.full(len(ids), row), ids))

    def out_of_range(self, rows: I64, values: NDArray[np.float64]) -> I64:
        """Indices of the values of rows of numbers that lie outside their range."""
        if not len(self._low):
            return np.empty(0, np.int64)
        self._low, self._high = (
            ensure_length(self._low, _end(rows), -np.inf),
            ensure_length(self._high, _end(rows), np.inf),
        )
        return np.flatnonzero((values < self._low[rows]) | (values > self._high[rows]))

    def unseen(self, rows: I64, categories: NDArray[np.float64]) -> I64:
        """Indices of the values of rows of categories that were not in training."""
        if self._more:
            self._known = np.sort(np.concatenate([self._known, *self._more]))
            self._more = []
        self._has_categories = ensure_length(self._has_categories, _end(rows), False)
        at = np.flatnonzero(self._has_categories[rows]) if len(self._known) else np.empty(0, np.int64)
        keys = _marks(rows[at], categories[at].astype(np.int64))
        place = np.minimum(np.searchsorted(self._known, keys), len(self._known) - 1)
        unseen: I64 = at[self._known[place] != keys]
        return unseen


def _marks(rows: I64, categories: I64) -> U64:
    """A hash of each row and category: both together may have 85 bits. Two of 10^6 are equal once in 10^7 services."""
    mixed = rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ categories.astype(np.uint64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)  # SplitMix64 (Steele et al. 2014)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def _end(rows: I64) -> int:
    return int(rows.max(initial=-1)) + 1
