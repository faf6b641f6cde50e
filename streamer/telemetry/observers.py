"""Observers of the loop: metrics, log lines and progress of a service, outputs and progress of a replay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from streamer.clock import Clock
from streamer.eventlog.base import Epoch, Output
from streamer.eventlog.units import partition_of
from streamer.logs import log_of
from streamer.runtime.fold import Tally
from streamer.runtime.loop import Observer, Service
from streamer.runtime.unit import Unit
from streamer.telemetry.metrics import Metrics

log = log_of("telemetry")

Lag = Callable[[], Iterable[tuple[tuple[str, int], int]]]  # (topic, partition) and the records that are not read yet
LOG_EVERY_S = 10.0
STEADY_S = 60.0  # a worker that has run for so long without an error works
PUBLISHED = ("alerts", "outcomes")  # counted when they are published, so not again when a restart folds them again
LAG_EVERY_TURNS = 10  # asking the client for its lag costs a little for each partition


class MetricsObserver(Observer):
    """Shows in the metrics what the loop and the checkpoint scheduler do."""

    def __init__(self, metrics: Metrics, lag: Lag) -> None:
        self._metrics = metrics
        self._lag = lag
        self._counted: dict[str, Tally] = {}  # unit -> what the metrics have counted of it
        self._folded: dict[str, tuple[int, int]] = {}  # unit -> epoch and tally: they change as it folds
        self._turns = 0

    def on_turn(self, service: Service) -> None:
        self._metrics.health.turned()
        self._metrics.ready(not service.recovering)
        gauges: Counter[str] = Counter()
        for name, unit in service.units.items():
            self._count(unit)
            if (newest_ms := unit.fold.newest_event_time_ms) >= 0:
                self._metrics.set("driftline_event_timestamp_seconds", newest_ms / 1000, name)
            gauges.update(unit.fold.gauges())
        self._metrics.show(gauges)
        if self._turns % LAG_EVERY_TURNS == 0:
            self._show_lag(service)
        self._turns += 1

    def on_commit(self, outputs: Sequence[Output], epochs: Sequence[Epoch], seconds: float) -> None:  # noqa: ARG002
        self._metrics.observe("driftline_commit_seconds", seconds)
        for epoch in epochs:
            self._metrics.set("driftline_epoch", epoch.number, epoch.unit)
            self._metrics.set_to_now("driftline_commit_timestamp_seconds", epoch.unit)

    def on_revoked(self, unit: Unit) -> None:
        self._metrics.forget(unit.name, [(topic, partition_of(unit.name)) for topic in unit.positions()])
        self._counted.pop(unit.name, None)

    def on_checkpoint(self, unit: str, number: int, seconds: float) -> None:
        """See `streamer.runtime.checkpoints.scheduler.CheckpointObserver`."""
        self._metrics.add("driftline_checkpoints_total", 1, "kept")
        self._metrics.observe("driftline_checkpoint_seconds", seconds)
        self._metrics.set("driftline_checkpoint_epoch", number, unit)
        self._metrics.set_to_now("driftline_checkpoint_timestamp_seconds", unit)

    def on_checkpoint_failed(self, unit: str) -> None:  # noqa: ARG002
        """See `streamer.runtime.checkpoints.scheduler.CheckpointObserver`."""
        self._metrics.add("driftline_checkpoints_total", 1, "failed")

    def on_checkpoint_pause(self, seconds: float) -> None:
        """See `streamer.runtime.checkpoints.scheduler.CheckpointObserver`."""
        self._metrics.observe("driftline_checkpoint_pause_seconds", seconds)

    def _show_lag(self, service: Service) -> None:
        waiting = 0
        for (topic, partition), records in self._lag():
            unit = service.unit_of(topic, partition)
            self._metrics.set("driftline_lag_records", records, topic, str(partition), unit)
            waiting += records
        folded = {name: (unit.number, unit.fold.tally.total()) for name, unit in service.units.items()}
        if folded != self._folded or not (waiting or any(unit.buffer for unit in service.units.values())):
            self._metrics.health.progressed()
        self._folded = folded

    def _count(self, unit: Unit) -> None:
        """Count what the fold has added to its tally since the last turn."""
        tally = unit.fold.tally - Counter({key: n for key, n in unit.refolded.items() if key[0] in PUBLISHED})
        self._metrics.count(tally - self._counted.get(unit.name, Counter()))
        self._counted[unit.name] = tally


class ProgressLog(Observer):
    """Logs the progress of recovery and of catching up: a line every ten seconds while records are folded."""

    def __init__(self, clock: Clock, lag: Lag) -> None:
        self._clock = clock
        self._lag = lag
        self._recovering = False
        self._records = 0
        self._logged_s = clock.monotonic_s()

    def on_turn(self, service: Service) -> None:
        was, self._recovering = self._recovering, any(unit.replay_plan for unit in service.units.values())
        if was and not self._recovering:
            log.info("recovered; what comes now is new")
        if self._clock.monotonic_s() - self._logged_s < LOG_EVERY_S:
            return
        self._logged_s = self._clock.monotonic_s()
        tallies = [unit.fold.tally for unit in service.units.values()]
        records = sum(n for tally in tallies for key, n in tally.items() if key[0] == "records")
        if records != self._records:
            epochs = sum(len(unit.replay_plan) for unit in service.units.values())
            what = f"recovering, {epochs:,} epochs to fold again; " if epochs else ""
            log.info("%s%s records folded, %s behind", what, f"{records:,}", f"{sum(n for _, n in self._lag()):,}")
        self._records = records

    def on_revoked(self, unit: Unit) -> None:
        log.info("another process has taken over %s", unit.name)


class Observers(Observer):
    """Several observers as one."""

    def __init__(self, *each: Observer) -> None:
        self._each = each

    def on_turn(self, service: Service) -> None:
        for observer in self._each:
            observer.on_turn(service)

    def on_commit(self, outputs: Sequence[Output], epochs: Sequence[Epoch], seconds: float) -> None:
        for observer in self._each:
            observer.on_commit(outputs, epochs, seconds)

    def on_revoked(self, unit: Unit) -> None:
        for observer in self._each:
            observer.on_revoked(unit)


class ReplayObserver(Observer):
    """Passes outputs, epochs and progress to the caller of a replay."""

    def __init__(
        self, publish: Callable[[Output], None], folded: Callable[[Epoch], None], progress: Callable[[], None]
    ) -> None:
        self._publish = publish
        self._folded = folded
        self._progress = progress

    def on_turn(self, service: Service) -> None:  # noqa: ARG002
        self._progress()

    def on_commit(self, outputs: Sequence[Output], epochs: Sequence[Epoch], seconds: float) -> None:  # noqa: ARG002
        for output in outputs:
            self._publish(output)
        for epoch in epochs:
            self._folded(epoch)


class ProgressObserver(Observer):
    """Reports progress to the parent process: at every commit, and once after `STEADY_S` without an error."""

    def __init__(self, progressed: Callable[[], None], clock: Clock) -> None:
        self._progressed = progressed
        self._clock = clock
        self._steady_at_s: float | None = clock.monotonic_s() + STEADY_S

    def on_turn(self, service: Service) -> None:  # noqa: ARG002
        if self._steady_at_s is not None and self._clock.monotonic_s() >= self._steady_at_s:
            self._steady_at_s = None
            self._progressed()

    def on_commit(self, outputs: Sequence[Output], epochs: Sequence[Epoch], seconds: float) -> None:  # noqa: ARG002
        self._progressed()
