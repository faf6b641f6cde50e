"""The windowed test decides as scipy does, at every event."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from detectors.base import Alarms
from detectors.ks.critical import scale_of
from detectors.ks.sliding import ks_bank
from detectors.ks.window import KsWindowBank, KsWindowSettings

SIZES = [(200, 100), (128, 64), (7, 13), (13, 7), (97, 101), (33, 300), (500, 60), (2, 2), (1, 30)]
SHAPES = {"continuous": lambda a: a, "tenths": lambda a: np.round(a, 1), "whole": np.round, "binary": lambda a: a > 0.7}


def feed(bank, values, row=0):
    values = np.asarray(values, np.float64)
    rows = np.full(len(values), row)
    return bank.update(rows, values, rows)


def moving(random, window):
    """A stretch of one regime, one of another, and back, so that decisions rise and fall."""
    parts = (window + 80, 0.0), (2 * window + 60, 1.2), (2 * window + 60, 0.0)
    return np.concatenate([random.normal(mean, 1.0, n) for n, mean in parts])


def decisions_of_scipy(reference, values, window, alpha):
    results = [
        ks_2samp(reference, values[i - window + 1 : i + 1], method="asymp") for i in range(window - 1, len(values))
    ]
    return np.array([r.pvalue <= alpha for r in results]), np.array([r.statistic for r in results])


def compare(bank, row, reference, values, alpha):
    """Event by event; returns how many alarms there were."""
    window = bank.settings.window
    assert len(feed(bank, values[: window - 1], row)) == 0
    expected, distances = decisions_of_scipy(reference, values, window, alpha)
    scale = scale_of(len(reference), window, alpha)
    over, alarms_seen = True, 0  # whether the last drift is
    for i, drift in enumerate(expected):
        alarms = feed(bank, values[window - 1 + i : window + i], row)
        assert bank.drifted(row) == drift, f"{i} events after the window filled"
        assert len(alarms) == (drift and over)
        if len(alarms):
            assert alarms.statistic[0] == pytest.approx(distances[i], abs=1e-15)
            assert alarms.effect[0] == alarms.statistic[0] >= alarms.threshold[0] > 0.0
            assert alarms.n_reference[0] == len(reference)
        alarms_seen += len(alarms)
        over = not drift and (over or 2 * round(distances[i] * scale.unit) < scale.critical)
    return alarms_seen


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_decision_is_scipy_s_at_every_event(size, shape):
    """Equal and unequal sizes, ties of every kind: `pvalue <= alpha` of ks_2samp, and D to 1e-15."""
    n, window = size
    random = np.random.default_rng([n, window])
    reference, values = (np.asarray(SHAPES[shape](a), float) for a in (random.normal(size=n), moving(random, window)))
    bank = KsWindowBank(KsWindowSettings(window, max(n, 2), alpha=0.01), 3)
    bank.set_reference(1, random.permutation(reference))
    alarms = compare(bank, 1, reference, values, 0.01)
    assert alarms > 0 or n * window < 100 or (shape, size) == ("binary", (1, 30))


def test_without_a_reference_the_first_values_serve():
    """They are learned first, then the window fills, then decisions are those against them."""
    random = np.random.default_rng(8)
    values = np.round(moving(random, 60), 1)
    bank = KsWindowBank(KsWindowSettings(60, 90, alpha=1e-3), 1)
    assert len(feed(bank, values[:90])) == 0
    assert compare(bank, 0, values[:90], values[90:], 1e-3) > 0


def test_rows_may_have_references_of_different_sizes():
    """Each row is judged by the critical value of its own size, also after a snapshot."""
    random = np.random.default_rng(9)
    bank = KsWindowBank(KsWindowSettings(50, 80, alpha=0.01), 0)
    bank.grow(3)
    references = [random.normal(size=n) for n in (11, 80, 79)]
    for row, reference in enumerate(references):
        bank.set_reference(row, reference)
    resumed = KsWindowBank(KsWindowSettings(50, 80, alpha=0.01), 3)
    resumed.load(slice(0, 3), bank.dump(slice(0, 3)))
    for row, reference in enumerate(references):
        assert compare(resumed, row, reference, moving(random, 50), 0.01) > 0


@given(
    st.lists(st.integers(-3, 3), min_size=2, max_size=12),
    st.lists(st.integers(-3, 3), min_size=5, max_size=30),
    st.sampled_from([0.5, 0.2, 0.05]),
)
def test_small_whole_numbers_of_any_order(reference, values, alpha):
    """Ties between and within the samples, in every pattern hypothesis thinks of."""
    bank = KsWindowBank(KsWindowSettings(5, 12, alpha=alpha), 1)
    bank.set_reference(0, np.array(reference, float))
    compare(bank, 0, np.array(reference, float), np.array(values, float), alpha)


def test_sizes_beyond_16_bits():
    """Windows and references of tens of thousands of values with no common divisor keep to whole numbers."""
    random = np.random.default_rng(10)
    bank = KsWindowBank(KsWindowSettings(window=20_011, reference_size=30_013, alpha=1e-4), 1)
    reference, values = random.normal(size=30_013), random.normal(size=30_000)
    values[20_011:] += 0.5
    bank.set_reference(0, reference)
    alarms = feed(bank, values)
    at = int(alarms.at[0])
    for end, drift in ((at, False), (at + 1, True)):
        result = ks_2samp(reference, values[end - 20_011 : end], method="asymp")
        assert (result.pvalue <= 1e-4) is np.bool_(drift)
    assert alarms.statistic[0] == pytest.approx(result.statistic, abs=1e-15)


def test_a_larger_sample_is_thinned_evenly():
    """Of a million training values the kept 500 give the same decisions within a distance of 1/1000."""
    random = np.random.default_rng(11)
    sample = random.normal(size=100_000)
    bank = KsWindowBank(KsWindowSettings(), 1)
    bank.set_reference(0, sample)
    kept = bank.dump(slice(0, 1))["reference"][0]
    assert len(kept) == 500
    assert ks_2samp(kept, sample).statistic <= 1 / 1000 + 1e-12


def test_a_new_reference_restarts_the_series():
    """Whatever the window held is judged no longer; the first decision comes when it is full again."""
    random = np.random.default_rng(12)
    bank = KsWindowBank(KsWindowSettings(window=100, reference_size=100), 1)
    bank.set_reference(0, random.normal(size=100))
    assert len(feed(bank, random.normal(9.0, 1.0, 150))) == 1
    bank.set_reference(0, random.normal(9.0, 1.0, 100))
    assert not bank.drifted(0)
    assert len(feed(bank, random.normal(0.0, 1.0, 99))) == 0
    assert len(feed(bank, [0.0])) == 1


def test_reset_forgets_the_reference_too():
    """A row that was reset learns from what comes, as a fresh one does."""
    random = np.random.default_rng(13)
    bank = KsWindowBank(KsWindowSettings(window=100, reference_size=100), 2)
    for row in range(2):
        bank.set_reference(row, random.normal(size=100))
    bank.reset(np.array([0]))
    values = random.normal(9.0, 1.0, 400)
    assert len(feed(bank, values, row=0)) == 0
    assert len(feed(bank, values, row=1)) == 1


def test_missing_values_are_no_reference():
    """NaN and infinity are left out of a sample; a sample of nothing else is refused."""
    bank = KsWindowBank(KsWindowSettings(window=20, reference_size=20, alpha=0.01), 1)
    bank.set_reference(0, np.array([np.nan, 1.0, np.inf, 2.0]))
    assert bank.dump(slice(0, 1))["reference"][0, :3].tolist() == [1.0, 2.0, np.inf]
    with pytest.raises(ValueError, match="no finite value"):
        bank.set_reference(0, np.array([np.nan]))


def alarm_after(before, after, window=200):
    bank = KsWindowBank(KsWindowSettings(window=window), 1)
    bank.set_reference(0, before)
    return feed(bank, np.concatenate([before[:window], after]))


def test_medians_within_the_range_of_the_reference():
    """Before is the reference's median; after that of the new regime, to the spacing of the reference."""
    random = np.random.default_rng(14)
    alarms = alarm_after(random.normal(size=500), random.normal(1.0, 1.0, 300))
    assert alarms.before[0] == pytest.approx(0.0, abs=0.15)
    assert alarms.after[0] == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize("level", [-1000.0, 1000.0])
def test_medians_beyond_the_range_of_the_reference(level):
    """A sensor that jumps to where no value ever was is reported where it is, not at the edge of the past."""
    random = np.random.default_rng(15)
    alarms = alarm_after(random.normal(size=500), random.normal(level, 1.0, 300))
    assert alarms.after[0] == pytest.approx(level, abs=1.0)


@pytest.mark.parametrize("sliding", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_one_shift_is_one_alarm(seed, sliding):
    """Also where the distance stays near the critical one: such a share of ones raised 2 to 41 alarms."""
    random = np.random.default_rng([18, seed])
    share = 0.25 if sliding else 0.2
    values = np.concatenate([np.zeros(1500), random.random(5000) < share])
    assert len(feed(ks_bank(KsWindowSettings(sliding=sliding), 1), values)) == 1


@pytest.mark.parametrize("sliding", [False, True])
@pytest.mark.parametrize("before", [0.0, 0.1])
def test_shares_are_given_by_their_means(before, sliding):
    """The medians of zeros and ones are equal, and say nothing; also where no one was in the reference."""
    random = np.random.default_rng(19)
    values = np.concatenate([random.random(1500) < before, random.random(1000) < before + 0.3])
    alarms = feed(ks_bank(KsWindowSettings(sliding=sliding), 1), values)
    assert alarms.before[0] == pytest.approx(before, abs=0.04)
    assert alarms.after[0] == pytest.approx(before + 0.3, abs=0.08)


def test_alarms_are_sized_exactly():
    """No alarm gives empty arrays, and types are those of the contract."""
    alarms = feed(KsWindowBank(KsWindowSettings(), 1), [1.0, 2.0])
    assert len(alarms) == 0
    assert alarms.at.dtype == alarms.n_current.dtype == np.int64
    assert alarms.effect.dtype == np.float64
    assert isinstance(alarms, Alarms)


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": 1},
        {"window": 2_000_000},
        {"reference_size": 1},
        {"alpha": 0.0},
        {"alpha": 1.0},
        {"alpha": float("nan")},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(wrong):
    """The sentence names the detector, the setting and the value."""
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"ks_window: {name} must lie between .* got {value}"):
        KsWindowSettings(**wrong)


def test_a_series_costs_less_than_8_kilobytes():
    """Memory is stated: at the default sizes 192,000 series take 1.5 GB."""
    assert KsWindowBank(KsWindowSettings(window=500, reference_size=500), 1).bytes_per_row <= 8192
