"""Profiles of many series, one open interval each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.bounds import require_between
from detectors.arrays.rows import RowArrays
from detectors.arrays.types import F64, I64, U8
from detectors.profile import layout as rows_of
from detectors.profile.kernels import count
from detectors.profile.summary import DECILES, STATS, WHOLE, begin_interval, size_code, summarise
from detectors.reference import Reference

LAYOUT: Final = {"state": (np.int64, (rows_of.WORDS,))}
FIXED_MAX: Final = rows_of.SLOTS - 2  # categories of a reference that are counted


@dataclass(frozen=True, slots=True)
class ProfileSettings:
    """Profiles of columns: what the values of each interval of event time are like, on the topic `outputs.profiles`.

    publish: whether profiles are made and published; the service then needs the topic.
    interval_s: length of an interval, in seconds of the unit's event time; intervals are whole multiples since 1970.
    values_min: values that a column needs before its interval closes; one with fewer goes on into the next.
    """

    publish: bool = True
    interval_s: int = 86_400
    values_min: int = 50

    def __post_init__(self) -> None:
        """Raises `ValueError` with a sentence."""
        require_between(self, interval_s=(60, 366 * 86_400), values_min=(20, 1_000_000))


def most_frequent(ordered: F64, otherwise: float) -> float:
    """The most frequent of sorted numbers if it makes up a tenth of them, which a grid holds exactly."""
    found, count = np.unique(ordered, return_counts=True)
    most = int(np.argmax(count))
    return float(found[most]) if count[most] > 1 and count[most] * 10 >= len(ordered) else otherwise


class Summaries(NamedTuple):
    """The closed intervals of `k` series."""

    row: I64  # [k] ascending
    is_number: NDArray[np.bool_]  # [k]; False: categories, or nothing but missing and faulty values
    values: I64  # [k] numbers or categories
    missing: I64  # [k]
    faults: I64  # [k] values of the wrong type
    start: I64  # [k] number of the interval of the first value
    stats: F64  # [k, 9] mean, sd, percentiles 5, 25, 50, 75, 95, PSI, KS; NaN: unknown
    cells: NDArray[np.uint16]  # [k, 10] thousandths: up to each decile of the reference; of categories, of each id
    compared: U8  # [k] cells behind PSI and KS; 0: without a reference
    size: U8  # [k] 8 log2 of the size of the reference
    ids: F64  # [k, 8] categories, NaN: none; those of the reference first


class ProfileBank:
    """The open intervals of `rows` series; 128 bytes each. How values are cut into updates never shows."""

    def __init__(self) -> None:
        self._store = RowArrays(LAYOUT, 0)

    @property
    def rows(self) -> int:
        """How many series it holds."""
        return self._store.rows

    @property
    def bytes_per_row(self) -> int:
        """Bytes of state a series."""
        return self._store.bytes_per_row

    def grow(self, rows: int) -> None:
        """Hold at least `rows` series."""
        self._store.grow(rows)

    def set_numbers(self, row: int, reference: Reference) -> None:
        """Compare a fresh row with this training sample."""
        values, state = reference.values, self._views()
        low, middle, high = values[[len(values) // 20, len(values) // 2, len(values) - 1 - len(values) // 20]].tolist()
        middle = most_frequent(values, middle)
        rows_of.set_grid(state, row, middle, (high - low) or (reference.high - reference.low))
        _, _, g, h, s, b, _ = state
        centre, scale = float(state[0][row, rows_of.CENTRE]), float(g[row, rows_of.SCALE])
        codes = np.array([rows_of.code_of(value, centre, scale) for value in values.tolist()], np.int64)
        at = np.ceil(np.arange(1, DECILES) * len(codes) / DECILES).astype(np.int64) - 1
        edges = codes[np.maximum(at, 0)]
        shares = np.searchsorted(codes, edges, side="right") / len(codes)
        s[row, rows_of.EDGE : rows_of.EDGE + rows_of.EDGES] = edges
        h[row, rows_of.SHARE : rows_of.SHARE + rows_of.EDGES] = np.rint(shares * WHOLE)
        b[row, rows_of.MODE], b[row, rows_of.SIZE] = rows_of.TIES, size_code(float(reference.n_seen))

    def set_categories(self, row: int, ids: F64, shares: F64, size: int) -> None:
        """Compare a fresh row with these categories [c] of training data, the most frequent ones first."""
        f, _, _, h, _, b, _ = self._views()
        fixed = min(len(ids), FIXED_MAX)
        f[row, rows_of.ID : rows_of.ID + fixed] = ids[:fixed]
        h[row, rows_of.ID_SHARE : rows_of.ID_SHARE + fixed] = np.rint(shares[:fixed] * WHOLE)
        b[row, rows_of.MODE], b[row, rows_of.USED], b[row, rows_of.FIXED] = rows_of.NAMES, fixed, fixed
        b[row, rows_of.SIZE] = size_code(float(size))

    def update(self, rows: I64, kinds: U8, values: F64, interval: int) -> None:
        """Count values [m] of these rows, in order, in the interval of this number.

        `kinds` are those of `detectors.series.table.ValueKind`; the value of a category is its id. A row below 0 is
        none. Raises IndexError and ValueError for rows that do not exist and for columns of different lengths.
        """
        if not len(rows) == len(kinds) == len(values):
            raise ValueError(f"there are {len(rows)} rows, {len(kinds)} kinds and {len(values)} values; give one each")
        if len(rows) and rows.max() >= self.rows:
            self._store.check_rows(np.maximum(rows, 0))
        state = self._store.arrays["state"]
        count(
            rows_of.views(state), np.ascontiguousarray(rows), np.ascontiguousarray(kinds),
            np.ascontiguousarray(values), interval, state.ctypes.data,
        )  # fmt: skip

    def close(self, values_min: int) -> Summaries:
        """Close the intervals of all series with so many values, and begin their next ones."""
        words = self._store.arrays["state"].view(np.int32)[: self.rows]
        totals = words[:, rows_of.N].astype(np.int64) + words[:, rows_of.MISSING] + words[:, rows_of.FAULTS]
        row = np.flatnonzero(totals >= values_min)
        state, k = self._views(), len(row)
        stats, ids = np.empty((k, STATS)), np.empty((k, rows_of.SLOTS))
        cells, compared = np.zeros((k, DECILES), np.uint16), np.zeros(k, np.uint8)
        summarise(state, row, stats, cells, compared, ids)
        head, of = words[row].astype(np.int64), state[5][row]
        is_number = (of[:, rows_of.MODE] == rows_of.TIES) | (of[:, rows_of.MODE] == rows_of.SPREAD)
        n, missing = head[:, rows_of.N], head[:, rows_of.MISSING]
        faults, start, size = head[:, rows_of.FAULTS], head[:, rows_of.START], of[:, rows_of.SIZE].copy()
        found = Summaries(row, is_number, n, missing, faults, start, stats, cells, compared, size, ids)
        begin_interval(state, row, values_min)
        return found

    def shift_starts(self, before_s: int, after_s: int) -> None:
        """Renumber the intervals of all series, for another length of intervals."""
        words = self._store.arrays["state"].view(np.int32)[: self.rows]
        words[:, rows_of.START] = words[:, rows_of.START].astype(np.int64) * before_s // after_s

    def dump(self) -> dict[str, NDArray[Any]]:
        """The state; it shows the bank's own memory until the next update."""
        return self._store.view(slice(0, self.rows))

    def load(self, arrays: Mapping[str, NDArray[Any]], *, owned: bool) -> None:
        """Restore what was dumped. owned: the bank may keep the arrays."""
        rows = len(arrays["state"])
        self._store.adopt(rows, arrays if owned else {name: array.copy() for name, array in arrays.items()})

    def _views(self) -> rows_of.State:
        return rows_of.views(self._store.arrays["state"])
