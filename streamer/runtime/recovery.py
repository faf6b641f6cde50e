"""How a unit becomes what it was: the newest checkpoint that the log bears out, and the epochs after it.

A checkpoint is used only where the log has the very epoch it stands on. Without one, the unit folds its whole past
again. Settings may have changed since: the past is folded under those it was folded under the first time, and the fold
goes over to the present ones where the script ends.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from streamer.errors import GapError
from streamer.eventlog.base import Epoch, History, Log
from streamer.eventlog.history import Gap, SettingsNote
from streamer.runtime.fold import Fold
from streamer.runtime.snapshot import Snapshot
from streamer.runtime.unit import Unit

START_AFRESH = "or start afresh: a new kafka.group and a new topic as outputs.epochs in the config"

log = logging.getLogger(__name__)


class Folds(Protocol):
    """What makes folds."""

    settings: str  # the present ones, as text
    fingerprint: str  # of them

    def fresh(self, unit: str, settings: str) -> Fold:
        """A fold that has seen nothing. Raises `UsageError` when this version can't follow the settings."""
        ...

    def moved(self, unit: str, fold: Fold, settings: str) -> tuple[Fold, list[str]]:
        """A fold with the state of this one and other settings, and the detectors that begin anew because of them."""
        ...


class Checkpoint(Protocol):
    """A state that was kept, and where in the unit's life it stands."""

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
        """The state; None, with a line in the log, when it can't be read or is not what was written."""
        ...


class Checkpoints(Protocol):
    """Where checkpoints are kept."""

    def newest_first(self, unit: str) -> Iterator[Checkpoint]: ...


@dataclass(slots=True)
class Recovery:
    """Makes units."""

    log: Log
    folds: Folds
    checkpoints: Checkpoints
    degrade: bool = False  # whether a unit whose records are gone begins anew; else that ends the service

    def unit(self, name: str) -> Unit:
        """The unit, placed at its checkpoint and with a script to follow, reading from there on.

        Raises `GapError` and `Unsettled` as the log does, and `UsageError` when its past can't be followed.
        """
        unit, past = self._from_checkpoint(name) or self._from_the_beginning(name)
        unit.follow(past)
        try:
            start = self.log.resume(name, unit.positions(), unit.topic_ids)
        except GapError as gap:
            if not self.degrade:
                raise
            return self._anew(unit, past, str(gap))
        if start.starts:
            self.log.note(name, [start])
            unit.starts |= start.starts
            unit.topic_ids |= start.topic_ids
        return unit

    def move(self, unit: Unit, fingerprint: str) -> None:
        """Give the unit's fold the settings under which it was folded the first time."""
        if fingerprint == unit.settings:
            return
        if fingerprint not in unit.texts:
            raise GapError(
                f"The history of {unit.name} has epochs under settings {fingerprint} and does not say what these are: "
                f"its beginning is lost. Restore it, {START_AFRESH}"
            )
        unit.fold, _ = self.folds.moved(unit.name, unit.fold, unit.texts[fingerprint])
        unit.settings = fingerprint

    def go_live(self, unit: Unit) -> None:
        """Give the unit's fold the present settings, and note them where its history does not know them yet."""
        here = self.folds.fingerprint
        if unit.settings == here and here in unit.texts:
            return
        fold, anew = unit.fold, list[str]()
        if unit.settings != here:
            fold, anew = self.folds.moved(unit.name, unit.fold, self.folds.settings)
            log.warning("%s goes on under other settings; begun anew: %s", unit.name, ", ".join(anew) or "nothing")
        self.log.note(unit.name, [SettingsNote(unit.name, here, self.folds.settings, anew)])
        unit.fold, unit.settings = fold, here
        unit.texts[here] = self.folds.settings

    def _from_checkpoint(self, name: str) -> tuple[Unit, History] | None:
        for checkpoint in self.checkpoints.newest_first(name):
            past = self.log.past(name, checkpoint.epoch)
            if past is None or past.begins_anew:
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

    def _anew(self, gone: Unit, past: History, reason: str) -> Unit:
        """The unit with a state that has seen nothing, reading what there is behind its last epoch."""
        ends = gone.starts | gone.ends | dict(past.epochs[-1].ends if past.epochs else {})
        start = self.log.skip(gone.name, ends)
        number = gone.number + len(past.epochs)
        self.log.note(gone.name, [Gap(gone.name, number, start.starts, start.topic_ids, reason)])
        log.error("%s begins anew behind its epoch %d, because records are gone. %s", gone.name, number, reason)
        unit = Unit(gone.name, self.folds.fresh(gone.name, self.folds.settings), self.folds.fingerprint, number)
        unit.starts, unit.topic_ids, unit.texts = dict(start.starts), dict(start.topic_ids), gone.texts
        return unit


class NoCheckpoints:
    """Where nothing is kept: a replay, a notebook, a test."""

    def newest_first(self, unit: str) -> Iterator[Checkpoint]:  # noqa: ARG002
        return iter(())

    def turned(self, units: Mapping[str, Unit]) -> None:
        pass

    def finish(self, units: Mapping[str, Unit]) -> None:
        pass
