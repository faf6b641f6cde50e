"""Observers of the loop: metrics, log lines and progress of a service, outputs and progress of a replay."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from streamer.clock import Clock, StageTimes
from streamer.eventlog.base import Epoch, Output
from streamer.eventlog.units import partition_of
from streamer.logs import log_of
from streamer.runtime.fold import Gauges, Spot, Tally
from streamer.runtime.loop import Observer, Service
from streamer.runtime.unit import Unit
from streamer.telemetry.metrics import Metrics

log = log_of("telemetry")

Lag = Callable[[], Iterable[tuple[tuple[str, int], int]]]  # (topic, partition) and the records that are not read yet
LOG_EVERY_S = 10.0
STEADY_S = 60.0  # a worker that has run for so long without an error works
PUBLISHED = ("alerts", "outcomes")  # counted when they are published, so not again when a restart folds them again
CENSUS_EVERY_S = 2.0
CENSUS_COST = 50  # times what a census took: the least time to the next one
LAG_EVERY_TURNS = 10  # asking the client for its lag costs a little for each partition


class MetricsObserver(Observer):
    """Shows in the metrics what the loop and the checkpoint scheduler do."""

    def __init__(self, metrics: Metrics, lag: Lag) -> None:
        self._metrics = metrics
        self._lag = lag
        self._counted: dict[str, Tally] = {}  # unit -> what the metrics have counted of it
        self._folded: dict[str, tuple[int, int]] = {}  # unit -> epoch and tally: they change as it folds
        self._turns = 0
        self._census: dict[str, Gauges] = {}  # unit -> its last census
        self._census_at_s = -math.inf  # when the next one is due
        self._spent_s: dict[tuple[str, str], float] = {}  # unit ("" for the loop) and stage -> seconds counted
        self._caught_up_s: dict[Spot, float] = {}  # when no record waited last

    def on_turn(self, service: Service) -> None:
        self._metrics.health.turned()
        self._metrics.ready(not service.recovering)
        for name, unit in service.units.items():
            self._count(unit)
            if (newest_ms := unit.fold.newest_event_time_ms) >= 0:
                self._metrics.set("driftline_event_timestamp_seconds", newest_ms / 1000, name)
            self._count_stages(name, unit.fold.stages)
        self._count_stages("", service.stages)
        self._take_census(service)
        self._metrics.show({name: {**unit.fold.gauges(), **self._census[name]} for name, unit in service.units.items()})
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
        self._spent_s = {key: seconds for key, seconds in self._spent_s.items() if key[0] != unit.name}

    def on_checkpoint(self, unit: str, number: int, seconds: float, size: int) -> None:
        """See `streamer.runtime.checkpoints.scheduler.CheckpointObserver`."""
        self._metrics.add("driftline_checkpoints_total", 1, "kept")
        self._metrics.observe("driftline_checkpoint_seconds", seconds)
        self._metrics.set("driftline_checkpoint_epoch", number, unit)
        self._metrics.set("driftline_checkpoint_bytes", size, unit)
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
            lag_s = self._lag_s((topic, partition), records, service.units.get(unit))
            self._metrics.set("driftline_lag_seconds", lag_s, topic, str(partition), unit)
            waiting += records
        folded = {name: (unit.number, unit.fold.tally.total()) for name, unit in service.units.items()}
        if folded != self._folded or not (waiting or any(unit.buffer for unit in service.units.values())):
            self._metrics.health.progressed()
        self._folded = folded

    def _lag_s(self, spot: Spot, records: int, unit: Unit | None) -> float:
        """How old the first waiting record may be, in seconds; 0 when none waits."""
        now_s = self._metrics.clock.now_s()
        if not records and not (unit and unit.buffered(spot)):
            self._caught_up_s[spot] = now_s
            return 0.0
        folded_ms = unit.newest_record_ms.get(spot[0], -1) if unit else -1
        since_s = max(folded_ms / 1000, self._caught_up_s.setdefault(spot, 0.0 if folded_ms >= 0 else now_s))
        return max(now_s - since_s, 0.0)

    def _take_census(self, service: Service) -> None:
        """Count what takes a pass over the states, so rarely that it costs at most a fiftieth of the time."""
        units, now_s = service.units, self._metrics.clock.monotonic_s()
        if now_s < self._census_at_s and self._census.keys() == units.keys():
            return
        self._census = {name: unit.fold.census() for name, unit in units.items()}
        if models := self._metrics.models:
            facts = [unit.fold.model_facts() for unit in units.values()]
            models.update([one for one in facts if one is not None])
            self._metrics.set("driftline_models_hidden", models.hidden)
        done_s = self._metrics.clock.monotonic_s()
        self._census_at_s = done_s + max(CENSUS_EVERY_S, CENSUS_COST * (done_s - now_s))

    def _count_stages(self, whose: str, stages: StageTimes) -> None:
        for stage, seconds in stages.seconds.items():
            spent_s = self._spent_s.get((whose, stage), 0.0)
            self._metrics.add("driftline_stage_seconds_total", max(seconds - spent_s, 0.0), stage)
            self._spent_s[whose, stage] = seconds

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
