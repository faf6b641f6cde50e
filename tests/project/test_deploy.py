"""What is under `deploy/` and around it fits the code: compose, config example, topics, alert rules, image."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from project_tree import ROOT, files
from ruamel.yaml import YAML

from detectors.registry import DEFAULT
from streamer.app.provisioning import needed_topics, with_unit_partitions
from streamer.config import load_config
from streamer.eventlog.kafka.admin import Topic
from streamer.telemetry.metrics import TABLE, MetricKind, Metrics

DEPLOY = ROOT / "deploy"
COMPOSE = ROOT / "docker-compose.yml"
EXAMPLE = str(DEPLOY / "driftline.yaml")


@cache
def yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml(DEPLOY / "prometheus" / "alerts.yml")["groups"] for rule in group["rules"]]


def topics_created() -> dict[str, tuple[int, dict[str, str]]]:
    """Topic -> (partitions, settings), as the script creates them."""
    script = (DEPLOY / "kafka" / "create-topics.sh").read_text()
    return {
        name: (int(partitions), dict(re.findall(r"--config (\S+)=(\S+)", options)))
        for name, partitions, options in re.findall(r"^create (\S+) (\d+)(.*)$", script, re.MULTILINE)
    }


def test_compose_is_valid():
    """docker-compose.yml satisfies the schema of the compose specification."""
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE],
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    "path", [path for path in files() if path.suffix in {".yml", ".yaml"} and path.parts[0] != "tests"]
)
def test_yaml_parses(path):
    """Every YAML file of the tree can be read."""
    assert yaml(ROOT / path)


def test_compose_mounts_what_is_there():
    """Every file or folder that a service mounts from the tree exists."""
    sources = [
        volume.split(":")[0] for service in yaml(COMPOSE)["services"].values() for volume in service.get("volumes", [])
    ]
    ours = [source for source in sources if source.startswith("./")]
    assert ours
    assert [source for source in ours if not (ROOT / source).exists()] == []


def test_compose_opens_nothing_to_the_network():
    """Every published port is on the loopback address; every service has a memory limit and a pinned image."""
    for name, service in yaml(COMPOSE)["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert "mem_limit" in service, name
        assert not service["image"].endswith(":latest"), name
        assert ":" in service["image"], name


def test_the_example_config_is_valid():
    """deploy/driftline.yaml loads as it is, and shows the topics in canonical order."""
    config = load_config(EXAMPLE, environ={})
    assert config.kafka.bootstrap == ("localhost:9092",)
    assert list(config.topics) == ["bus.predictions", "bus.labels", "weather.features"]


def test_the_example_config_fits_the_container():
    """With the variables of image and compose it finds the broker, and metrics can be scraped from outside."""
    image = dict(re.findall(r"(DRIFTLINE_\w+)=(\S+)", (ROOT / "Dockerfile").read_text()))
    config = load_config(EXAMPLE, environ=image | yaml(COMPOSE)["services"]["driftline"]["environment"])
    assert config.kafka.bootstrap == ("kafka:19092",)
    assert (config.metrics.host, config.metrics.port) == ("0.0.0.0", 9464)


def test_all_topics_are_created():
    """The script creates what `driftline topics` would ask for, alike, and event topics with equal partitions."""
    found = {name: Topic(name, UUID(int=0), count) for name, (count, _) in topics_created().items()}
    needed = with_unit_partitions(list(needed_topics(load_config(EXAMPLE, environ={}), partitions=1)), found)
    created = topics_created()
    assert {topic.name for topic in needed} == set(created)
    outputs = [topic for topic in needed if topic.partitions is not None]
    assert {topic.name: (topic.partitions, topic.settings) for topic in outputs} == {
        topic.name: created[topic.name] for topic in outputs
    }
    assert len({created[topic.name][0] for topic in needed if topic.partitions is None}) == 1


def test_prometheus_scrapes_the_service_that_compose_starts():
    """The scrape target is the compose service at its metrics port, and the rules file is the one beside it."""
    config = yaml(DEPLOY / "prometheus" / "prometheus.yml")
    (job,) = config["scrape_configs"]
    assert job["static_configs"][0]["targets"] == ["driftline:9464"]
    assert [(DEPLOY / "prometheus" / name).exists() for name in config["rule_files"]] == [True]


def test_alerts_are_few_and_explained():
    """At most ten rules, each with severity, summary, description and a section of its own in the runbook."""
    assert 0 < len(rules()) <= 10
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == [rule["alert"] for rule in rules()]
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"] == "docs/runbook.md#" + rule["alert"].lower()


def test_alerts_name_metrics_that_exist():
    """Every metric and every label value in a rule's expression is one that the service exposes."""
    ours = {spec.name for spec in TABLE if spec.kind is not MetricKind.HISTOGRAM}
    ours |= {
        spec.name + part
        for spec in TABLE
        if spec.kind is MetricKind.HISTOGRAM
        for part in ("_bucket", "_sum", "_count")
    }
    exposed = Metrics().expose().decode()
    for rule in rules():
        named = set(re.findall(r"\b(?:driftline|process)_\w+", rule["expr"]))
        assert named or "up{" in rule["expr"], rule["alert"]
        assert all(name in ours or f"\n{name} " in exposed for name in named), (rule["alert"], named - ours)


def test_alerts_name_labels_that_exist():
    """Labels that a rule groups or selects by are labels of its metrics, or those Prometheus adds."""
    added = {"instance", "job", "le"}
    for rule in rules():
        metrics = set(re.findall(r"\bdriftline_\w+", rule["expr"]))
        labels = {label for spec in TABLE for name in metrics if name.startswith(spec.name) for label in spec.labels}
        by = {
            label.strip() for group in re.findall(r"(?:by|on) \(([^)]*)\)", rule["expr"]) for label in group.split(",")
        }
        selected = set(re.findall(r"[{,]\s*(\w+)\s*(?:=|!=|=~|!~)\"", rule["expr"]))
        assert by | selected <= labels | added, rule["alert"]


def test_the_image_runs_as_an_ordinary_user():
    """The image ends as a numeric user other than root, with a health check, and its base is pinned."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert [int(part) > 0 for part in users[-1].split(":")] == [True, True]
    assert any(line.startswith("HEALTHCHECK ") for line in lines)
    assert {line.split()[1] for line in lines if line.startswith("FROM ")} == {"python:3.12-slim-bookworm"}


def test_the_image_copies_what_the_context_holds():
    """Everything the Dockerfile copies from the tree exists and is let through by .dockerignore."""
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = {
        source
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    }
    assert copied
    assert {source for source in copied if not (ROOT / source).exists()} == set()
    assert {source for source in copied if f"!{source}" not in ignored} == set()


def test_the_image_compiles_what_a_worker_compiles():
    """The command that warms the image up is a module that ends well, and says what it compiles."""
    (command,) = re.findall(r"^RUN python (-m \S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    ran = subprocess.run([sys.executable, *command.split()], capture_output=True, text=True, check=True)
    assert f"kernels of {', '.join(DEFAULT)} are compiled" in ran.stderr
