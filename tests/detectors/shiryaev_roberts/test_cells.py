"""Cells follow the order of a sample and nothing else."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detectors.shiryaev_roberts.cells import QUANTILES, halve, quantile, scores, settle
from detectors.shiryaev_roberts.state import CELLS, WORDS, records_of

WHOLE = st.lists(st.integers(-30, 30), min_size=1, max_size=300)
REAL = st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=300)


def ordered(values):
    return np.sort(np.array(values, np.float64))


def fresh(rows=1):
    return records_of(np.zeros((rows, WORDS), np.int64))


def settled(sample):
    series = fresh()
    settle(series, np.array([0]), ordered(sample)[np.newaxis])
    return series


def edges_of(sample):
    one = settled(sample)[0]
    return one["edges"][: one["used"]]


def cells(values, sample):
    return np.searchsorted(edges_of(sample), np.array(values, np.float64), side="right")


def plain_edges(sample):
    """The edges as their definition has them, of one sorted sample."""
    n = len(sample)
    at = (QUANTILES * n + 128) // 256
    at = at[(at >= 1) & (at < n)]
    above = np.nextafter(np.append(sample[at[2 * at <= n] - 1], sample[-1]), np.inf)
    return np.unique(np.concatenate([sample[:1], above, sample[at[2 * at >= n]]]))


def plain_scores(sample):
    """Middle ranks by comparing each value with all."""
    return [(sum(v < x for v in sample) + sum(v <= x for v in sample)) / len(sample) - 1.0 for x in sample]


@given(
    st.lists(st.lists(st.floats(-1e308, 1e308) | st.integers(-3, 3), min_size=9, max_size=9), min_size=1, max_size=5)
)
def test_many_series_at_once_get_the_cells_that_each_would_get(samples):
    """Edges and counts are, bit for bit, those of the plain path, and scores those of the definition."""
    samples = np.array(samples, np.float64)
    series, rows = fresh(7), np.random.default_rng(1).permutation(7)[: len(samples)]
    series["counts"], series["edges"] = 5, 5.0
    settle(series, rows, np.sort(samples, axis=1))
    found = scores(samples)
    for k, (row, sample) in enumerate(zip(rows, samples, strict=True)):
        one, edges = series[row], plain_edges(np.sort(sample))
        counts = np.bincount(np.searchsorted(edges, sample, side="right"), minlength=CELLS)
        assert one["edges"][: one["used"]].tobytes() == edges.tobytes()
        assert not one["edges"][one["used"] :].any()
        assert one["counts"].tolist() == counts.tolist()
        assert (one["total"], one["largest"]) == (9, counts.max())
        assert one["middle"] == np.median(sample)
        assert found[k].tolist() == plain_scores(sample)
    others = np.setdiff1d(np.arange(7), rows)
    assert (series["edges"][others] == 5.0).all()


@given(REAL | WHOLE)
def test_edges_increase_and_fit(sample):
    """There is room for them, each value of the sample lies between the outermost two, and none in the outer cells."""
    edges = edges_of(sample)
    assert len(edges) < CELLS
    assert (np.diff(edges) > 0).all()
    assert edges[0] <= min(sample)
    assert edges[-1] > max(sample)


@given(WHOLE)
def test_an_increasing_map_changes_no_cell(sample):
    """Cells of a sample and of its cubes hold the same values."""
    values = np.unique(np.array(sample, np.float64))
    assert (cells(values, sample) == cells(values**3, np.array(sample) ** 3)).all()


@given(WHOLE)
def test_turning_the_sample_round_turns_the_cells_round(sample):
    """So that up and down are seen alike, but for the cells of values that can't occur."""
    values = np.unique(np.array(sample, np.float64))
    down = cells(-values, -np.array(sample))
    up = cells(values, sample)
    assert (np.diff(up) > 0).tolist() == (np.diff(-down) > 0).tolist()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=300))
def test_few_different_values_have_a_cell_each(sample):
    """Where equal values are many, none shares its cell with another value that is frequent."""
    values, counts = np.unique(np.array(sample, np.float64), return_counts=True)
    often = values[counts * 16 > len(sample)]
    assert len(np.unique(cells(often, sample))) == len(often)


@given(WHOLE)
def test_settling_counts_the_sample(sample):
    """Every value is counted in its cell, and there is no evidence."""
    one = settled(sample)[0]
    expected = np.bincount(cells(sample, sample), minlength=CELLS)
    assert one["counts"].tolist() == expected.tolist()
    assert (one["total"], one["largest"]) == (len(sample), expected.max())
    assert (one["settled"], one["evidence"], one["power"]) == (1, 0.0, 1.0)
    assert not one["sums"].any()


def test_quantiles_are_read_from_the_cells():
    """Up to the width of a cell; exactly where a value has a cell of its own."""
    sample = np.random.default_rng(2).normal(size=1000)
    series = settled(sample)
    for share in (0.1, 0.5, 0.84):
        assert abs(np.mean(sample <= quantile(series[0], share)) - share) < 0.02
    series = settled(np.random.default_rng(3).integers(0, 3, 1000))
    assert abs(quantile(series[0], 0.5) - 1.0) < 1e-9


def test_halving_keeps_rare_values():
    """No cell that has been hit becomes empty."""
    series = settled(np.random.default_rng(1).normal(size=128))
    before = series[0]["counts"].copy()
    halve(series, 0)
    after = series[0]["counts"]
    assert ((after > 0) == (before > 0)).all()
    assert series[0]["total"] == after.sum()


def test_scores_are_middle_ranks():
    """Equal values share the middle of their ranks; all of them average to 0."""
    assert scores(np.array([[5.0, 1.0, 5.0, 9.0]])).tolist() == [[0.0, -0.75, 0.0, 0.75]]
    assert scores(np.zeros((1, 3))).tolist() == [[0.0, 0.0, 0.0]]
