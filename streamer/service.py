"""The loop: poll, fold, commit. The same one live, in a replay, in recovery and in tests."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from streamer.clock import Clock
from streamer.epochs import Units
from streamer.logs.base import Epoch, Log, Output
from streamer.unit import Fold, Folded, Unit

PATIENCE_S = 30.0  # for a topic that holds more records but gives none; then its unit goes on without it

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CommitSettings:
    """When an epoch ends."""

    interval_s: float = 1.0  # between commits; 0: after every poll
    records_max: int = 200_000  # buffered records, of all partitions together, that end an epoch early
    deadline_s: float = 30.0  # a commit that takes longer is in doubt

    def __post_init__(self) -> None:
        if not self.interval_s >= 0:
            raise ValueError(f"interval_s must be 0 or more, not {self.interval_s}")
        if self.records_max < 1:
            raise ValueError(f"records_max must be 1 or more, not {self.records_max}")
        if not self.deadline_s > 0:
            raise ValueError(f"deadline_s must be above 0, not {self.deadline_s}")


class Observer(Protocol):
    """Who is told of the loop's turns (metrics, a progress bar)."""

    def turned(self, service: Service) -> None:
        """The loop has turned once."""
        ...

    def committed(self, outputs: Sequence[Output], epochs: Sequence[Epoch], seconds: float) -> None:
        """These are in the log now."""
        ...


class Service:
    """All units of one process over one log."""

    def __init__(
        self,
        source: Log,
        units: Units,
        fold_of: Callable[[str], Fold],
        settings: CommitSettings,
        clock: Clock,
        observer: Observer,
    ) -> None:
        """`fold_of` makes a fresh fold for a unit by its name, when the unit's first records come."""
        self.units: dict[str, Unit] = {}
        self._log = source
        self._units = units
        self._fold_of = fold_of
        self._settings = settings
        self._clock = clock
        self._observer = observer
        self._held: set[tuple[str, int]] = set()
        self._stuck_s: dict[str, float] = {}  # unit -> since when it waits for a topic that gives nothing
        self._cut_s = clock.monotonic_s()

    @property
    def recovering(self) -> bool:
        """Whether some unit still folds what an earlier process has folded before."""
        return any(unit.script for unit in self.units.values())

    def run(self, stopped: Callable[[], bool]) -> None:
        """Turn until stopped, or until the log says that nothing will come any more."""
        for name, past in self._log.past().items():
            self._unit(name).follow(past)
        while not stopped() and not (self._log.exhausted() and not any(u.buffer for u in self.units.values())):
            self.turn()
            self._observer.turned(self)

    def turn(self, timeout_s: float = 0.2) -> None:
        """Poll once, fold what is due, commit what came of it."""
        for records in self._log.poll(timeout_s):
            self._unit(self._units.of(records.topic, records.partition)).add(records)
        folded: list[Folded] = []
        due = self._due()
        for _, unit in sorted(self.units.items()):
            while (one := unit.next_scripted()) is not None:
                folded.append(one)
            if due and (one := unit.next_live(self._behind(unit))) is not None:
                folded.append(one)
        self._hold_back()
        for one in folded:
            if one.differs:
                log.warning("epoch %d of %s gives other outputs than it once did", one.epoch.number, one.epoch.unit)
        self._commit([one for one in folded if one.publish])

    def _commit(self, folded: list[Folded]) -> None:
        if not folded:
            return
        started_s = self._clock.monotonic_s()
        outputs = [output for one in folded for output in one.outputs]
        epochs = [one.epoch for one in folded]
        self._log.commit(outputs, epochs)
        self._observer.committed(outputs, epochs, self._clock.monotonic_s() - started_s)

    def _behind(self, unit: Unit) -> list[tuple[str, int]]:
        """The unit's topic-partitions that the others should wait for: not for long for those that give nothing."""
        behind = [of for of in self._log.behind() if self._units.of(*of) == unit.name]
        silent = unit.silent(behind)
        if not silent or not unit.buffer:
            self._stuck_s.pop(unit.name, None)
            return behind
        since_s = self._stuck_s.setdefault(unit.name, self._clock.monotonic_s())
        is_patient = self._clock.monotonic_s() - since_s < PATIENCE_S
        return behind if is_patient else [of for of in behind if of not in silent]

    def _due(self) -> bool:
        now_s = self._clock.monotonic_s()
        full = sum(unit.buffered() for unit in self.units.values()) >= self._settings.records_max
        if not full and now_s - self._cut_s < self._settings.interval_s:
            return False
        self._cut_s = now_s
        return True

    def _hold_back(self) -> None:
        """While the buffers are full, stop fetching what has more than its share and is beyond the next cut."""
        buffered = {of: unit.buffered(of) for unit in self.units.values() for of in unit.buffer}
        is_full = sum(buffered.values()) >= self._settings.records_max
        share = max(self._settings.records_max // max(len(buffered), 1), 1)
        for of in sorted(buffered.keys() | self._held):
            hold = is_full and buffered.get(of, 0) >= share and self.units[self._units.of(*of)].ahead(of)
            if hold != (of in self._held):
                self._log.hold(*of, hold)
                (self._held.add if hold else self._held.remove)(of)

    def _unit(self, name: str) -> Unit:
        if name not in self.units:
            self.units[name] = Unit(name, self._fold_of(name))
        return self.units[name]
