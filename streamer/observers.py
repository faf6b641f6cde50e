"""Who watches the loop: Prometheus metrics for a service, counts and a progress report for a replay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from streamer.detect import DetectFold
from streamer.logs.base import Epoch, Output
from streamer.metrics import Metrics
from streamer.service import Service

Tally = Counter[tuple[str, ...]]
LAG_EVERY_TURNS = 10  # asking the client for its lag costs a little for each partition


class MetricsObserver:
    """Tells Prometheus what the loop does."""

    def __init__(self, metrics: Metrics, lag: Callable[[], Iterable[tuple[tuple[str, int], int]]]) -> None:
        """`lag` gives how far each topic-partition is behind, as ((topic, partition), records)."""
        self._metrics = metrics
        self._lag = lag
        self._told: dict[str, Tally] = {}
        self._turns = 0

    def turned(self, service: Service) -> None:
        self._metrics.beat()
        self._metrics.ready(not service.recovering)
        models = series = 0
        for name, unit in service.units.items():
            self._tell(name, unit.fold.tally)
            self._metrics.event_time(name, unit.fold.newest_event_time_ms)
            if isinstance(unit.fold, DetectFold):
                models, series = models + unit.fold.models, series + unit.fold.series
        self._metrics.models(models)
        self._metrics.series(series)
        if self._turns % LAG_EVERY_TURNS == 0:
            for (topic, partition), records in self._lag():
                self._metrics.lag(topic, partition, records)
        self._turns += 1

    def committed(self, outputs: Sequence[Output], epochs: Sequence[Epoch], seconds: float) -> None:  # noqa: ARG002
        self._metrics.committed(epochs, seconds)

    def _tell(self, unit: str, tally: Tally) -> None:
        """What has been counted since the last time."""
        told = self._told.get(unit, Counter())
        for key, n in (tally - told).items():
            match key:
                case ("records", topic):
                    self._metrics.folded(topic, n, 0)
                case ("values", topic):
                    self._metrics.folded(topic, 0, n)
                case ("dead_letters", topic, reason):
                    self._metrics.dead_letters(topic, reason, n)
                case ("alarms", detector):
                    self._metrics.alarms(detector, n)
                case ("alerts", state):
                    self._metrics.alerts(state, n)
                case ("outcomes", outcome):
                    self._metrics.outcome(outcome, n)
                    if outcome == "request_made":
                        self._metrics.requests(n)
        self._told[unit] = tally.copy()


class ReplayObserver:
    """Hands outputs and progress on to whoever replays."""

    def __init__(self, publish: Callable[[Output], None], progress: Callable[[], None]) -> None:
        self._publish = publish
        self._progress = progress

    def turned(self, service: Service) -> None:  # noqa: ARG002
        self._progress()

    def committed(self, outputs: Sequence[Output], epochs: Sequence[Epoch], seconds: float) -> None:  # noqa: ARG002
        for output in outputs:
            self._publish(output)
