"""When checkpoints are made: one at a time, each unit once an interval, and all that is new at the end."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Protocol

from streamer.checkpoints.store import CheckpointStore, Manifest
from streamer.checkpoints.writer import CheckpointWriter
from streamer.clock import Clock
from streamer.runtime.unit import Unit

FORKS_FROM_SERIES: Final = 2_000  # series or models of a unit: with fewer, copying is quicker than forking
FINISH_S: Final = 45.0  # for all checkpoints at the end together

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CheckpointSettings:
    """Where state is kept, so that a restart need not fold the whole log again."""

    url: str | None = "checkpoints"  # a folder, relative to the configuration, or s3://, gs:// or abfs://; null: none
    interval_s: float = 60.0  # between two checkpoints of a unit; what came since the last is folded again at a start

    def __post_init__(self) -> None:
        if not self.interval_s > 0:
            raise ValueError(f"interval_s must be above 0, not {self.interval_s}")


class CheckpointObserver(Protocol):
    """Who is told of checkpoints."""

    def kept(self, unit: str, number: int, seconds: float) -> None:
        """The unit's state behind epoch `number` is kept; it took so long."""
        ...

    def failed(self, unit: str) -> None:
        """A checkpoint could not be made; the older ones are still there."""
        ...

    def paused(self, seconds: float) -> None:
        """The fold has stood still for so long, for a checkpoint."""
        ...


class Checkpointing:
    """The service's keeper (see `streamer.runtime.loop.Keeper`)."""

    def __init__(
        self, store: CheckpointStore, settings: CheckpointSettings, clock: Clock, observer: CheckpointObserver
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._observer = observer
        self._writer: CheckpointWriter | None = None
        self._started_s = 0.0
        self._next_s: dict[str, float] = {}  # unit -> when its next checkpoint is due
        self._kept: dict[str, int] = {}  # unit -> number of the last epoch that is kept, or was tried

    def turned(self, units: Mapping[str, Unit]) -> None:
        """See `Keeper`. Begins at most one checkpoint: of the unit that has waited longest."""
        self._look()
        now_s = self._clock.monotonic_s()
        for name in self._next_s.keys() - units.keys():
            del self._next_s[name]
            self._kept.pop(name, None)
        for name in units:
            self._next_s.setdefault(name, now_s + self._settings.interval_s)
        if self._writer is None:
            due = [name for name, unit in units.items() if self._next_s[name] <= now_s and self._is_new(unit)]
            if due:
                self._begin(units[min(due, key=lambda name: (self._next_s[name], name))])

    def finish(self, units: Mapping[str, Unit]) -> None:
        """See `Keeper`. Takes at most about `FINISH_S`."""
        end_s = self._clock.monotonic_s() + FINISH_S
        for _, unit in sorted(units.items()):
            if not self._wait(end_s):
                log.warning("no time is left for a last checkpoint of every unit; the next start folds more again")
                return
            if self._is_new(unit):
                self._begin(unit)
        self._wait(end_s)

    def _wait(self, end_s: float) -> bool:
        """Whether nothing is being written any more, before the end."""
        if self._writer is not None:
            self._writer.wait(end_s - self._clock.monotonic_s())
        self._look()
        return self._writer is None

    def _is_new(self, unit: Unit) -> bool:
        """Whether the unit is what its last epoch in the log says, and that is not kept yet."""
        is_settled = unit.last is not None and unit.number == unit.last.number and not unit.script
        return is_settled and self._kept.get(unit.name, 0) < unit.number

    def _begin(self, unit: Unit) -> None:
        started_s = self._clock.monotonic_s()
        self._next_s[unit.name] = started_s + self._settings.interval_s
        self._kept[unit.name] = unit.number
        self._started_s = started_s
        large = max(unit.fold.series, unit.fold.models) >= FORKS_FROM_SERIES
        try:
            self._writer = CheckpointWriter(self._store, manifest_of(unit), unit.fold.dump, forks=large)
        except Exception as problem:  # the service goes on without
            self._say_failed(unit.name, unit.number, f"{type(problem).__name__}: {problem}")
        self._observer.paused(self._clock.monotonic_s() - started_s)

    def _look(self) -> None:
        """See whether what is being written is done."""
        writer = self._writer
        if writer is None or not writer.done:
            return
        self._writer = None
        if writer.problem is None:
            self._observer.kept(writer.unit, writer.number, self._clock.monotonic_s() - self._started_s)
        else:
            self._say_failed(writer.unit, writer.number, writer.problem)

    def _say_failed(self, unit: str, number: int, problem: str) -> None:
        self._kept.pop(unit, None)
        self._observer.failed(unit)
        log.error("the checkpoint of %s at epoch %d failed, trying again later: %s", unit, number, problem)


def manifest_of(unit: Unit) -> Manifest:
    """What a checkpoint of the unit is, as it stands behind its last epoch."""
    if unit.last is None:
        raise ValueError(f"{unit.name} has no epoch to stand on")
    return Manifest(
        unit=unit.name,
        epoch=unit.last,
        starts=dict(unit.starts),
        topic_ids=dict(unit.topic_ids),
        settings=unit.texts[unit.settings],
        fingerprint=unit.settings,
        written_by=_version(),
    )


def _version() -> str:
    try:
        return version("driftline")
    except PackageNotFoundError:  # a checkout that was never installed
        return "unknown"
