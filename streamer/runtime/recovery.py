"""Recovery of a unit: the newest checkpoint that its history confirms, and the epochs after it.

A checkpoint is used only if the log holds the very epoch that it follows. Without one, the unit replays its whole
history. Settings may have changed since: each epoch is replayed under its own settings, and the fold takes the present
ones after the replay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from streamer.errors import GapError
from streamer.eventlog.base import Epoch, History, Log
from streamer.eventlog.history import Gap, SettingsNote
from streamer.logs import log_of
from streamer.runtime.fold import Fold
from streamer.runtime.snapshot import Snapshot
from streamer.runtime.unit import Unit

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
