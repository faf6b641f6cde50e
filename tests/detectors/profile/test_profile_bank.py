"""Profiles against plain numpy: counts, moments and cells are exact, percentiles within a stated error."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.profile.bank import ProfileBank, ProfileSettings
from detectors.profile.layout import TARGETS, code_of, value_of
from detectors.profile.summary import KS, MEAN, PSI, QUANTILE, SD
from detectors.reference import Reference

NUMBER, CATEGORY, MISSING, FAULT = range(4)
NUMBERS = st.floats(-1e9, 1e9, allow_subnormal=False)
FEW = st.integers(-3, 3).map(float)


def closed(values, reference=None, kinds=None, cuts=(), values_min=1):
    """The summary of one series, whose values come in pieces."""
    bank = ProfileBank()
    bank.grow(1)
    if reference is not None:
        bank.set_numbers(0, reference)
    values = np.asarray(values, float)
    kinds = np.zeros(len(values), np.uint8) if kinds is None else np.asarray(kinds, np.uint8)
    for start, end in zip([0, *cuts], [*cuts, len(values)], strict=True):
        bank.update(np.zeros(end - start, np.int64), kinds[start:end], values[start:end], 7)
    return bank.close(values_min), bank


def cells_of(values, reference):
    """Share up to each edge, of values and of the reference, by the codes of both."""
    bank = ProfileBank()
    bank.grow(1)
    bank.set_numbers(0, reference)
    f, _, g, _, s, _, _ = bank._views()
    centre, scale, edges = float(f[0, 3]), float(g[0, 5]), s[0, 24:33].astype(int)
    codes, theirs = ([code_of(float(v), centre, scale) for v in of] for of in (values, reference.values))
    upto = [[sum(c <= e for c in of) / len(of) for e in edges] for of in (codes, theirs)]
    return np.array(upto)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(FEW, NUMBERS), min_size=50, max_size=300), st.lists(NUMBERS | FEW, min_size=20, max_size=90))
def test_counts_moments_and_cells_equal_those_of_numpy(values, training):
    """For any numbers and any training data, cells, KS and PSI are those of the values, however the marks moved."""
    reference = Reference.of(training, 1000)
    found, _ = closed(values, reference)
    n, mean = len(values), math.fsum(values) / len(values)
    spread = max(abs(np.asarray(values) - np.median(reference.values)).max(), 1e-9)
    assert found.values.tolist() == [n]
    assert found.stats[0, MEAN] == pytest.approx(mean, abs=1e-9 * spread)
    assert found.stats[0, SD] == pytest.approx(np.std(values), abs=1e-5 * spread)
    here, there = cells_of(values, reference)
    p, q = np.diff(here, prepend=0, append=1), np.diff(there, prepend=0, append=1)
    assert found.cells[0].tolist() == [math.floor(share * 1000 + 0.5) for share in p] or np.allclose(
        found.cells[0] / 1000, p, atol=0.0006
    )
    assert found.stats[0, KS] == pytest.approx(np.abs(here - there).max(), abs=2e-5)
    used = (p > 1e-9) | (q > 1e-5)
    m, size = int(used.sum()), 2 ** (int(found.size[0]) / 8)
    a, b = (p[used] * n + 0.5) / (n + m / 2), (q[used] * size + 0.5) / (size + m / 2)
    assert found.stats[0, PSI] == pytest.approx(float(np.sum((a - b) * np.log(a / b))), rel=0.01, abs=1e-3)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(-5, 5).map(float), min_size=50, max_size=400))
def test_percentiles_of_ties_are_exact(values):
    """Of at most eleven different numbers, a percentile is the least number with so many values up to it."""
    found, _ = closed(values)
    ordered = np.sort(values)
    expected = [ordered[max(math.ceil(share * len(values) - 1e-9) - 1, 0)] for share in TARGETS]
    assert found.stats[0, QUANTILE : QUANTILE + 5].tolist() == pytest.approx(expected, abs=0.01)


LAWS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "heavy": lambda rng, n: rng.standard_cauchy(n),
    "lognormal": lambda rng, n: np.exp(2 * rng.normal(size=n)),
    "half_zero": lambda rng, n: np.where(rng.uniform(size=n) < 0.6, 0.0, rng.exponential(size=n)),
    "moved_by_8_sd": lambda rng, n: rng.normal(size=n) + 8,
    "in_other_units": lambda rng, n: 1000 * rng.normal(size=n) + 500,
    "large_offset": lambda rng, n: 1.7e9 + rng.normal(size=n),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("n", "error"), [(200, 0.12), (1000, 0.06), (20_000, 0.04)])
def test_percentiles_are_right_for_ties_tails_and_drift(law, n, error):
    """Within the stated share of the values, and 1/500 of the distance to the old centre or 1/500 of the old sd."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        trained = LAWS[law if law == "large_offset" else "normal"](rng, 5000)
        values = LAWS[law](rng, n)
        ordered, centre = np.sort(values), float(np.median(trained))
        for reference in (Reference.of(trained, 5000), None):
            found, _ = closed(values, reference)
            for share, got in zip(TARGETS, found.stats[0, QUANTILE : QUANTILE + 5], strict=True):
                near = (abs(got - centre) + 1) / 500
                low, high = np.searchsorted(ordered, [got - near, got + near]) / n
                assert low - error <= share <= high + error, (seed, share, got)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_cuts_never_show(data):
    """However values of all kinds are cut into updates, summary and state are the same byte for byte."""
    n = data.draw(st.integers(20, 300))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    values = np.where(rng.uniform(size=n) < 0.5, rng.normal(size=n), rng.integers(0, 3, n))
    kinds = rng.choice([NUMBER, NUMBER, NUMBER, MISSING, FAULT], size=n)
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=6)))
    (whole, one), (cut, other) = closed(values, kinds=kinds), closed(values, kinds=kinds, cuts=cuts)
    assert [a.tobytes() for a in whole] == [a.tobytes() for a in cut]
    assert one.dump()["state"].tobytes() == other.dump()["state"].tobytes()


def test_the_first_interval_is_the_reference_of_the_next():
    """Without training data, the same values give no distance, and values that moved by two sd a large one."""
    values = np.random.default_rng(1).normal(size=2000)
    first, bank = closed(values)
    assert first.compared.tolist() == [0]
    for moved, low, high in ((0.0, 0.0, 0.02), (2.0, 0.6, 0.75)):
        bank.update(np.zeros(2000, np.int64), np.zeros(2000, np.uint8), values + moved, 8)
        found = bank.close(50)
        assert found.compared.tolist() == [10]
        assert low <= found.stats[0, KS] <= high


def test_many_values_are_sampled_and_sums_stay_exact():
    """Beyond the room of 16 bits, shares are within a hundredth, and the number of values and the mean are exact."""
    values = np.tile([0.0, 0.0, 0.0, 1.0], 100_000)
    found, _ = closed(values, Reference.of([0.0, 1.0] * 50, 100))
    assert found.values.tolist() == [400_000]
    assert found.stats[0, MEAN] == pytest.approx(0.25)
    assert found.cells[0, 0] == pytest.approx(750, abs=10)


@pytest.mark.parametrize("distinct", [3, 8, 40])
def test_categories_are_lower_bounds_and_exact_up_to_eight(distinct):
    """No share is overstated, and none of eight categories or fewer is off."""
    ids = np.random.default_rng(2).geometric(0.4, 5000).clip(max=distinct).astype(float)
    found, bank = closed(ids, kinds=np.ones(5000))
    shares = {one: float(np.mean(ids == one)) for one in np.unique(ids)}
    for one, share in zip(found.ids[0], found.cells[0] / 1000, strict=False):
        if one == one:
            assert share <= shares[one] + 0.0006
            assert distinct > 8 or share == pytest.approx(shares[one], abs=0.0006)
    bank.update(np.zeros(5000, np.int64), np.ones(5000, np.uint8), ids, 8)
    assert bank.close(50).stats[0, KS] == pytest.approx(0, abs=0.001 if distinct <= 8 else 0.1)


def test_a_series_of_the_other_kind_begins_again():
    """Numbers before the first category become faults, as in the table of series."""
    found, _ = closed([1.0] * 20 + [5.0] * 30, kinds=[NUMBER] * 20 + [CATEGORY] * 30)
    assert (found.values.tolist(), found.faults.tolist(), found.is_number.tolist()) == ([30], [20], [False])


def test_too_few_values_go_on_into_the_next_interval():
    """An interval closes with enough values, and names the first interval of its values."""
    _, bank = closed([1.0] * 30, values_min=50)
    bank.update(np.zeros(20, np.int64), np.full(20, MISSING, np.uint8), np.full(20, np.nan), 9)
    found = bank.close(50)
    assert (found.values.tolist(), found.missing.tolist(), found.start.tolist()) == ([30], [20], [7])


@pytest.mark.parametrize("extreme", [[1e308, -1e308], [5e-324, 0.0], [1e308, 1e-300]])
def test_extreme_numbers_are_no_error(extreme):
    """Sums may overflow to infinity; codes stay in their range."""
    found, _ = closed(extreme * 40)
    assert found.values.tolist() == [80]


@settings(deadline=None)
@given(st.floats(-1e6, 1e6), st.integers(-20, 20))
def test_a_code_is_near_its_number(value, exponent):
    """The number of a code is within 1/1024 of the distance from the centre, or of the scale."""
    scale = 2.0**exponent
    code = code_of(value, 3.0, scale)
    if abs(code) < 31_000:
        assert abs(value_of(code, 3.0, scale) - value) <= (abs(value - 3.0) + 1 / scale) / 1023


def test_a_series_takes_128_bytes():
    """192,000 series take less than 25 MB."""
    assert ProfileBank().bytes_per_row * 192_000 <= 25e6


@pytest.mark.parametrize("wrong", [{"interval_s": 10}, {"values_min": 5}])
def test_settings_have_limits(wrong):
    """A setting outside its range is one sentence."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ProfileSettings(**wrong)


def test_rows_must_exist():
    """A row that the bank lacks is an error, not a write beyond its memory."""
    bank = ProfileBank()
    with pytest.raises(IndexError):
        bank.update(np.zeros(1, np.int64), np.zeros(1, np.uint8), np.zeros(1), 0)
