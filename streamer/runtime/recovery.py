"""Recovery of a unit: the newest checkpoint that its history confirms, and the epochs after it; and verification.

A checkpoint is used only if the log holds the very epoch that it follows. Without one, the unit replays its whole
history. Settings may have changed since: each epoch is replayed under its own settings, and the fold takes the present
ones after the replay.

State is a pure function of settings and records. Each epoch in a unit's history holds a digest of its outputs, so a
replay of the same records along the same cuts must give the same digests: `verify` checks that, offline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from streamer.errors import BrokerError, GapError
from streamer.eventlog.base import Epoch, History, Log
from streamer.eventlog.history import Gap, SettingsNote
from streamer.logs import log_of
from streamer.runtime.fold import Fold
from streamer.runtime.snapshot import Snapshot
from streamer.runtime.unit import Folded, Unit

POLL_S = 0.2
EMPTY_POLLS_MAX = 300  # a minute of nothing
DIFFERING_MAX = 100
START_AFRESH = "or start afresh: a new kafka.group and a new outputs.prefix in the config"

log = log_of("runtime")


class Folds(Protocol):
    """Makes folds."""

    settings: str  # the present ones, as text
    fingerprint: str  # of `settings`

    def fresh(self, unit: str, settings: str) -> Fold:
        """A fold with empty state. Raises `UsageError` when this version can't read the settings."""
        ...

    def moved(self, unit: str, fold: Fold, settings: str) -> tuple[Fold, list[str]]:
        """A fold with the state of this one under other settings, and the detectors that these reset."""
        ...


class Checkpoint(Protocol):
    """A stored state, and the epoch that it follows."""

    @property
    def epoch(self) -> Epoch: ...

    @property
    def starts(self) -> Mapping[str, int]: ...

    @property
    def topic_ids(self) -> Mapping[str, str]: ...

    @property
    def settings(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    def read(self) -> Snapshot | None:
        """The state; None, with a log line, when it can't be read or is damaged."""
        ...


class Checkpoints(Protocol):
    """Stored checkpoints."""

    def newest_first(self, unit: str) -> Iterator[Checkpoint]: ...


@dataclass(slots=True)
class Recovery:
    """Brings units back to the state of their last epoch."""

    log: Log
    folds: Folds
    checkpoints: Checkpoints
    degrade: bool = False  # whether a unit whose records are gone restarts empty; else the service ends

    def unit(self, name: str) -> Unit:
        """The unit at its checkpoint, with the epochs to replay, reading from there on.

        Raises `GapError` and `RebalanceInProgress` as the log does, and `UsageError` when its history can't be
        replayed.
        """
        unit, past = self._from_checkpoint(name) or self._from_the_beginning(name)
        unit.replay(past)
        try:
            start = self.log.resume(name, unit.positions(), unit.topic_ids)
        except GapError as gap:
            if not self.degrade:
                raise
            return self._restart(unit, past, str(gap))
        if start.starts:
            self.log.note(name, [start])
            unit.starts |= start.starts
            unit.topic_ids |= start.topic_ids
        return unit

    def move(self, unit: Unit, fingerprint: str) -> None:
        """Give the unit's fold the settings with this fingerprint, under which the next epoch was folded first."""
        if fingerprint == unit.settings:
            return
        if fingerprint not in unit.texts:
            raise GapError(
                f"The history of {unit.name} has epochs under settings {fingerprint} and lacks these settings: its "
                f"beginning is lost. Restore the topic, {START_AFRESH}"
            )
        unit.fold, _ = self.folds.moved(unit.name, unit.fold, unit.texts[fingerprint])
        unit.settings = fingerprint

    def go_live(self, unit: Unit) -> None:
        """Give the unit's fold the present settings, and note them if its history lacks them."""
        here = self.folds.fingerprint
        if unit.settings == here and here in unit.texts:
            return
        fold, reset = unit.fold, list[str]()
        if unit.settings != here:
            fold, reset = self.folds.moved(unit.name, unit.fold, self.folds.settings)
            log.warning("%s continues under other settings; begun reset: %s", unit.name, ", ".join(reset) or "nothing")
        self.log.note(unit.name, [SettingsNote(unit.name, here, self.folds.settings, reset)])
        unit.fold, unit.settings = fold, here
        unit.texts[here] = self.folds.settings

    def _from_checkpoint(self, name: str) -> tuple[Unit, History] | None:
        for checkpoint in self.checkpoints.newest_first(name):
            past = self.log.past(name, checkpoint.epoch)
            if past is None or past.was_reset:
                continue
            snapshot = checkpoint.read()
            if snapshot is None:
                continue
            fold = self.folds.fresh(name, checkpoint.settings)
            fold.load(snapshot)
            epoch = checkpoint.epoch
            unit = Unit(name, fold, checkpoint.fingerprint, epoch.number, dict(epoch.ends), epoch)
            unit.starts, unit.topic_ids = dict(checkpoint.starts), dict(checkpoint.topic_ids)
            unit.texts = {checkpoint.fingerprint: checkpoint.settings}
            return unit, past
        return None

    def _from_the_beginning(self, name: str) -> tuple[Unit, History]:
        past = self.log.past(name) or History()
        first = past.epochs[0].settings if past.epochs else self.folds.fingerprint
        settings = past.settings.get(first, self.folds.settings)
        return Unit(name, self.folds.fresh(name, settings), first, past.base), past

    def _restart(self, gone: Unit, past: History, reason: str) -> Unit:
        """The unit with an empty state, reading the records that remain behind its last epoch."""
        ends = gone.starts | gone.ends | dict(past.epochs[-1].ends if past.epochs else {})
        start = self.log.skip(gone.name, ends)
        number = gone.number + len(past.epochs)
        self.log.note(gone.name, [Gap(gone.name, number, start.starts, start.topic_ids, reason)])
        log.error(
            "%s restarts with empty state after its epoch %d, because records are gone. %s", gone.name, number, reason
        )
        unit = Unit(gone.name, self.folds.fresh(gone.name, self.folds.settings), self.folds.fingerprint, number)
        unit.starts, unit.topic_ids, unit.texts = dict(start.starts), dict(start.topic_ids), gone.texts
        return unit


class NoCheckpoints:
    """No checkpoints: for a replay, a notebook, a test."""

    def newest_first(self, unit: str) -> Iterator[Checkpoint]:  # noqa: ARG002
        return iter(())

    def on_turn(self, units: Mapping[str, Unit]) -> None:
        pass

    def finish(self, units: Mapping[str, Unit]) -> None:
        pass


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
