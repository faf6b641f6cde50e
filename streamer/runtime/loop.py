"""The loop: poll, fold, commit. The same one live, in a replay, in recovery and in tests."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from streamer.clock import Clock
from streamer.errors import BrokerError, GapError, InDoubtError
from streamer.eventlog.base import Epoch, Output, RebalanceInProgress, Records
from streamer.eventlog.units import Units
from streamer.runtime.fold import Spot
from streamer.runtime.recovery import Recovery
from streamer.runtime.unit import Folded, Unit

PATIENCE_S = 30.0  # for a topic that holds more records but gives none; then its unit goes on without it

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CommitSettings:
    """When an epoch ends."""

    interval_s: float = 1.0  # between commits; 0: after every poll
    records_max: int = 200_000  # buffered records, of all partitions together, that end an epoch early
    deadline_s: float = 30.0  # a step of a commit that takes longer is in doubt
    on_gap: Literal["fail", "degrade"] = (
        "fail"  # what to do when records are gone that the state needs: stop, or begin the state anew and say so
    )

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

    def left(self, unit: Unit) -> None:
        """A unit belongs to another process now."""
        ...


class CheckpointHook(Protocol):
    """Who keeps checkpoints."""

    def turned(self, units: Mapping[str, Unit]) -> None:
        """A moment at which these units are what their last epochs say, with nothing on the way to the log."""
        ...

    def finish(self, units: Mapping[str, Unit]) -> None:
        """The last such moment: keep what is not kept yet."""
        ...


class Service:
    """All units of one process over one log."""

    def __init__(
        self,
        units: Units,
        recovery: Recovery,
        settings: CommitSettings,
        clock: Clock,
        observer: Observer,
        keeper: CheckpointHook,
    ) -> None:
        self.units: dict[str, Unit] = {}
        self._log = recovery.log
        self._units = units
        self._recovery = recovery
        self._settings = settings
        self._clock = clock
        self._observer = observer
        self._keeper = keeper
        self._folded: list[Folded] = []  # not in the log yet
        self._unread: set[str] = set()  # units that are ours and are not taken over yet
        self._held: set[Spot] = set()
        self._stuck_s: dict[str, float] = {}  # unit -> since when it waits for a topic that gives nothing
        self._cut_s = clock.monotonic_s()

    @property
    def recovering(self) -> bool:
        """Whether some unit is not taken over yet, or still folds what an earlier process has folded before."""
        return bool(self._unread) or any(unit.script for unit in self.units.values())

    def run(self, stopped: Callable[[], bool]) -> None:
        """Turn until stopped, or until the log says that nothing will come any more."""
        while not stopped() and not self._exhausted():
            self.turn()
            self._observer.turned(self)
        if not self._folded:
            self._keeper.finish(self.units)

    def turn(self, timeout_s: float = 0.2) -> None:
        """Poll once, fold what is due, commit what came of it."""
        for records in self._poll(timeout_s):
            self._unit(self._units.of(records.topic, records.partition)).add(records)
        try:
            self._regroup()
            if not self._folded:  # what was folded before the group was rearranged goes first
                self._fold()
            self._hold_back()
            self._commit()
        except RebalanceInProgress:
            return
        self._keeper.turned(self.units)

    def _poll(self, timeout_s: float) -> list[Records]:
        try:
            return self._log.poll(timeout_s)
        except GapError as gap:
            raise self._about(gap) from gap

    def _resume(self, unit: Unit) -> None:
        try:
            self._log.resume(unit.name, unit.positions(), unit.topic_ids)
        except GapError as gap:
            raise self._about(gap) from gap

    def _about(self, gap: GapError) -> GapError | InDoubtError:
        """What is to be raised of it: gaps are passed over, if at all, by a fresh process."""
        if self._recovery.degrade:
            return InDoubtError(f"{gap}. Started again, the service goes on behind what is lost")
        return gap

    def _exhausted(self) -> bool:
        return self._log.exhausted() and not self._folded and not any(u.buffer for u in self.units.values())

    def _regroup(self) -> None:
        """Let go of the units that are another's now, and take over those that are ours, one new one a turn."""
        if (ours := self._log.assignment()) is not None:
            for name in sorted(self.units.keys() - set(ours)):
                self._let_go(name)
            self._unread = set(ours)
        for name in sorted(self._unread):
            unit = self.units.get(name)
            if unit is not None and self._moved_on(unit):
                self._let_go(name)
                unit = None
            if unit is not None:
                self._resume(unit)
                self._unread.remove(name)
                continue
            self.units[name] = self._recovery.unit(name)
            self._unread.remove(name)
            return  # a state may take long to read, and the units that are there have work to do meanwhile

    def _let_go(self, name: str) -> None:
        unit = self.units.pop(name)
        self._folded = [one for one in self._folded if one.epoch.unit != name]
        for of in sorted(of for of in self._held if self._units.of(*of) == name):
            self._log.hold(*of, False)
            self._held.remove(of)
        self._stuck_s.pop(name, None)
        self._observer.left(unit)

    def _moved_on(self, unit: Unit) -> bool:
        """Whether another process has worked on the unit while it was not ours."""
        past = self._log.past(unit.name, unit.last)
        return past is None or bool(past.epochs) or past.begins_anew

    def _fold(self) -> None:
        """Fold the epochs of scripts as far as they are buffered, and a live one of each unit where it is due."""
        due = self._due()
        for _, unit in sorted(self.units.items()):
            while unit.script:
                self._recovery.move(unit, unit.script[0].settings)
                if (one := unit.next_scripted()) is None:
                    break
                if one.differs:
                    log.error("epoch %d of %s gives other outputs than it once did", one.epoch.number, unit.name)
                if one.publish:
                    self._folded.append(one)
            if due:
                self._fold_live(unit)

    def _fold_live(self, unit: Unit) -> None:
        if unit.caution.suspect is not None:
            cut = unit.cut_at(unit.caution.suspect)
        else:
            cut = unit.next_cut(self._behind(unit), unit.caution.records_max)
        if cut is None:
            return
        self._recovery.go_live(unit)
        may_kill = unit.caution.announces
        self._folded.append(unit.fold_live(self._announced(unit, replace(cut, settings=unit.settings))))
        if may_kill:
            self._commit()  # what was folded well must not look as if it had killed, should the next unit's do so

    def _announced(self, unit: Unit, cut: Epoch) -> Epoch:
        """The epoch, once the history says that it is about to be folded, if processes may die of it."""
        records = sum(unit.records_in(cut).values())
        if not unit.caution.announces or not records:
            return cut
        if unit.caution.suspect is not None:
            cut = replace(cut, set_aside=unit.first_in(cut))
            log.error("%s sets aside what processes have died of: %s", unit.name, dict(cut.set_aside))
        self._log.note(unit.name, [unit.caution.attempt(unit.name, records, cut.ends)])
        unit.caution = unit.caution.done(records)
        return cut

    def _commit(self) -> None:
        if not self._folded:
            return
        started_s = self._clock.monotonic_s()
        outputs = [output for one in self._folded for output in one.outputs]
        try:
            epochs = self._log.commit(outputs, [one.epoch for one in self._folded])
        except (InDoubtError, BrokerError):
            self._log.absolve(sorted({one.epoch.unit for one in self._folded}))
            raise
        self._folded = []
        for epoch in epochs:
            self.units[epoch.unit].last = epoch
        self._observer.committed(outputs, epochs, self._clock.monotonic_s() - started_s)

    def _behind(self, unit: Unit) -> list[Spot]:
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
            self.units[name] = self._recovery.unit(name)
        return self.units[name]
