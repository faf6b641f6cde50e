"""Isolation of a poison record, one that kills the process: epochs shrink until the record stands alone.

A fresh process notes an `Attempt` in the unit's history before it folds an epoch. If several attempts have no epoch
behind them, their processes died in the fold, or were killed from outside. Later processes fold smaller epochs, with an
attempt before each. What folds well is committed, so fewer and fewer records remain suspect. A copy of the process
tries the last one (`trial.py`). If the copy dies too, the record becomes a dead letter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streamer.eventlog.history import Attempt

TRIES = 3  # attempts at a whole epoch before it shrinks: a process may die for other reasons
SHRINK = 8


@dataclass(frozen=True, slots=True)
class PoisonIsolation:
    """How a unit folds its next epoch. The default takes all records, with an attempt before them."""

    records_max: int | None = None  # of an epoch; None: all there are
    left: int = 0  # records that are suspect
    suspect: Mapping[str, int] | None = None  # topic -> end of the epoch whose single record may be the poison
    logs_attempts: bool = True  # whether the history gets an attempt before the epoch

    @classmethod
    def after(cls, attempts: Sequence[Attempt]) -> PoisonIsolation:
        """How to continue after attempts that no epoch followed."""
        if not attempts or (len(attempts) < TRIES and not attempts[-1].cautious):
            return cls()
        last = attempts[-1]
        if last.cautious and last.records == 1:
            return cls(1, 1, last.ends)
        return cls(max(last.records // SHRINK, 1), last.records)

    def attempt(self, unit: str, records: int, ends: Mapping[str, int]) -> Attempt:
        """The note before an epoch of `records` records that ends at `ends` (topic -> offset)."""
        return Attempt(unit, records, self.records_max is not None, dict(ends))

    def done(self, records: int) -> PoisonIsolation:
        """How to continue after an epoch of `records` records was folded."""
        left = self.left - records
        return PoisonIsolation(self.records_max, left) if left > 0 else PoisonIsolation(logs_attempts=False)
