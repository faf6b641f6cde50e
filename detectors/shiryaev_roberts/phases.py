"""What is rare in the life of a series of `shiryaev_roberts.py`, done for all series at once that have come to it.

Nearly every series comes to its cells and to its first look; the kernels do those, whole batches of series at a time.
The rest is done series by series.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from detectors.arrays.types import I64
from detectors.shiryaev_roberts import calendar, cells, whitening
from detectors.shiryaev_roberts import dependence as gate
from detectors.shiryaev_roberts import markov_chain as chain
from detectors.shiryaev_roberts.evidence import BLIND, EARLY, follow_all
from detectors.shiryaev_roberts.kernel_types import (
    ALARM,
    CELLS_DUE,
    FIT_DUE,
    HALVING_DUE,
    LOOK_DUE,
    NOTHING,
    REVISION_DUE,
    WEEK_DUE,
)
from detectors.shiryaev_roberts.state import WAITING, WAITING_EARLY, Series
from detectors.shiryaev_roberts.tempering import revise, temper

OUTLIVES = ("way", "alarms", "day", "first_ms")  # what a series that begins anew remembers
TOGETHER = 4096  # series that get their cells at once: bounds the memory it takes


def do_what_is_due(series: Series, rows: I64) -> None:
    """What the last values of these series called for, each row once; see `evidence.py`."""
    due = series["due"][rows]
    series["due"][rows] = NOTHING
    ready = rows[due == CELLS_DUE]
    is_early = series["blind"][ready] == EARLY
    for waited, of in ((WAITING, ready[~is_early]), (WAITING_EARLY, ready[is_early])):
        for first in range(0, len(of), TOGETHER):
            _make_cells(series, of[first : first + TOGETHER], waited)
    _look(series, rows[due == LOOK_DUE])
    revise(series, rows[due == REVISION_DUE])
    for row in calendar.decide(series, rows[due == WEEK_DUE]).tolist():
        whitening.begin_learning(series, row)
    for reason, do in ((FIT_DUE, _end_learning), (HALVING_DUE, cells.halve), (ALARM, _begin_anew)):
        for row in rows[due == reason].tolist():
            do(series, row)


def _make_cells(series: Series, rows: I64, waited: int) -> None:
    samples = series["waiting"][rows, :waited]  # a copy, as cells take its place
    cells.settle(series, rows, np.sort(samples, axis=1), carry_over=waited == WAITING_EARLY)
    series["blind"][rows] = np.where(series["blind"][rows] == 0, BLIND, series["blind"][rows])
    gate.forget(series, rows)
    follow_all(series, rows, cells.scores(samples))
    for k in np.flatnonzero(series["chained"][rows]).tolist():
        one = series[rows[k]]
        one["chained"] = 0
        if chain.fits(one):
            _chain(series, int(rows[k]), np.searchsorted(one["edges"][: one["used"]], samples[k], side="right"))


def settle_early(series: Series, row: int) -> None:
    """Make the cells of a series that alarms while it waits, as its evidence is told by them."""
    one = series[row]
    if one["settled"]:
        return
    values = one["waiting"][: one["filled"]].copy()
    cells.settle(series, np.array([row]), np.sort(values)[np.newaxis], carry_over=True)
    last = values[-len(one["recent"]) :]
    one["recent"][: len(last)] = np.searchsorted(one["edges"][: one["used"]], last, side="right")
    one["recent_n"] = len(last)
    newest = last[-len(one["latest"]) :]
    one["latest"][np.arange(len(last) - len(newest), len(last)) % len(one["latest"])] = newest


def _look(series: Series, rows: I64) -> None:
    """Is there dependence? Those that show some learn it; the others go on."""
    passed = (series["calm"][rows] == 1) & (series["n"][rows] == BLIND)
    passed |= (series["chained"][rows] == 1) | ~gate.depends(series, rows)
    temper(series, rows[passed])
    for row in rows[~passed].tolist():
        _learn_dependence(series, row)


def _end_learning(series: Series, row: int) -> None:
    one, rows = series[row], np.array([row])
    if whitening.has_left(series, row):
        _begin(series, row)
        return
    residuals = whitening.fit(series, row)
    gate.forget(series, rows)
    if residuals is None:
        _begin(series, row)
        one["calm"] = 1
        return
    cells.settle(series, rows, np.sort(residuals)[np.newaxis])
    one["whitened"], one["n"], one["blind"] = 1, len(residuals), BLIND
    follow_all(series, rows, cells.scores(residuals[np.newaxis]))
    temper(series, rows)


def _begin_anew(series: Series, row: int) -> None:
    """After an alarm, all that was learnt is of the old regime, but for whether there is dependence to be learnt."""
    one = series[row]
    if one["whitened"]:
        whitening.begin_learning(series, row)
    elif one["chained"] or (one["alarms"] >= gate.TOO_MANY and chain.fits(one)):
        _begin(series, row)
        one["chained"], one["blind"] = 1, BLIND
    elif one["alarms"] >= gate.TOO_MANY:
        _learn_dependence(series, row)
    else:
        is_plain = (one["n"] >= BLIND or one["blind"] == EARLY) and one["power"] == 1.0
        _begin(series, row)
        one["blind"], one["power"] = EARLY if is_plain else BLIND, 1.0


def _learn_dependence(series: Series, row: int) -> None:
    one = series[row]
    if chain.fits(one):
        known = min(int(one["recent_n"]), len(one["recent"]))
        _chain(series, row, one["recent"][(int(one["recent_n"]) - known + np.arange(known)) % len(one["recent"])])
        return
    whitening.know_scale(series, row, partial(cells.quantile, series[row]))
    series[row]["calendar"] = 0.0
    whitening.begin_learning(series, row)


def _chain(series: Series, row: int, last: I64) -> None:
    chain.begin(series[row], last)
    series[row]["blind"] = BLIND
    gate.forget(series, np.array([row]))


def _begin(series: Series, row: int) -> None:
    one = series[row]
    kept = {name: one[name] for name in OUTLIVES}
    series[row] = np.zeros((), series.dtype)
    for name, value in kept.items():
        one[name] = value
