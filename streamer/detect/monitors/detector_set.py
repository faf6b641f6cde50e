"""The detectors of one kind of value, and the series they watch: numbers have one panel, categories another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import F64, I64
from detectors.base import Alarms, Bank, shares_rate
from detectors.series.table import ValueKind
from streamer.detect.batch import TAKES, KindValues
from streamer.runtime.snapshot import nested, unnested


class DetectorSet:
    """Those of the banks, by detector, that take values of this kind; all have the same rows."""

    def __init__(self, kind: ValueKind, banks: Mapping[str, Bank]) -> None:
        self.kind = kind
        self.takes = TAKES[kind]
        self.banks = {name: one for name, one in banks.items() if one.takes == self.takes}
        self._first = np.empty(0, np.int64)  # by row: number of the event with which the series began
        self._feeds = {name: np.empty(0, np.bool_) for name in self.banks}  # by row: whether the bank gets its values

    @property
    def rows(self) -> int:
        return len(self._first)

    @property
    def is_partial(self) -> bool:
        """Whether some detector does not watch all rows."""
        return not all(feeds.all() for feeds in self._feeds.values())

    def make_rows(self, rows: int, values: KindValues, *, fed: bool) -> None:
        """Make room for the series that begin with these values, so that there are `rows`; `fed`: to all detectors."""
        known = self.rows
        if rows == known:
            return
        self._first = np.concatenate([self._first, np.empty(rows - known, np.int64)])
        row, at = np.unique(values.row, return_index=True)
        new = row >= known
        self._first[row[new]] = values.life[at[new]]
        for name, one in self.banks.items():
            self._feeds[name] = np.concatenate([self._feeds[name], np.full(rows - known, fed)])
            one.grow(rows)

    def choose(self, row: int, detectors: Collection[str]) -> Collection[str]:
        """Let just these detectors watch a row from now on; returns those that did not before, as they begin anew."""
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

    def refer(self, row: int, sample: Callable[[int], F64], detectors: Collection[str]) -> None:
        """Compare a row with its training data from now on, where one of these detectors can.

        `sample` gives the values of a reference, of which a detector needs no more than it is asked for.
        """
        for name, one in self.watching(row).items():
            if one.takes_reference and name in detectors:
                one.set_reference(row, sample(reference_size(one)))

    def update(self, name: str, values: KindValues, event_time_ms: I64) -> Alarms:
        """Feed values to a bank of the panel, those of the rows that it watches.

        One that keeps an asked rate of false alarms is told how many columns of a model have to share it.
        """
        one, feeds = self.banks[name], self._feeds[name]
        if feeds.all():
            return _updated(one, values.row, values.value, event_time_ms, values.columns)
        mine = np.flatnonzero(feeds[values.row])
        alarms = _updated(one, values.row[mine], values.value[mine], event_time_ms[mine], values.columns[mine])
        return replace(alarms, at=mine[alarms.at])

    def onset(self, row: int, ago: int, life: int, seen: int) -> int:
        """From "so many of the `seen` values ago" to a number in the subject's life, as events may lack a column.

        `life` is the number of the event that raised the alarm.
        """
        first = int(self._first[row])
        events_ago = (max(ago, 0) * (life - first + 1) + seen // 2) // seen
        return max(life - events_ago, 0)  # where labels come in another order, even before the series' first event

    def dump(self) -> dict[str, NDArray[Any]]:
        """The state, where banks allow it not copied: good until the next update."""
        arrays = {"first": self._first} | nested("feeds", self._feeds)
        for name, one in self.banks.items():
            view = getattr(one, "view", one.dump)
            arrays |= nested(f"bank.{name}", view(slice(0, self.rows)))
        return arrays

    def load(self, arrays: Mapping[str, NDArray[Any]], anew: Collection[str], is_ours: bool) -> None:
        """Become what was dumped, but for the detectors `anew`, whose rows stay fresh.

        `is_ours`: the arrays may be kept and written to, which spares a copy of what is large.
        """
        self._first = arrays["first"].copy()
        for name, one in self.banks.items():
            state = unnested(f"bank.{name}", arrays)
            feeds = None if name in anew else unnested("feeds", arrays).get(name)
            self._feeds[name] = np.ones(self.rows, np.bool_) if feeds is None else feeds.copy()
            adopt = getattr(one, "adopt", None) if is_ours else None
            if adopt is not None and name not in anew:
                adopt(self.rows, state)
                continue
            one.grow(self.rows)
            if name not in anew:
                one.load(slice(0, self.rows), {name: array[: self.rows] for name, array in state.items()})


def _updated(one: Bank, row: I64, value: F64, event_time_ms: I64, columns: I64) -> Alarms:
    if shares_rate(one):
        return one.update(row, value, event_time_ms, columns)
    return one.update(row, value, event_time_ms)


def reference_size(of: Any) -> int:
    """How many values of a reference a bank, or a detector's settings, can use; 0 where that is not said."""
    size: int = getattr(getattr(of, "settings", of), "reference_size", 0)
    return size
