"""A training sample is bounded, sorted, finite, and has a name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import ks_2samp

from detectors.reference import Reference

samples = arrays(np.float64, st.integers(0, 60), elements=st.floats(-1e300, 1e300) | st.sampled_from([0.0, -0.0, 1.0]))


@given(samples, st.integers(1, 40))
def test_values_are_sorted_finite_and_bounded(sample, size_max):
    """Small samples are kept whole, larger ones thinned to the bound; order of arrival doesn't matter."""
    mixed = np.concatenate([sample, [np.nan, np.inf, -np.inf]])
    if not len(sample):
        with pytest.raises(ValueError, match="no finite value"):
            Reference.of(mixed, size_max)
        return
    reference = Reference.of(mixed, size_max)
    assert reference.n_seen == len(sample)
    assert len(reference.values) == min(len(sample), size_max)
    assert (np.diff(reference.values) >= 0).all()
    assert np.isin(reference.values, sample).all()
    if len(sample) <= size_max:
        assert (reference.values == np.sort(sample)).all()
    assert reference.digest == Reference.of(mixed[::-1], size_max).digest


@given(st.integers(1, 300), st.integers(1, 40))
def test_thinning_moves_the_distribution_by_half_a_step(n, size_max):
    """Nowhere by more than 1 / (2 size) plus half a value of the sample."""
    sample = np.arange(n, dtype=float)
    kept = Reference.of(sample, size_max).values
    assert ks_2samp(kept, sample).statistic <= 0.5 / len(kept) + 0.5 / n + 1e-12 or len(kept) == n


def test_thinning_again_changes_nothing():
    """A reference that was thinned on the way is the same reference."""
    first = Reference.of(np.random.default_rng(1).normal(size=10_000), 500)
    again = Reference.of(first.values, 500)
    assert (again.values == first.values).all()
    assert again.digest == first.digest


def test_the_digest_names_the_content():
    """32 hex digits, equal for equal values (0 and -0 are equal), different otherwise; the same on every machine."""
    assert Reference.of([0.0, 1.0], 10).digest == Reference.of([1.0, -0.0], 10).digest
    assert Reference.of([0.0, 1.0], 10).digest != Reference.of([0.0, 1.5], 10).digest
    assert Reference.of([1.0, 2.0], 10).digest == DIGEST_OF_ONE_AND_TWO


DIGEST_OF_ONE_AND_TWO = "b3a3a5c70035515eba3262d0c8238cb0"


def test_values_cannot_be_changed():
    """A digest once published stays true."""
    with pytest.raises(ValueError, match="read-only"):
        Reference.of([1.0], 10).values[0] = 2.0


def test_a_bound_below_one_is_refused():
    """There is no reference of nothing."""
    with pytest.raises(ValueError, match="at least 1 value"):
        Reference.of([1.0], 0)
