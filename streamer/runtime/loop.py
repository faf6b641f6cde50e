"""The loop: poll, fold, commit. The same one live, in a replay, in recovery and in tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Protocol

from streamer.clock import Clock, StageTimes
from streamer.errors import BrokerError, GapError, InDoubtError, OutputsInDoubtError
from streamer.eventlog.base import Epoch, Output, RebalanceInProgress, Records, UnitNotReady
from streamer.eventlog.units import DECIDE, Units
from streamer.logs import log_of
from streamer.runtime.epoch_size import OUTPUTS_MAX, CommitSettings
from streamer.runtime.fold import Spot
from streamer.runtime.poison import dies_of
from streamer.runtime.recovery import Recovery
from streamer.runtime.unit import Folded, Unit

BUFFER_BYTES_MAX = 128 << 20  # buffered records of this size end an epoch early, as `records_max` does
RETRY_S = 2.0  # between attempts to take over a unit that is not ready
PATIENCE_S = 30.0  # wait for a topic that has unread records and delivers none; then its unit continues without it

log = log_of("runtime")


class Observer:
    """Hooks of the loop, for metrics, logs and progress. Each does nothing unless a subclass overrides it."""

    def on_turn(self, service: Service) -> None:
        """The loop has turned once."""

    def on_commit(self, outputs: Sequence[Output], epochs: Sequence[Epoch], seconds: float) -> None:
        """The log holds these outputs and epochs; the commit took so many seconds."""

    def on_revoked(self, unit: Unit) -> None:
        """Another process has taken over the unit."""


class CheckpointHook(Protocol):
    """Writes checkpoints at moments that the loop chooses."""

    def on_turn(self, units: Mapping[str, Unit]) -> None:
        """No commit is under way: a checkpoint may begin, of a unit in the state of its last epoch in the log."""
        ...

    def finish(self, units: Mapping[str, Unit]) -> None:
        """The loop ends: write a last checkpoint of each unit that has changed."""
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
        checkpoint_hook: CheckpointHook,
    ) -> None:
        self.units: dict[str, Unit] = {}
        self._log = recovery.log
        self._units = units
        self._recovery = recovery
        self._settings = settings
        self._clock = clock
        self._observer = observer
        self._checkpoint_hook = checkpoint_hook
        self._folded: list[Folded] = []  # not in the log yet
        self._is_open = False  # whether these wait for outputs, or for the next commit that is due
        self._is_assigned = False  # whether the log has named the units of this process
        self._unread: set[str] = set()  # units of this process that it has not taken over yet
        self._waiting: dict[str, tuple[float, str]] = {}  # those that are not ready: time of the next attempt, reason
        self._held: set[Spot] = set()
        self._stuck_s: dict[str, float] = {}  # unit -> start of its wait for a topic that delivers nothing
        self._cut_s = self._early_s = clock.monotonic_s()
        self.stages = StageTimes(clock)  # `fetch` and `commit`

    @property
    def recovering(self) -> bool:
        """Whether the units are not known yet, or one is not taken over or still replays epochs of an earlier process.

        Without a group, units are known by their first records.
        """
        is_known = self._is_assigned or bool(self.units)
        return not is_known or bool(self._unread) or any(unit.replay_plan for unit in self.units.values())

    def unit_of(self, topic: str, partition: int) -> str:
        """The name of the unit that reads this topic-partition."""
        return self._units.of(topic, partition)

    def run(self, stopped: Callable[[], bool]) -> None:
        """Turn until `stopped`, or until the log is exhausted."""
        while not stopped() and not self._exhausted():
            self.turn()
            self._observer.on_turn(self)
        with suppress(RebalanceInProgress):
            self._commit()
        if not self._folded:
            self._checkpoint_hook.finish(self.units)

    def turn(self, timeout_s: float = 0.2) -> None:
        """Poll once, fold the epochs that are due, commit their outputs."""
        for records in self._poll(timeout_s):
            self._unit(self._units.of(records.topic, records.partition)).add(records)
        try:
            self._regroup()
            if self._unread & self.units.keys():  # another process may have moved these on
                return
            if not self._folded or self._is_open:  # what was folded before the rebalance is committed first
                self._fold()
            self._hold_back()
            if not self._is_open:
                self._commit()
        except RebalanceInProgress:
            return
        self._checkpoint_hook.on_turn(self.units)

    def _poll(self, timeout_s: float) -> list[Records]:
        try:
            with self.stages.of("fetch"):
                return self._log.poll(timeout_s)
        except GapError as gap:
            raise self._about(gap) from gap

    def _resume(self, unit: Unit) -> None:
        try:
            self._log.resume(unit.name, unit.positions(), unit.topic_ids)
        except GapError as gap:
            raise self._about(gap) from gap

    def _about(self, gap: GapError) -> GapError | InDoubtError:
        """The error to raise for a gap: only a fresh process skips lost records."""
        if self._recovery.degrade:
            return InDoubtError(f"{gap}. Restart the service: it continues behind the lost records")
        return gap

    def _exhausted(self) -> bool:
        return self._log.exhausted() and not self._folded and not any(u.buffer for u in self.units.values())

    def _regroup(self) -> None:
        """Release the units that another process owns now, and take over ours: held ones first, one new one a turn."""
        if (ours := self._log.assignment()) is not None:
            for name in sorted(self.units.keys() - set(ours)):
                self._let_go(name)
            self._unread = set(ours)
            self._waiting = {}
            self._is_assigned = True
        for name in sorted(self._unread, key=lambda name: (name not in self.units, name)):
            try:
                if self._take_over(name):
                    return  # a state may take long to read, and the other units have work to do meanwhile
            except UnitNotReady as reason:
                self._wait(name, str(reason))

    def _take_over(self, name: str) -> bool:
        """Continue with an assigned unit; whether it is new here. Raises `UnitNotReady`."""
        if self._clock.monotonic_s() < self._waiting.get(name, (0.0, ""))[0]:
            return False
        unit = self.units.get(name)
        if unit is not None and self._moved_on(unit):
            self._let_go(name)
            unit = None
        if unit is not None:
            self._resume(unit)
        else:
            self.units[name] = self._recovery.unit(name)
        self._unread.remove(name)
        self._waiting.pop(name, None)
        return unit is None

    def _wait(self, name: str, reason: str) -> None:
        """Try this unit again later; the others continue."""
        if self._waiting.get(name, (0.0, ""))[1] != reason:
            log.warning("%s is not ready: %s", name, reason)
        self._waiting[name] = self._clock.monotonic_s() + RETRY_S, reason

    def _let_go(self, name: str) -> None:
        unit = self.units.pop(name)
        self._folded = [one for one in self._folded if one.epoch.unit != name]
        for of in sorted(of for of in self._held if self._units.of(*of) == name):
            self._log.hold(*of, False)
            self._held.remove(of)
        self._stuck_s.pop(name, None)
        self._observer.on_revoked(unit)

    def _moved_on(self, unit: Unit) -> bool:
        """Whether another process has worked on the unit in the meantime."""
        past = self._log.past(unit.name, unit.last)
        return past is None or bool(past.epochs) or past.was_reset

    def _fold(self) -> None:
        """Replay planned epochs as far as they are buffered; fold a live epoch of each unit where it is due.

        Between commits that are due, epochs that give no outputs stay open, and grow.
        """
        due = self._due()
        early = not due and self._early()
        self._is_open = False
        for _, unit in sorted(self.units.items()):
            while unit.replay_plan:
                self._recovery.move(unit, unit.replay_plan[0].settings)
                if (one := unit.next_replayed()) is None:
                    break
                if one.differs:
                    log.error("epoch %d of %s gives other outputs than were published", one.epoch.number, unit.name)
                if one.publish:
                    self._folded.append(one)
            if due or (early and not unit.isolation.logs_attempts):
                self._fold_live(unit, early)
        self._is_open = not due and all(one.is_open for one in self._folded)

    def _fold_live(self, unit: Unit, early: bool) -> None:
        if unit.isolation.suspect is not None:
            cut = unit.cut_at(unit.isolation.suspect)
        else:
            cut = unit.next_cut(self._lagging(unit), unit.size.within(unit.isolation.records_max))
        if cut is None or self._continued(unit, cut, early):
            return
        self._recovery.go_live(unit)
        is_risky = unit.isolation.logs_attempts
        cut = replace(cut, settings=unit.settings, references=unit.fold.new_references())
        self._folded.append(unit.fold_live(self._noted(unit, cut)))
        if is_risky:
            self._commit()  # else this epoch looks like the poison if the next unit's kills the process

    def _continued(self, unit: Unit, cut: Epoch, early: bool) -> bool:
        """Whether the cut is folded as the rest of the unit's open epoch, or has to wait because it can't be."""
        at = next((i for i, one in enumerate(self._folded) if one.epoch.unit == unit.name), None)
        if at is None:
            return False
        if unit.size.records_max is None and (one := unit.continue_live(self._folded[at], cut)) is not None:
            self._folded[at] = one
            return True
        return early

    def _noted(self, unit: Unit, cut: Epoch) -> Epoch:
        """The epoch, after the history holds an attempt at it, if the process may die of it."""
        records = sum(unit.records_in(cut).values())
        if not unit.isolation.logs_attempts or not records:
            return cut
        if unit.isolation.suspect is not None:
            if unit.suspect_kills is None:  # else the note below had to wait for a rebalance
                unit.suspect_kills = dies_of(partial(unit.fold_live, cut))
            if unit.suspect_kills:
                cut = replace(cut, set_aside=unit.first_in(cut))
                log.error("%s moves a poison record to the dead letters: %s", unit.name, dict(cut.set_aside))
            else:
                log.warning("%s folds a suspect record that kills no process: %s", unit.name, unit.first_in(cut))
        self._log.note(unit.name, [unit.isolation.attempt(unit.name, records, cut.ends)])
        unit.isolation = unit.isolation.done(records)
        return cut

    def _commit(self) -> None:
        while self._folded:
            count = _affordable(self._folded)
            self._commit_together(self._folded[:count])
            del self._folded[:count]

    def _commit_together(self, folded: Sequence[Folded]) -> None:
        started_s = self._clock.monotonic_s()
        outputs = [output for one in folded for output in one.outputs]
        try:
            with self.stages.of("commit"):
                epochs = self._log.commit(outputs, [one.epoch for one in folded])
        except (InDoubtError, BrokerError) as error:
            too_many = {one.epoch.unit for one in folded if isinstance(error, OutputsInDoubtError)}
            live = {one.epoch.unit: one.records * (one.epoch.unit in too_many) for one in self._folded}
            self._log.clear_attempts(dict(sorted(live.items())))
            raise
        seconds = self._clock.monotonic_s() - started_s
        for one, epoch in zip(folded, epochs, strict=True):
            self.units[epoch.unit].last = epoch
            self.units[epoch.unit].size.published(one.records, len(one.outputs), seconds / self._settings.deadline_s)
        self._observer.on_commit(outputs, epochs, seconds)

    def _lagging(self, unit: Unit) -> list[Spot]:
        """The unit's topic-partitions that the others wait for: for `PATIENCE_S` also for one that delivers nothing."""
        lagging = [of for of in self._log.lagging() if self._units.of(*of) == unit.name]
        silent = unit.silent(lagging)
        if not silent or not unit.buffer:
            self._stuck_s.pop(unit.name, None)
            return lagging
        since_s = self._stuck_s.setdefault(unit.name, self._clock.monotonic_s())
        is_patient = self._clock.monotonic_s() - since_s < PATIENCE_S
        return lagging if is_patient else [of for of in lagging if of not in silent]

    def _due(self) -> bool:
        now_s = self._clock.monotonic_s()
        is_full = self._full() or sum(one.records for one in self._folded) >= self._settings.records_max
        if not is_full and now_s - self._cut_s < self._settings.interval_s:
            return False
        self._cut_s = now_s
        return True

    def _early(self) -> bool:
        """Whether to fold before the next commit is due: no event waits in the log, so small epochs cost no rate."""
        now_s = self._clock.monotonic_s()
        if now_s - self._early_s < self._settings.output_s or not any(unit.buffer for unit in self.units.values()):
            return False
        if any(self._units.of(*of) != DECIDE for of in self._log.lagging()):
            return False
        self._early_s = now_s
        return True

    def _full(self) -> bool:
        """Whether as much is buffered as may be, of all partitions together."""
        units = self.units.values()
        records = sum(unit.buffered() for unit in units)
        return records >= self._settings.records_max or sum(unit.buffered_bytes for unit in units) >= BUFFER_BYTES_MAX

    def _hold_back(self) -> None:
        """While the buffers are full, stop fetching partitions with more than their share, beyond the next cut."""
        buffered = {of: unit.buffered(of) for unit in self.units.values() for of in unit.buffer}
        is_full = self._full()
        records_max = min(self._settings.records_max, sum(buffered.values()))  # fewer, where they are large
        share = max(records_max // max(len(buffered), 1), 1)
        for of in sorted(buffered.keys() | self._held):
            hold = is_full and buffered.get(of, 0) >= share and self.units[self._units.of(*of)].ahead(of)
            if hold != (of in self._held):
                self._log.hold(*of, hold)
                (self._held.add if hold else self._held.remove)(of)

    def _unit(self, name: str) -> Unit:
        if name not in self.units:
            self.units[name] = self._recovery.unit(name)
        return self.units[name]


def _affordable(folded: Sequence[Folded]) -> int:
    """How many of these, from the first on, go into one transaction: at least one."""
    outputs = 0
    for count, one in enumerate(folded):
        outputs += len(one.outputs)
        if count and outputs > OUTPUTS_MAX:
            return count
    return len(folded)
