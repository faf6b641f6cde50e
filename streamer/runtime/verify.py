"""Offline check that a replay of the log gives the outputs that were published.

State is a pure function of settings and records. Each epoch in a unit's history holds a digest of its outputs, so a
replay of the same records along the same cuts must give the same digests.
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
    """The result of a replay of one unit."""

    unit: str
    first: int  # number of the first replayed epoch
    last: int
    outputs: int  # of those epochs
    differing: Sequence[Epoch]  # epochs with other outputs than were published; at most `DIFFERING_MAX`


def verify(recoveries: Sequence[Recovery], name: str, progress: Callable[[int, int | None], None]) -> UnitReport:
    """Replay the unit's epochs from the first recovery that can make the unit; `progress` gets (done, total).

    Raises as `Recovery.unit` does, `GapError` above all, if none can: lost records can't be replayed.
    """
    recovery, unit = _made(recoveries, name)
    before, total, outputs = unit.number, len(unit.replay_plan), 0
    differing: list[Epoch] = []
    for folded in replay_unit(recovery, unit):
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


def replay_unit(recovery: Recovery, unit: Unit) -> Iterator[Folded]:
    """Replay the unit's plan, reading the records it needs and no more.

    Raises `BrokerError` when the records of the next epoch do not arrive.
    """
    held: set[tuple[str, int]] = set()
    empty_polls = 0
    while unit.replay_plan:
        recovery.move(unit, unit.replay_plan[0].settings)
        if (folded := unit.next_replayed()) is not None:
            yield folded
            continue
        found = recovery.log.poll(POLL_S)
        empty_polls = 0 if found else empty_polls + 1
        if empty_polls > EMPTY_POLLS_MAX:
            raise BrokerError(
                f"The records of epoch {unit.replay_plan[0].number} of {unit.name} do not arrive: it ends at "
                f"{dict(unit.replay_plan[0].ends)}, and reading stands at {unit.positions()}. Check the brokers"
            )
        for records in found:
            unit.add(records)
        ahead = {of for of in unit.buffer if unit.ahead(of)}
        for of in sorted(ahead ^ held):
            recovery.log.hold(*of, of in ahead)
        held = ahead
