"""What is under `deploy/` and around it fits the code: compose, config example, topics, alert rules, image."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click import Context
from project_tree import ROOT, files
from promtool import tool
from ruamel.yaml import YAML

from detectors.registry import DEFAULT
from streamer.app.provisioning import needed_topics, with_unit_partitions
from streamer.commands.service.notify import notify
from streamer.config import load_config
from streamer.eventlog.kafka.admin import Topic
from streamer.telemetry.metrics import Metrics
from streamer.telemetry.models_page import MODEL_TABLE
from streamer.telemetry.table import EVERY, MetricKind

DEPLOY = ROOT / "deploy"
COMPOSE = ROOT / "docker-compose.yml"
EXAMPLE = str(DEPLOY / "driftline.yaml")


@cache
def yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml(DEPLOY / "prometheus" / "alerts.yml")["groups"] for rule in group["rules"]]


def recording_rules() -> list[dict[str, Any]]:
    return [rule for group in yaml(DEPLOY / "prometheus" / "recording.yml")["groups"] for rule in group["rules"]]


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
    notifier = yaml(COMPOSE)["services"]["notify"]
    config = load_config(EXAMPLE, environ=image | notifier["environment"])
    assert config.notify.alertmanager.urls == ["http://alertmanager:9093"]
    with Context(notify) as parent:
        options = notify.make_context("notify", notifier["command"][1:], parent=parent).params
    assert options["metrics_port"] == config.metrics.port, "where the health check of the image looks"


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
    targets = job["static_configs"][0]["targets"]
    assert targets == ["driftline:9464", "notify:9464"]
    assert {target.partition(":")[0] for target in targets} <= yaml(COMPOSE)["services"].keys()
    assert [(DEPLOY / "prometheus" / name).exists() for name in config["rule_files"]] == [True, True]


def test_every_metric_is_on_a_panel():
    """The dashboards show all metrics of the tables and no others, and each rule that they name exists."""
    text = "".join(path.read_text() for path in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json")))
    dashboards = [json.loads(path.read_text()) for path in (DEPLOY / "grafana" / "dashboards").glob("*.json")]
    panels = [panel for one in dashboards for panel in one["panels"] if panel["type"] != "row"]
    queries = " ".join(target["expr"] for panel in panels for target in panel["targets"])
    recorded = {one["record"]: one["expr"] for one in recording_rules()}
    named = set(re.findall(r"\bdriftline_\w+", queries + " ".join(recorded.values())))
    known = {spec.name for spec in (*EVERY, *MODEL_TABLE)}
    parts = {name + part for name in known for part in ("_bucket", "_sum", "_count")}
    assert named - parts <= known
    assert {name for name in known if not any(one.startswith(name) for one in named)} == set()
    assert set(re.findall(r"runbook\.md#(\w+)", text)) <= {rule["alert"].lower() for rule in rules()}
    assert len({panel["title"] for panel in panels}) > 50
    assert all(len({panel["id"] for panel in one["panels"]}) == len(one["panels"]) for one in dashboards)


def test_each_question_leads_to_a_panel_a_rule_and_the_runbook():
    """The table of docs/dashboards.md names panels and rules that exist, each rule is in it, and each question once."""
    page = (ROOT / "docs" / "dashboards.md").read_text("utf-8").partition("## From a question to its answer")[2]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in page.splitlines() if line.endswith("|")]
    dashboards = [json.loads(path.read_text()) for path in (DEPLOY / "grafana" / "dashboards").glob("*.json")]
    panels = {
        (one["title"].removeprefix("Driftline: "), panel["title"]) for one in dashboards for panel in one["panels"]
    }
    found = [(question, (dashboard, panel), rule) for question, dashboard, panel, rule in rows[2:]]
    assert {place for _, place, _ in found} <= panels
    assert len({question for question, *_ in found}) == len(found) > 40
    links = [re.fullmatch(r"\[(\w+)\]\(runbook\.md#(\w+)\)", rule) for *_, rule in found if rule != "-"]
    assert all(link and link[1].lower() == link[2] for link in links)
    assert {link[1] for link in links if link} == {rule["alert"] for rule in rules()}


def test_alertmanager_and_grafana_are_provisioned():
    """Prometheus sends to the Alertmanager of compose, which accepts its file; Grafana finds source and dashboards."""
    services = yaml(COMPOSE)["services"]
    managers = yaml(DEPLOY / "prometheus" / "prometheus.yml")["alerting"]["alertmanagers"]
    assert managers[0]["static_configs"][0]["targets"] == ["alertmanager:9093"]
    config = DEPLOY / "prometheus" / "alertmanager.yml"
    checked = subprocess.run([tool("amtool"), "check-config", config], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    provisioned = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml(provisioned / "datasources" / "prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml(provisioned / "dashboards" / "driftline.yml")["providers"]
    mounted = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])
    assert mounted["./deploy/grafana/dashboards"] == provider["options"]["path"]
    checked = subprocess.run(
        [tool("promtool"), "check", "config", "--syntax-only", DEPLOY / "prometheus" / "prometheus.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("firing", "other", "inhibited"),
    [
        ({"alertname": "DriftlineDown", "instance": "a"}, {"alertname": "DriftlineStalled", "instance": "a"}, True),
        ({"alertname": "DriftlineDown", "instance": "a"}, {"alertname": "DriftlineStalled", "instance": "b"}, False),
        ({"alertname": "DriftlineDown"}, {"alertname": "DriftlineStorm"}, True),
        ({"alertname": "DriftlineDown"}, {"alertname": "OtherDown", "instance": "a"}, False),
        (
            {"alertname": "DriftlineIncident", "kind": "fleet"},
            {"alertname": "DriftlineIncident", "kind": "model"},
            True,
        ),
        (
            {"alertname": "DriftlineIncident", "kind": "fleet"},
            {"alertname": "DriftlineIncident", "kind": "fleet"},
            False,
        ),
        (
            {"alertname": "DriftlineIncident", "kind": "model"},
            {"alertname": "DriftlineIncident", "kind": "model"},
            False,
        ),
    ],
)
def test_the_alertmanager_example_inhibits(firing, other, inhibited):
    """Down hides the rest of its instance, or all without one; a storm hides the notices of single models."""
    found = [
        rule
        for rule in yaml(DEPLOY / "prometheus" / "alertmanager.yml")["inhibit_rules"]
        if all(matches_labels(text, firing) for text in rule["source_matchers"])
        and all(matches_labels(text, other) for text in rule["target_matchers"])
        and all(firing.get(label, "") == other.get(label, "") for label in rule.get("equal", []))
    ]
    assert bool(found) is inhibited


def matches_labels(matcher: str, labels: dict[str, str]) -> bool:
    name, operator, value = re.fullmatch(r'(\w+)(=~|!=|=)"([^"]*)"', matcher).groups()
    found = labels.get(name, "")
    return {"=": found == value, "!=": found != value, "=~": bool(re.fullmatch(value, found))}[operator]


def test_alerts_are_few_and_explained():
    """Each rule has severity, summary, description and a section of its own in the runbook, and each group is short.

    A group is what one person is called for: the service, what comes in, the fleet. At most ten rules of each can be
    known by heart.
    """
    groups = yaml(DEPLOY / "prometheus" / "alerts.yml")["groups"]
    assert {group["name"] for group in groups} == {"driftline-service", "driftline-input", "driftline-fleet"}
    assert all(0 < len(group["rules"]) <= 10 for group in groups)
    headings = re.findall(r"^## (Driftline\w+)$", (ROOT / "docs" / "runbook.md").read_text("utf-8"), re.MULTILINE)
    assert headings == list(dict.fromkeys(rule["alert"] for rule in rules()))
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"] == "docs/runbook.md#" + rule["alert"].lower()


def test_alerts_name_metrics_that_exist():
    """Every metric and every label value in a rule's expression is one that the service exposes."""
    ours = {spec.name for spec in EVERY if spec.kind is not MetricKind.HISTOGRAM}
    ours |= {
        spec.name + part
        for spec in EVERY
        if spec.kind is MetricKind.HISTOGRAM
        for part in ("_bucket", "_sum", "_count")
    }
    exposed = Metrics().expose().decode()
    for rule in rules():
        named = set(re.findall(r"\b(?:driftline|process)_\w+", rule["expr"]))
        recorded = {one["record"] for one in recording_rules() if one["record"] in rule["expr"]}
        assert named or recorded, rule["alert"]
        assert all(name in ours or f"\n{name} " in exposed for name in named), (rule["alert"], named - ours)


def test_alerts_name_labels_that_exist():
    """Labels that a rule groups or selects by are labels of its metrics, or those Prometheus adds."""
    added = {"instance", "job", "le", ""}
    for rule in [*rules(), *recording_rules()]:
        expression = rule["expr"]
        for one in recording_rules():
            expression = expression.replace(one["record"], f"({one['expr']})")
        metrics = set(re.findall(r"\bdriftline_\w+", expression))
        labels = {label for spec in EVERY for name in metrics if name.startswith(spec.name) for label in spec.labels}
        by = {
            label.strip() for group in re.findall(r"(?:by|on) \(([^)]*)\)", rule["expr"]) for label in group.split(",")
        }
        selected = set(re.findall(r"[{,]\s*(\w+)\s*(?:=|!=|=~|!~)\"", rule["expr"]))
        assert by | selected <= labels | added, rule


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
