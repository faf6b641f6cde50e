"""Early judgement: which series are judged before 256 values have shown that they don't depend on their past.

After an alarm, a series that was found plain is judged from the 21st value on. So is a new series of few values a day,
to which 256 values would be days of deafness. What hours do to it shows within its first day, as dependence on the
value before. Until its first look at dependence, such a series is unproven: an alarm stands only if its ranks had shown
no dependence up to the point where evidence began to grow, and if the series had stood still before. Else it is blind
until that look, as any other new series.
"""

from __future__ import annotations

import math

import numpy as np

from detectors.arrays.jit import lean_kernel
from detectors.shiryaev_roberts.alternatives import Tables
from detectors.shiryaev_roberts.calendar import DAY_MS, WEEK_MS
from detectors.shiryaev_roberts.kernel_types import Work
from detectors.shiryaev_roberts.state import WAITING_EARLY, Record
from detectors.shiryaev_roberts.sums import onset_age

BLIND = 256  # values without a reference before evidence is gathered
EARLY = 20  # the same of a series that was found plain before its last alarm, or has few values a day
DAILY_MAX = WAITING_EARLY  # values a day that are few
LEANS_Z = 1.8  # standard errors by which ranks depend on the one before, if that counts so early
PAIRS_MIN = 40  # ranks that can show it ...
BEFORE_MIN = 20  # ... and those of them before the onset
STILL = 0.3  # times as long as it has drifted since an unproven series has stood still ...
STILL_WEEK = 2.5  # ... within its first week, as what the weekend does is not known then


@lean_kernel
def begin_early(one: Record, time_ms: int) -> None:
    """Judge a new series early if few values have come within its first day; keep when, and at which value."""
    if one.blind == 0 and not one.settled and one.way == 0 and one.filled < DAILY_MAX:
        one.blind, one.power = EARLY, 1.0
        one.last_ms, one.memory = time_ms, one.n


@lean_kernel
def is_unproven(one: Record) -> bool:
    """Whether a new series is judged before its first look at dependence."""
    return bool(one.n <= BLIND and one.blind == EARLY and one.way == 0 and not one.whitened)


@lean_kernel
def note_early(one: Record) -> None:
    """Keep what ranks had shown of dependence when there last was hardly any evidence."""
    if one.evidence < one.n:
        one.known[0], one.known[1], one.known[2] = one.pairs, one.qq, one.qq_last


@lean_kernel
def leans(one: Record) -> bool:
    """Whether ranks depended on the one before when evidence began to grow, or were too few to show it."""
    pairs, qq, qq_last = one.known[0], one.known[1], one.known[2]
    return bool(pairs < PAIRS_MIN or qq_last / max(qq, np.float32(1e-9)) * math.sqrt(pairs) > LEANS_Z)


@lean_kernel
def _look_back(one: Record, age: float) -> None:
    """What `note_early` keeps, of values that still wait: each is ranked on its own side of the onset."""
    onset = max(int(one.filled - age) - 1, 0)
    qq, qq_last = 0.0, 0.0
    for side in range(2):
        first, end, last = onset * side, int(one.filled) if side else onset, 0.0
        for i in range(first, end):
            rank = 0.0
            for k in range(first, end):
                rank += 1.0 * (one.waiting[k] < one.waiting[i]) - 1.0 * (one.waiting[k] > one.waiting[i])
            q = rank / (end - first)
            qq, qq_last, last = qq + q * q, qq_last + q * last, q
    one.known[0], one.known[1], one.known[2] = one.filled if onset >= BEFORE_MIN else 0, qq, qq_last


@lean_kernel
def is_believed(one: Record, tables: Tables, time_ms: int, work: Work) -> bool:
    """Whether an alarm of an unproven series stands: values have stayed few a day, and it stood still and plain."""
    age, span = onset_age(one, tables, work), time_ms - one.last_ms
    if not one.settled:
        _look_back(one, age)
    if span * DAILY_MAX < (one.n - one.memory) * DAY_MS or leans(one):
        return False
    return bool(one.n - age > (STILL if span > WEEK_MS - DAY_MS else STILL_WEEK) * age)
