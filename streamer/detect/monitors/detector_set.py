"""The detectors of one kind of value, numbers or categories, and the series they watch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import F64, I64
from detectors.base import Alarms, Bank, keeps_rate, shares_rate
from detectors.series.table import ValueKind
from streamer.detect.batch import TAKES, KindValues
from streamer.detect.reference_lookup import ReferenceLookup
from streamer.detect.references.table import AnyReference
from streamer.detect.remap import Array, Arrays, Remap, compact
from streamer.runtime.snapshot import nested, unnested


class DetectorSet:
    """The banks, by detector, that take values of this kind; all have the same rows."""

    def __init__(self, kind: ValueKind, banks: Mapping[str, Bank]) -> None:
        self.kind = kind
        self.takes = TAKES[kind]
        self.banks = {name: one for name, one in banks.items() if one.takes == self.takes}
        self._first = np.empty(0, np.int64)  # by row: number of the event with which the series began
        self._feeds = {name: np.empty(0, np.bool_) for name in self.banks}  # by row: whether the bank gets its values
        self._has_reference = np.empty(0, np.bool_)  # by row; follows from the references

    @property
    def rows(self) -> int:
        return len(self._first)

    @property
    def is_partial(self) -> bool:
        """Whether some detector does not watch all rows."""
        return not all(feeds.all() for feeds in self._feeds.values())

    def make_rows(self, rows: int, values: KindValues, *, fed: bool) -> None:
        """Make room for `rows` series, the new ones of which begin with these values; `fed`: to all detectors."""
        known = self.rows
        if rows == known:
            return
        self._first = np.concatenate([self._first, np.empty(rows - known, np.int64)])
        row, at = np.unique(values.row, return_index=True)
        self._has_reference = np.concatenate([self._has_reference, np.zeros(rows - known, np.bool_)])
        new = row >= known
        self._first[row[new]] = values.sequence[at[new]]
        for name, one in self.banks.items():
            self._feeds[name] = np.concatenate([self._feeds[name], np.full(rows - known, fed)])
            one.grow(rows)

    def assign(self, row: int, detectors: Collection[str]) -> Collection[str]:
        """Let just these detectors watch a row from now on; returns those that begin with it."""
        begun = []
        for name, one in self.banks.items():
            feeds, is_fed = self._feeds[name], name in detectors
            if is_fed and not feeds[row]:
                begun.append(name)
            elif feeds[row] and not is_fed:
                one.reset(np.array([row]))
            feeds[row] = is_fed
        return begun

    def watching(self, row: int) -> Mapping[str, Bank]:
        """The detectors that watch a row."""
        return {name: one for name, one in self.banks.items() if self._feeds[name][row]}

    def set_reference(
        self, row: int, references: ReferenceLookup, reference: AnyReference, detectors: Collection[str]
    ) -> None:
        """Compare a row with its training reference from now on, with those of these detectors that can."""
        self._has_reference[row] = True
        for name, one in self.watching(row).items():
            if one.takes_reference and name in detectors:
                one.set_reference(row, references.values(reference, reference_size(one)))

    def update(self, name: str, values: KindValues, event_time_ms: I64, multiple: F64 | None = None) -> Alarms:
        """Feed values to a bank, those of the rows that it watches.

        A bank that keeps a given rate of false alarms keeps it so many times lower. Columns may share it, too.
        """
        one, feeds = self.banks[name], self._feeds[name]
        if shares_rate(one):
            multiple = values.columns.astype(np.float64) * (1.0 if multiple is None else multiple)
        if feeds.all():
            return _updated(one, values.row, values.value, event_time_ms, multiple)
        mine = np.flatnonzero(feeds[values.row])
        needed = None if multiple is None else multiple[mine]
        alarms = _updated(one, values.row[mine], values.value[mine], event_time_ms[mine], needed)
        return replace(alarms, at=mine[alarms.at])

    def onset(self, row: int, ago: int, sequence: int, seen: int) -> int:
        """From "so many of the `seen` values ago" to a sequence number of the subject, as events may lack a column.

        `sequence` is the number, in the subject, of the event that raised the alarm.
        """
        first = int(self._first[row])
        events_ago = (max(ago, 0) * (sequence - first + 1) + seen // 2) // seen
        return max(sequence - events_ago, 0)  # where labels come in another order, even before the series' first event

    def phases(self, values: I64) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
        """Of each row with so many `values`: whether it has a detector, too few values for one, and one that learns."""
        has_any, needed, learns = (
            np.zeros(self.rows, np.bool_),
            np.zeros(self.rows, np.int64),
            np.zeros(self.rows, bool),
        )
        for name, one in self.banks.items():
            feeds = self._feeds[name]
            of_bank = np.where(self._has_reference, values_needed(one, True), values_needed(one, False))
            needed = np.where(feeds, np.maximum(needed, of_bank), needed)
            learning = getattr(one, "learning", None)
            if learning is not None:
                learns |= feeds & learning(slice(0, self.rows))
            has_any |= feeds
        return has_any, has_any & (values < needed), learns

    def dump(self) -> Arrays:
        """The state, not copied if banks allow that: good until the next update."""
        arrays = {"first": self._first} | nested("feeds", self._feeds)
        for name, one in self.banks.items():
            view = getattr(one, "view", one.dump)
            arrays |= nested(f"bank.{name}", view(slice(0, self.rows)))
        return arrays

    def load(self, arrays: Mapping[str, Array], reset: Collection[str], owned: bool) -> None:
        """Restore what was dumped; the rows of the detectors `reset` stay empty.

        owned: the arrays may be kept and written to, which spares a copy of what is large.
        """
        self._first = arrays["first"].copy()
        self._has_reference = np.zeros(self.rows, np.bool_)
        for name, one in self.banks.items():
            state = unnested(f"bank.{name}", arrays)
            feeds = None if name in reset else unnested("feeds", arrays).get(name)
            self._feeds[name] = np.ones(self.rows, np.bool_) if feeds is None else feeds.copy()
            adopt = getattr(one, "adopt", None) if owned else None
            if adopt is not None and name not in reset:
                adopt(self.rows, state)
                continue
            one.grow(self.rows)
            if name not in reset:
                one.load(slice(0, self.rows), {name: array[: self.rows] for name, array in state.items()})

    @staticmethod
    def remap(arrays: Mapping[str, Array], rows: Remap) -> Arrays:
        """What was dumped, without the evicted rows. Arrays of banks keep their length, as room for new rows."""
        return {name: compact(array, rows, keep_size=name.startswith("bank.")) for name, array in arrays.items()}


def _updated(one: Bank, row: I64, value: F64, event_time_ms: I64, multiple: F64 | None) -> Alarms:
    if keeps_rate(one):
        return one.update(row, value, event_time_ms, multiple)
    return one.update(row, value, event_time_ms)


def reference_size(of: Any) -> int:
    """How many values of a reference a bank, or a detector's settings, can use; 0 if that is not stated."""
    size: int = getattr(getattr(of, "settings", of), "reference_size", 0)
    return size


def values_needed(of: Any, has_reference: bool) -> int:
    """How many values a detector needs before its first decision, if it or its settings state that."""
    window = int(getattr(getattr(of, "settings", None), "window", 0))
    if has_reference and of.takes_reference:
        return window
    return window + int(getattr(of, "learning_size", reference_size(of)))
