"""`driftline backtest`: each setting gives what its replay gives, with figures about the marks."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cli_kit import cli

from streamer.app.offline.comparison import figures_of
from streamer.commands.service.backtest import Variant, fold_one, variants_of
from streamer.errors import UsageError
from streamer.page.report import write_comparison

HOUR_MS = 3_600_000
ARL0 = "detectors.shiryaev_roberts.arl0"


def test_all_combinations_are_compared():
    """Each configuration with each value, under a name of its own."""
    assert [one[:3] for one in variants_of([], ["a.b=1, 2"])] == [
        ("a.b=1", None, ("a.b=1",)), ("a.b=2", None, ("a.b=2",)),
    ]  # fmt: skip
    both = list(variants_of(["x/a.yaml", "b.yaml"], ["c=1,2", "d=3"]))
    assert both[0][:3] == ("a.yaml c=1 d=3", "x/a.yaml", ("c=1", "d=3"))
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
    false, months, seen, delay_s = figures_of(fired, marks, span, 2)
    assert (false, seen, delay_s) == (1, 3, 2 * 3600)
    assert months == pytest.approx(2 * 10 / 720)
    assert figures_of(fired, [], span, 2) == (5, pytest.approx(2 * 30 / 720), 0, None)
    assert figures_of([], [], [], 0) == (0, 0, 0, None)


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
    mine, point = fold_one(Variant("x", None, (f"{ARL0}=1e9",)), ((june,), None, options, [1_780_752_000_000]))
    names = ("alarms", "alerts", "incidents", "requests", "false_alerts", "seen", "delay_s")
    assert point is None
    assert [found[1][name] for name in names] == [getattr(mine, name) for name in names]
    assert (found[1]["seen"], found[1]["false_alerts"], found[1]["requests"]) == (1, 0, 0)
    assert 0 < found[0]["delay_s"] < found[1]["delay_s"] < 2 * 86_400


def test_wrong_settings_are_refused_before_the_fold(june):
    """The message is that of a replay, with its exit code."""
    ran = cli("backtest", june, "--time", "at", "--model", "eta", "--grid", "retrain.cooldown=1,2")
    assert (ran.exit_code, "did you mean retrain.cooldown_s?" in ran.stderr) == (2, True)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Four models with 600 rows each, an hour apart, of which one drifts by itself at row 500."""
    rng = np.random.default_rng(6)
    path = tmp_path_factory.mktemp("power") / "fleet.csv"
    delay = rng.normal(12, 4, (600, 4))
    delay[500:, 3] += 12
    rows = [f"{1_780_272_000 + 3600 * i},<i>{m}</i>,{delay[i, m]:.1f}\n" for i in range(600) for m in range(4)]
    path.write_text("at,line,delay\n" + "".join(rows))
    return str(path)


def test_sizes_of_a_change_give_a_curve(fleet, tmp_path):
    """A larger change is seen by more models, and sooner; `nothing` shows what is seen without it."""
    out = tmp_path / "power.html"
    since = "2026-06-18T08:00:00"  # row 416
    ran = cli(
        "backtest", fleet, "--time", "at", "--model-column", "line", "--inject", f"delay: +.1,+4,+16 @ {since}",
        "--set", f"{ARL0}=1e4", "--report", str(out), "--json",
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    changes = [one["change"] for one in found]
    assert [(one["size"], one["models"]) for one in changes] == [("nothing", 4), ("+.1", 4), ("+4", 4), ("+16", 4)]
    assert [one["seen"] for one in changes] == [1, 1, 4, 4]
    assert changes[0]["delay_s"] > 84 * 3_600  # the model that drifts by itself, 84 h later
    assert 0 < changes[3]["delay_s"] < changes[2]["delay_s"] < 84 * 3_600
    assert abs(changes[3]["onset_error_s"]) <= 3_600
    assert {one["false_alerts"] for one in found} == {0}
    assert found[3]["requested"] == sorted(found[3]["requested"])
    html = out.read_text()
    assert "<i>" not in html
    assert "&lt;i&gt;" in html or not any(one["requested"] for one in found)
    assert html.count("<rect") == 3
    assert "+16" in html


@pytest.mark.parametrize(
    ("inject", "why"),
    [
        (["a: +1,+2 @ 2026-06-18", "b: *2,*3 @ 2026-06-18"], "only one change may have several sizes"),
        (["a: +1,2 @ 2026-06-18"], "can't be read"),
        (["a: +1 @ 2026-06-18"], "there are 1 settings to compare"),
        (["a: =x,y @ 2026-06-18"], "there are 1 settings to compare"),
    ],
)
def test_other_sizes_are_refused(fleet, inject, why):
    """One change has several sizes, each of which can be read; a comma of a text is part of it."""
    options = [word for one in inject for word in ("--inject", one)]
    ran = cli("backtest", fleet, "--time", "at", "--model-column", "line", *options)
    assert (ran.exit_code, why in ran.stderr) == (2, True), ran.stderr


def test_a_size_may_equal_another_change(fleet, tmp_path):
    """The change with several sizes is known by its place. A report that can't be written is one sentence."""
    at = "@ 2026-06-18T08:00:00"
    options = [
        "--inject",
        f"delay: +16 {at}",
        "--inject",
        f"delay: +8,+16 {at}",
        "--time",
        "at",
        "--model-column",
        "line",
    ]
    ran = cli("backtest", fleet, *options, "--json")
    found = [json.loads(line)["change"] for line in ran.stdout.splitlines()]
    assert [(one["size"], one["seen"]) for one in found] == [("nothing", 4), ("+8", 4), ("+16", 4)]
    refused = cli("backtest", fleet, *options, "--report", str(tmp_path / "none" / "x.html"))
    assert (refused.exit_code, "x.html can't be written: No such file or directory" in refused.stderr) == (2, True)


def test_a_report_holds_no_keys():
    """The URL of a recording may have some."""
    html = write_comparison([], [], ["s3://id:secret@bucket/june.parquet?region=eu"])
    assert "s3://bucket/june.parquet" in html
    assert "secret" not in html
