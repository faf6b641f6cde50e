"""Trust: how far the alarms of a series are believed, by how they came.

A series that depends on its past raises alarm upon alarm, and no two of them are drifts. So does a series that really
drifts again and again. They differ in how an alarm came. A cycle, or a level that wanders, never stands
still: when evidence is enough, half of the values since the last alarm lie behind the onset. A series that is at rest
and then jumps has stood still many times as long as it has drifted. And what lies before a jump shows no dependence,
where that of a slow cycle leans.
"""

from __future__ import annotations

import math

from detectors.arrays.jit import lean_kernel
from detectors.shiryaev_roberts.alternatives import Tables
from detectors.shiryaev_roberts.dependence import MORE_Z, SLOW, SPREAD_MIN
from detectors.shiryaev_roberts.kernel_types import Work
from detectors.shiryaev_roberts.state import Record
from detectors.shiryaev_roberts.sums import onset_age

SOON, LATE = 8192, 65_536  # values within which an alarm may be one too many, and after which it is one too few
ALARMS_MAX = 16
DEPENDS_Z = 4.0  # standard errors of dependence since the last alarm that make one too many of an alarm that comes soon
STILL = 6.0  # times as long as it has drifted since a series has stood still, or it has not ...
STILL_SHORT, SHORT = 1.0, 128  # ... but of a series of fewer values, in which a slow cycle hardly moves


@lean_kernel
def count_alarm(one: Record, arl0: float, still: bool) -> None:
    """Count an alarm for or against a series, which had stood still before the onset or not.

    One that comes much sooner than was asked is one too many, unless the series had stood still and its ranks show no
    dependence: then something happened to a series at rest. One that comes late takes one off.
    """
    if one.n < min(SOON, 0.1 * arl0):
        if one.chained or not still or dependence_z(one) > DEPENDS_Z:
            one.alarms = min(ALARMS_MAX, one.alarms + 1)
    elif one.n > min(LATE, 0.5 * arl0):
        one.alarms = max(0, one.alarms - 1)


@lean_kernel
def stood_still(one: Record, tables: Tables, work: Work) -> bool:
    """Whether a series with evidence had stood still before the onset for long enough."""
    age = onset_age(one, tables, work)
    return bool(one.n - age > (STILL if one.n >= SHORT else STILL_SHORT) * age)


@lean_kernel
def dependence_z(one: Record) -> float:
    """Standard errors by which ranks depend on the one before, on the last ones, or their scale on theirs."""
    qq, pp, n = max(one.qq, 1e-9), max(one.pp, 1e-9), float(one.pairs)
    slow = math.sqrt((2.0 * SLOW - 1.0) * n)
    z = max(abs(one.qq_last) / qq * math.sqrt(n), one.qq_slow / qq * slow)
    return float(max(z, one.pp_slow / pp * slow - MORE_Z) if pp > SPREAD_MIN * n else z)
