"""The bench scores alarms as it says."""

import ast

import numpy as np
import pytest

from benchmarks.detection import plugs
from benchmarks.detection.drifts import CONTROLS, FAMILIES, Stream, drifting, steady
from benchmarks.detection.scoring import Score, judge
from detectors.registry import UnknownNameError


def judged(at, drifts, n=5000, onset=None):
    score = Score()
    judge(np.array(at), np.array(at if onset is None else onset), Stream(np.zeros(n), drifts), "family", score)
    return score


def test_an_early_alarm_gains_and_repeats_cost_nothing():
    """Of the 1,000 values allowed 100 have gone by; the second alarm of the same drift counts for nothing."""
    score = judged([2100, 2500], [(2000, 0)], onset=[1990, 2400])
    assert score.gains == {"family": [0.9]}
    assert (score.false, score.delays, score.onset_errors) == (0, [100], [10])
    assert score.net(score.false_10k) == pytest.approx(0.9)


def test_alarms_outside_of_drifts_are_false():
    """One in 4,000 quiet values is 2.5 in 10,000, and costs a quarter."""
    score = judged([500, 2100], [(2000, 0)])
    assert (score.false, score.quiet) == (1, 4000)
    assert score.net(score.false_10k) == pytest.approx(0.9 - 0.25)


def test_a_drift_without_an_alarm_is_missed():
    """Also where the alarm comes too late, which is then a false one."""
    score = judged([3000], [(2000, 0)])
    assert (score.gains, score.delays, score.false) == ({"family": [0.0]}, [], 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_drifts_where_it_says(family):
    """Values are the same for the same seed, and fill the time allowed exactly; seeds differ in where it begins."""
    one, again = drifting(family, 3), drifting(family, 3)
    assert (one.values == again.values).all()
    start, width = one.drifts[-1]
    assert len(one.values) == start + width + 1000
    assert len({drifting(family, seed).drifts[0] for seed in range(5)}) > 1


def test_a_control_never_drifts():
    """And is another stream for each seed."""
    one, other = (steady(CONTROLS["normal"], seed) for seed in (1, 2))
    assert one.drifts == []
    assert (one.values != other.values).any()


PLUGGED_BENCH = """
import importlib, sys
import numpy as np
values = np.repeat([0.0, 1.0], 1500) + np.random.default_rng(1).normal(size=3000)
for name, spec in (given.split("=") for given in sys.argv[2::2]):
    module, path, kind = spec.split(":")
    function = importlib.import_module(module)
    for part in path.split("."):
        function = getattr(function, part)
    print(name, kind, function(values))
print(sys.argv[1::2], sys.argv[-1])
"""


def test_another_bench_runs_detectors_by_name(tmp_path, capsys):
    """It gets each with its settings, as a function from values to alarms with their onsets, and its own options."""
    (tmp_path / "bench.py").write_text(PLUGGED_BENCH)
    plugs.run(str(tmp_path / "bench.py"), ["adwin,delta=0.002", "shiryaev_roberts"], ["--quick"])
    adwin, ours, options = capsys.readouterr().out.splitlines()
    for name, line in (("adwin,delta:0.002", adwin), ("shiryaev_roberts", ours)):
        assert line.startswith(f"{name} batch [(15")
        at, onset = ast.literal_eval(line.split(" batch ")[1])[0]
        assert 1500 <= at < 1600
        assert abs(onset - 1500) <= 30
    assert adwin.split("batch")[1] != ours.split("batch")[1]
    assert options == "['--plug', '--plug', '--quick'] --quick"


def test_an_unknown_detector_is_refused_before_the_bench_runs():
    """By its name."""
    with pytest.raises(UnknownNameError, match="nothing"):
        plugs.run("no such file", ["nothing"], [])
