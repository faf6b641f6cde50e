"""The counting detector: quiet as stated, quick where something is wrong, and the same whether zeros are fed or not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.rate.bank import RateBank, RateSettings
from detectors.rate.kernels import STEPS, RateState

ABOVE = (0.01, 0.03, 0.1, 0.3, 0.6, 0.95)


def fed(marks, bank=None, **options):
    bank = bank or RateBank(RateSettings(**options), 1)
    n = len(marks)
    return bank.update(np.zeros(n, np.int64), np.asarray(marks, float), np.zeros(n, np.int64))


def marks_of(seed, *parts):
    """Independent marks: (how many, rate), one after the other."""
    random = np.random.default_rng(seed)
    return np.concatenate([random.random(n) < rate for n, rate in parts])


def in_runs(seed, n, rate, length):
    """Marks that come in runs of this mean length."""
    random, marks, at = np.random.default_rng(seed), np.zeros(n, bool), 0
    while at < n:
        at += random.geometric(rate / length / (1 - rate))
        run = random.geometric(1 / length)
        marks[at : at + run] = True
        at += run
    return marks


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.003, 0.1, 0.7]), st.booleans())
def test_ones_alone_give_what_all_values_give(seed, rate, given_rate):
    """Alarms and, but for the zeros that came since, the state are the same bit for bit."""
    marks = marks_of(seed, (400, rate), (300, min(1.0, rate + 0.3)), (200, rate))
    dense, sparse = (RateBank(RateSettings(baseline_size=100, arl0=1e5), 1) for _ in range(2))
    if given_rate:
        dense.set_usual(0, 500, 3)
        sparse.set_usual(0, 500, 3)
    ones = np.flatnonzero(marks)
    expected, found = fed(marks, dense), sparse.update_ones(np.zeros(len(ones), np.int64), ones)
    assert ones[found.at].tolist() == expected.at.tolist()
    for name in ("statistic", "effect", "before", "after", "onset_ago", "n_reference", "n_current"):
        assert getattr(found, name).tolist() == getattr(expected, name).tolist()
    for name, array in sparse.dump(slice(0, 1)).items():
        other = dense.dump(slice(0, 1))[name]
        assert (array[0, 1:] if name == "head" else array).tolist() == (
            other[0, 1:] if name == "head" else other
        ).tolist()


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.01, 0.05]))
def test_the_evidence_is_that_of_a_plain_loop(seed, rate):
    """The sums are those of the recursions, value by value, with the usual rate and the weight as settled."""
    bank = RateBank(RateSettings(arl0=1e15), 1)
    bank.set_usual(0, 1000, 20)
    marks = marks_of(seed, (600, rate))
    fed(marks, bank)
    state = RateState(**bank.dump(slice(0, 1)))
    p = float(state.facts[0, 0])
    last = np.flatnonzero(marks)[-1] + 1 if marks.any() else 0
    for step in range(STEPS):
        q = p + (1 - p) * ABOVE[step]
        r = age = count = 0.0
        for mark in marks[:last]:
            e = q / p if mark else (1 - q) / (1 - p)
            r, age, count = (r + 1) * e, (age + r) * e, (count + mark * (r + 1)) * e
        assert state.evidence[0, :, step] == pytest.approx([r, age, count], rel=1e-9)


def test_false_alarms_are_as_rare_as_stated():
    """A million independent values at each rate, asked for at most one in 100,000, hardly raise any."""
    alarms = [len(fed(marks_of(7, (1_000_000, rate)), arl0=1e5, tolerance=1e-4)) for rate in (0, 0.001, 0.03, 0.3, 0.9)]
    assert sum(alarms) <= 1


def test_runs_that_are_usual_raise_no_alarm():
    """Ones that come in runs of 5 or 20 from the first values on raise no alarm; counted one by one they would."""
    alarms = [len(fed(in_runs(seed, 50_000, 0.3, length))) for length in (5, 20) for seed in range(5)]
    assert sum(alarms) == 0


@pytest.mark.parametrize(("before", "after", "within"), [(0, 1, 7), (0, 0.5, 30), (0, 0.1, 400), (0.01, 0.2, 300)])
def test_more_ones_are_one_alarm_soon(before, after, within):
    """The alarm comes within so many values, says the rates, and places the onset near the change."""
    for seed in range(10):
        found = fed(marks_of(seed, (3000, before), (900, after)))
        assert len(found) == 1
        at = int(found.at[0])
        assert 3000 <= at < 3000 + within
        assert abs(at - found.onset_ago[0] - 3000) <= max(10, within // 2)
        assert found.before[0] == pytest.approx(before, abs=0.01)
        assert found.after[0] == pytest.approx(after, rel=0.8)  # a quick alarm is one that saw more than there are


def test_the_usual_rate_may_be_given():
    """With a rate from training no values are needed to learn one, and after an alarm it is learned again."""
    bank = RateBank(RateSettings(), 1)
    bank.set_reference(0, np.zeros(1000))
    found = fed(marks_of(1, (3000, 0.3)), bank)
    assert (found.at[0] < 60, len(found), found.n_reference[0]) == (True, 1, 1000)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"baseline_size": 9}, "baseline_size must lie between 10"),
        ({"tolerance": 0.0}, "tolerance must lie between"),
        ({"arl0": 1.0}, "arl0 must lie between"),
    ],
)
def test_settings_out_of_range_are_refused(options, sentence):
    """Each says what it may be."""
    with pytest.raises(ValueError, match=sentence):
        RateSettings(**options)


def test_only_marks_are_taken():
    """A value that is neither 0 nor 1 is refused before anything is counted."""
    with pytest.raises(ValueError, match="every value must be 0 or 1"):
        fed([0.0, 0.5])
