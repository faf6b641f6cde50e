"""ADWIN is river's ADWIN, to the last bit, and says more about an alarm."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from river import drift

from detectors.adwin.bank import AdwinBank, AdwinSettings

SETTINGS = [
    {},
    {"delta": 0.05},
    {"clock": 1, "delta": 1e-4},
    {"clock": 7, "min_window_length": 9, "grace_period": 50},
    {"clock": 100, "max_buckets": 3, "grace_period": 0},
]
KINDS = ("jumps", "ties", "small", "huge", "ramp")
N = 1500


def stream(kind, seed):
    random = np.random.default_rng([seed, KINDS.index(kind)])
    steps = np.repeat(random.normal(scale=2.0, size=6), N // 6)
    values = random.normal(size=N) + steps
    return {
        "jumps": values,
        "ties": np.round(values),
        "small": values * 1e-160,
        "huge": values * 1e160,
        "ramp": random.exponential(size=N) + np.linspace(0.0, 5.0, N),
    }[kind]


def feed(bank, values):
    zeros = np.zeros(len(values), np.int64)
    return bank.update(zeros, np.asarray(values, np.float64), zeros)


def same_as_river(values, settings, every):
    """Compare the decision at each value, the state at each detection and every so often; returns detections."""
    settings = {"delta": 0.002} | settings  # river's
    river, bank, detections = drift.ADWIN(**settings), AdwinBank(AdwinSettings(**settings), 1), 0
    for i, value in enumerate(values):
        river.update(value)
        alarms = feed(bank, [value])
        assert (len(alarms) == 1) == river.drift_detected, f"at {i}"
        detections += len(alarms)
        if len(alarms) or i % every == 0:
            ours = bank.window(0)
            for mine, theirs in zip(ours, (river.width, river.total, river.variance), strict=True):
                assert mine == theirs or (math.isnan(mine) and math.isnan(theirs)), f"at {i}"
    return detections


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_detections_and_state_are_those_of_river(settings, kind):
    """Over 100 random streams: decision at each value; width, total and variance at detections and between looks."""
    detections = sum(same_as_river(stream(kind, seed).tolist(), settings, every=41) for seed in range(4))
    assert detections > 0 or kind in ("small", "huge")


def test_state_is_that_of_river_at_every_value():
    """Also between two looks, where values merely wait."""
    assert same_as_river(stream("jumps", 9).tolist(), {}, every=1) > 0


def test_a_constant_series_has_river_s_state():
    """A value that binary can't hold exactly leaves the same rounding behind."""
    assert same_as_river([0.1] * 3000, {}, every=100) == 0


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.lists(st.tuples(finite, st.integers(1, 60)), max_size=12),
    st.sampled_from([{}, {"clock": 1, "delta": 0.9, "min_window_length": 1, "grace_period": 0, "max_buckets": 2}]),
)
@example([(1e308, 40), (-1e308, 40)], {})
def test_any_stream_gives_what_river_gives(runs, settings):
    """Runs of any finite values, overflowing sums and variances included."""
    same_as_river([value for value, times in runs for _ in range(times)], settings, every=1)


def test_many_series_fed_in_turns_give_what_each_gives_alone():
    """A bank of 40 series finds at the same values what 40 detectors of river find."""
    series = np.array([stream("jumps", seed) for seed in range(40)])
    rows = np.tile(np.arange(40), N)
    alarms = AdwinBank(AdwinSettings(delta=0.002), 40).update(rows, series.T.reshape(-1), rows)
    for row in range(40):
        river, expected = drift.ADWIN(), []
        for i, value in enumerate(series[row].tolist()):
            river.update(value)
            if river.drift_detected:
                expected.append(i)
        assert (alarms.at[alarms.row == row] // 40).tolist() == expected


def test_levels_bound_the_window():
    """Past the bound the oldest buckets go, and total and variance are still those of the values that stay."""
    values = np.random.default_rng(3).normal(size=5000)
    bank = AdwinBank(AdwinSettings(levels=6, delta=1e-12), 1)
    feed(bank, values)
    window = bank.window(0)
    kept = values[-int(window.width) :]
    assert 5 * (2**6 - 1) - 2**6 < window.width <= 5 * (2**6 - 1) + 32
    assert window.total == pytest.approx(kept.sum())
    assert window.variance == pytest.approx(kept.var() * len(kept))


def test_an_alarm_describes_the_best_cut():
    """Means, sizes and effect are those of the two sides of the cut, and the difference exceeds its epsilon."""
    values = np.concatenate([np.random.default_rng(5).normal(size=640), np.random.default_rng(6).normal(2, 1, 100)])
    alarms = feed(AdwinBank(AdwinSettings(), 1), values)
    at, ago, n = int(alarms.at[0]), int(alarms.onset_ago[0]), int(alarms.n_reference[0])
    old, new = values[at - ago - n : at - ago], values[at - ago : at + 1]
    assert (len(old), len(new)) == (n, alarms.n_current[0])
    assert abs(at - ago - 640) <= 4
    assert alarms.before[0] == pytest.approx(old.mean())
    assert alarms.after[0] == pytest.approx(new.mean())
    assert alarms.statistic[0] == pytest.approx(abs(old.mean() - new.mean()))
    assert alarms.statistic[0] > alarms.threshold[0] > 0
    assert alarms.effect[0] == pytest.approx(alarms.statistic[0] / old.std())


def test_the_effect_is_finite_after_a_constant_past():
    """Where the old side has no spread, the spread of the whole window is the measure."""
    alarms = feed(AdwinBank(AdwinSettings(), 1), [1.0] * 320 + [2.0] * 64)
    assert alarms.before[0] == 1.0
    assert alarms.after[0] == 2.0
    assert 1.0 < alarms.effect[0] < 10.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"delta": 0.0},
        {"delta": 1.0},
        {"delta": math.nan},
        {"clock": 0},
        {"max_buckets": 1},
        {"max_buckets": 256},
        {"min_window_length": 0},
        {"grace_period": -1},
        {"levels": 0},
        {"levels": 33},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(wrong):
    """The sentence names the detector, the setting and the value."""
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"adwin: {name} must lie between .* got {value}"):
        AdwinSettings(**wrong)


def test_the_defaults_are_river_s_but_for_delta():
    """What is not said is as in river; the significance alone is that of a fleet."""
    river, ours = drift.ADWIN(), AdwinSettings()
    assert ours.delta < river.delta
    for name in ("clock", "max_buckets", "min_window_length", "grace_period"):
        assert getattr(ours, name) == getattr(river, name)


def test_a_series_costs_less_than_two_kilobytes():
    """Memory is stated: 160,000 series fit in a quarter of a gigabyte."""
    assert AdwinBank(AdwinSettings(), 1).bytes_per_row < 1600
