"""What is rare in the life of a series of `shiryaev_roberts.py`, done for all series at once that have come to it.

Nearly every series comes to its cells and to its first look; the kernels do those, whole batches of series at a time.
The rest is done series by series.

*Chains* are series of few distinct values, each of which depends on the one before: errors that come in runs, a door
that stays open, two buses that report in turn. What an ARMA leaves of such a series still depends on the value before,
as its law does. So a value is ranked among those that followed the same value. For a Markov chain these are independent
draws of one law for each value, so what holds for ranks holds for them. Where few values have followed, all values are
used, so that a new value that stays is seen.

*Tempering*: likelihood ratios count for less where values depend on earlier ones, or may, as far as is known. Their
power is 1 / long-run variance. Before that is estimated again for a whitened series, its coefficients are revised.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from detectors.arrays.jit import kernel
from detectors.arrays.types import F64, I64
from detectors.shiryaev_roberts import calendar, cells, dependence, whitening
from detectors.shiryaev_roberts.arma import PHI_MAX, THETA_MAX
from detectors.shiryaev_roberts.dependence import SLOW, TOO_MANY
from detectors.shiryaev_roberts.early import BLIND, EARLY
from detectors.shiryaev_roberts.evidence import follow_all
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
from detectors.shiryaev_roberts.state import CHAINED, WAITING, WAITING_EARLY, Record, Series

OUTLIVES = ("way", "took", "alarms", "day", "first_ms")  # what a series that begins again remembers
TOGETHER = 4096  # series that get their cells at once: bounds the memory it takes
DOUBT = 1.5  # by which each alarm too many divides the power
QUIET = 65_536  # values of a whitened series without an alarm, after which one too many is forgotten
LEAST = 256.0  # ranks for which the error of a long-run variance is taken, at least


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
    for reason, do in ((FIT_DUE, _end_learning), (HALVING_DUE, cells.halve), (ALARM, _begin_again)):
        for row in rows[due == reason].tolist():
            do(series, row)


def _make_cells(series: Series, rows: I64, waited: int) -> None:
    samples = series["waiting"][rows, :waited]  # a copy, as cells take its place
    cells.settle(series, rows, np.sort(samples, axis=1), carry_over=waited == WAITING_EARLY)
    series["blind"][rows] = np.where(series["blind"][rows] == 0, BLIND, series["blind"][rows])
    dependence.forget(series, rows)
    follow_all(series, rows, cells.scores(samples))
    for k in np.flatnonzero(series["chained"][rows]).tolist():
        one = series[rows[k]]
        one["chained"] = 0
        if fits_chain(one):
            _chain(series, int(rows[k]), np.searchsorted(one["edges"][: one["used"]], samples[k], side="right"))


def settle_early(series: Series, row: int) -> None:
    """Make the cells of a series that alarms while it waits, as its evidence is shown by them."""
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
    passed |= (series["chained"][rows] == 1) | ~dependence.depends(series, rows)
    temper(series, rows[passed])
    for row in rows[~passed].tolist():
        _learn_dependence(series, row)


def _end_learning(series: Series, row: int) -> None:
    one, rows = series[row], np.array([row])
    if whitening.has_left(series, row):
        _begin(series, row)
        return
    residuals = whitening.fit(series, row)
    dependence.forget(series, rows)
    if residuals is None:
        _begin(series, row)
        one["calm"] = 1
        return
    cells.settle(series, rows, np.sort(residuals)[np.newaxis])
    one["whitened"], one["n"], one["blind"] = 1, len(residuals), BLIND
    follow_all(series, rows, cells.scores(residuals[np.newaxis]))
    temper(series, rows)


def _begin_again(series: Series, row: int) -> None:
    """After an alarm, all that was learned is of the old regime, but for whether there is dependence to be learned."""
    one = series[row]
    if one["whitened"]:
        whitening.begin_learning(series, row)
    elif one["chained"] or (one["alarms"] >= TOO_MANY and fits_chain(one)):
        _begin(series, row)
        one["chained"], one["blind"] = 1, BLIND
    elif one["alarms"] >= TOO_MANY:
        _learn_dependence(series, row)
    else:
        is_plain = (one["n"] >= BLIND or (one["blind"] == EARLY and one["known"][0] == 0.0)) and one["power"] == 1.0
        _begin(series, row)
        one["blind"], one["power"] = EARLY if is_plain else BLIND, 1.0


def _learn_dependence(series: Series, row: int) -> None:
    one = series[row]
    if fits_chain(one):
        known = min(int(one["recent_n"]), len(one["recent"]))
        _chain(series, row, one["recent"][(int(one["recent_n"]) - known + np.arange(known)) % len(one["recent"])])
        return
    whitening.know_scale(series, row, partial(cells.quantile, series[row]))
    series[row]["calendar"] = 0.0
    whitening.begin_learning(series, row)


def _chain(series: Series, row: int, last: I64) -> None:
    begin_chain(series[row], last)
    series[row]["blind"] = BLIND
    dependence.forget(series, np.array([row]))


def _begin(series: Series, row: int) -> None:
    one = series[row]
    kept = {name: one[name] for name in OUTLIVES}
    series[row] = np.zeros((), series.dtype)
    for name, value in kept.items():
        one[name] = value


def fits_chain(one: Record) -> bool:
    """Whether a series that has cells has few enough distinct values for a chain."""
    return len(_edges(one)) < CHAINED


def begin_chain(one: Record, cells: I64) -> None:
    """Count pairs of successive values from now on, and those of the last values, which lie in these cells."""
    edges = _edges(one)
    moved = np.searchsorted(edges, one["edges"][: one["used"]], side="right")  # cell k + 1 becomes this one
    after = np.concatenate([[0], moved])[cells]
    one["edges"][:], one["counts"][:] = 0.0, 0
    one["edges"][: len(edges)] = edges
    np.add.at(one["counts"], CHAINED * after[:-1] + after[1:], 1)
    one["used"], one["total"], one["n"] = len(edges), len(after) - 1, len(after) - 1
    one["chained"], one["state"], one["recent_n"] = 1, after[-1], 0
    for evidence in ("sums", "aged", "beyond", "evidence"):
        one[evidence] = 0.0
    one["power"] = 1.0


def _edges(one: Record) -> F64:
    """The edges above some value. Each value has a cell of its own, and there is one beyond either end."""
    used = int(one["used"])
    is_empty = one["counts"][1:used] == 0
    edges: F64 = one["edges"][:used][np.concatenate([[True], ~is_empty])]
    return edges


@kernel
def revise(series: Series, rows: I64) -> None:
    """Move the coefficients of these whitened series by what the values since the last time say; temper them again."""
    for k in range(len(rows)):
        one = series[rows[k]]
        if one.n % QUIET == 0:
            one.alarms = max(0, one.alarms - 1)
        _revise(one)
        _temper(one)


@kernel
def temper(series: Series, rows: I64) -> None:
    """Set the power of the likelihood ratios of these series."""
    for k in range(len(rows)):
        _temper(series[rows[k]])


@kernel
def _revise(one: Record) -> None:
    """A Gauss-Newton step."""
    pp, pq, qq = one.known[0], one.known[1], one.known[2]
    p, q, area = one.steps[0], one.steps[1], pp * qq - pq * pq
    if one.theta == 0.0 or area <= 1e-6 * pp * qq:
        one.phi = max(-PHI_MAX, min(PHI_MAX, one.phi + p / (pp + 1.0)))
    else:
        one.phi = max(-PHI_MAX, min(PHI_MAX, one.phi + (qq * p - pq * q) / area))
        one.theta = max(-THETA_MAX, min(THETA_MAX, one.theta + (pp * q - pq * p) / area))
    one.steps[:] = 0.0


@kernel
def _temper(one: Record) -> None:
    """1 / long-run variance of the ranks, at most 1.

    A plain series takes three standard errors off that variance, so it pays nothing unless dependence is proven. A
    whitened one takes the estimate, or what an error of two standard errors in its coefficients leaves, if that is
    more: they whiten a slow change as far as (1 - phi) / (1 + theta) is right.
    """
    n = max(LEAST, float(one.pairs))
    error = 2.0 * SLOW / math.sqrt((2.0 * SLOW - 1.0) * n)
    slow = max(one.qq_slow / max(one.qq, 1e-9), one.pp_slow / max(one.pp, 1e-9))
    variance = max(1.0, 1.0 + 2.0 * SLOW * slow - (0.0 if one.whitened else 3.0 * error))
    if one.whitened:
        pp, pq, qq = one.known[0] + 1.0, one.known[1], one.known[2]
        x = 1.0 / (1.0 - abs(one.phi))
        squared = x * x / pp  # error of the logarithm of (1 - phi) / (1 + theta)
        if one.theta != 0.0:
            y, area = 1.0 / (1.0 + one.theta), max(pp * qq - pq * pq, 1e-3 * pp * qq)
            squared = (qq * x * x - 2.0 * pq * x * y + pp * y * y) / area
        inflated = 1.0 + 2.0 * math.sqrt(max(squared, 0.0))
        variance = max(variance, 1.05 * inflated * inflated)
    one.power = 1.0 / (variance * DOUBT ** max(0, one.alarms - TOO_MANY))
