"""What a reference file holds, and what can be seen with it."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from streamer.cli import main


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    random, n = np.random.default_rng(0), 3000
    columns = {"headway_s": random.normal(600.0, 90.0, n), "weather": np.where(random.random(n) < 0.3, "rain", "sun")}
    data = {"model_id": ["bus-1"] * n, "model_version": ["7"] * n, "always_1": np.ones(n), **columns}
    pq.write_table(pa.table(data), folder / "training.parquet")
    assert run("reference", "build", folder / "training.parquet", "--out", folder / "bus.reference").exit_code == 0
    return folder / "bus.reference"


def test_a_line_a_column_in_its_own_units(reference):
    """Quantiles of numbers, the most frequent categories, and what of it is missing."""
    said = run("reference", "show", reference)
    head, constant, headway, weather = said.output.splitlines()
    assert head.split("  ")[0] == "model"
    assert constant.split() == ["bus-1", "7", "always_1", "3,000", "0.0%", "1", "1", "1"]
    assert headway.split()[:5] == ["bus-1", "7", "headway_s", "3,000", "0.0%"]
    assert 580 < float(headway.split()[6]) < 620
    assert weather.split("  ")[-1].strip() == "rain 30%"


def test_the_smallest_shift_that_a_day_shows_is_in_units_of_the_column(reference):
    """More values a day show smaller ones; a constant column shows none by its deviation."""
    said = [run("reference", "show", reference, "--column", "headway_s", "--per-day", n).output for n in (600, 6000)]
    few, many = (float(text.splitlines()[1].split()[8]) for text in said)
    assert 5.0 < many < few < 90.0
    constant = run("reference", "show", reference, "--column", "always_1", "--per-day", 600).output
    assert constant.splitlines()[1].split()[-1] == "none"


def test_what_is_not_there_is_said(reference):
    """With what to do."""
    said = run("reference", "show", reference, "--model", "bus-2")
    assert said.exit_code == 2
    assert "holds no such column; leave out --model and --column to show all" in said.output


def test_check_config_says_what_false_alarms_come_to(tmp_path):
    """The rate of each detector, which keep none, and how small a shift is seen."""
    path = tmp_path / "driftline.yaml"
    path.write_text(
        "kafka: {bootstrap: 'localhost:9092'}\ntopics: {bus: {}}\ndetectors: {ks_window: , rate: }\n"
        "false_alarms: {events_per_s: 200, columns: 14}\n"
    )
    said = run("check-config", "--config", path)
    _, only, promise, outside, seen = said.output.splitlines()
    assert only.startswith("  detectors: only rate and ks_window run")
    assert "1 in 30d on average, of 5.18e+08 events (200 events/s, 14 columns): rate keeps arl0 2.9e+10" in promise
    assert outside.endswith("ks_window")
    assert seen.startswith("  ks_window sees shifts none in 100, from 0.")


def test_check_config_says_how_soon_shifts_show_at_a_models_own_traffic(tmp_path):
    """By pace: rates rise with it, and so do the values that a shift takes to show; larger shifts show sooner."""
    path = tmp_path / "driftline.yaml"
    path.write_text("kafka: {bootstrap: 'localhost:9092'}\ntopics: {bus: {}}\nfalse_alarms: {columns: 5}\n")
    _, promise, *paces = run("check-config", "--config", path).output.splitlines()
    assert "1 in 30d on average, of each 100 models at their own traffic, which is measured (5 columns)" in promise
    assert [line.split(",")[0].split()[0] for line in paces] == ["shiryaev_roberts"] * 3
    rates = [float(line.split("arl0 ")[1].split(";")[0]) for line in paces]
    assert rates == pytest.approx([9_000 * 50, 9_000 * 1_000, 9_000 * 100_000], rel=0.01)
    for line in paces:
        delays = [int(n.replace(",", "")) for n in re.findall(r"sd after (?:more than )?([\d,]*\d)", line)]
        assert len(delays) == 3
        assert delays == sorted(delays, reverse=True)
        assert delays[2] < 100 < delays[1] < 1_000
