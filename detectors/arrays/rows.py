"""The state of many series as named arrays: entry `i` of every array belongs to series `i`, and zeros are a fresh
series.

By that one convention, resetting a row means filling it with zeros, and growing means appending zeros. Rows that nobody
has touched cost no memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from detectors.arrays.types import F64, I64

Layout = Mapping[str, tuple[DTypeLike, tuple[int, ...]]]  # name -> type, and shape of one row


def multiples(multiple: F64 | None, n: int) -> F64:
    """How many times `arl0` an alarm of each of `n` values needs; once, where nothing else is given."""
    if multiple is None:
        return np.ones(n)
    if multiple.shape != (n,):
        raise ValueError(f"{n} values want a multiple of arl0 each, got {multiple.shape}")
    return np.ascontiguousarray(multiple, np.float64)


class RowArrays:
    """`rows` rows of state. Arrays double when they are full, so growing row by row costs a constant time a row."""

    def __init__(self, layout: Layout, rows: int) -> None:
        if rows < 0:
            raise ValueError(f"a bank cannot hold {rows} rows; give 0 or more")
        self.rows = rows
        self._layout = layout
        self.arrays: dict[str, NDArray[Any]] = {
            name: np.zeros((rows, *shape), dtype) for name, (dtype, shape) in layout.items()
        }

    @property
    def bytes_per_row(self) -> int:
        """Bytes of state a row."""
        return sum(np.dtype(dtype).itemsize * int(np.prod(shape)) for dtype, shape in self._layout.values())

    def grow(self, rows: int) -> None:
        """Hold at least `rows` rows; new ones are fresh."""
        if rows <= self.rows:
            return
        capacity = len(next(iter(self.arrays.values())))
        if rows > capacity:
            for name, (dtype, shape) in self._layout.items():
                larger = np.zeros((max(rows, 2 * capacity), *shape), dtype)
                larger[: self.rows] = self.arrays[name][: self.rows]
                self.arrays[name] = larger
        self.rows = rows

    def reset(self, rows: I64) -> None:
        """Make these rows fresh."""
        self.check_rows(np.asarray(rows, np.int64))
        for array in self.arrays.values():
            array[rows] = 0

    def view(self, rows: slice) -> dict[str, NDArray[Any]]:
        """These rows themselves, not a copy; valid until any of them changes."""
        return {name: array[: self.rows][rows] for name, array in self.arrays.items()}

    def dump(self, rows: slice) -> dict[str, NDArray[Any]]:
        """A copy of these rows."""
        return {name: array.copy() for name, array in self.view(rows).items()}

    def load(self, rows: slice, arrays: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `dump`; ValueError for a state of other settings or of another number of rows."""
        targets = self.view(rows)
        for name, target in targets.items():
            self._check_fit(name, arrays.get(name), target.shape)
        for name, target in targets.items():
            target[...] = arrays[name]

    def adopt(self, rows: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take these arrays, not a copy, as the state of exactly `rows` rows; ValueError as `load`.

        Arrays may be longer; entries behind the rows must be zeros.
        """
        for name, (_, shape) in self._layout.items():
            found = arrays.get(name)
            self._check_fit(name, None if found is None else found[:rows], (rows, *shape))
        self.arrays = {name: arrays[name] for name in self._layout}
        self.rows = rows

    def _check_fit(self, name: str, found: NDArray[Any] | None, shape: tuple[int, ...]) -> None:
        dtype = np.dtype(self._layout[name][0])
        if found is None or found.shape != shape or found.dtype != dtype:
            got = "nothing" if found is None else f"{found.dtype} {found.shape}"
            raise ValueError(
                f"the state doesn't fit: `{name}` should be {dtype} {shape}, got {got}; "
                "it was dumped under other settings or by another version"
            )

    def check_rows(self, rows: I64) -> None:
        """IndexError unless every row exists; kernels do not check."""
        if len(rows) and (int(rows.min()) < 0 or int(rows.max()) >= self.rows):
            raise IndexError(
                f"rows must lie in 0 to {self.rows - 1}, got {rows.min()} to {rows.max()}; call grow first"
            )

    def checked(self, rows: I64, values: F64) -> tuple[I64, F64]:
        """Both as kernels need them; IndexError or ValueError when they do not fit the bank or each other."""
        rows = np.ascontiguousarray(rows, np.int64)
        values = np.ascontiguousarray(values, np.float64)
        if rows.ndim != 1 or rows.shape != values.shape:
            raise ValueError(f"rows and values must be two vectors of one length, got {rows.shape} and {values.shape}")
        self.check_rows(rows)
        return rows, values


class RowBank:
    """A bank whose state is `RowArrays`: all of `detectors.base.Bank` except `update` and `set_reference`."""

    takes: ClassVar[str] = "numbers"

    def __init__(self, layout: Layout, rows: int) -> None:
        self._store = RowArrays(layout, rows)

    @property
    def rows(self) -> int:
        """How many series the bank holds."""
        return self._store.rows

    @property
    def bytes_per_row(self) -> int:
        """Bytes of state a series."""
        return self._store.bytes_per_row

    def grow(self, rows: int) -> None:
        """Hold at least `rows` series; new ones are fresh."""
        self._store.grow(rows)

    def reset(self, rows: I64) -> None:
        """Make these series fresh again; learned and given references are dropped too."""
        self._store.reset(rows)

    def view(self, rows: slice) -> dict[str, NDArray[Any]]:
        """The state of these series, not a copy; valid until the next update."""
        return self._store.view(rows)

    def dump(self, rows: slice) -> dict[str, NDArray[Any]]:
        """A copy of the state of these series."""
        return self._store.dump(rows)

    def load(self, rows: slice, arrays: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `dump`; ValueError for a state of other settings or of another number of rows."""
        self._store.load(rows, arrays)

    def adopt(self, rows: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take this state of `rows` series without a copy; the caller must not use the arrays again."""
        self._store.adopt(rows, arrays)
