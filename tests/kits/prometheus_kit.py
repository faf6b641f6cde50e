"""A real Prometheus with rules of ours and a real Alertmanager, each on a free port until its block ends."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from kafka_kit import slowness
from promtool import CACHE, tool
from ruamel.yaml import YAML

from streamer.testing.kafka_config import free_ports

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
RULES = [DEPLOY / "prometheus" / name for name in ("recording.yml", "alerts.yml")]
PATIENCE_S = 120
EVERY = "1s"  # between scrapes, and between evaluations of the rules
FASTER = 120  # than in `deploy/`: five minutes of a rule are 2.5 s
OFTEN = "500ms"
MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@contextmanager
def process(folder: Path, name: str, *arguments: str, within: Path | None = None) -> Iterator[None]:
    """A server of Prometheus; its log is a file of `folder`."""
    with (folder / f"{name}.log").open("w") as log:
        started = subprocess.Popen([tool(name), *arguments], stdout=log, stderr=log, cwd=within or folder)
        try:
            yield
        finally:
            started.terminate()
            started.wait(PATIENCE_S)


@contextmanager
def prometheus(
    folder: Path, targets: Sequence[str], rules: Sequence[Path], alertmanager: str = "", every: str = EVERY
) -> Iterator[str]:
    """Prometheus with the configuration of `deploy/`, but these targets and rules; its address."""
    yaml = YAML(typ="safe")
    config = yaml.load(DEPLOY / "prometheus" / "prometheus.yml")
    managers = config["alerting"]["alertmanagers"][0]["static_configs"][0]
    managers["targets"] = [alertmanager.removeprefix("http://")] if alertmanager else []
    config["global"] = {"scrape_interval": every, "evaluation_interval": every}
    config["rule_files"] = [str(path) for path in rules]
    config["scrape_configs"][0]["static_configs"][0]["targets"] = list(targets)
    with (folder / "prometheus.yml").open("w") as file:
        yaml.dump(config, file)
    address = f"127.0.0.1:{free_ports(['prometheus'])['prometheus']}"
    arguments = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}"]
    with process(folder, "prometheus", *arguments, "--rules.alert.resend-delay=1s"):
        yield f"http://{address}"


def faster(folder: Path) -> list[Path]:
    """Copies of the rule files of `deploy/` in which each duration, of `for`, ranges and offsets, is 120 times shorter.

    Expressions compare seconds with numbers, which stay: an exporter can show any value at once.
    """
    yaml, copies = YAML(typ="safe"), []
    for path in RULES:
        file = yaml.load(path)
        for rule in (rule for group in file["groups"] for rule in group["rules"]):
            for key in ("expr", "for"):
                if key in rule:
                    rule[key] = re.sub(r"\b(\d+)([smhd])\b", _shorter, rule[key])
        copies.append(folder / f"faster-{path.name}")
        with copies[-1].open("w") as copy:
            yaml.dump(file, copy)
    return copies


def _shorter(duration: re.Match[str]) -> str:
    return f"{int(duration[1]) * MS[duration[2]] // FASTER}ms"


@contextmanager
def alertmanager(folder: Path, hook: str) -> Iterator[str]:
    """Alertmanager with the configuration of `deploy/`, but a webhook that is called at once; its address."""
    yaml = YAML(typ="safe")
    config = yaml.load(DEPLOY / "prometheus" / "alertmanager.yml")
    for route in (config["route"], *config["route"]["routes"]):
        route |= {"group_wait": "0s", "group_interval": "1s", "repeat_interval": "1h"}
    config["receivers"] = [{"name": "people", "webhook_configs": [{"url": hook, "send_resolved": True}]}]
    path = folder / "alertmanager.yml"
    with path.open("w") as file:
        yaml.dump(config, file)
    address = f"127.0.0.1:{free_ports(['alertmanager'])['alertmanager']}"
    arguments = [f"--config.file={path}", f"--storage.path={folder / 'alertmanager'}"]
    listening = [f"--web.listen-address={address}", "--cluster.listen-address="]
    tool("alertmanager")
    with process(folder, "alertmanager", *arguments, *listening, within=CACHE if CACHE.exists() else folder):
        url = f"http://{address}"
        wait_for(lambda: is_up(f"{url}/-/ready"), lambda: (folder / "alertmanager.log").read_text())
        yield url


def is_up(url: str) -> bool:
    """Whether a server answers well."""
    try:
        return urllib.request.urlopen(url, timeout=5).status == HTTPStatus.OK  # noqa: S310 - a loopback address
    except OSError:
        return False


def result_of(server: str, query: str) -> list[Any]:
    """What a query of Prometheus gives now; nothing before the server answers."""
    text = urllib.parse.urlencode({"query": query})
    try:
        with urllib.request.urlopen(f"{server}/api/v1/query?{text}", timeout=10) as answer:  # noqa: S310
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
