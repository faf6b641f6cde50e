"""The loop that all kernels share: they process values in order and stop at each alarm."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

from detectors.arrays.alarm_list import AlarmList, Evidence
from detectors.arrays.rows import RowBank
from detectors.arrays.types import F64, I64
from detectors.base import Alarms


def scan(rows: I64, advance: Callable[[int], int], evidence: Callable[[int, int], Evidence]) -> Alarms:
    """All alarms of the values of these series, in order.

    `advance(i)` processes values from index `i` on and returns the index of the first that alarms, or `len(rows)`.
    `evidence(row, i)` describes the alarm that value `i` of series `row` has just raised, before any later one is
    processed.
    """
    found = AlarmList()
    at = advance(0)
    while at < len(rows):
        row = int(rows[at])
        found.append(at, row, evidence(row, at))
        at = advance(at + 1)
    return found.alarms()


class ScanBank(RowBank, ABC):
    """A bank whose `update` checks its input and scans it. A subclass supplies `_advance` and `_evidence`."""

    def update(self, rows: I64, values: F64, event_time_ms: I64) -> Alarms:  # noqa: ARG002 -- counts values, not time
        """The alarms of these values; see `detectors.base.Bank`. IndexError or ValueError for what does not fit."""
        rows, values = self._checked(rows, values)
        return scan(rows, partial(self._advance, rows, values), lambda row, _: self._evidence(row))

    def finish_step(self, value: float, time_ms: int) -> Alarms:  # noqa: ARG002 -- the state holds what they did
        """The alarm of row 0 at which its step stopped; see `detectors.arrays.stepping`."""
        found = AlarmList()
        found.append(0, 0, self._evidence(0))
        return found.alarms()

    def _checked(self, rows: I64, values: F64) -> tuple[I64, F64]:
        """Both as the kernel needs them: contiguous, of one length, with rows that exist."""
        return self._store.checked(rows, values)

    @abstractmethod
    def _advance(self, rows: I64, values: F64, start: int) -> int:
        """Process values from index `start` on; returns the index of the first that alarms, or `len(rows)`."""

    @abstractmethod
    def _evidence(self, row: int) -> Evidence:
        """The alarm that this series has just raised, in finite numbers; restarts the series if its detector does."""
