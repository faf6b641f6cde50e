"""The training data of a column: a bounded, sorted sample of numbers, or the counts of categories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike

from detectors.arrays.types import F64, I64


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A training sample, as detectors keep it and alerts name it.

    >>> Reference.of([3.0, float("nan"), 1.0, 2.0], size_max=1000).values
    array([1., 2., 3.])
    """

    values: F64  # sorted, finite, at most `size_max`
    n_seen: int  # finite values the sample had before thinning
    digest: str  # blake2b-128 of the bytes of `values` (little-endian float64), 32 hex digits
    low: float  # the least and the greatest value before thinning
    high: float
    n_missing: int = 0  # rows of the training data beside `n_seen`, whose value was null, NaN or infinite

    @classmethod
    def of(cls, values: ArrayLike, size_max: int) -> Self:
        """The finite `values` in order; more than `size_max` are thinned to evenly spaced order statistics.

        Thinning moves the distribution function by at most 1 / (2 * size_max) anywhere. It does not depend on the order
        of the input. ValueError when no value is finite.
        """
        given = np.asarray(values, np.float64).reshape(-1)
        sample = np.sort(given[np.isfinite(given)]) + 0.0  # -0.0 becomes 0.0: they are one number, so one digest
        if not len(sample):
            raise ValueError("the reference holds no finite value; give a sample of the column's training data")
        n_seen = len(sample)
        kept = thinned(sample, size_max)
        return cls(kept, n_seen, digest_of(kept), float(sample[0]), float(sample[-1]), len(given) - n_seen)

    def allows_rounding(self) -> bool:
        """Whether rounding to the precision of a float32 moves no value by more than .0001 of the sample's spread.

        The spread is from the 5th to the 95th percentile, or the range where that is 0.
        """
        n = len(self.values)
        spread = float(self.values[n - 1 - n // 20] - self.values[n // 20]) or self.high - self.low
        return max(abs(self.low), abs(self.high)) * 2.0**-BITS * CELLS_MIN <= spread

    def up_to_rounding(self) -> Reference:
        """The same with rounded values, if their spread allows that; the digest stays."""
        if not self.allows_rounding():
            return self
        low, high = rounded(np.array([self.low, self.high])).tolist()
        return Reference(rounded(self.values), self.n_seen, self.digest, low, high, self.n_missing)

    def no_larger_than(self, size_max: int) -> Reference:
        """The same with at most `size_max` values, and their digest."""
        if len(self.values) <= size_max:
            return self
        kept = thinned(self.values, size_max)
        return Reference(kept, self.n_seen, digest_of(kept), self.low, self.high, self.n_missing)


BITS: Final = 24  # of a float32
CELLS_MIN: Final = 10_000  # rounding merges at most that share of the values of a sample, 0.01 %


def rounded(values: F64) -> F64:
    """The values to 24 significant bits, as a float32 has them. Whole numbers up to 2**24 stay as they are."""
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.rint(mantissa * (1 << BITS)), exponent - BITS), np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class CategoryReference:
    """The categories of a training sample with their counts.

    >>> reference = CategoryReference.of({"sun": 70, "rain": 30}, n_missing=2)
    >>> reference.names, reference.sample(10).tolist()
    (('rain', 'sun'), [0, 0, 0, 1, 1, 1, 1, 1, 1, 1])
    """

    names: tuple[str, ...]  # in the order of their code points
    counts: I64  # of each, 1 or more
    digest: str  # blake2b-128 of names and counts, 32 hex digits
    n_missing: int = 0

    @classmethod
    def of(cls, counts: Mapping[str, int], n_missing: int = 0) -> Self:
        """A reference with these counts. ValueError for no category, or for a count below 1."""
        names = tuple(sorted(counts))
        ordered = np.array([counts[name] for name in names], np.int64)
        if not names or ordered.min() < 1:
            raise ValueError("a reference of categories needs one category or more, each with a count from 1 up")
        ordered.flags.writeable = False
        said = "\0".join([f"{len(name)}:{name}={n}" for name, n in zip(names, ordered.tolist(), strict=True)])
        return cls(names, ordered, blake2b(said.encode(), digest_size=16).hexdigest(), n_missing)

    @property
    def n_seen(self) -> int:
        """The sum of the counts."""
        return int(self.counts.sum())

    def sample(self, size_max: int) -> I64:
        """A sample with these shares, as indices into `names`; thinned to `size_max` values like numbers."""
        n = self.n_seen
        if n <= size_max:
            return np.repeat(np.arange(len(self.names)), self.counts)
        return np.searchsorted(np.cumsum(self.counts), _spaced(n, size_max), side="right")


def thinned(ordered: F64, size_max: int) -> F64:
    """Evenly spaced order statistics of sorted values, at most `size_max`; read-only. ValueError for a size below 1."""
    if size_max < 1:
        raise ValueError(f"a reference must hold at least 1 value, size_max is {size_max}")
    n = len(ordered)
    kept = ordered if n <= size_max else ordered[_spaced(n, size_max)]
    kept.flags.writeable = False
    return kept


def digest_of(values: F64) -> str:
    """The blake2b-128 digest of the values of a reference, in 32 hex digits."""
    return blake2b(values.astype("<f8").tobytes(), digest_size=16).hexdigest()


def _spaced(n: int, size: int) -> I64:
    """The indices of `size` evenly spaced ones of `n` values."""
    return np.asarray((2 * np.arange(size) + 1) * n // (2 * size), np.int64)
