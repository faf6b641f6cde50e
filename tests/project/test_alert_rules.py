"""Each Prometheus rule over series: it fires when it should, and is silent when it should be."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from alert_cases import CASES, Case
from project_tree import ROOT
from promtool import promtool
from ruamel.yaml import YAML

from streamer.runtime.fold import ModelFacts
from streamer.telemetry.metrics import Metrics
from streamer.telemetry.models_page import ModelsPage
from streamer.telemetry.table import EVERY, MetricKind

PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES, RECORDING = PROMETHEUS / "alerts.yml", PROMETHEUS / "recording.yml"


def result_of(case: Case, folder: Path) -> subprocess.CompletedProcess[str]:
    """The result of promtool. Annotations are left out of its rules, as a test would have to repeat their text."""
    yaml = YAML(typ="safe")
    groups = yaml.load(RULES.read_text(encoding="utf-8"))["groups"]
    for group in groups:
        for rule in group["rules"]:
            del rule["annotations"]
    test = {
        "interval": "1m",
        "input_series": [{"series": series, "values": samples} for series, samples in case.series.items()],
        "alert_rule_test": [
            {
                "eval_time": f"{case.minute}m",
                "alertname": f"Driftline{case.rule}",
                "exp_alerts": [{"exp_labels": dict(labels)} for labels in case.fires],
            }
        ],
    }
    groups += yaml.load(RECORDING.read_text(encoding="utf-8"))["groups"]
    with (folder / "rules.yml").open("w") as file:
        yaml.dump({"groups": groups}, file)
    with (folder / "test.yml").open("w") as file:
        yaml.dump({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [test]}, file)
    command = [promtool(), "test", "rules", str(folder / "test.yml")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}, {case.about}")
def test_a_rule(case, tmp_path):
    """Promtool evaluates the rules each minute and compares the alerts that fire."""
    result = result_of(case, tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_rules_and_their_texts_are_valid():
    """Promtool accepts every expression and every template of the annotations."""
    checked = subprocess.run(
        [promtool(), "check", "rules", str(RULES), str(RECORDING)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_rule_is_tested_both_ways():
    """A rule has a case in which it fires, and one in which it is silent."""
    names = {rule["alert"] for group in YAML(typ="safe").load(RULES.read_text())["groups"] for rule in group["rules"]}
    for fires in (True, False):
        assert {f"Driftline{case.rule}" for case in CASES if bool(case.fires) is fires} == names


def test_promtool_accepts_the_page_of_metrics():
    """Names, units, kinds and help texts follow the conventions that promtool knows."""
    metrics = Metrics(models=ModelsPage("*", 10), table=EVERY)
    metrics.expect(["rides"], ["adwin"])
    metrics.models.update([ModelFacts(("a",), *[np.ones(1, np.int64)] * 2, *[np.ones(1)] * 3)])
    for spec in EVERY:
        if spec.kind is MetricKind.GAUGE:
            metrics.set(spec.name, 1, *(["x"] * len(spec.labels)))
    checked = subprocess.run([promtool(), "check", "metrics"], input=metrics.expose(), capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
