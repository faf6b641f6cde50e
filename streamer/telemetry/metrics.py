"""The metrics of the service for Prometheus. A metric is one line in `table.py`; `docs/metrics.md` shows them.

The registry is private: a program that uses Driftline as a library keeps its own metrics apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector
from prometheus_client.exposition import generate_latest

from retrain.messages.alert import AlertKind, AlertState
from retrain.messages.outcome import Outcome
from streamer.clock import Clock, SystemClock
from streamer.codecs.base import Reason
from streamer.eventlog.units import DECIDE, partition_of
from streamer.runtime.fold import Gauges
from streamer.telemetry.health import STALLED_AFTER_S, STUCK_AFTER_S, Health
from streamer.telemetry.http import Endpoint, text_page
from streamer.telemetry.models_page import MODEL_TABLE, ModelsPage, metrics_app
from streamer.telemetry.table import (
    CLOSED,
    COUNTER,
    GAUGE,
    GREATEST,
    LAUNCH_TABLE,
    NOTIFY_TABLE,
    OF_UNIT,
    PAGE_TABLE,
    PROCESS,
    STAGES,
    TABLE,
    MetricKind,
    Spec,
)

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


_COUNTED = tuple((tuple(spec.shows.split("/")), spec) for spec in TABLE if spec.kind is COUNTER and spec.shows)
_SHOWN = {spec.shows: spec for spec in TABLE if spec.kind is GAUGE and spec.shows}
_CLOSED_SETS = {
    "reason": tuple(Reason),
    "kind": tuple(AlertKind),
    "state": tuple(AlertState),
    "outcome": tuple(Outcome),
    "pair": ("joined", "alone"),
}
_FATES = {"label_fates": ("matched", "expired", "evicted", "repeated"), "value_fates": ("watched", "missing", "faulty")}


class Metrics:
    """The metrics of one process. Counters start at 0 with each process."""

    def __init__(
        self, clock: Clock | None = None, models: ModelsPage | None = None, table: Iterable[Spec] = TABLE
    ) -> None:
        """`models`: the metrics by model; None: without any. `table`: those of this process."""
        self.clock = clock or SystemClock()
        self.models = models
        self.health = Health(self.clock)
        self.registry = _Registry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        self._shown: dict[str, dict[tuple[str, ...], float]] = {}  # gauge -> what `show` has set, by labels
        for spec in table:
            self._make(spec)
        ProcessCollector(registry=self.registry)
        self.set("driftline_build_info", 1, _version())

    def expect(self, topics: Iterable[str], detectors: Iterable[str]) -> None:
        """Show the counters of these at 0 from the start: Prometheus sees no increase in a counter that is new."""
        values = {"topic": tuple(topics), "detector": tuple(detectors), **_CLOSED_SETS}
        for _, spec in _COUNTED:
            sets = values | ({"outcome": _FATES[spec.shows]} if spec.shows in _FATES else {})
            for labels in product(*(sets[label] for label in spec.labels)):
                self.add(spec.name, 0, *labels)
        for result in ("kept", "failed"):
            self.add("driftline_checkpoints_total", 0, result)
        for stage in STAGES:
            self.add("driftline_stage_seconds_total", 0, stage)

    def count(self, tally: Mapping[tuple[str, ...], int]) -> None:
        """Add what folds have counted since the last call. Keys that no metric shows are ignored."""
        for key, n in tally.items():
            for begin, spec in _COUNTED:
                labels = key[len(begin) :]
                if key[: len(begin)] == begin and len(labels) == len(spec.labels):
                    self.add(spec.name, n, *labels)

    def show(self, gauges: Mapping[str, Gauges]) -> None:
        """Set the gauges that show those of the folds, by unit. One without labels that is missing is 0.

        The values of several units add up, of an age the greatest counts, and others have the unit in a label. Labels
        that are no longer there leave the page.
        """
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for unit, of_unit in gauges.items():
            for (what, *labels), value in of_unit.items():
                values = found.setdefault(what, {})
                key = (*labels, *_labels_of(unit, what))
                values[key] = max(values.get(key, 0), value) if what in GREATEST else values.get(key, 0) + value
        for what, spec in _SHOWN.items():
            self._show(spec, found.get(what, {} if spec.labels else {(): 0}))

    def _show(self, spec: Spec, values: Mapping[tuple[str, ...], float]) -> None:
        before = self._shown.get(spec.name, {})
        if values == before:
            return
        for labels in before.keys() - values.keys():
            self._gauges[spec.name].remove(*labels)
        for labels, value in values.items():
            if before.get(labels) != value:
                self.set(spec.name, value, *labels)
        self._shown[spec.name] = dict(values)

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
        self.set(name, self.clock.now_s(), *labels)

    def observe(self, name: str, seconds: float) -> None:
        """Add a duration to the histogram `name`. Raises KeyError when `TABLE` has no such histogram."""
        self._histograms[name].observe(seconds)

    def ready(self, is_ready: bool) -> None:
        """Show whether state is recovered and live records are folded."""
        self.health.ready(is_ready)
        self.set("driftline_ready", int(is_ready))

    def alive(self) -> None:
        """Record a turn of a loop that folds all it reads at once."""
        self.health.turned()
        self.health.progressed()

    def forget(self, unit: str, partitions: Iterable[tuple[str, int]] = ()) -> None:
        """Remove the gauges of a unit that another member has taken over: they would show old values for ever."""
        for spec in TABLE:
            if spec.labels == ("unit",):
                self._gauges[spec.name].remove(unit)
        for what, spec in _SHOWN.items():
            of_unit, shown = _labels_of(unit, what), self._shown.get(spec.name, {})
            for labels in [one for one in shown if of_unit and one[-1:] == of_unit and unit != DECIDE]:
                self._gauges[spec.name].remove(*labels)
                del shown[labels]
        self.forget_lag(unit, partitions)

    def forget_lag(self, unit: str, partitions: Iterable[tuple[str, int]]) -> None:
        """Remove the lag and the last commit of what reads these partitions."""
        self._gauges["driftline_commit_timestamp_seconds"].remove(unit)
        for topic, partition in partitions:
            for name in ("driftline_lag_records", "driftline_lag_seconds"):
                self._gauges[name].remove(topic, str(partition), unit)

    def expose(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry) + (self.models.text() if self.models else b"")

    def serve(self, host: str = "127.0.0.1", port: int = 9464) -> Endpoint:
        """Serve `/metrics`, `/healthz` and `/readyz` from a daemon thread until the endpoint is stopped.

        Port 0 takes a free one, see `Endpoint.port`. Raises UsageError when the address is not available.
        """
        routes = {
            "/metrics": metrics_app(self.registry, self.models),
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


def _labels_of(unit: str, what: str) -> tuple[str, ...]:
    """The label that the unit gives a gauge, if it has one."""
    label = spec.labels[-1] if (spec := _SHOWN.get(what)) and spec.labels else ""
    if label not in OF_UNIT:
        return ()
    return (unit if label == "unit" else str(partition_of(unit)),)


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
        "The `process_*` metrics of prometheus-client come with them. No label holds a model, a column or an id, so",
        "series do not grow with the fleet: two workers over one topic of four partitions and 16,000 models have 777.",
        "A test holds each below 600.",
        "",
        *_rows(TABLE),
        "",
        "Labels with few values: "
        + "; ".join(f"`{name.removeprefix('driftline_')}` {', '.join(values)}" for name, values in CLOSED.items())
        + ".",
        "",
        *_section("the launcher", "`driftline launch`", "by default at port 9465.", LAUNCH_TABLE),
        *_section(
            "notifications",
            "`driftline notify`",
            "by default at port 9466. A\nreceiver is `webhook`, or the host and port of an Alertmanager.",
            NOTIFY_TABLE,
        ),
        *_section("the page", "`driftline ui`", "at the port of the page.", PAGE_TABLE),
        "## Metrics by model",
        "",
        "`metrics.models` names the models that have metrics of their own, by a pattern such as `bus-*`; by default",
        "none has. At most `metrics.models_max` of them are shown, those seen first; `driftline_models_hidden` counts",
        "the others. A model that is evicted leaves the page. The values are a snapshot, renewed every few seconds.",
        "",
        *_rows(MODEL_TABLE),
    ]
    return "\n".join(lines) + "\n"


def _section(of: str, command: str, where: str, table: Iterable[Spec]) -> list[str]:
    """The metrics of another process."""
    head = f"{command} serves these, `driftline_ready` and `driftline_build_info`, {where}"
    return [f"## Metrics of {of}", "", head, "", *_rows(one for one in table if one not in PROCESS), ""]


def _rows(table: Iterable[Spec]) -> list[str]:
    rows = [f"| `{s.name}` | {s.kind} | {', '.join(f'`{x}`' for x in s.labels) or '-'} | {s.help} |" for s in table]
    return ["| metric | kind | labels | what it says |", "|---|---|---|---|", *rows]
