"""Each Prometheus rule over series: it fires when it should, and is silent when it should be."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from project_tree import ROOT
from promtool import promtool
from ruamel.yaml import YAML

RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
ALL_DAY = "x300"  # samples, one a minute
Labels = Mapping[str, str]


@dataclass(frozen=True)
class Case:
    """Series, and the alerts of one rule at a minute. A series is a metric and its samples, one a minute.

    `0+60x9` is 0, 60, 120, ...: a time that goes on as the clock does, since minute 0 is 1970.
    """

    rule: str
    about: str
    series: Mapping[str, str]
    minute: int
    fires: Sequence[Labels] = field(default=())


def of(metric: str, **labels: str) -> str:
    """A series of a scraped process."""
    labels = {"instance": "a", "job": "driftline", **labels}
    return metric + "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def unit(name: str, *, commit: str = "", lag: str = "", partition: str = "0") -> dict[str, str]:
    """The last commits and the lag of a unit."""
    found = {of("driftline_commit_timestamp_seconds", unit=name): commit}
    found[of("driftline_lag_records", unit=name, topic="rides", partition=partition)] = lag
    return {series: samples for series, samples in found.items() if samples}


def checkpoints(stored_s: str, epoch: str, stored_epoch: str) -> dict[str, str]:
    return {
        of("driftline_checkpoint_timestamp_seconds", unit="detect-0"): stored_s,
        of("driftline_epoch", unit="detect-0"): epoch,
        of("driftline_checkpoint_epoch", unit="detect-0"): stored_epoch,
    }


def outcomes(name: str, samples: str) -> dict[str, str]:
    return {of("driftline_outcomes_total", outcome=name): samples}


def fleet(models: int) -> dict[str, str]:
    return {of("driftline_models"): f"{models}{ALL_DAY}", of("driftline_retrain_requests_total"): f"0{ALL_DAY}"}


READY = {of("driftline_ready"): f"1{ALL_DAY}"}
NOW, STANDS = f"0+60{ALL_DAY}", f"0{ALL_DAY}"  # a time that goes on, and one that stays
A, CRITICAL, WARNING = {"instance": "a"}, {"severity": "critical"}, {"severity": "warning"}
JOB = {"job": "driftline"}
UNWATCHED = of("driftline_mapping_fault", topic="rides", fault="unwatched")

CASES = [
    Case("Down", "answers", {of("up"): "1x20"}, 15),
    Case("Down", "no answer", {of("up"): "1x10 0x10"}, 15, [A | JOB | CRITICAL]),
    Case("Down", "no target", {}, 5, [JOB | CRITICAL]),
    Case("NotReady", "recovers for ten minutes", {of("driftline_ready"): "0x10 1x20"}, 25),
    Case("NotReady", "recovers for longer", {of("driftline_ready"): "0x30"}, 25, [A | JOB | WARNING]),
    Case("Restarting", "started twice", {of("process_start_time_seconds"): "0x10 600x20 1800x10"}, 38),
    Case(
        "Restarting",
        "starts every five minutes",
        {of("process_start_time_seconds"): "0x4 300x4 600x4 900x4 1200x4 1500x4"},
        29,
        [A | JOB | WARNING],
    ),
    Case("Stalled", "nothing to do", READY | unit("detect-0", commit=STANDS, lag=STANDS), 60),
    Case("Stalled", "under way", READY | unit("detect-0", commit=NOW, lag=f"500{ALL_DAY}"), 60),
    Case(
        "Stalled",
        "recovers",
        {of("driftline_ready"): f"0{ALL_DAY}"} | unit("detect-0", lag=f"500{ALL_DAY}"),
        60,
    ),
    Case(
        "Stalled",
        "never committed",
        READY | unit("detect-0", lag=f"500{ALL_DAY}"),
        60,
        [A | {"unit": "detect-0"} | CRITICAL],
    ),
    Case(
        "Stalled",
        "one unit beside others",
        READY
        | unit("detect-0", commit=STANDS, lag=f"0+10{ALL_DAY}")
        | unit("detect-1", commit=NOW, lag=f"3{ALL_DAY}", partition="1"),
        60,
        [A | {"unit": "detect-0"} | CRITICAL],
    ),
    Case("FallingBehind", "catches up", unit("detect-0", lag="500000-1000x120"), 60),
    Case("FallingBehind", "grows", unit("detect-0", lag="0+5000x120"), 60, [{"topic": "rides"} | WARNING]),
    Case("CheckpointsOld", "idle since the last one", checkpoints(STANDS, f"7{ALL_DAY}", f"7{ALL_DAY}"), 200),
    Case("CheckpointsOld", "stored", checkpoints(NOW, f"0+60{ALL_DAY}", f"0+59{ALL_DAY}"), 200),
    Case(
        "CheckpointsOld",
        "epochs and no checkpoint",
        checkpoints(STANDS, f"7+1{ALL_DAY}", f"7{ALL_DAY}"),
        200,
        [A | JOB | {"unit": "detect-0"} | WARNING],
    ),
    Case(
        "CheckpointsOld",
        "never stored",
        {
            of("driftline_checkpoints_total", outcome="failed"): f"0+1{ALL_DAY}",
            of("driftline_checkpoints_total", outcome="kept"): f"0{ALL_DAY}",
        },
        90,
        [A | WARNING],
    ),
    Case(
        "CheckpointsOld",
        "some failed",
        {
            of("driftline_checkpoints_total", outcome="failed"): f"0+1{ALL_DAY}",
            of("driftline_checkpoints_total", outcome="kept"): f"0+1{ALL_DAY}",
        },
        90,
    ),
    Case("Diverged", "none", {of("driftline_diverged_epochs_total"): "0x20"}, 10),
    Case(
        "Diverged", "before the first scrape", {of("driftline_diverged_epochs_total"): "3x20"}, 10, [A | JOB | CRITICAL]
    ),
    Case("EventsOld", "recent", {of("driftline_event_timestamp_seconds", unit="detect-0"): NOW}, 150),
    Case(
        "EventsOld",
        "one partition of a process is quiet",
        {
            of("driftline_event_timestamp_seconds", unit="detect-0"): NOW,
            of("driftline_event_timestamp_seconds", unit="detect-1"): STANDS,
        },
        150,
    ),
    Case(
        "EventsOld",
        "one process of two gets none",
        {
            of("driftline_event_timestamp_seconds", unit="detect-0"): STANDS,
            of("driftline_event_timestamp_seconds", unit="detect-0", instance="b"): NOW,
        },
        150,
        [A | WARNING],
    ),
    Case(
        "EventsOld",
        "one clock of two is ahead",
        {
            of("driftline_event_timestamp_seconds", unit="detect-0"): f"90000+60{ALL_DAY}",
            of("driftline_event_timestamp_seconds", unit="detect-0", instance="b"): NOW,
        },
        150,
        [A | JOB | {"unit": "detect-0"} | WARNING],
    ),
    Case("DeadLetters", "nothing is watched", {UNWATCHED: "0x10 1x30"}, 30, [WARNING | {"topic": "rides"}]),
    Case("DeadLetters", "nothing was watched for a moment", {UNWATCHED: "0x10 1x3 0x30"}, 30),
    Case(
        "DeadLetters",
        "one in a thousand",
        {
            of("driftline_dead_letters_total", topic="rides", reason="not_json"): "0+1x60",
            of("driftline_records_total", topic="rides"): "0+1000x60",
        },
        50,
    ),
    Case(
        "DeadLetters",
        "one in ten",
        {
            of("driftline_dead_letters_total", topic="rides", reason="not_json"): "0+100x60",
            of("driftline_records_total", topic="rides"): "0+1000x60",
        },
        50,
        [{"topic": "rides"} | WARNING],
    ),
    Case(
        "Storm",
        "many alerts of one model",
        fleet(60)
        | {of("driftline_alerts_total", state="firing"): "0x10 13x60"}
        | outcomes("incident_opened", "0x10 1x60"),
        20,
    ),
    Case("Storm", "a fifth of the fleet", fleet(60) | outcomes("incident_opened", "0x10 13x60"), 20, [WARNING]),
    Case("Storm", "a fifth of a small fleet", fleet(15) | outcomes("incident_opened", "0x10 13x60"), 20),
    Case("Storm", "a storm of a column", fleet(2000) | outcomes("storm_opened", "0x10 1x60"), 20, [WARNING]),
    Case(
        "Storm",
        "many requests",
        fleet(60) | {of("driftline_retrain_requests_total"): "0x10 7x60"},
        20,
        [WARNING],
    ),
]


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
    checked = subprocess.run([promtool(), "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_rule_is_tested_both_ways():
    """A rule has a case in which it fires, and one in which it is silent."""
    names = {rule["alert"] for group in YAML(typ="safe").load(RULES.read_text())["groups"] for rule in group["rules"]}
    for fires in (True, False):
        assert {f"Driftline{case.rule}" for case in CASES if bool(case.fires) is fires} == names
