"""The metrics page and the endpoint that serves it, each on a fresh registry."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
from loop_kit import service_over
from prometheus_client.parser import text_string_to_metric_families

from streamer.clock import ManualClock
from streamer.errors import UsageError
from streamer.eventlog.base import Epoch
from streamer.eventlog.memory import MemoryLog
from streamer.telemetry.health import STALLED_AFTER_S
from streamer.telemetry.http import Endpoint
from streamer.telemetry.metrics import Metrics
from streamer.telemetry.observers import MetricsObserver
from streamer.telemetry.table import CLOSED, EVERY, MetricKind

BOUNDED_LABELS = {
    *("topic", "pair", "fault", "partition", "unit", "reason", "detector", "state", "outcome", "version", "kind"),
    *("phase", "table", "part", "scope", "limit", "stage"),
    *("receiver", "sent", "view", "code"),
}


def samples_of(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """(name, label values in alphabetical order of the labels...) -> value, without the process's own."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics.expose().decode())
        for sample in family.samples
        if sample.name.startswith("driftline_")
    }


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(wall_s=1000.0)


@pytest.fixture
def metrics(clock: ManualClock) -> Metrics:
    return Metrics(clock)


@pytest.fixture
def endpoint(metrics: Metrics) -> Iterator[Endpoint]:
    endpoint = metrics.serve(port=0)
    yield endpoint
    endpoint.stop()


def get(endpoint: Endpoint, path: str, method: str = "GET", **headers: str) -> tuple[int, str, bytes]:
    """Status, content type and body."""
    connection = HTTPConnection(endpoint.host, endpoint.port, timeout=10)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, response.headers["Content-Type"], body


COUNTED = {
    ("records", "rides"): 3,
    ("values", "rides"): 36,
    ("dropped",): 6,
    ("forgotten",): 9,
    ("segments_overflow",): 5,
    ("labels", "matched"): 7,
    ("label_fates", "expired"): 5,
    ("labels_strange",): 11,
    ("value_fates", "faulty"): 12,
    ("retyped",): 2,
    ("nested",): 3,
    ("repeated_events", "rides"): 4,
    ("labels", "unmatched"): 8,
    ("dead_letters", "rides", "not_json"): 2,
    ("alarms", "adwin"): 5,
    ("diverged",): 2,
    ("alerts", "drift", "firing"): 1,
    ("outcomes", "cooldown"): 3,
    ("outcomes", "request_made"): 1,
    ("events",): 4,
}


OF_DETECT = {
    ("models",): 3,
    ("series",): 48,
    ("alerts_firing",): 3,
    ("labels_early",): 6,
    ("colours",): 7,
    ("rows", "models"): 3,
    ("rows_max", "models"): 9,
    ("state_bytes", "drift"): 512,
    ("series_phase", "learning"): 5,
    ("event_time", "rides"): 2.5,
}
OF_DECIDE = {
    ("requests", "requested"): 2,
    ("request_age", "requested"): 60,
    ("requests_overdue", "requested"): 1,
    ("incidents_open", "model"): 4,
    ("incident_age", "model"): 70,
    ("held", "fleet"): 1,
    ("held_age", "fleet"): 80,
    ("waiting", "budget"): 5,
    ("budget_used", "running_max"): 6,
    ("budget_left", "running_max"): 0,
}


def let_everything_happen(metrics: Metrics) -> None:
    observer = MetricsObserver(metrics, lambda: [(("rides", 0), 9)])
    observer.on_turn(service_over(MemoryLog()))
    metrics.count(COUNTED)
    metrics.count({("records", "rides"): 1, ("values", "rides"): 12})
    metrics.show({"detect-0": OF_DETECT, "detect-1": {("models",): 1, ("rows", "models"): 1}, "decide": OF_DECIDE})
    metrics.add("driftline_stage_seconds_total", 0.5, "decode")
    metrics.set("driftline_models_hidden", 2)
    observer.on_checkpoint("detect-0", 7, 0.3, 4096)
    observer.on_checkpoint_failed("detect-0")
    observer.on_checkpoint_pause(0.006)
    observer.on_commit([], [Epoch("detect-0", 7, {}), Epoch("decide", 3, {})], 0.02)
    metrics.set("driftline_event_timestamp_seconds", 1.5, "detect-0")
    metrics.ready(True)


EVERYTHING = {  # the samples after `let_everything_happen`
    ("driftline_rekeyed_records_total",): 0,
    ("driftline_labels_matched_total",): 7,
    ("driftline_labels_total", "expired"): 5,
    ("driftline_labels_unknown_model_total",): 11,
    ("driftline_watched_values_total", "faulty"): 12,
    ("driftline_retyped_columns_total",): 2,
    ("driftline_nested_columns_total",): 3,
    ("driftline_repeated_total", "rides"): 4,
    ("driftline_labels_unmatched_total",): 8,
    ("driftline_labels_early",): 6,
    ("driftline_records_total", "rides"): 4,
    ("driftline_values_total", "rides"): 48,
    ("driftline_dropped_values_total",): 6,
    ("driftline_evicted_models_total",): 9,
    ("driftline_segments_overflow_total",): 5,
    ("driftline_dead_letters_total", "not_json", "rides"): 2,
    ("driftline_alarms_total", "adwin"): 5,
    ("driftline_diverged_epochs_total",): 2,
    ("driftline_checkpoints_total", "kept"): 1,
    ("driftline_checkpoints_total", "failed"): 1,
    ("driftline_checkpoint_seconds_count",): 1,
    ("driftline_checkpoint_seconds_sum",): 0.3,
    ("driftline_checkpoint_pause_seconds_count",): 1,
    ("driftline_checkpoint_pause_seconds_sum",): 0.006,
    ("driftline_checkpoint_epoch", "detect-0"): 7,
    ("driftline_checkpoint_timestamp_seconds", "detect-0"): 1000,
    ("driftline_checkpoint_bytes", "detect-0"): 4096,
    ("driftline_topic_event_timestamp_seconds", "0", "rides"): 2.5,
    ("driftline_lag_seconds", "0", "rides", "detect-0"): 0,
    ("driftline_stage_seconds_total", "decode"): 0.5,
    ("driftline_series_by_phase", "learning"): 5,
    ("driftline_table_rows", "models", "detect-0"): 3,
    ("driftline_table_rows", "models", "detect-1"): 1,
    ("driftline_table_rows_max", "models", "detect-0"): 9,
    ("driftline_state_bytes", "drift", "detect-0"): 512,
    ("driftline_requests", "requested"): 2,
    ("driftline_request_age_seconds", "requested"): 60,
    ("driftline_requests_overdue", "requested"): 1,
    ("driftline_incidents_open", "model"): 4,
    ("driftline_incident_age_seconds", "model"): 70,
    ("driftline_held", "fleet"): 1,
    ("driftline_held_age_seconds", "fleet"): 80,
    ("driftline_models_waiting", "budget"): 5,
    ("driftline_budget_used", "running_max"): 6,
    ("driftline_budget_left", "running_max"): 0,
    ("driftline_models_hidden",): 2,
    ("driftline_alerts_total", "drift", "firing"): 1,
    ("driftline_alerts_firing",): 3,
    ("driftline_outcomes_total", "cooldown"): 3,
    ("driftline_outcomes_total", "request_made"): 1,
    ("driftline_retrain_requests_total",): 1,
    ("driftline_commit_seconds_count",): 1,
    ("driftline_epoch", "detect-0"): 7,
    ("driftline_epoch", "decide"): 3,
    ("driftline_commit_timestamp_seconds", "detect-0"): 1000,
    ("driftline_commit_timestamp_seconds", "decide"): 1000,
    ("driftline_event_timestamp_seconds", "detect-0"): 1.5,
    ("driftline_lag_records", "0", "rides", "detect-0"): 9,
    ("driftline_models",): 4,
    ("driftline_series",): 48,
    ("driftline_ready",): 1,
}


def test_everything_that_happens_moves_its_metric(metrics):
    """Each metric of the table shows what its line names, and adds up over calls; keys of no metric are ignored."""
    let_everything_happen(metrics)
    samples = samples_of(metrics)
    assert samples.pop(("driftline_commit_seconds_sum",)) == pytest.approx(0.02)
    assert samples.pop(("driftline_commit_seconds_bucket", "0.01")) == 0
    assert samples.pop(("driftline_commit_seconds_bucket", "0.025")) == 1
    rest = {key: value for key, value in samples.items() if "bucket" not in key[0] and "build" not in key[0]}
    assert rest == EVERYTHING


def test_a_number_of_no_metric_is_refused(metrics):
    """A name that the table lacks is an error of the code, so it is not passed over."""
    for use in (metrics.add, metrics.set):
        with pytest.raises(KeyError):
            use("driftline_colours", 1)
    with pytest.raises(KeyError):
        metrics.observe("driftline_colours_seconds", 1)


def test_expected_counters_stand_at_zero(metrics):
    """What is expected is on the page before it happens, so that its first increase is one."""
    metrics.expect(["rides"], ["adwin"])
    samples = samples_of(metrics)
    assert samples["driftline_records_total", "rides"] == 0
    assert samples["driftline_dead_letters_total", "not_json", "rides"] == 0
    assert samples["driftline_alarms_total", "adwin"] == 0
    assert samples["driftline_alerts_total", "drift", "ready"] == 0
    assert samples["driftline_outcomes_total", "request_made"] == 0


def test_a_unit_that_went_away_leaves_the_page(metrics):
    """After `forget` neither the unit's gauges nor the lag of its partitions are shown; the others stay."""
    for unit, partition in (("detect-0", 0), ("detect-1", 1)):
        metrics.set("driftline_epoch", 1, unit)
        metrics.set_to_now("driftline_commit_timestamp_seconds", unit)
        metrics.set("driftline_event_timestamp_seconds", 1, unit)
        metrics.set("driftline_lag_records", 5, "rides", str(partition), unit)
        metrics.set("driftline_lag_seconds", 5, "rides", str(partition), unit)
    metrics.forget("detect-1", [("rides", 1)])
    assert not {key for key in samples_of(metrics) if "detect-1" in key}
    assert ("driftline_lag_records", "0", "rides", "detect-0") in samples_of(metrics)


def test_what_folds_no_longer_show_leaves_the_page(metrics):
    """Labels of the last turn that are gone are removed; ages of several units do not add up, the greatest counts."""
    metrics.show({"detect-0": OF_DETECT, "decide": OF_DECIDE, "other": {("request_age", "requested"): 20}})
    assert samples_of(metrics)["driftline_request_age_seconds", "requested"] == 60
    metrics.show({"detect-1": {("rows", "series"): 1}})
    samples = samples_of(metrics)
    assert [key for key in samples if "age_seconds" in key[0] or "detect-0" in key] == []
    assert samples["driftline_table_rows", "series", "detect-1"] == 1
    assert samples["driftline_models",] == 0


def test_forgetting_what_never_was_is_fine(metrics):
    """A unit that is revoked before its first commit is no error."""
    metrics.forget("detect-9", [("rides", 9)])


def test_names_follow_the_conventions():
    """Names are ours, counters end in _total and nothing else does, and labels are bounded ones."""
    for spec in EVERY:
        assert spec.name.startswith("driftline_")
        assert spec.name.endswith("_total") == (spec.kind is MetricKind.COUNTER), spec.name
        assert set(spec.labels) <= BOUNDED_LABELS, spec.name
        assert spec.help.endswith(".")
    assert CLOSED.keys() <= {spec.name for spec in EVERY}


def test_no_created_lines_and_no_neighbours(metrics):
    """The page has no `_created` lines, and two Metrics share nothing."""
    metrics.add("driftline_retrain_requests_total", 1)
    assert b"_created" not in metrics.expose()
    assert samples_of(Metrics())["driftline_retrain_requests_total",] == 0


def test_metrics_are_served(metrics, endpoint):
    """GET /metrics gives the page in the text format, also gzipped, also as OpenMetrics."""
    metrics.add("driftline_retrain_requests_total", 3)
    status, kind, body = get(endpoint, "/metrics")
    assert (status, kind.split(";")[0]) == (200, "text/plain")
    assert b"driftline_retrain_requests_total 3.0" in body
    _, _, packed = get(endpoint, "/metrics", **{"Accept-Encoding": "gzip"})
    assert b"driftline_retrain_requests_total 3.0" in gzip.decompress(packed)
    _, kind, body = get(endpoint, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_healthz_tells_whether_the_loop_turns(metrics, endpoint, clock):
    """Alive while the loop beats, 503 with a reason once it has not for too long, alive again with the next beat."""
    assert get(endpoint, "/healthz")[0] == 200
    clock.advance(STALLED_AFTER_S + 1)
    status, _, body = get(endpoint, "/healthz")
    assert (status, body) == (503, b"stalled: the loop has not turned for 61 s (limit 60 s)\n")
    metrics.health.turned()
    assert get(endpoint, "/healthz")[0] == 200


def test_readyz_waits_for_ready(metrics, endpoint):
    """503 until the service says that it is ready, and again once it no longer is."""
    assert get(endpoint, "/readyz")[0] == 503
    metrics.ready(True)
    assert get(endpoint, "/readyz") == (200, "text/plain; charset=utf-8", b"ready\n")
    metrics.ready(False)
    assert get(endpoint, "/readyz")[0] == 503


def test_other_paths_and_methods_are_refused(endpoint):
    """An unknown path is a 404 that names the known ones; /metrics takes no POST."""
    assert get(endpoint, "/")[0] == 404
    assert get(endpoint, "/metrics/x")[2] == b"known paths: /metrics /healthz /readyz\n"
    assert get(endpoint, "/metrics", method="POST")[0] == 405


def test_a_taken_port_is_a_sentence(endpoint):
    """A port in use is a UsageError that names the address and the settings."""
    with pytest.raises(UsageError, match=rf"127.0.0.1:{endpoint.port}.*metrics.port"):
        Metrics().serve(port=endpoint.port)


def test_stopping_frees_the_port(metrics):
    """After `stop`, which may be called twice, nothing listens any more."""
    endpoint = metrics.serve(port=0)
    endpoint.stop()
    endpoint.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((endpoint.host, endpoint.port), timeout=5)
