"""What the service says about itself to Prometheus: one table of metrics, one method for each thing that happens.

Labels are bounded by the config (topics, detectors), by the assignment (units, partitions) or by closed sets (reasons,
states, outcomes); never models, columns or ids, so the page stays small however large the fleet is. The registry is our
own, so a program that uses Driftline as a library keeps its metrics to itself. `docs/metrics.md` is generated from the
table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector
from prometheus_client.exposition import generate_latest, make_wsgi_app

from retrain.messages.alert import AlertState
from retrain.messages.outcome import Outcome
from streamer.clock import Clock, SystemClock
from streamer.codecs.base import Reason
from streamer.eventlog.base import Epoch
from streamer.telemetry.http import Endpoint, text_page

STALLED_AFTER_S = 60.0  # the loop is called dead when it has not turned for so long ...
STUCK_AFTER_S = 300.0  # ... and when it has turned for so long without folding anything, although records wait
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class MetricKind(StrEnum):
    """What kind of number a metric is, in Prometheus' words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Spec:
    """One metric as it is documented and made."""

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()


TABLE = (
    Spec("driftline_records_total", MetricKind.COUNTER, "Records folded, unreadable ones included.", ("topic",)),
    Spec("driftline_values_total", MetricKind.COUNTER, "Values of columns found in those records.", ("topic",)),
    Spec(
        "driftline_dropped_values_total", MetricKind.COUNTER, "Values not watched because a table of `limits` is full."
    ),
    Spec(
        "driftline_forgotten_models_total",
        MetricKind.COUNTER,
        "Models forgotten for others: see `limits.forget_after`.",
    ),
    Spec(
        "driftline_segments_overflow_total",
        MetricKind.COUNTER,
        "Events of segments beyond `segments_max` of their model.",
    ),
    Spec("driftline_dead_letters_total", MetricKind.COUNTER, "Records that could not be read.", ("topic", "reason")),
    Spec("driftline_alarms_total", MetricKind.COUNTER, "Raw alarms of the detectors.", ("detector",)),
    Spec("driftline_alerts_total", MetricKind.COUNTER, "Alerts published.", ("state",)),
    Spec("driftline_outcomes_total", MetricKind.COUNTER, "What decide made of alerts, by named reason.", ("outcome",)),
    Spec("driftline_retrain_requests_total", MetricKind.COUNTER, "Retrain requests published."),
    Spec(
        "driftline_diverged_epochs_total",
        MetricKind.COUNTER,
        "Epochs that, folded again at a start, gave other outputs than were published: a reason to run `verify`.",
    ),
    Spec("driftline_commit_seconds", MetricKind.HISTOGRAM, "How long a commit took."),
    Spec("driftline_checkpoints_total", MetricKind.COUNTER, "Checkpoints that were kept or failed.", ("outcome",)),
    Spec("driftline_checkpoint_seconds", MetricKind.HISTOGRAM, "How long a checkpoint took, beside the folding."),
    Spec("driftline_checkpoint_pause_seconds", MetricKind.HISTOGRAM, "How long folding stood still for a checkpoint."),
    Spec(
        "driftline_checkpoint_epoch", MetricKind.GAUGE, "Number of the epoch of the unit's last checkpoint.", ("unit",)
    ),
    Spec(
        "driftline_checkpoint_timestamp_seconds",
        MetricKind.GAUGE,
        "When this process last kept a checkpoint of the unit, since 1970.",
        ("unit",),
    ),
    Spec("driftline_epoch", MetricKind.GAUGE, "Number of the unit's last committed epoch.", ("unit",)),
    Spec(
        "driftline_commit_timestamp_seconds", MetricKind.GAUGE, "When the unit last committed, since 1970.", ("unit",)
    ),
    Spec("driftline_event_timestamp_seconds", MetricKind.GAUGE, "Newest event time the unit has folded.", ("unit",)),
    Spec(
        "driftline_lag_records",
        MetricKind.GAUGE,
        "Records between our position and the log's end.",
        ("topic", "partition"),
    ),
    Spec("driftline_models", MetricKind.GAUGE, "Models this process holds state for."),
    Spec("driftline_alerts_firing", MetricKind.GAUGE, "Alerts of this process whose way back to normal is watched."),
    Spec("driftline_series", MetricKind.GAUGE, "Series (columns of models) this process holds state for."),
    Spec("driftline_ready", MetricKind.GAUGE, "1 once recovered and folding live, else 0."),
    Spec("driftline_build_info", MetricKind.GAUGE, "Always 1; the version stands in the label.", ("version",)),
)


class Metrics:
    """The metrics of one process, and whether its loop is alive and ready. Counters start at 0 with each process."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._beat_s = self._clock.monotonic_s()
        self._advance_s = self._beat_s
        self._is_ready = False
        self.registry = _Registry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for spec in TABLE:
            self._make(spec)
        ProcessCollector(registry=self.registry)
        self._set("driftline_build_info", 1, _version())

    def expect(self, topics: Iterable[str], detectors: Iterable[str]) -> None:
        """Show the counters of these at 0 from the start: Prometheus sees no increase in a counter that is new."""
        for topic in topics:
            self.folded(topic, 0, 0)
            for reason in Reason:
                self.dead_letters(topic, reason, 0)
        for detector in detectors:
            self.alarms(detector, 0)
        for state in AlertState:
            self.alerts(state, 0)
        for outcome in Outcome:
            self.outcome(outcome, 0)
        for kept_or_failed in ("kept", "failed"):
            self._add("driftline_checkpoints_total", 0, kept_or_failed)

    def folded(self, topic: str, records: int, values: int) -> None:
        """A stretch of a topic was folded."""
        self._add("driftline_records_total", records, topic)
        self._add("driftline_values_total", values, topic)

    def dropped(self, n: int) -> None:
        """Values found no room in the tables."""
        self._add("driftline_dropped_values_total", n)

    def forgotten(self, n: int) -> None:
        """Models were forgotten."""
        self._add("driftline_forgotten_models_total", n)

    def overflowed(self, n: int) -> None:
        """Events were of segments beyond their model's bound."""
        self._add("driftline_segments_overflow_total", n)

    def dead_letters(self, topic: str, reason: str, n: int = 1) -> None:
        """Records of a topic could not be read; `reason` is a `streamer.codecs.base.Reason`."""
        self._add("driftline_dead_letters_total", n, topic, reason)

    def diverged(self, n: int) -> None:
        """Epochs were folded again and gave something else than they had given."""
        self._add("driftline_diverged_epochs_total", n)

    def alarms(self, detector: str, n: int = 1) -> None:
        """A detector raised alarms."""
        self._add("driftline_alarms_total", n, detector)

    def alerts(self, state: str, n: int = 1) -> None:
        """Alerts are published; `state` is a `retrain.messages.alert.AlertState`."""
        self._add("driftline_alerts_total", n, state)

    def outcome(self, name: str, n: int = 1) -> None:
        """Decide made this of an alert or a control record; `name` is a `retrain.messages.outcome.Outcome`."""
        self._add("driftline_outcomes_total", n, name)

    def requests(self, n: int = 1) -> None:
        """Retrain requests are published."""
        self._add("driftline_retrain_requests_total", n)

    def committed(self, epochs: Iterable[Epoch], seconds: float) -> None:
        """These epochs are in the log; the commit that put them there took so long."""
        self._histograms["driftline_commit_seconds"].observe(seconds)
        for epoch in epochs:
            self._set("driftline_epoch", epoch.number, epoch.unit)
            self._set("driftline_commit_timestamp_seconds", self._clock.now_s(), epoch.unit)

    def kept(self, unit: str, number: int, seconds: float) -> None:
        """The unit's state behind epoch `number` is kept; it took so long."""
        self._add("driftline_checkpoints_total", 1, "kept")
        self._histograms["driftline_checkpoint_seconds"].observe(seconds)
        self._set("driftline_checkpoint_epoch", number, unit)
        self._set("driftline_checkpoint_timestamp_seconds", self._clock.now_s(), unit)

    def failed(self, unit: str) -> None:  # noqa: ARG002
        """A checkpoint could not be made."""
        self._add("driftline_checkpoints_total", 1, "failed")

    def paused(self, seconds: float) -> None:
        """The fold has stood still for so long, for a checkpoint."""
        self._histograms["driftline_checkpoint_pause_seconds"].observe(seconds)

    def event_time(self, unit: str, event_time_ms: int) -> None:
        """The newest event time a unit has folded."""
        self._set("driftline_event_timestamp_seconds", event_time_ms / 1000, unit)

    def lag(self, topic: str, partition: int, records: int) -> None:
        """How many records of a partition are still to be read."""
        self._set("driftline_lag_records", records, topic, str(partition))

    def models(self, n: int) -> None:
        """How many models this process holds."""
        self._set("driftline_models", n)

    def series(self, n: int) -> None:
        """How many series this process holds."""
        self._set("driftline_series", n)

    def alerts_firing(self, n: int) -> None:
        """How many alerts of this process are not over yet."""
        self._set("driftline_alerts_firing", n)

    def forget(self, unit: str, partitions: Iterable[tuple[str, int]] = ()) -> None:
        """A unit has gone to another member: its gauges would say old things for ever, so they go too."""
        for spec in TABLE:
            if spec.labels == ("unit",):
                self._gauges[spec.name].remove(unit)
        for topic, partition in partitions:
            self._gauges["driftline_lag_records"].remove(topic, str(partition))

    def beat(self) -> None:
        """The loop has turned once more; to be called at least every few seconds, during recovery too."""
        self._beat_s = self._clock.monotonic_s()

    def advanced(self) -> None:
        """Records were folded since the last beat, or none wait."""
        self._advance_s = self._clock.monotonic_s()

    def idle_s(self) -> float:
        """For how long the loop has not turned."""
        return self._clock.monotonic_s() - self._beat_s

    def ready(self, is_ready: bool) -> None:
        """Whether state is recovered and live records are folded."""
        self._is_ready = is_ready
        self._set("driftline_ready", int(is_ready))

    def health(self) -> tuple[bool, str]:
        """Whether the loop is alive, and a line that says so."""
        if (idle_s := self.idle_s()) > STALLED_AFTER_S:
            return False, f"stalled: the loop has not turned for {idle_s:.0f} s (limit {STALLED_AFTER_S:.0f} s)"
        if (stuck_s := self._clock.monotonic_s() - self._advance_s) > STUCK_AFTER_S:
            return False, f"stuck: records wait and none was folded for {stuck_s:.0f} s (limit {STUCK_AFTER_S:.0f} s)"
        return True, "alive"

    def readiness(self) -> tuple[bool, str]:
        """Whether the service is ready, and a line that says so."""
        return self._is_ready, "ready" if self._is_ready else "not ready: starting, recovering or stopping"

    def expose(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def serve(self, host: str = "127.0.0.1", port: int = 9464) -> Endpoint:
        """Serve `/metrics`, `/healthz` and `/readyz` from a daemon thread until the endpoint is stopped.

        Port 0 takes a free one, see `Endpoint.port`. Raises UsageError when the address can't be had.
        """
        routes = {
            "/metrics": make_wsgi_app(self.registry),
            "/healthz": text_page(self.health),
            "/readyz": text_page(self.readiness),
        }
        return Endpoint(host, port, routes)

    def _make(self, spec: Spec) -> None:
        if spec.kind is MetricKind.COUNTER:
            self._counters[spec.name] = Counter(spec.name, spec.help, spec.labels, registry=self.registry)
        elif spec.kind is MetricKind.GAUGE:
            self._gauges[spec.name] = Gauge(spec.name, spec.help, spec.labels, registry=self.registry)
        else:
            self._histograms[spec.name] = Histogram(
                spec.name, spec.help, spec.labels, registry=self.registry, buckets=BUCKETS_S
            )

    def _add(self, name: str, n: float, *labels: str) -> None:
        counter = self._counters[name]
        (counter.labels(*labels) if labels else counter).inc(n)

    def _set(self, name: str, value: float, *labels: str) -> None:
        gauge = self._gauges[name]
        (gauge.labels(*labels) if labels else gauge).set(value)


class _Registry(CollectorRegistry):
    """A registry without the `_created` lines: they double every counter, and the library's own switch is global."""

    def collect(self) -> Iterable[Metric]:
        for metric in super().collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


def _version() -> str:
    try:
        return version("driftline")
    except PackageNotFoundError:  # a checkout that was never installed
        return "unknown"


def page() -> str:
    """The table as the Markdown page `docs/metrics.md`."""
    lines = [
        "# Metrics",
        "",
        "Generated from `streamer/telemetry/` by `make docs`. Served at `/metrics`, by default on `127.0.0.1:9464`,",
        f"beside `/healthz` (503 when the loop has not turned for {STALLED_AFTER_S:.0f} s, or has folded nothing for",
        f"{STUCK_AFTER_S:.0f} s while records wait) and `/readyz`",
        "(503 until state is recovered).",
        "The `process_*` metrics of prometheus-client come with them. No label ever holds a model, a column or an id.",
        "",
        "| metric | kind | labels | what it says |",
        "|---|---|---|---|",
    ]
    lines += [f"| `{s.name}` | {s.kind} | {', '.join(f'`{x}`' for x in s.labels) or '-'} | {s.help} |" for s in TABLE]
    return "\n".join(lines) + "\n"
