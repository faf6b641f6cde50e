"""The columns of a frame, each with its own detector, under one promise of false alarms.

    watched = ColumnDetectors(arl0=1e5, reference=train)
    for alarm in watched.update_many(frame):
        print(alarm)

Numbers go to `shiryaev_roberts`, texts to `category_rates`. `arl0` counts rows: of k columns, each raises a false alarm
in k times so many of its values, so the mean number of rows between false alarms of all columns is at least `arl0`
wherever the promise of each column holds (`docs/detectors/statistics.md`). That is the union bound of C. E. Bonferroni,
1936, in place of the level of a test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detectors.notebook.inputs import milliseconds
from detectors.notebook.named import CategoryRates, ShiryaevRoberts
from detectors.notebook.single import SingleDetector

COLUMNS_MAX: Final = 10_000
ARL0_MAX: Final = 1e12  # of a column
TOLERANCE_MIN: Final = 0.0001  # of shares


class ColumnAlarm(NamedTuple):
    """An alarm of one column. `at` and `onset` are indices of rows since the beginning."""

    at: int
    column: str
    onset: int | None
    effect: float
    effect_unit: str
    before: float
    after: float
    category: str | int | None  # whose share before and after are; None for numbers


class ColumnDetectors:
    """A detector for each column of a dict or frame, which share one rate of false alarms.

    arl0: mean number of rows between false alarms of all columns together, 1,000 to 1e12 / columns.
    tolerance: how far a distribution function, or a share, may move and be fine; see the settings of both detectors.
    reference: a frame or dict of training data, whose columns are watched. Without one, the columns of the first rows
        are, and each learns from its first values.

    A frame is anything with `columns` or `column_names`, and columns by name: pandas, polars, pyarrow, or a dict of
    arrays. Values that are missing (None, NaN) are left out and counted in `missing`; infinities are an error.
    """

    def __init__(self, *, arl0: float = 1e5, tolerance: float = 0.01, reference: Any = None) -> None:
        self.arl0 = arl0
        self.tolerance = tolerance
        self.detectors: dict[str, SingleDetector] = {}
        self.missing: dict[str, int] = {}
        self.n_seen = 0  # rows
        if reference is not None:
            columns = _columns(reference)
            self._watch(columns, {name: _present(name, values)[0] for name, values in columns.items()})

    def __repr__(self) -> str:
        options = f"arl0={self.arl0!r}, tolerance={self.tolerance!r}"
        return f"ColumnDetectors({options})  # {len(self.detectors):,} columns, {self.n_seen:,} rows"

    def _watch(self, columns: Mapping[str, ArrayLike], references: Mapping[str, NDArray[Any]] | None) -> None:
        if not 1 <= len(columns) <= COLUMNS_MAX:
            raise ValueError(f"there are 1 to {COLUMNS_MAX:,} columns to watch, got {len(columns):,}")
        each = self.arl0 * len(columns)
        if not self.arl0 >= 1e3 or each > ARL0_MAX:
            raise ValueError(
                f"arl0 must lie between 1,000 and {ARL0_MAX / len(columns):.3g} rows for {len(columns)} columns, "
                f"got {self.arl0:g}"
            )
        for name, values in columns.items():
            known = None if references is None else references[name]
            if _present(name, values)[0].dtype.kind == "U":
                least = max(self.tolerance, TOLERANCE_MIN)
                self.detectors[name] = CategoryRates(arl0=each, tolerance=least, reference=known)
            else:
                self.detectors[name] = ShiryaevRoberts(arl0=each, tolerance=self.tolerance, reference=known)
            self.missing[name] = 0

    def update(self, row: Mapping[str, Any], *, time_ms: int = 0) -> list[ColumnAlarm]:
        """Process one row, a dict of values by column; its alarms. Much slower a value than `update_many`."""
        return self.update_many({name: [value] for name, value in row.items()}, time_ms=time_ms)

    def update_many(self, frame: Any, *, time_ms: ArrayLike = 0) -> list[ColumnAlarm]:
        """Process the rows of a frame or dict of columns [n]; the alarms in order of rows, then of columns.

        `time_ms` as in `SingleDetector.update_many`. ValueError for a column that is missing, for columns of different
        lengths, and for what a column's detector cannot take; then no row is processed.
        """
        columns = _columns(frame)
        if not self.detectors:
            self._watch(columns, None)
        if lacking := sorted(self.detectors.keys() - columns.keys()):
            raise ValueError(f"column {lacking[0]!r} is missing: pass all columns that are watched, with None or NaN")
        taken = {name: _present(name, columns[name]) for name in self.detectors}
        lengths = {len(there) for _, there in taken.values()}
        if len(lengths) != 1:
            raise ValueError(f"columns must have one length, got {sorted(lengths)}")
        n = lengths.pop()
        times = milliseconds("ColumnDetectors", time_ms, n)
        for name, (values, _) in taken.items():
            if (values.dtype.kind == "U") != (self.detectors[name].name == "category_rates"):
                raise ValueError(f"column {name!r} held {'numbers' if values.dtype.kind == 'U' else 'texts'} before")
        found = [alarm for name in taken for alarm in self._alarms(name, *taken[name], times)]
        self.n_seen += n
        return sorted(found, key=lambda alarm: alarm.at)  # stable, so columns keep their order

    def _alarms(
        self, name: str, values: NDArray[Any], there: NDArray[np.bool_], times: NDArray[np.int64]
    ) -> list[ColumnAlarm]:
        """The alarms of one column; `there` [rows]: whether the row has a value."""
        watched = self.detectors[name]
        self.missing[name] += int(np.count_nonzero(~there))
        if not len(values):
            return []
        rows = self.n_seen + np.flatnonzero(there)
        alarms = watched.update_many(values, time_ms=times[there])
        texts = watched._texts
        return [
            ColumnAlarm(
                int(rows[one.at]),
                name,
                _row_of(rows, one.at - one.onset_ago, self.n_seen) if one.onset_ago >= 0 else None,
                one.effect,
                watched.effect_unit,
                one.before,
                one.after,
                None if texts is None else texts.text(one.category),
            )
            for one in alarms
        ]

    def reset(self) -> Self:
        """Forget all rows; references stay. Returns itself."""
        for watched in self.detectors.values():
            watched.reset()
        self.missing = dict.fromkeys(self.missing, 0)
        self.n_seen = 0
        return self


def _row_of(rows: NDArray[np.int64], value: int, first: int) -> int:
    """The row of a value, counted from the first of this call. Before it, every row is taken to have had a value."""
    return int(rows[value]) if value >= 0 else max(first + value, 0)


def _columns(frame: Any) -> dict[str, Any]:
    """The columns of a frame or dict by name. ValueError for what has no named columns."""
    if isinstance(frame, Mapping):
        return {str(name): values for name, values in frame.items()}
    names = getattr(frame, "column_names", None)  # pyarrow; its `columns` are arrays without names
    names = getattr(frame, "columns", None) if names is None else names
    if names is None:
        raise ValueError(f"pass a frame or a dict of columns, got {type(frame).__name__}")
    return {str(name): frame[name] for name in names}


def _present(name: str, values: ArrayLike) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The values of a column that are not missing, as doubles or texts, and where they are [rows]."""
    given = np.asarray(values)
    if given.ndim != 1:
        raise ValueError(f"column {name!r} has shape {given.shape}: pass one value a row")
    if given.dtype.kind in "mM":
        raise ValueError(f"column {name!r} holds times ({given.dtype}): pass one of them as time_ms, and drop the rest")
    if given.dtype.kind in "biuf":
        there = ~np.isnan(given.astype(np.float64))
        return given[there].astype(np.float64), there
    held = given.tolist()
    there = np.array([not (one is None or (isinstance(one, float) and math.isnan(one))) for one in held], np.bool_)
    left = [one for one, is_there in zip(held, there, strict=True) if is_there]
    if all(isinstance(one, str) for one in left):
        return np.array(left, np.str_), there
    try:
        return np.array([float(one) for one in left]), there
    except (TypeError, ValueError):
        odd = next(one for one in left if not isinstance(one, int | float))
        raise ValueError(f"column {name!r} mixes texts and other values, such as {odd!r}") from None
