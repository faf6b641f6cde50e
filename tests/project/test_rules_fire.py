"""Every rule fires and resolves: a real Prometheus evaluates it, and a real Alertmanager calls a webhook.

The rules are copies in which all durations are 120 times shorter, `prometheus_kit.FASTER`. What a real run can't
provoke soon is shown by pages of the metrics' own table.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from driftline_process import Place, Running, running
from http_kit import Answer, Sent, Server, serving
from prometheus_kit import OFTEN, RULES, alertmanager, faster, prometheus, wait_for
from ruamel.yaml import YAML

from streamer.telemetry.http import Endpoint
from streamer.telemetry.metrics import Metrics
from streamer.telemetry.table import EVERY
from streamer.testing.kafka_config import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TOPIC = "rides"
Fired = set[tuple[str, str]]  # rule and severity
EVERY_RULE = {
    (rule["alert"], rule["labels"]["severity"])
    for path in RULES
    for group in YAML(typ="safe").load(path)["groups"]
    for rule in group["rules"]
    if "alert" in rule
}


def heard(server: Server, status: str) -> Fired:
    """The rules of which people have got alerts with this status."""
    alerts = [alert for sent in server.sent if sent.path == "/people" for alert in sent.json["alerts"]]
    return {(one["labels"]["alertname"], one["labels"]["severity"]) for one in alerts if one["status"] == status}


@contextmanager
def watched(folder: Path, targets: list[str]) -> Iterator[Server]:
    """Prometheus over these targets with the faster rules, and Alertmanager; the server that people listen at."""
    with (
        serving(lambda _: (200, None)) as server,
        alertmanager(folder, f"{server.url}/people") as manager,
        prometheus(folder, targets, faster(folder), manager, OFTEN),
    ):
        yield server


class Page:
    """A process as Prometheus sees it: a page of all metrics, which a test writes."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.start()

    def start(self) -> None:
        """A new process: all counters are 0."""
        self.metrics = Metrics(table=EVERY)
        self.metrics.ready(True)
        self._endpoint: Endpoint = self.metrics.serve(port=self.port)

    def stop(self) -> None:
        self._endpoint.stop()


def break_all(page: Page, began_s: float) -> None:
    """Show what each rule about values looks for; counters and lag grow with each call."""
    m, now_s, second = page.metrics, time.time(), time.time() - began_s
    m.set("driftline_lag_records", 5_000, TOPIC, "0", "detect-0")
    m.set("driftline_lag_seconds", 400 + second, TOPIC, "0", "detect-0")
    m.set("driftline_checkpoint_timestamp_seconds", now_s - 4_000, "detect-0")
    m.set("driftline_checkpoint_epoch", 5, "detect-0")
    m.set("driftline_epoch", 10, "detect-0")
    m.set("driftline_event_timestamp_seconds", now_s - 7_200, "detect-0")
    behind = 0 if second < 3 else 20_000
    m.set("driftline_topic_event_timestamp_seconds", behind, TOPIC, "0")
    m.set("driftline_topic_event_timestamp_seconds", behind * 2, TOPIC, "1")
    m.set("driftline_notification_receiver_up", 0, "webhook")
    m.set("driftline_models", 100)
    m.set("driftline_requests_overdue", 2, "requested")
    m.set("driftline_runs_overdue", 1, "running")
    m.set("driftline_models_waiting", 3, "budget")
    m.add("driftline_diverged_epochs_total", 1)
    m.add("driftline_labels_unmatched_total", 200)
    m.add("driftline_labels_matched_total", 1)
    m.add("driftline_records_total", 100, TOPIC)
    m.add("driftline_dead_letters_total", 10, TOPIC, "not_json")
    m.add("driftline_outcomes_total", 30, "incident_opened")


def restarting(turns: list[int]) -> Callable[[Sent], Answer]:
    """A page of a process that starts again at each scrape, as long as `turns` is empty."""
    starts = [0]
    plain = {"content-type": "text/plain; version=0.0.4"}  # which Prometheus 3 insists on

    def answer(_: Sent) -> Answer:
        starts[0] += not turns
        page = b'driftline_build_info{version="1"} 1\nprocess_start_time_seconds %d\n' % starts[0]
        return 200, page, plain

    return answer


def test_every_rule_fires_and_resolves(tmp_path):
    """People hear of each rule of the file, in its severity, and then that it is over."""
    ports = free_ports(["bad", "starting", "gone"])
    pages = {name: Page(port) for name, port in ports.items()}
    calm: list[int] = []
    with ExitStack() as opened:
        for page in pages.values():
            opened.callback(lambda page=page: page.stop())
        loop = opened.enter_context(serving(restarting(calm)))
        targets = [f"127.0.0.1:{port}" for port in ports.values()] + [loop.url.removeprefix("http://")]
        server = opened.enter_context(watched(tmp_path, targets))
        wait_for(lambda: len(loop.sent) >= 4, lambda: (tmp_path / "prometheus.log").read_text())
        began_s = time.time()
        pages["starting"].metrics.ready(False)
        pages["gone"].stop()
        # While the fast rate of DriftlineNotFresh holds, the example of Alertmanager holds the slow one back.
        first = EVERY_RULE - {("DriftlineNotFresh", "warning")}
        wait_for(
            lambda: first <= heard(server, "firing"),
            lambda: f"silent: {first - heard(server, 'firing')}",
            lambda: break_all(pages["bad"], began_s),
        )
        calm.append(1)
        pages["bad"].stop()
        for name in ("bad", "gone"):
            pages[name].start()
        pages["starting"].metrics.ready(True)
        good = pages["bad"].metrics
        good.set("driftline_lag_seconds", 0, TOPIC, "0", "detect-0")
        good.set("driftline_notification_receiver_up", 1, "webhook")
        wait_for(
            lambda: heard(server, "resolved") >= EVERY_RULE, lambda: f"on: {EVERY_RULE - heard(server, 'resolved')}"
        )
    assert heard(server, "firing") == EVERY_RULE


def records(place: Place, first: int, *, good: bool) -> int:
    """Twenty more records, of which the bad ones can't be read."""
    event = b'{"model_id": "bus", "event_time": %d, "prediction": 0.5}'
    now_ms = int(time.time() * 1000)
    place.produce({0: [event % (now_ms + i) if good or i % 2 else b"no event" for i in range(20)]})
    return first + 20


@pytest.mark.broker
def test_rules_fire_on_a_real_run(kafka_broker, tmp_path):
    """Of a real service on a real broker: unreadable records, and its death; both are over once it is well."""
    port = free_ports(["metrics"])["metrics"]
    place = Place(kafka_broker.bootstrap, tmp_path, partitions=1)
    place.config.write_text(place.config.read_text().replace("metrics: {port: 0}", f"metrics: {{port: {port}}}"))
    sent = [0]

    def send(good: bool) -> None:
        sent[0] = records(place, sent[0], good=good)

    def said(service: Running) -> str:
        return "".join(service.said) + (tmp_path / "prometheus.log").read_text()

    dead_letters, down = ("DriftlineDeadLetters", "warning"), ("DriftlineDown", "critical")
    with running(place.config) as service:
        wait_for(lambda: service.metrics().get("driftline_ready") == 1, lambda: said(service))
        with watched(tmp_path, [f"127.0.0.1:{port}"]) as server:
            wait_for(lambda: dead_letters in heard(server, "firing"), lambda: said(service), lambda: send(False))
            wait_for(lambda: dead_letters in heard(server, "resolved"), lambda: said(service), lambda: send(True))
            assert down not in heard(server, "firing")
            service.kill()
            wait_for(lambda: down in heard(server, "firing"), lambda: said(service))
            with running(place.config) as again:
                wait_for(lambda: down in heard(server, "resolved"), lambda: said(again))
                assert again.stop() == 0, "".join(again.said)
