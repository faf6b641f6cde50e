"""What the kernels of `evidence.py` are given, and the reasons for which they stop a series."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import F64, I64
from detectors.shiryaev_roberts.state import ALTERNATIVES

# one.due
NOTHING = 0
CELLS_DUE = 1  # `waiting` is full
LOOK_DUE = 2  # time to ask whether values depend on earlier ones
FIT_DUE = 3  # `stored` is full
HALVING_DUE = 4  # the counts have reached their bound
ALARM = 5
REVISION_DUE = 6  # time to revise what was learned of dependence
WEEK_DUE = 7  # a week is over: is the calendar of use?

LANES = 8  # partial sums, in a fixed order: vector code whose result is the same on every machine


class EvidenceRules(NamedTuple):
    """The settings as the kernels want them."""

    arl0: float
    counted_max: int


class Fed(NamedTuple):
    """Values in order, an entry each."""

    rows: I64
    values: F64
    time_ms: I64
    multiple: F64  # of the asked number of values between false alarms


class Ranks(NamedTuple):
    """Where a value lies among those it is compared with, itself included."""

    below: float  # so many lie in cells below ...
    here: float  # ... and in its own
    total: float
    largest: float  # in the cell that has most


class Work(NamedTuple):
    """Work space."""

    ratio: NDArray[np.float32]  # [alternatives]
    part: NDArray[np.float32]  # [LANES]


def work_space() -> Work:
    """Made by the caller, as `advance` allocates nothing."""
    return Work(np.empty(ALTERNATIVES, np.float32), np.empty(LANES, np.float32))
