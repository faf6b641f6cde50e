"""The schedule of checkpoints: one at a time, each unit once an interval, and every changed unit at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Protocol

from streamer.clock import Clock
from streamer.logs import log_of
from streamer.runtime.checkpoints.store import CheckpointStore, Manifest
from streamer.runtime.checkpoints.writer import CheckpointWriter
from streamer.runtime.unit import Unit

FORKS_FROM_SERIES: Final = 2_000  # series or models of a unit; below, a copy is quicker than a fork
FINISH_S: Final = 45.0  # for all checkpoints at the end

log = log_of("checkpoints")


@dataclass(frozen=True, slots=True)
class CheckpointSettings:
    """Where state is stored, so that a restart need not replay the whole log."""

    url: str | None = "checkpoints"  # a folder, relative to the configuration, or s3://, gs:// or abfs://; null: none
    interval_s: float = 60.0  # between two checkpoints of a unit; a restart replays the records since the last

    def __post_init__(self) -> None:
        if not self.interval_s > 0:
            raise ValueError(f"interval_s must be above 0, not {self.interval_s}")


class CheckpointObserver(Protocol):
    """Hooks of the scheduler, for metrics."""

    def on_checkpoint(self, unit: str, number: int, seconds: float, size: int) -> None:
        """A checkpoint of the unit after epoch `number` is stored; it took so many seconds and has `size` bytes."""
        ...

    def on_checkpoint_failed(self, unit: str) -> None:
        """A checkpoint failed; the older ones are still there."""
        ...

    def on_checkpoint_pause(self, seconds: float) -> None:
        """A checkpoint has stopped the fold for so many seconds."""
        ...


class CheckpointScheduler:
    """Starts and finishes checkpoints at the loop's moments (a `streamer.runtime.loop.CheckpointHook`)."""

    def __init__(
        self, store: CheckpointStore, settings: CheckpointSettings, clock: Clock, observer: CheckpointObserver
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._observer = observer
        self._writer: CheckpointWriter | None = None
        self._started_s = 0.0
        self._next_s: dict[str, float] = {}  # unit -> time of its next checkpoint
        self._kept: dict[str, int] = {}  # unit -> number of the last epoch with a checkpoint, or an attempt at one

    def on_turn(self, units: Mapping[str, Unit]) -> None:
        """See `CheckpointHook`. Starts at most one checkpoint: of the unit that has waited longest."""
        self._check_writer()
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
        """See `CheckpointHook`. Takes at most about `FINISH_S`."""
        end_s = self._clock.monotonic_s() + FINISH_S
        for _, unit in sorted(units.items()):
            if not self._wait(end_s):
                log.warning("no time is left for a last checkpoint of every unit: the next start replays more records")
                return
            if self._is_new(unit):
                self._begin(unit)
        self._wait(end_s)

    def _wait(self, end_s: float) -> bool:
        """Wait for the checkpoint that is being written; whether it is done by `end_s`."""
        if self._writer is not None:
            self._writer.wait(end_s - self._clock.monotonic_s())
        self._check_writer()
        return self._writer is None

    def _is_new(self, unit: Unit) -> bool:
        """Whether the unit is in the state of its last epoch in the log, without a checkpoint of it."""
        is_settled = unit.last is not None and unit.number == unit.last.number and not unit.replay_plan
        return is_settled and self._kept.get(unit.name, 0) < unit.number

    def _begin(self, unit: Unit) -> None:
        started_s = self._clock.monotonic_s()
        self._next_s[unit.name] = started_s + self._settings.interval_s
        self._kept[unit.name] = unit.number
        self._started_s = started_s
        large = max(unit.fold.series, unit.fold.models) >= FORKS_FROM_SERIES
        try:
            self._writer = CheckpointWriter(self._store, manifest_of(unit), unit.fold.dump, forks=large)
        except Exception as problem:  # the service continues without it
            self._report_failure(unit.name, unit.number, f"{type(problem).__name__}: {problem}")
        self._observer.on_checkpoint_pause(self._clock.monotonic_s() - started_s)

    def _check_writer(self) -> None:
        """Report the checkpoint that is being written, once it is done."""
        writer = self._writer
        if writer is None or not writer.done:
            return
        self._writer = None
        if writer.problem is None:
            seconds = self._clock.monotonic_s() - self._started_s
            self._observer.on_checkpoint(writer.unit, writer.number, seconds, writer.size)
        else:
            self._report_failure(writer.unit, writer.number, writer.problem)

    def _report_failure(self, unit: str, number: int, problem: str) -> None:
        self._kept.pop(unit, None)
        self._observer.on_checkpoint_failed(unit)
        log.error("the checkpoint of %s at epoch %d failed; the next one is due later: %s", unit, number, problem)


def manifest_of(unit: Unit) -> Manifest:
    """The manifest of a checkpoint of the unit after its last epoch. Raises ValueError if it has no epoch."""
    if unit.last is None:
        raise ValueError(f"{unit.name} has no epoch, so it has no checkpoint")
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
