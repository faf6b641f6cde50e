"""The state of many series as named arrays: entry `i` of every array belongs to series `i`, and zeros are a fresh
series.

That one convention makes the rest small: to reset a row is to fill it with zeros, to grow is to append zeros, and
memory of rows nobody has touched is never paid for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from detectors.arrays.types import F64, I64

Layout = Mapping[str, tuple[DTypeLike, tuple[int, ...]]]  # name -> type, and shape of one row


class RowArrays:
    """`rows` rows of state; room is doubled when it runs out, so growing row by row costs a constant per row."""

    def __init__(self, layout: Layout, rows: int) -> None:
        if rows < 0:
            raise ValueError(f"a bank can't hold {rows} rows; ask for 0 or more")
        self.rows = rows
        self._layout = layout
        self.arrays: dict[str, NDArray[Any]] = {
            name: np.zeros((rows, *shape), dtype) for name, (dtype, shape) in layout.items()
        }

    @property
    def bytes_per_row(self) -> int:
        return sum(np.dtype(dtype).itemsize * int(np.prod(shape)) for dtype, shape in self._layout.values())

    def grow(self, rows: int) -> None:
        """Hold at least `rows` rows; new ones are fresh."""
        if rows <= self.rows:
            return
        room = len(next(iter(self.arrays.values())))
        if rows > room:
            for name, (dtype, shape) in self._layout.items():
                larger = np.zeros((max(rows, 2 * room), *shape), dtype)
                larger[: self.rows] = self.arrays[name][: self.rows]
                self.arrays[name] = larger
        self.rows = rows

    def reset(self, rows: I64) -> None:
        """Make these rows fresh."""
        self.check_rows(np.asarray(rows, np.int64))
        for array in self.arrays.values():
            array[rows] = 0

    def view(self, rows: slice) -> dict[str, NDArray[Any]]:
        """These rows themselves: good until the next change of any of them."""
        return {name: array[: self.rows][rows] for name, array in self.arrays.items()}

    def dump(self, rows: slice) -> dict[str, NDArray[Any]]:
        """A copy of these rows."""
        return {name: array.copy() for name, array in self.view(rows).items()}

    def load(self, rows: slice, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Put back what `dump` gave; ValueError when it came from other settings or another number of rows."""
        targets = self.view(rows)
        for name, target in targets.items():
            self._check_fit(name, arrays.get(name), target.shape)
        for name, target in targets.items():
            target[...] = arrays[name]

    def adopt(self, rows: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Hold just these rows, in the very arrays that are given; ValueError as `load`.

        Arrays may be longer: what is behind the rows is room for more, and must be zeros.
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
        """IndexError unless every row exists; kernels write where they are told."""
        if len(rows) and (int(rows.min()) < 0 or int(rows.max()) >= self.rows):
            raise IndexError(
                f"rows must lie in 0 to {self.rows - 1}, got {rows.min()} to {rows.max()}; call grow first"
            )

    def checked(self, rows: I64, values: F64) -> tuple[I64, F64]:
        """Both as kernels want them; IndexError or ValueError when they don't fit the bank or each other."""
        rows = np.ascontiguousarray(rows, np.int64)
        values = np.ascontiguousarray(values, np.float64)
        if rows.ndim != 1 or rows.shape != values.shape:
            raise ValueError(f"rows and values must be two vectors of one length, got {rows.shape} and {values.shape}")
        self.check_rows(rows)
        return rows, values


class RowBank:
    """A bank whose state is `RowArrays`: all of `detectors.base.Bank` but what its detector makes of values."""

    takes: ClassVar[str] = "numbers"

    def __init__(self, layout: Layout, rows: int) -> None:
        self._store = RowArrays(layout, rows)

    @property
    def rows(self) -> int:
        """How many series the bank holds."""
        return self._store.rows

    @property
    def bytes_per_row(self) -> int:
        """Bytes of state a series takes."""
        return self._store.bytes_per_row

    def grow(self, rows: int) -> None:
        """Hold at least `rows` series; new ones are fresh."""
        self._store.grow(rows)

    def reset(self, rows: I64) -> None:
        """Make these series fresh again, as if nothing had been seen: learnt or given references are gone too."""
        self._store.reset(rows)

    def view(self, rows: slice) -> dict[str, NDArray[Any]]:
        """The state of these series itself: good until the next update."""
        return self._store.view(rows)

    def dump(self, rows: slice) -> dict[str, NDArray[Any]]:
        """A copy of the state of these series."""
        return self._store.dump(rows)

    def load(self, rows: slice, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Put back what `dump` gave; ValueError when it came from other settings or another number of rows."""
        self._store.load(rows, arrays)

    def adopt(self, rows: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Become the bank whose `rows` series have this state, in the very arrays, which must be nobody else's."""
        self._store.adopt(rows, arrays)
