"""`driftline backtest`: each setting gives what its replay gives, with figures about the marks."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cli_kit import cli

from streamer.commands.service.backtest import _figures, fold_one, variants_of
from streamer.errors import UsageError

HOUR_MS = 3_600_000
ARL0 = "detectors.shiryaev_roberts.arl0"


def test_all_combinations_are_compared():
    """Each configuration with each value, under a name of its own."""
    assert list(variants_of([], ["a.b=1, 2"])) == [("a.b=1", None, ("a.b=1",)), ("a.b=2", None, ("a.b=2",))]
    both = list(variants_of(["x/a.yaml", "b.yaml"], ["c=1,2", "d=3"]))
    assert both[0] == ("a.yaml c=1 d=3", "x/a.yaml", ("c=1", "d=3"))
    assert [name for name, *_ in both] == [f"{file} c={c} d=3" for file in ("a.yaml", "b.yaml") for c in (1, 2)]


@pytest.mark.parametrize(
    ("settings", "grid", "why"),
    [
        (["a.yaml"], [], "there are 1 settings"),
        (["a.yaml", "a.yaml"], [], "2 to 256 different ones"),
        ([], ["a"], "write SETTING=A,B"),
        ([], ["a=" + ",".join(map(str, range(300)))], "there are 300 settings"),
    ],
)
def test_what_can_not_be_compared_is_refused(settings, grid, why):
    """Two different settings or more, within a bound."""
    with pytest.raises(UsageError, match=why):
        list(variants_of(settings, grid))


def test_figures_are_about_the_marks():
    """Alerts before the first mark are false; the first of each model from a mark on is its detection."""
    fired = [("a", 1 * HOUR_MS), ("a", 12 * HOUR_MS), ("a", 13 * HOUR_MS), ("b", 14 * HOUR_MS), ("b", 21 * HOUR_MS)]
    marks, span = [10 * HOUR_MS, 20 * HOUR_MS], [0, 30 * HOUR_MS]
    false, months, seen, delay_s = _figures(fired, marks, span, 2)
    assert (false, seen, delay_s) == (1, 3, 2 * 3600)
    assert months == pytest.approx(2 * 10 / 720)
    assert _figures(fired, [], span, 2) == (5, pytest.approx(2 * 30 / 720), 0, None)
    assert _figures([], [], [], 0) == (0, 0, 0, None)


@pytest.fixture(scope="module")
def june(tmp_path_factory):
    rng = np.random.default_rng(4)
    delay = rng.normal(12, 4, 1_200) + 8 * (np.arange(1_200) >= 800)
    path = tmp_path_factory.mktemp("backtest") / "june.csv"
    rows = [f"{1_780_272_000 + 600 * i},{x:.1f}\n" for i, x in enumerate(delay)]
    path.write_text("at,delay\n" + "".join(rows))
    return str(path)


def test_settings_are_replayed_in_processes(june):
    """The results stand in the order of the settings, and are those of a replay in this process."""
    mark = "2026-06-06T13:20:00"  # row 800
    grid = f"{ARL0}=1e4,1e9"
    ran = cli("backtest", june, "--time", "at", "--model", "eta", "--grid", grid, "--mark", mark, "--json")
    assert ran.exit_code == 0, ran.output
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [one["settings"] for one in found] == [f"{ARL0}=1e4", f"{ARL0}=1e9"]
    options = {
        **dict.fromkeys(("since", "until", "prediction", "label", "id", "version", "segment", "model_column")),
        "time": "at", "model": "eta", "features": None, "models": (), "columns": (), "sets": (), "inject": (),
        "seed": 0,
    }  # fmt: skip
    mine = fold_one(("x", None, (f"{ARL0}=1e9",)), ((june,), None, options, [1_780_752_000_000]))
    names = ("alarms", "alerts", "incidents", "requests", "false_alerts", "seen", "delay_s")
    assert [found[1][name] for name in names] == [getattr(mine, name) for name in names]
    assert (found[1]["seen"], found[1]["false_alerts"], found[1]["requests"]) == (1, 0, 0)
    assert 0 < found[0]["delay_s"] < found[1]["delay_s"] < 2 * 86_400


def test_wrong_settings_are_refused_before_the_fold(june):
    """The message is that of a replay, with its exit code."""
    ran = cli("backtest", june, "--time", "at", "--model", "eta", "--grid", "retrain.cooldown=1,2")
    assert (ran.exit_code, "did you mean retrain.cooldown_s?" in ran.stderr) == (2, True)
