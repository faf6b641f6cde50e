"""The metrics of the service for Prometheus. A metric is one line in `TABLE`.

A line names what the metric shows: a key of the folds' tally, one of their gauges, or nothing, where an observer sets
it by name. Labels are bounded by the config (topics, detectors), by the assignment (units, partitions) or by closed
sets (reasons, states, outcomes). No label holds a model, a column or an id, so the page stays small for any fleet.
The registry is private: a program that uses Driftline as a library keeps its own metrics apart. `docs/metrics.md` is
generated from the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector
from prometheus_client.exposition import generate_latest, make_wsgi_app

from retrain.messages.alert import AlertState
from retrain.messages.outcome import Outcome
from streamer.clock import Clock, SystemClock
from streamer.codecs.base import Reason
from streamer.telemetry.health import STALLED_AFTER_S, STUCK_AFTER_S, Health
from streamer.telemetry.http import Endpoint, text_page

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class MetricKind(StrEnum):
    """The type of a metric, in Prometheus' words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Spec:
    """One metric: its name, its documentation and its source."""

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()
    shows: str = ""  # of the folds: a key of their tally (the labels follow in it), or one of their gauges


COUNTER, GAUGE, HISTOGRAM = MetricKind

TABLE = (
    Spec("driftline_records_total", COUNTER, "Records folded, unreadable ones included.", ("topic",), "records"),
    Spec("driftline_values_total", COUNTER, "Values of columns found in those records.", ("topic",), "values"),
    Spec(
        "driftline_dropped_values_total",
        COUNTER,
        "Values not watched because a table of `limits` is full.",
        shows="dropped",
    ),
    Spec(
        "driftline_evicted_models_total",
        COUNTER,
        "Models forgotten for others: see `limits.forget_after`.",
        shows="forgotten",
    ),
    Spec(
        "driftline_segments_overflow_total",
        COUNTER,
        "Events of segments beyond `segments_max` of their model.",
        shows="segments_overflow",
    ),
    Spec(
        "driftline_dead_letters_total", COUNTER, "Records that could not be read.", ("topic", "reason"), "dead_letters"
    ),
    Spec(
        "driftline_retyped_columns_total",
        COUNTER,
        "Columns whose first values were taken for numbers, and are categories, or the reverse.",
        shows="retyped",
    ),
    Spec(
        "driftline_nested_columns_total",
        COUNTER,
        "Columns that hold objects or lists, which no detector watches: see `fields.depth` and `fields.lists`.",
        shows="nested",
    ),
    Spec(
        "driftline_repeated_total",
        COUNTER,
        "Events that repeat an earlier one and count once: see `limits.repeats_max`.",
        ("topic",),
        "repeated_events",
    ),
    Spec("driftline_labels_matched_total", COUNTER, "Errors of predictions that labels gave.", shows="labels/matched"),
    Spec(
        "driftline_labels_unmatched_total",
        COUNTER,
        "Labels without a prediction of their id, within `labels.timeout_s` and `labels.early_max`.",
        shows="labels/unmatched",
    ),
    Spec(
        "driftline_pairs_total",
        COUNTER,
        "Inputs and outputs in records of their own: joined, or gone on alone.",
        ("pair",),
        "pairs",
    ),
    Spec(
        "driftline_ahead_total",
        COUNTER,
        "Events and alerts dated too far ahead to move time: a producer's clock is wrong.",
        ("topic",),
        "ahead",
    ),
    Spec("driftline_alarms_total", COUNTER, "Raw alarms of the detectors.", ("detector",), "alarms"),
    Spec("driftline_alerts_total", COUNTER, "Alerts published.", ("state",), "alerts"),
    Spec("driftline_outcomes_total", COUNTER, "What decide made of alerts, by named reason.", ("outcome",), "outcomes"),
    Spec("driftline_retrain_requests_total", COUNTER, "Retrain requests published.", shows="outcomes/request_made"),
    Spec(
        "driftline_diverged_epochs_total",
        COUNTER,
        "Epochs that, folded again at a start, gave other outputs than were published: a reason to run `verify`.",
        shows="diverged",
    ),
    Spec("driftline_commit_seconds", HISTOGRAM, "How long a commit took."),
    Spec("driftline_checkpoints_total", COUNTER, "Checkpoints that were kept or failed.", ("outcome",)),
    Spec("driftline_checkpoint_seconds", HISTOGRAM, "How long a checkpoint took, beside the folding."),
    Spec("driftline_checkpoint_pause_seconds", HISTOGRAM, "How long folding stood still for a checkpoint."),
    Spec("driftline_checkpoint_epoch", GAUGE, "Number of the epoch of the unit's last checkpoint.", ("unit",)),
    Spec(
        "driftline_checkpoint_timestamp_seconds",
        GAUGE,
        "When this process last kept a checkpoint of the unit, since 1970.",
        ("unit",),
    ),
    Spec("driftline_epoch", GAUGE, "Number of the unit's last committed epoch.", ("unit",)),
    Spec("driftline_commit_timestamp_seconds", GAUGE, "When the unit last committed, since 1970.", ("unit",)),
    Spec(
        "driftline_event_timestamp_seconds",
        GAUGE,
        "The unit's clock: the newest event time that is believed.",
        ("unit",),
    ),
    Spec(
        "driftline_lag_records",
        GAUGE,
        "Records between our position and the log's end.",
        ("topic", "partition", "unit"),
    ),
    Spec(
        "driftline_mapping_fault",
        GAUGE,
        "1 while a topic's newest records are not understood: `unreadable` or `unwatched`.",
        ("topic", "fault"),
    ),
    Spec("driftline_models", GAUGE, "Models this process holds state for.", shows="models"),
    Spec(
        "driftline_alerts_firing",
        GAUGE,
        "Alerts of this process that still fire, or whose recovery is watched.",
        shows="alerts_firing",
    ),
    Spec("driftline_labels_early", GAUGE, "Labels that wait for their prediction.", shows="labels_early"),
    Spec("driftline_series", GAUGE, "Series (columns of models) this process holds state for.", shows="series"),
    Spec("driftline_ready", GAUGE, "1 once recovered and folding live, else 0."),
    Spec("driftline_build_info", GAUGE, "Always 1; the version stands in the label.", ("version",)),
)

_COUNTED = tuple((tuple(spec.shows.split("/")), spec) for spec in TABLE if spec.kind is COUNTER and spec.shows)
_CLOSED_SETS = {
    "reason": tuple(Reason),
    "state": tuple(AlertState),
    "outcome": tuple(Outcome),
    "pair": ("joined", "alone"),
}


class Metrics:
    """The metrics of one process. Counters start at 0 with each process."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self.health = Health(self._clock)
        self.registry = _Registry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for spec in TABLE:
            self._make(spec)
        ProcessCollector(registry=self.registry)
        self.set("driftline_build_info", 1, _version())

    def expect(self, topics: Iterable[str], detectors: Iterable[str]) -> None:
        """Show the counters of these at 0 from the start: Prometheus sees no increase in a counter that is new."""
        values = {"topic": tuple(topics), "detector": tuple(detectors), **_CLOSED_SETS}
        for _, spec in _COUNTED:
            for labels in product(*(values[label] for label in spec.labels)):
                self.add(spec.name, 0, *labels)
        for result in ("kept", "failed"):
            self.add("driftline_checkpoints_total", 0, result)

    def count(self, tally: Mapping[tuple[str, ...], int]) -> None:
        """Add what folds have counted since the last call. Keys that no metric shows are ignored."""
        for key, n in tally.items():
            for begin, spec in _COUNTED:
                labels = key[len(begin) :]
                if key[: len(begin)] == begin and len(labels) == len(spec.labels):
                    self.add(spec.name, n, *labels)

    def show(self, gauges: Mapping[str, int]) -> None:
        """Set the gauges that show a gauge of the folds; one that is missing is 0."""
        for spec in TABLE:
            if spec.kind is GAUGE and spec.shows:
                self.set(spec.name, gauges.get(spec.shows, 0))

    def add(self, name: str, n: float, *labels: str) -> None:
        """Increase the counter `name`. Raises KeyError when `TABLE` has no such counter."""
        counter = self._counters[name]
        (counter.labels(*labels) if labels else counter).inc(n)

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set the gauge `name`. Raises KeyError when `TABLE` has no such gauge."""
        gauge = self._gauges[name]
        (gauge.labels(*labels) if labels else gauge).set(value)

    def set_to_now(self, name: str, *labels: str) -> None:
        """Set the gauge `name` to the present time, in seconds since 1970."""
        self.set(name, self._clock.now_s(), *labels)

    def observe(self, name: str, seconds: float) -> None:
        """Add a duration to the histogram `name`. Raises KeyError when `TABLE` has no such histogram."""
        self._histograms[name].observe(seconds)

    def ready(self, is_ready: bool) -> None:
        """Show whether state is recovered and live records are folded."""
        self.health.is_ready = is_ready
        self.set("driftline_ready", int(is_ready))

    def forget(self, unit: str, partitions: Iterable[tuple[str, int]] = ()) -> None:
        """Remove the gauges of a unit that another member has taken over: they would show old values for ever."""
        for spec in TABLE:
            if spec.labels == ("unit",):
                self._gauges[spec.name].remove(unit)
        for topic, partition in partitions:
            self._gauges["driftline_lag_records"].remove(topic, str(partition), unit)

    def expose(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def serve(self, host: str = "127.0.0.1", port: int = 9464) -> Endpoint:
        """Serve `/metrics`, `/healthz` and `/readyz` from a daemon thread until the endpoint is stopped.

        Port 0 takes a free one, see `Endpoint.port`. Raises UsageError when the address is not available.
        """
        routes = {
            "/metrics": make_wsgi_app(self.registry),
            "/healthz": text_page(self.health.liveness),
            "/readyz": text_page(self.health.readiness),
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
