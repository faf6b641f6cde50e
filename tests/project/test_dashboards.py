"""A real Prometheus scrapes a real service on a real broker, and every panel has data."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from driftline_process import PATIENCE_S, Place, running
from kafka_kit import slowness
from promtool import tool
from ruamel.yaml import YAML

from streamer.testing.kafka_config import free_ports

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
START_MS = 1_782_889_200_000
ASKS = "retrain: {requests_per_hour_max: 5, running_max: 3}\n"


@contextmanager
def process(folder: Path, name: str, *arguments: str) -> Iterator[None]:
    """A server of Prometheus; its log is a file."""
    with (folder / f"{name}.log").open("w") as log:
        started = subprocess.Popen([tool(name), *arguments], stdout=log, stderr=log, cwd=folder)
        try:
            yield
        finally:
            started.terminate()
            started.wait(PATIENCE_S)


@contextmanager
def monitored(folder: Path, target: int) -> Iterator[str]:
    """Prometheus with the rules of `deploy/`, every second; its address."""
    yaml = YAML(typ="safe")
    config = yaml.load(DEPLOY / "prometheus" / "prometheus.yml")
    del config["alerting"]
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DEPLOY / "prometheus" / name) for name in config["rule_files"]]
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{target}"]
    with (folder / "prometheus.yml").open("w") as file:
        yaml.dump(config, file)
    address = f"127.0.0.1:{free_ports(['prometheus'])['prometheus']}"
    arguments = "--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}"
    with process(folder, "prometheus", *arguments):
        yield f"http://{address}"


def result_of(prometheus: str, query: str) -> list[Any]:
    """What a query gives now; nothing before the server answers."""
    text = urllib.parse.urlencode({"query": query})
    try:
        with urllib.request.urlopen(f"{prometheus}/api/v1/query?{text}", timeout=10) as answer:  # noqa: S310
            found: list[Any] = json.load(answer)["data"]["result"]
            return found
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.SERVICE_UNAVAILABLE:
            return []
        raise AssertionError(f"{query}: {error.read().decode()}") from None
    except OSError:
        return []


def wait_for(
    is_so: Callable[[], object], what: Callable[[], str], meanwhile: Callable[[], None] = lambda: None
) -> None:
    """Until it is so; a failure names what was waited for. A busy machine gets more time."""
    deadline_s = time.monotonic() + PATIENCE_S * slowness()
    while not is_so():
        assert time.monotonic() < deadline_s, what()
        meanwhile()
        time.sleep(0.3)


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


def test_every_panel_has_data(kafka_broker, tmp_path):
    """Each query of each panel gives at least one series within two minutes of a run with events, and no error."""
    place, port = service_of(kafka_broker, tmp_path)
    sent = [0]

    def send() -> None:
        place.produce({0: predictions(sent[0], 50)})
        sent[0] += 50

    with running(place.config) as service:
        wait_for(lambda: service.metrics().get("driftline_ready") == 1, lambda: "".join(service.said), send)
        with monitored(tmp_path, port) as prometheus:
            missing = set(queries())
            assert len(missing) > 50

            def all_are_there() -> bool:
                missing.difference_update([one for one in missing if result_of(prometheus, one[1])])
                return not missing

            wait_for(all_are_there, lambda: f"no data: {missing}", send)
        assert service.stop() == 0, "".join(service.said)
