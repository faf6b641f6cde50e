"""How large a unit's live epochs are, by what their outputs take to publish.

Most records give no output, and then an epoch may hold all there is. Where each record gives one (a topic full of
unreadable records), an epoch of 200,000 records would not be published in time, however often it is tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

OUTPUTS_MAX: Final = 10_000  # of a transaction, about
RECORDS_MAX: Final = 1 << 20  # a bound of more records is none
SLOW: Final = 0.25  # a commit that takes this part of its deadline makes epochs no larger


@dataclass(slots=True)
class EpochSize:
    """A bound for one unit; starts as its history says."""

    records_max: int | None = None  # None: no bound

    def published(self, records: int, outputs: int, part_of_deadline: float) -> None:
        """Take note of an epoch of so many records whose outputs took this part of the deadline of a commit."""
        if records and (outputs > OUTPUTS_MAX or part_of_deadline > 2 * SLOW):
            share = min(OUTPUTS_MAX / max(outputs, 1), 0.5)
            self.records_max = max(int(records * share), 1)
        elif self.records_max is not None and part_of_deadline < SLOW and 2 * outputs <= OUTPUTS_MAX:
            self.records_max = 2 * self.records_max if 2 * self.records_max < RECORDS_MAX else None

    def within(self, records_max: int | None) -> int | None:
        """The smaller one of two bounds."""
        bounds = [bound for bound in (self.records_max, records_max) if bound is not None]
        return min(bounds, default=None)
