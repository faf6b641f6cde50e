"""How a unit gets past a record that kills the process: by ever smaller epochs, until that record stands alone.

A fresh process says in the unit's history that it is about to fold an epoch (`Attempt`). Where several such notes have
no epoch behind them, their processes died on the way. The next ones fold less and less at a time, saying so before
each epoch; what is folded well is committed, so that the suspicion narrows down to one record, and the one of which a
process died alone is set aside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streamer.eventlog.history import Attempt

TRIES = 3  # at an epoch as it comes, before it is made smaller: a process may die for other reasons
SHRINK = 8


@dataclass(frozen=True, slots=True)
class PoisonIsolation:
    """How a unit folds its next epoch; to begin with, all there is, and saying so."""

    records_max: int | None = None  # of an epoch; None: whatever there is
    left: int = 0  # records that may be the one
    suspect: Mapping[str, int] | None = None  # topic -> end of the epoch of one record that is to be set aside
    announces: bool = True  # whether the epoch is to be said beforehand

    @classmethod
    def after(cls, attempts: Sequence[Attempt]) -> PoisonIsolation:
        """How to go on when these attempts have come to nothing."""
        if not attempts or (len(attempts) < TRIES and not attempts[-1].cautious):
            return cls()
        last = attempts[-1]
        if last.cautious and last.records == 1:
            return cls(1, 1, last.ends)
        return cls(max(last.records // SHRINK, 1), last.records)

    def attempt(self, unit: str, records: int, ends: Mapping[str, int]) -> Attempt:
        """What to note before an epoch of so many records that goes up to these ends."""
        return Attempt(unit, records, self.records_max is not None, dict(ends))

    def done(self, records: int) -> PoisonIsolation:
        """How to go on behind an epoch of so many records."""
        left = self.left - records
        return PoisonIsolation(self.records_max, left) if left > 0 else PoisonIsolation(announces=False)
