"""The paired sequential test keeps its error rate, whatever the errors are like, and finds what is better."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.policy.paired import DECIDED, LOG_MAX, SUM, PairedEvidence, bet, fresh_tests, paired_evidence

RATE, RUNS, PAIRS = 0.05, 1_000, 300


def exchangeable(rng):
    """Heavy tails, and pairs that share their size: either model may be the worse one."""
    common = rng.lognormal(0, 1.5, PAIRS)
    return common * rng.exponential(1, PAIRS), common * rng.exponential(1, PAIRS)


def worse(rng):
    """The challenger's errors are larger by a tenth."""
    return rng.exponential(1, PAIRS), 1.1 * rng.exponential(1, PAIRS)


def rare(rng):
    """Both are right on most events, as with classes."""
    return rng.binomial(1, 0.05, PAIRS).astype(float), rng.binomial(1, 0.05, PAIRS).astype(float)


@pytest.mark.parametrize("world", [exchangeable, worse, rare])
def test_a_challenger_that_is_no_better_is_seldom_promoted(world):
    """At most `RATE` of them ever reach 1 / RATE, although the capital is looked at after each pair."""
    rng = np.random.default_rng(11)
    found = sum(paired_evidence(*world(rng)).for_challenger >= 1 / RATE for _ in range(RUNS))
    assert found / RUNS <= RATE + 3 * math.sqrt(RATE * (1 - RATE) / RUNS)


def decided(pairs, rate=RATE):
    """How many pairs a test of either model took, and which one is better; None without a decision."""
    (test,) = tests = fresh_tests(1).tolist()
    bet(tests, [0] * len(pairs[0]), *map(list, pairs), math.log(2 / rate))
    return (int(test[DECIDED]), "challenger" if test[SUM + 1] < test[SUM] else "champion") if test[DECIDED] else None


@pytest.mark.parametrize("world", [exchangeable, rare])
def test_one_of_two_equal_models_is_seldom_the_better_one(world):
    """At most `RATE` of the tests of either model ever decide, and both models win alike."""
    rng = np.random.default_rng(13)
    found = [one for one in (decided(world(rng)) for _ in range(RUNS)) if one]
    assert len(found) / RUNS <= RATE + 3 * math.sqrt(RATE * (1 - RATE) / RUNS)


def test_the_worse_of_two_models_hardly_ever_wins():
    """A test of either model decides for the better one, after some 145 pairs where it errs a third less."""
    rng = np.random.default_rng(14)
    runs = [decided((rng.exponential(1.5, 2_000), rng.exponential(1, 2_000))) for _ in range(200)]
    assert sum(one is not None and one[1] == "challenger" for one in runs) >= 0.98 * len(runs)
    assert np.median([one[0] for one in runs if one]) == pytest.approx(145, rel=0.1)


def test_a_decision_agrees_with_the_mean_errors():
    """Who errs less on most events and far more on few is not the better one."""
    a, b = [*[2.0] * 9, 1.0] * 100, [*[1.0] * 9, 30.0] * 100
    assert paired_evidence(a, b).for_challenger > 40
    assert decided((a, b)) is None


@pytest.mark.parametrize(("factor", "pairs"), [(0.9, 160), (0.5, 25)])
def test_a_better_challenger_is_found(factor, pairs):
    """The median number of pairs that it takes is about what the page says."""
    rng, needed = np.random.default_rng(12), []
    for _ in range(60):
        a = rng.normal(10, 3, 4_000).clip(0)
        b = factor * rng.normal(10, 3, 4_000).clip(0)
        low, high = 1, 4_000
        while low < high:
            middle = (low + high) // 2
            enough = paired_evidence(a[:middle], b[:middle]).for_challenger >= 1 / RATE
            low, high = (low, middle) if enough else (middle + 1, high)
        needed.append(low)
    assert float(np.median(needed)) == pytest.approx(pairs, rel=0.1)


@given(st.lists(st.tuples(st.floats(0, 1e300), st.floats(0, 1e300)), max_size=60))
def test_the_models_change_places(pairs):
    """PairedEvidence is symmetric, never below 1, never beyond its bound, and grows with more pairs only."""
    a, b = [one for one, _ in pairs], [one for _, one in pairs]
    found, other = paired_evidence(a, b), paired_evidence(b, a)
    assert found == PairedEvidence(other.for_champion, other.for_challenger, len(pairs))
    assert 1 <= found.for_challenger <= math.exp(LOG_MAX)
    assert paired_evidence(a[:-1], b[:-1]).for_challenger <= found.for_challenger


def test_scale_does_not_matter():
    """The unit of errors changes nothing; equal errors are no evidence; one that is not finite is left out."""
    rng = np.random.default_rng(3)
    a, b = rng.exponential(2, 200), rng.exponential(1, 200)
    assert paired_evidence(a, b).for_challenger == pytest.approx(paired_evidence(60 * a, 60 * b).for_challenger)
    assert paired_evidence(a, a) == PairedEvidence(1, 1, 200)
    assert paired_evidence([1.0, math.nan, 0.0], [1.0, 1.0, 0.0]) == PairedEvidence(1, 1, 2)


def test_wrong_errors_are_refused():
    """Lists that do not fit, and errors below 0."""
    with pytest.raises(ValueError, match="longer"):
        paired_evidence([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="0 or more, not -1"):
        paired_evidence([1.0], [-1.0])
