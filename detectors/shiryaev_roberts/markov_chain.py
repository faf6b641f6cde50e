"""Chains: series of few distinct values, each of which depends on the one before.

Errors that come in runs, a door that stays open, two buses that report in turn. What an ARMA leaves of such a series
still depends on the value before, as its law does. So a value is ranked among those that followed the same value: for a
Markov chain these are independent draws of one law for each value, and what was said of ranks holds. Where few have
followed it so far, all values help out, so that a value that was never there and stays is seen.
"""

from __future__ import annotations

import numpy as np

from detectors.arrays.types import F64, I64
from detectors.shiryaev_roberts.state import CHAINED, Record


def fits(one: Record) -> bool:
    """Whether the values of a series that has cells are few enough."""
    return len(_edges(one)) < CHAINED


def begin(one: Record, cells: I64) -> None:
    """Count pairs from now on, and those of the last values, which lie in these cells."""
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
    """Without those under which no value lies: each value has a cell of its own, and there is one beyond either end."""
    used = int(one["used"])
    is_empty = one["counts"][1:used] == 0
    edges: F64 = one["edges"][:used][np.concatenate([[True], ~is_empty])]
    return edges
