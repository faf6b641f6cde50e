"""What a column looked like at training time: a bounded, sorted sample of its values."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from detectors.base import F64


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A training sample, in a form that detectors keep and alerts name.

    >>> Reference.of([3.0, float("nan"), 1.0, 2.0], size_max=1000).values
    array([1., 2., 3.])
    """

    values: F64  # sorted, finite, at most `size_max`
    n_seen: int  # finite values the sample had before thinning
    digest: str  # blake2b-128 of the bytes of `values` (little-endian float64), 32 hex digits

    @classmethod
    def of(cls, values: ArrayLike, size_max: int) -> Self:
        """The finite ones of `values`, in order; more than `size_max` are thinned to evenly spaced order statistics.

        Thinning moves the distribution function by at most 1 / (2 * size_max) anywhere, and is exact and repeatable:
        order and duplicates of the input don't matter to it. ValueError when no finite value is left.
        """
        if size_max < 1:
            raise ValueError(f"a reference must hold at least 1 value, size_max is {size_max}")
        sample = np.asarray(values, np.float64).reshape(-1)
        sample = np.sort(sample[np.isfinite(sample)]) + 0.0  # -0.0 becomes 0.0: they are one number, so one digest
        if not len(sample):
            raise ValueError("the reference holds no finite value; give a sample of the column's training data")
        n_seen = len(sample)
        if n_seen > size_max:
            sample = sample[(2 * np.arange(size_max) + 1) * n_seen // (2 * size_max)]
        sample.flags.writeable = False
        return cls(sample, n_seen, blake2b(sample.astype("<f8").tobytes(), digest_size=16).hexdigest())
