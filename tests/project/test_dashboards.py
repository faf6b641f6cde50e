"""A real Prometheus scrapes a real service on a real broker, and every panel has data."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from driftline_process import DRIFTLINE, Place, Running, running
from http_kit import serving
from notify_kit import SECRET
from page_kit import page_of
from prometheus_kit import DEPLOY, RULES, prometheus, result_of, wait_for

from streamer.testing.kafka_config import free_ports

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(1200)]

START_MS = 1_782_889_200_000
FLEET = 16_000
SERIES = 'count({__name__=~"driftline_.+|process_.+"})'
SERIES_MAX = 600  # of a worker with two units and one topic, whatever the fleet: as docs/metrics.md says
ASKS = "retrain: {requests_per_hour_max: 5, running_max: 3}\n"


def service_of(kafka_broker: Any, folder: Path) -> tuple[Place, int]:
    """A place whose service shows its models, and the port of its metrics."""
    port = free_ports(["metrics"])["metrics"]
    checkpoints = f"checkpoints: {{url: {folder}/checkpoints, interval_s: 1}}\n"
    place = Place(kafka_broker.bootstrap, folder, partitions=1, extra=checkpoints + ASKS)
    text = place.config.read_text()
    place.config.write_text(text.replace("metrics: {port: 0}", f"metrics: {{port: {port}, models: '*'}}"))
    return place, port


def predictions(first: int, n: int) -> list[bytes]:
    """Predictions of two models, each with the label of the one before it."""
    return [
        json.dumps(
            {
                "model_id": f"bus-{i % 2}",
                "prediction_id": str(i),
                "event_time": START_MS + 1000 * i,
                "prediction": 0.5,
                "label": i % 3,
                "features": {"speed": i % 7},
            }
        ).encode()
        for i in range(first, first + n)
    ]


def queries() -> Iterator[tuple[str, str]]:
    """The name of each panel and its queries, with the variables as Grafana fills them in."""
    for path in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                query = target["expr"].replace("$__rate_interval", "1m")
                for variable in ("job", "instance", "model"):
                    query = query.replace(f"${variable}", ".*")
                yield f"{path.stem}: {panel['title']}", query


@contextmanager
def beside(place: Place, *command: str) -> Iterator[Running]:
    """A process of this configuration, once it is ready."""
    environment = os.environ | {"HOOK": SECRET}
    arguments = [*DRIFTLINE, *command, "--config", str(place.config)]
    process = Running(subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=environment))
    try:
        wait_for(lambda: process.metrics().get("driftline_ready") == 1, lambda: "".join(process.said))
        yield process
        assert process.stop() == 0, "".join(process.said)
    finally:
        if process.process.poll() is None:
            process.kill()
            process.stop()


def target_of(process: Running) -> str:
    """Where Prometheus scrapes it."""
    return process.url.removeprefix("http://").removesuffix("/metrics")


def test_every_panel_has_data(kafka_broker, tmp_path):
    """Each query of each panel gives at least one series within two minutes of a run with events, and no error.

    The launcher, the notifier and the page run beside the service, each a target of its own.
    """
    place, port = service_of(kafka_broker, tmp_path)
    sent = [0]

    def send() -> None:
        place.produce({0: predictions(sent[0], 50)})
        sent[0] += 50

    with ExitStack() as opened:
        receiver = opened.enter_context(serving(lambda _: (200, None)))
        notify = {"alertmanager": {"urls": [receiver.url]}, "webhook": {"url": receiver.url, "secret_env": "HOOK"}}
        more = {"notify": notify, "launch": {"*": {"train": {"command": ["true"]}}}}
        text = "".join(f"{name}: {json.dumps(section)}\n" for name, section in more.items())
        place.config.write_text(f"{place.config.read_text()}{text}")
        service = opened.enter_context(running(place.config))
        wait_for(lambda: service.metrics().get("driftline_ready") == 1, lambda: "".join(service.said), send)
        others = [
            opened.enter_context(beside(place, command, "--metrics-port", "0")) for command in ("launch", "notify")
        ]
        page = opened.enter_context(page_of("--config", str(place.config))).removeprefix("http://")
        targets = [f"127.0.0.1:{port}", *map(target_of, others), page]
        server = opened.enter_context(prometheus(tmp_path, targets, RULES))
        missing = set(queries())
        assert len(missing) > 50

        def all_are_there() -> bool:
            missing.difference_update([one for one in missing if result_of(server, one[1])])
            return not missing

        wait_for(all_are_there, lambda: f"no data: {missing}", send)
        assert service.stop() == 0, "".join(service.said)


def test_a_fleet_has_few_series_and_two_workers_sum_to_the_input(kafka_broker, tmp_path):
    """16,000 models on two workers: Prometheus has all records and models once, in fewer series than the budget."""
    place = Place(kafka_broker.bootstrap, tmp_path, partitions=4)
    event = '{"model_id": "bus-%05d", "event_time": %d, "prediction": 0.5, "features": {"speed": %d}}'
    values = {
        p: [(event % (model, START_MS + i, i)).encode() for i in range(2) for model in range(p, FLEET, 4)]
        for p in range(4)
    }
    with ExitStack() as opened:
        workers = [opened.enter_context(beside(place, "run", "--no-supervise", "--worker", str(k))) for k in range(2)]
        server = opened.enter_context(prometheus(tmp_path, [target_of(one) for one in workers], RULES))

        def said() -> str:
            return f"{figures()} " + "".join(line for one in workers for line in one.said)

        def figures() -> list[float]:
            records = f'sum(driftline_records_total{{topic="{place.events}"}})'
            found = [result_of(server, query) for query in (records, "sum(driftline_models)", SERIES)]
            return [float(one[0]["value"][1]) for one in found if one]

        # Records that a unit folds again on another worker would count twice, so the units move first.
        wait_for(lambda: "has taken over" in "".join(workers[0].said), said)
        place.produce(values)
        wait_for(lambda: figures()[:2] == [2 * FLEET, FLEET], said)
        assert all(float(one["value"][1]) > 0 for one in result_of(server, "driftline_models"))
        series = figures()[2]
        print(f"{series:.0f} series of two workers with {FLEET:,} models")
        assert series <= 2 * SERIES_MAX
