"""What an alarm of `shiryaev_roberts.py` says: since when, how much, from where to where."""

from __future__ import annotations

import math
from sys import float_info

import numpy as np
from numpy.typing import NDArray

from detectors.alarm_list import Evidence
from detectors.base import F64, I64
from detectors.rank_state import Record, Series
from detectors.rank_whitening import in_units


def evidence_of(series: Series, row: int, weight: NDArray[np.float32], arl0: float) -> Evidence:
    """The evidence of an alarm that has just come; every number is finite."""
    one = series[row]
    ago = onset_ago(one, weight)
    newest = min(ago + 1, int(one["recent_n"]), len(one["recent"]))
    last = (int(one["recent_n"]) - 1 - np.arange(newest)) % len(one["recent"])
    recent = one["recent"][last].astype(np.int64)
    used = int(one["used"])
    now = np.bincount(recent, minlength=used + 1)
    before = one["counts"][: used + 1] - now
    distance = np.abs(np.cumsum(before) / max(before.sum(), 1) - np.cumsum(now) / newest).max()
    return Evidence(
        statistic=float(one["evidence"]),
        threshold=max(arl0 - int(one["blind"]), 50.0),
        effect=float(distance),
        before=_before(one),
        after=_after(one, int(np.sort(recent)[newest // 2])),
        onset_ago=ago,
        n_reference=int(before.sum()),
        n_current=ago + 1,
    )


def onset_ago(one: Record, weight: NDArray[np.float32]) -> int:
    """The mean age of the onset, weighted by the evidence for each possible one."""
    likely = weight.astype(np.float64) * one["sums"]
    aged = weight.astype(np.float64) * one["aged"]
    seen = int(one["n"]) - int(one["blind"])
    return min(max(round(float(aged.sum() / likely.sum())), 0), max(seen - 1, 0))


def _before(one: Record) -> float:
    """The median of the old regime."""
    middle = float(one["middle"])
    return _finite(in_units(one, float(one["level"])) if one["whitened"] else middle)


def _after(one: Record, cell: int) -> float:
    """The median of the new regime, given the cell it lies in."""
    if one["whitened"]:
        # An ARMA(1,1) whose innovations move by r moves by r (1 + theta) / (1 - phi) in the end.
        gain = (1.0 + float(one["theta"])) / (1.0 - float(one["phi"])) * math.sqrt(float(one["h"]))
        moved = (_in_cell(one, cell, np.empty(0)) - float(one["middle"])) * gain
        return _finite(in_units(one, float(one["level"]) + moved))
    kept = min(int(one["recent_n"]), len(one["latest"]))
    newest = (int(one["recent_n"]) - 1 - np.arange(kept)) % len(one["recent"]) % len(one["latest"])
    return _finite(_in_cell(one, cell, one["latest"][newest]))


def _in_cell(one: Record, cell: int, values: F64) -> float:
    """The newest of the values that lies in the cell, else the middle of it, or its only edge."""
    edges = one["edges"][: int(one["used"])]
    inside: I64 = np.flatnonzero(np.searchsorted(edges, values, side="right") == cell)
    if len(inside):
        return float(values[inside[0]])
    low, high = float(edges[max(cell - 1, 0)]), float(edges[min(cell, len(edges) - 1)])
    return 0.5 * _finite(low) + 0.5 * _finite(high)


def _finite(value: float) -> float:
    return min(max(value, -float_info.max), float_info.max)
