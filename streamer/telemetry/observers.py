"""Who watches the loop: metrics and a log for a service, outputs and progress for a replay."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from streamer.clock import Clock
from streamer.eventlog.base import Epoch, Output
from streamer.eventlog.units import partition_of
from streamer.runtime.fold import Tally
from streamer.runtime.loop import Observer, Service
from streamer.runtime.unit import Unit
from streamer.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

Lag = Callable[[], Iterable[tuple[tuple[str, int], int]]]  # how far each (topic, partition) is behind, in records
TELL_EVERY_S = 10.0
STEADY_S = 60.0  # after so long a worker has shown that it works
PUBLISHED = ("alerts", "outcomes")  # counted when they are published, so not again when a restart folds them again
LAG_EVERY_TURNS = 10  # asking the client for its lag costs a little for each partition


class MetricsObserver:
    """Tells Prometheus what the loop does."""

    def __init__(self, metrics: Metrics, lag: Lag) -> None:
        self._metrics = metrics
        self._lag = lag
        self._told: dict[str, Tally] = {}
        self._folded: dict[str, tuple[int, int]] = {}  # unit -> what tells whether it folds
        self._turns = 0

    def turned(self, service: Service) -> None:
        self._metrics.beat()
        self._metrics.ready(not service.recovering)
        gauges: Counter[str] = Counter()
        for name, unit in service.units.items():
            again = {key: n for key, n in unit.refolded.items() if key[0] in PUBLISHED}
            self._tell(name, unit.fold.tally - Counter(again))
            if unit.fold.newest_event_time_ms >= 0:
                self._metrics.event_time(name, unit.fold.newest_event_time_ms)
            gauges.update(unit.fold.gauges())
        self._metrics.models(gauges["models"])
        self._metrics.series(gauges["series"])
        self._metrics.alerts_firing(gauges["alerts_firing"])
        if self._turns % LAG_EVERY_TURNS == 0:
            self._tell_lag(service)
        self._turns += 1

    def committed(self, outputs: Sequence[Output], epochs: Sequence[Epoch], seconds: float) -> None:  # noqa: ARG002
        self._metrics.committed(epochs, seconds)

    def left(self, unit: Unit) -> None:
        self._metrics.forget(unit.name, [(topic, partition_of(unit.name)) for topic in unit.positions()])
        self._told.pop(unit.name, None)

    def _tell_lag(self, service: Service) -> None:
        waiting = 0
        for (topic, partition), records in self._lag():
            self._metrics.lag(topic, partition, records)
            waiting += records
        folded = {name: (unit.number, unit.fold.tally.total()) for name, unit in service.units.items()}
        if folded != self._folded or not (waiting or any(unit.buffer for unit in service.units.values())):
            self._metrics.advanced()
        self._folded = folded

    def _tell(self, unit: str, tally: Tally) -> None:
        """What has been counted since the last time."""
        told = self._told.get(unit, Counter())
        for key, n in (tally - told).items():
            match key:
                case ("records", topic):
                    self._metrics.folded(topic, n, 0)
                case ("values", topic):
                    self._metrics.folded(topic, 0, n)
                case ("dropped",):
                    self._metrics.dropped(n)
                case ("forgotten",):
                    self._metrics.forgotten(n)
                case ("segments_overflow",):
                    self._metrics.overflowed(n)
                case ("dead_letters", topic, reason):
                    self._metrics.dead_letters(topic, reason, n)
                case ("diverged",):
                    self._metrics.diverged(n)
                case ("alarms", detector):
                    self._metrics.alarms(detector, n)
                case ("alerts", state):
                    self._metrics.alerts(state, n)
                case ("outcomes", outcome):
                    self._metrics.outcome(outcome, n)
                    if outcome == "request_made":
                        self._metrics.requests(n)
        self._told[unit] = tally.copy()


class ProgressLog:
    """Says in the log how recovery and catching up go: a line every ten seconds while something moves."""

    def __init__(self, clock: Clock, lag: Lag) -> None:
        self._clock = clock
        self._lag = lag
        self._recovering = False
        self._records = 0
        self._told_s = clock.monotonic_s()

    def turned(self, service: Service) -> None:
        was, self._recovering = self._recovering, any(unit.script for unit in service.units.values())
        if was and not self._recovering:
            log.info("recovered; what comes now is new")
        if self._clock.monotonic_s() - self._told_s < TELL_EVERY_S:
            return
        self._told_s = self._clock.monotonic_s()
        tallies = [unit.fold.tally for unit in service.units.values()]
        records = sum(n for tally in tallies for key, n in tally.items() if key[0] == "records")
        if records != self._records:
            epochs = sum(len(unit.script) for unit in service.units.values())
            what = f"recovering, {epochs:,} epochs to fold again; " if epochs else ""
            log.info("%s%s records folded, %s behind", what, f"{records:,}", f"{sum(n for _, n in self._lag()):,}")
        self._records = records

    def committed(self, outputs: Sequence[Output], epochs: Sequence[Epoch], seconds: float) -> None:
        pass

    def left(self, unit: Unit) -> None:
        log.info("%s belongs to another process now", unit.name)


class Observers:
    """Several observers as one."""

    def __init__(self, *each: Observer) -> None:
        self._each = each

    def turned(self, service: Service) -> None:
        for observer in self._each:
            observer.turned(service)

    def committed(self, outputs: Sequence[Output], epochs: Sequence[Epoch], seconds: float) -> None:
        for observer in self._each:
            observer.committed(outputs, epochs, seconds)

    def left(self, unit: Unit) -> None:
        for observer in self._each:
            observer.left(unit)


class ReplayObserver:
    """Hands outputs, epochs and progress on to whoever replays."""

    def __init__(
        self, publish: Callable[[Output], None], folded: Callable[[Epoch], None], progress: Callable[[], None]
    ) -> None:
        self._publish = publish
        self._folded = folded
        self._progress = progress

    def turned(self, service: Service) -> None:  # noqa: ARG002
        self._progress()

    def committed(self, outputs: Sequence[Output], epochs: Sequence[Epoch], seconds: float) -> None:  # noqa: ARG002
        for output in outputs:
            self._publish(output)
        for epoch in epochs:
            self._folded(epoch)

    def left(self, unit: Unit) -> None:
        """A recording has one reader."""


class ProgressObserver:
    """Tells whoever started us of every commit; and once of a minute of work, though there may be nothing to commit."""

    def __init__(self, progressed: Callable[[], None], clock: Clock) -> None:
        self._progressed = progressed
        self._clock = clock
        self._steady_at_s: float | None = clock.monotonic_s() + STEADY_S

    def turned(self, service: Service) -> None:  # noqa: ARG002
        if self._steady_at_s is not None and self._clock.monotonic_s() >= self._steady_at_s:
            self._steady_at_s = None
            self._progressed()

    def committed(self, outputs: Sequence[Output], epochs: Sequence[Epoch], seconds: float) -> None:  # noqa: ARG002
        self._progressed()

    def left(self, unit: Unit) -> None:
        pass
