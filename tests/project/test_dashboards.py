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
from prometheus_kit import DEPLOY, RULES, prometheus, result_of, wait_for

from streamer.testing.kafka_config import free_ports

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(1200)]

START_MS = 1_782_889_200_000
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
def beside(place: Place, command: str) -> Iterator[Running]:
    """Another process of the same configuration."""
    environment = os.environ | {"HOOK": SECRET}
    arguments = [*DRIFTLINE, command, "--config", str(place.config), "--metrics-port", "0"]
    process = Running(subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=environment))
    try:
        wait_for(lambda: process.metrics().get("driftline_ready") == 1, lambda: "".join(process.said))
        yield process
        assert process.stop() == 0, "".join(process.said)
    finally:
        if process.process.poll() is None:
            process.kill()
            process.stop()


def test_every_panel_has_data(kafka_broker, tmp_path):
    """Each query of each panel gives at least one series within two minutes of a run with events, and no error.

    The launcher and the notifier run beside the service, each a target of its own.
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
        others = [opened.enter_context(beside(place, command)) for command in ("launch", "notify")]
        urls = [one.url.removeprefix("http://").removesuffix("/metrics") for one in others]
        server = opened.enter_context(prometheus(tmp_path, [f"127.0.0.1:{port}", *urls], RULES))
        missing = set(queries())
        assert len(missing) > 50

        def all_are_there() -> bool:
            missing.difference_update([one for one in missing if result_of(server, one[1])])
            return not missing

        wait_for(all_are_there, lambda: f"no data: {missing}", send)
        assert service.stop() == 0, "".join(service.said)
