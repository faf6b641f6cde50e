"""The pytest plugin: assertions that a stranger can read, snapshots, and the example project."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from driftline.findings import Findings
from retrain.messages.alert import AlertKind
from streamer.audit.source import RawRecord
from streamer.config import Config
from streamer.contracts.encoding import json_of
from streamer.testing.alerts import firing

EXAMPLE = Path(__file__).parents[2] / "examples" / "pytest_project"
SUMMARY = SimpleNamespace(warnings=(), events=10, models=1)


def found(*alerts) -> Findings:
    """Findings of these alerts."""
    records: list[RawRecord] = [("alert", json_of(one)) for one in alerts]
    return Findings(SUMMARY, Config(), tuple(records))  # type: ignore[arg-type]


@pytest.fixture
def two():
    """A drift with effect 1, that began at 2026-01-02 and row 86,400, and faulty values an hour later."""
    faulty = firing("1d 1h", model="bus-2", column="load", kind=AlertKind.MISSING)
    return found(firing("1d", model="bus-1", column="gap"), faulty)


def test_a_quiet_recording_has_no_alert_that_counts(two):
    """Columns, models, effects and kinds may be left out."""
    found().assert_quiet()
    two.assert_quiet(except_columns=["gap", "lo*"])
    two.assert_quiet(models=["tram-*"])
    two.assert_quiet(effect_min=1.5)
    two.assert_quiet(kinds=["silent"])
    for options in ({}, {"kinds": ["drift"]}, {"except_columns": ["load"]}, {"models": ["bus-1"]}, {"effect_min": 1.0}):
        with pytest.raises(AssertionError, match="bus-1  gap"):
            two.assert_quiet(**options)


def test_a_failure_names_what_was_found_and_what_may_be_set(two):
    """The message needs no knowledge of Driftline."""
    with pytest.raises(AssertionError) as failed:
        two.assert_quiet(models=["bus-1"])
    assert str(failed.value) == (
        "expected no alert, found 1 alert:\n"
        "    bus-1  gap  2026-01-02 00:00 UTC  412 → 530  1 sd  firing\n"
        "  allow some with except_columns=, effect_min= or kinds="
    )
    with pytest.raises(AssertionError, match=r"an alert on gap of tram, found none on it:\n    bus-1  gap"):
        two.assert_drift("tram", "gap")
    with pytest.raises(AssertionError, match="there is no alert at all"):
        found().assert_drift("bus-1", "gap")


@pytest.mark.parametrize(
    ("near", "within", "is_near"),
    [
        (None, None, True),
        (86_000, None, True),
        (85_000, None, False),
        (85_000, 1_400, True),
        ("2026-01-02T12:00", None, True),
        ("2026-01-02T12:00", "1h", False),
        ("2026-01-01T22:59:59-01:00", "1s", True),
        (datetime(2026, 1, 3, tzinfo=UTC), "1d", True),
        (datetime(2026, 1, 3, tzinfo=UTC), "23h", False),
    ],
)
def test_drift_is_seen_near_a_row_or_a_time(two, near, within, is_near):
    """The distance of the onset counts, inclusive; the alert is returned."""
    if is_near:
        assert two.assert_drift("bus-*", "gap", near=near, within=within).column == "gap"
    else:
        with pytest.raises(AssertionError, match=r"it began at 2026-01-02 00:00:00 \(row 86,400\)"):
            two.assert_drift("bus-*", "gap", near=near, within=within)


@pytest.mark.parametrize(("near", "within"), [(5, "1h"), ("2026-01-02", 5)])
def test_rows_and_times_are_not_mixed(two, near, within):
    """A distance in rows says nothing about a time."""
    with pytest.raises(TypeError, match="near="):
        two.assert_drift("bus-1", "gap", near=near, within=within)


def test_requests_are_named(two):
    """No request is expected where no model is named."""
    two.assert_requests()
    with pytest.raises(AssertionError, match="expected retrain requests for bus-1, found them for no model"):
        two.assert_requests("bus-1")


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", *options, str(folder)]
    environment = {**os.environ, "PYTEST_ADDOPTS": "", "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


def test_the_example_project_passes_and_its_snapshot_bites(tmp_path):
    """The project passes as it is; a changed snapshot fails with a diff, and the option writes it again."""
    project = tmp_path / "project"
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("__pycache__"))
    ran = run(project)
    assert (ran.returncode, "4 passed" in ran.stdout) == (0, True), ran.stdout + ran.stderr
    [snapshot] = (project / "snapshots").iterdir()
    stored = snapshot.read_text()
    snapshot.write_text(stored.replace("18.2", "17.9"))
    ran = run(project, "-k", "stays")
    assert ran.returncode == 1
    for part in ("-alert  eta  dep_delay", "11.9 → 17.9", "+alert  eta  dep_delay", "pytest --driftline-update"):
        assert part in ran.stdout, ran.stdout
    assert run(project, "-k", "stays", "--driftline-update").returncode == 0
    assert snapshot.read_text() == stored
    snapshot.unlink()
    assert "there is no snapshot" in run(project, "-k", "stays").stdout
