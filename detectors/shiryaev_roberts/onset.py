"""What an alarm of `shiryaev_roberts.py` says: since when, how much, from where to where."""

from __future__ import annotations

import math
from sys import float_info

import numpy as np

from detectors.arrays.alarm_list import Evidence
from detectors.arrays.onset import median
from detectors.arrays.types import F64, I64
from detectors.shiryaev_roberts.alternatives import STEPS, Tables
from detectors.shiryaev_roberts.state import CHAINED, Record, Series
from detectors.shiryaev_roberts.sums import EVIDENCE_MIN
from detectors.shiryaev_roberts.whitening import in_units

SLACK = 2.0  # of the logarithm of the likelihood ratio since the onset, which chance may add before it
GREAT = 12  # last values within which a great change begins
MOST_OF_TWO = 4  # edges of a series of two values


def evidence_of(series: Series, row: int, tables: Tables, arl0: float) -> Evidence:
    """The evidence of an alarm that has just come; every number is finite."""
    one = series[row]
    ago = onset_ago(one, tables)
    newest = min(ago + 1, int(one["recent_n"]), len(one["recent"]))
    recent = _newest_cells(one, newest)
    used = int(one["used"])
    now = np.bincount(recent, minlength=used + 1)
    before = _counts(one)[: used + 1] - now
    location = _location(one, before, now)
    distance = np.abs(np.cumsum(before) / max(before.sum(), 1) - np.cumsum(now) / newest).max()
    return Evidence(
        statistic=float(one["evidence"]),
        threshold=max(arl0 - int(one["blind"]), EVIDENCE_MIN),
        effect=float(distance),
        before=location[0],
        after=location[1],
        onset_ago=ago,
        n_reference=int(before.sum()),
        n_current=ago + 1,
    )


def onset_ago(one: Record, tables: Tables) -> int:
    """How many values ago the change began: the mean age of the onset, or less where the change is great.

    Few values bring the alarm then, and the mean still counts what lies before them. If the alternative that has most
    evidence begins to gain within the last values (E. S. Page, "Continuous inspection schemes", 1954), it begins there;
    gains before that are no onset while chance may bring them.
    """
    age, kept = mean_age(one, tables), min(int(one["recent_n"]), len(one["recent"]))
    if one["chained"] or kept == 0:
        return age
    shares = _counts(one) / int(one["total"])
    ends = np.concatenate([[0.0], np.cumsum(shares)])
    likeliest = int(np.argmax(tables.weight * one["sums"]))
    held = np.diff(np.interp(ends, np.linspace(0.0, 1.0, STEPS + 1), tables.distribution[:, likeliest]))
    gains = np.log(np.maximum(held, 1e-12) / np.maximum(shares, 1e-12))
    gained = np.cumsum(gains[_newest_cells(one, kept)])
    best = int(np.argmax(gained >= gained.max() - SLACK))
    return min(age, best) if best < GREAT else age


def _newest_cells(one: Record, many: int) -> I64:
    """The cells of the last values, the newest first."""
    last = (int(one["recent_n"]) - 1 - np.arange(many)) % len(one["recent"])
    found: I64 = one["recent"][last].astype(np.int64)
    return found


def mean_age(one: Record, tables: Tables) -> int:
    """The mean age of the onset, weighted by the evidence for each possible one."""
    likely = tables.weight.astype(np.float64) * one["sums"]
    aged = tables.weight.astype(np.float64) * one["aged"]
    seen = int(one["n"]) - int(one["blind"])
    return min(max(round(float(aged.sum() / likely.sum())), 0), max(seen - 1, 0))


def _counts(one: Record) -> I64:
    """By cell."""
    counts: I64 = one["counts"].astype(np.int64)
    if one["chained"]:
        counts = counts.reshape(-1, CHAINED).sum(axis=0, dtype=np.int64)
    return counts


def _location(one: Record, before: I64, now: I64) -> tuple[float, float]:
    """Where the old and the new regime lie, given by cell: medians; where all values are one of two, means."""
    two = None if one["whitened"] else _two_values(one, before + now)
    if two is not None:
        low, high, cell = two
        return _between(low, high, before[cell] / max(before.sum(), 1)), _between(low, high, now[cell] / now.sum())
    cell = int(np.searchsorted(np.cumsum(now), now.sum() // 2, side="right"))
    return _before(one), _after(one, cell, int(now.sum()))


def _two_values(one: Record, counts: I64) -> tuple[float, float, int] | None:
    """The two values of a series, and the cell of the larger; None if it may have more."""
    cells, used = np.flatnonzero(counts), int(one["used"])
    if len(cells) != 2 or cells[0] == 0 or used > MOST_OF_TWO:
        return None
    low, high = float(one["edges"][0]), float(np.nextafter(one["edges"][used - 1], -np.inf))
    if cells[1] == used:  # none was there when the edges were made
        new = _latest(one)
        new = new[np.searchsorted(one["edges"][:used], new, side="right") == used]
        if used > 2 or not len(new) or (new != new[0]).any():
            return None
        high = float(new[0])
    return low, high, int(cells[1])


def _between(low: float, high: float, share: float) -> float:
    return (1.0 - share) * low + share * high


def _before(one: Record) -> float:
    """The median of the old regime."""
    middle = float(one["middle"])
    return _finite(in_units(one, float(one["level"])) if one["whitened"] else middle)


def _after(one: Record, cell: int, many: int) -> float:
    """The median of the new regime of so many values, given the cell it lies in."""
    if one["whitened"]:
        # An ARMA(1,1) whose innovations move by r moves by r (1 + theta) / (1 - phi) in the end.
        gain = (1.0 + float(one["theta"])) / (1.0 - float(one["phi"])) * math.sqrt(float(one["h"]))
        moved = (_in_cell(one, cell, np.empty(0)) - float(one["middle"])) * gain
        return _finite(in_units(one, float(one["level"]) + moved))
    latest = _latest(one)
    return _finite(median(np.sort(latest[:many])) if many <= len(latest) else _in_cell(one, cell, latest))


def _latest(one: Record) -> F64:
    """The last values, the newest first."""
    kept = min(int(one["recent_n"]), len(one["latest"]))
    newest = (int(one["recent_n"]) - 1 - np.arange(kept)) % len(one["recent"]) % len(one["latest"])
    values: F64 = one["latest"][newest]
    return values


def _in_cell(one: Record, cell: int, values: F64) -> float:
    """The median of the values that lie in the cell, else the middle of it, or its only edge."""
    edges = one["edges"][: int(one["used"])]
    inside: I64 = np.flatnonzero(np.searchsorted(edges, values, side="right") == cell)
    if len(inside):
        return median(np.sort(values[inside]))
    low, high = float(edges[max(cell - 1, 0)]), float(edges[min(cell, len(edges) - 1)])
    return 0.5 * _finite(low) + 0.5 * _finite(high)


def _finite(value: float) -> float:
    return min(max(value, -float_info.max), float_info.max)
