"""Folding the log again offline, to see whether it gives what was published.

State is a pure function of settings and records, and everything rests on that. Each epoch in a unit's history holds a
digest of what came of it, so anyone can check: fold the same records along the same cuts and compare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from streamer.errors import BrokerError, GapError
from streamer.eventlog.base import Epoch
from streamer.runtime.recovery import Recovery
from streamer.runtime.unit import Folded, Unit

POLL_S = 0.2
EMPTY_POLLS_MAX = 300  # a minute of nothing
DIFFERING_MAX = 100


@dataclass(frozen=True, slots=True)
class UnitReport:
    """What came of folding a unit's epochs again."""

    unit: str
    first: int  # number of the first epoch that was folded again
    last: int
    outputs: int  # of those epochs
    differing: Sequence[Epoch]  # those that gave something else than was published; at most `DIFFERING_MAX`


def verify(recoveries: Sequence[Recovery], name: str, progress: Callable[[int, int | None], None]) -> UnitReport:
    """Fold the unit's epochs again, as the first of these that can makes it; `progress` is told (done, all).

    Raises as `Recovery.unit` does, `GapError` above all, if none can: records that are gone can't be folded again.
    """
    recovery, unit = _made(recoveries, name)
    before, total, outputs = unit.number, len(unit.script), 0
    differing: list[Epoch] = []
    for folded in fold_again(recovery, unit):
        outputs += folded.epoch.outputs
        if folded.differs and len(differing) < DIFFERING_MAX:
            differing.append(folded.epoch)
        progress(unit.number - before, total)
    return UnitReport(name, before + 1, unit.number, outputs, differing)


def _made(recoveries: Sequence[Recovery], name: str) -> tuple[Recovery, Unit]:
    *earlier, last = recoveries
    for recovery in earlier:
        with suppress(GapError):
            return recovery, recovery.unit(name)
    return last, last.unit(name)


def fold_again(recovery: Recovery, unit: Unit) -> Iterator[Folded]:
    """Fold the unit's script, reading what it needs and no more.

    Raises `BrokerError` when nothing comes any more of what the next epoch needs.
    """
    held: set[tuple[str, int]] = set()
    empty_polls = 0
    while unit.script:
        recovery.move(unit, unit.script[0].settings)
        if (folded := unit.next_scripted()) is not None:
            yield folded
            continue
        found = recovery.log.poll(POLL_S)
        empty_polls = 0 if found else empty_polls + 1
        if empty_polls > EMPTY_POLLS_MAX:
            raise BrokerError(
                f"Nothing more comes of what epoch {unit.script[0].number} of {unit.name} needs: it ends at "
                f"{dict(unit.script[0].ends)}, and reading stands at {unit.positions()}. See the brokers"
            )
        for records in found:
            unit.add(records)
        ahead = {of for of in unit.buffer if unit.ahead(of)}
        for of in sorted(ahead ^ held):
            recovery.log.hold(*of, of in ahead)
        held = ahead
