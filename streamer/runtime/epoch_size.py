"""How large a unit's live epochs are, by what their outputs take to publish.

Most records give no output, and then an epoch may hold all there is. Where each record gives one (a topic full of
unreadable records), an epoch of 200,000 records would not be published in time, however often it is tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

OUTPUTS_MAX: Final = 10_000  # of a transaction, about
RECORDS_MAX: Final = 1 << 20  # a bound of more records is none
SLOW: Final = 0.25  # a commit that takes this part of its deadline makes epochs no larger


@dataclass(frozen=True, slots=True)
class CommitSettings:
    """When an epoch ends."""

    interval_s: float = 1.0  # between commits; 0: after every poll
    output_s: float = (
        0.05  # time until records are folded while none waits in the topics; what comes of them is committed at once
    )
    records_max: int = 200_000  # buffered records, of all partitions together, that end an epoch early
    deadline_s: float = 30.0  # a step of a commit that takes longer is in doubt
    on_gap: Literal["fail", "degrade"] = (
        "fail"  # when records that a state needs are gone: end the service, or restart that state empty and note it
    )

    def __post_init__(self) -> None:
        if not self.interval_s >= 0:
            raise ValueError(f"interval_s must be 0 or more, not {self.interval_s}")
        if not self.output_s >= 0:
            raise ValueError(f"output_s must be 0 or more, not {self.output_s}")
        if self.records_max < 1:
            raise ValueError(f"records_max must be 1 or more, not {self.records_max}")
        if not self.deadline_s > 0:
            raise ValueError(f"deadline_s must be above 0, not {self.deadline_s}")


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
