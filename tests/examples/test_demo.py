"""`make demo` and `make demo-kafka`, as a newcomer runs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from examples.demo.fleet import DRIFTS

ROOT = Path(__file__).parents[2]
DRIFTING = sorted(drift.model for drift in DRIFTS)


def demo(folder, *arguments):
    """Run it in a folder of its own, piped; returns what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def requests_in(folder):
    files = sorted((folder / "demo-output" / "requests").glob("*bus-*.json"))
    return {file.stem: json.loads(file.read_text()) for file in files}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    return folder, demo(folder)


@pytest.mark.slow
def test_the_truth_is_found(run):
    """Every drifting model is found and dated, none is missed, no stable model is accused, one cause is seen."""
    _, said = run
    said = " ".join(said.split())
    assert f"{len(DRIFTS)} of {len(DRIFTS)} drifting models were found" in said
    assert f"and {len(DRIFTS)} of them got a retrain request" in said
    assert "Missed: none. False: none." in said
    assert "temperature_c moved in 200 of 200 models" in said
    assert "It caused no retrain request" in said


@pytest.mark.slow
def test_detectors_are_shown_side_by_side(run):
    """None raised a false alarm, and the one that learns the day first is the one to miss a drift within it."""
    _, said = run
    for detector, found in (("adwin", 8), ("ks_window", 8), ("shiryaev_roberts", 7)):
        assert re.search(rf"^{detector} +{found} of 8 .* 0 +\d+ *$", said, re.MULTILINE), detector


@pytest.mark.slow
def test_each_drifting_model_is_asked_for_once(run, conforms):
    """There is one request file for each drifting model of the fleet and for none else, and all meet the schema."""
    folder, _ = run
    found = requests_in(folder)
    assert sorted(request["model_id"] for request in found.values()) == DRIFTING
    for file in (folder / "demo-output" / "requests").iterdir():
        assert conforms("retrain-request.v1", file.read_bytes())["request_id"] == file.stem


@pytest.mark.slow
def test_the_hour_of_a_report_raises_nothing(run):
    """It is a function of the event time, so no alert is about it, and the story says so."""
    _, said = run
    assert re.findall(r"  hour  ", said) == []
    assert "The hour of a report follows the" in said


@pytest.mark.slow
def test_the_line_that_closed_is_the_one_that_falls_silent(run):
    """Line 3 had its last report on 24 July 2023; nobody else falls silent in ten years."""
    _, said = run
    assert re.findall(r"(\S+) +(\S+)  \(events\)", said) == [("subway-srt", "2023-07-24")]


@pytest.mark.slow
def test_a_retrained_model_is_right_again(run):
    """The third part ends with a request that helped, and the README has its errors."""
    _, said = run
    errors = [int(one) for one in re.findall(r"^(?:before|from|retrained|the same).* (\d+) *$", said, re.MULTILINE)]
    assert "The request: helped." in " ".join(said.split())
    readme = " ".join((ROOT / "README.md").read_text().split())
    before, during, after, without = errors
    assert (
        f"is {before} s before the drift and {during} s during it. Retrained, it is {after} s, and {without} s"
        in readme
    )


@pytest.mark.slow
def test_it_reads_well_in_a_pipe(run):
    """Eighty columns, no colours, no drawn boxes."""
    _, said = run
    assert max(map(len, said.splitlines())) <= 80
    assert not re.search(r"[\x1b\r\u2500-\u257f\u2588]|…", said)


@pytest.mark.slow
@pytest.mark.broker
def test_kafka_gives_the_same_requests(run, tmp_path):
    """Through a real broker the fleet leads to the same requests, ids, evidence and windows, as without one."""
    folder, _ = run
    said = " ".join(demo(tmp_path, "--kafka").split())
    assert "Missed: none. False: none." in said
    assert requests_in(tmp_path) == requests_in(folder)
