"""The hot path of `shiryaev_roberts.py`: from a value to its rank, from ranks to evidence.

    value ─► [residual, where the series is whitened] ─► cell ─► ranks a to b ─► likelihood ratios ─► sums

What is rare is not done here. A series stops behind the value that calls for it, with the reason in `due`, and
`phases.py` has it done, for all that have stopped, before these go on.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.jit import lean_kernel, prefetch
from detectors.base import F64, I64
from detectors.shiryaev_roberts import kernel_types as due
from detectors.shiryaev_roberts.alternatives import Tables
from detectors.shiryaev_roberts.calendar import DAY_MS, HELD, HOUR_MS, MEMORY_MS, OVER, WEEK_MS, follow_first_day
from detectors.shiryaev_roberts.dependence import SLOW
from detectors.shiryaev_roberts.early import BLIND, EARLY, begin_early, is_believed, is_unproven, leans, note_early
from detectors.shiryaev_roberts.kernel_types import EvidenceRules, Fed, Ranks, Work
from detectors.shiryaev_roberts.state import CHAINED, WAITING, WAITING_EARLY, Record, Series
from detectors.shiryaev_roberts.sums import clear, reaches, weigh
from detectors.shiryaev_roberts.trust import count_alarm, stood_still

LOOKED = 64  # a look at dependence comes after a multiple of so many values
THIN, PRIOR = 64, 8.0  # of fewer values that followed the same one, as many as the latter are taken from all values
STEP = 0.0625  # of a stored value, in standard units
REVISED = 256  # a whitened series' coefficients are revised at every so many values
BOUND = 16.0  # of a squared innovation, in variances, as it counts for the scale of the next
LINE = 64  # bytes in a cache line


@lean_kernel
def advance(
    series: Series, tables: Tables, rules: EvidenceRules, fed: Fed, turn: I64, stopped: I64, work: Work
) -> tuple[int, int]:
    """Feed the values whose indices `turn` holds, in order.

    A series at which something becomes due stops there: the index of the value goes to `stopped`, and those of its
    later values to the front of `turn`. Returns how many there are of each.
    """
    put_off, stops, n = 0, 0, len(turn)
    series_at, series_bytes = series.ctypes.data, series.itemsize
    for k in range(n):
        if k + 4 < n:
            for line in range(0, series_bytes, LINE):
                prefetch(series_at + series_bytes * fed.rows[turn[k + 4]] + line)
        i = turn[k]
        one = series[fed.rows[i]]
        if one.due != due.NOTHING:
            turn[put_off] = i
            put_off += 1
            continue
        arl0 = rules.arl0 * fed.multiple[i]
        one.due = _see(one, tables, arl0, rules.counted_max, fed.values[i], fed.time_ms[i], work)
        if one.due != due.NOTHING:
            stopped[stops] = i
            stops += 1
    return put_off, stops


@lean_kernel
def _see(one: Record, tables: Tables, arl0: float, counted_max: int, value: float, time_ms: int, work: Work) -> int:
    """One value of one series; returns what is due."""
    one.n += 1
    if one.day != OVER and follow_first_day(one, time_ms):
        begin_early(one, time_ms)
    if one.learning:
        return _store(one, tables, value, time_ms)
    if not one.settled:
        return _wait(one, tables, arl0, value, time_ms, work)
    at = one.recent_n % len(one.recent)
    x, a_week = value, False
    if one.whitened:
        x, a_week = _less_calendar(one, tables.waves, standardised(one, value), time_ms)
        x = _residual(one, x)
    else:
        one.latest[at % len(one.latest)] = value
    cell = _cell(one, x)
    one.recent[at] = cell
    one.recent_n = one.recent_n + 1 if one.recent_n < 1 << 30 else at + 1 + len(one.recent)
    ranks = _count(one, cell)
    q = (2.0 * ranks.below + ranks.here) / ranks.total - 1.0
    if one.day == HELD and one.blind == 0:
        _keep_reference(one, cell, q)
    elif one.n > one.blind and (one.day != HELD or one.whitened):
        weigh(one, tables, ranks, work)
        if is_unproven(one):
            note_early(one)
        if reaches(one, tables, arl0, work) and _stands(one, tables, arl0, time_ms, work):
            return due.ALARM
    elif not one.chained:
        _widen(one, x, cell, at)
    _follow(one, q - one.q_mean)
    return _due(one, arl0, counted_max, a_week)


@lean_kernel
def _store(one: Record, tables: Tables, value: float, time_ms: int) -> int:
    """A value from which dependence is to be learned; returns what is due."""
    y, a_week = _less_calendar(one, tables.waves, standardised(one, value), time_ms)
    one.stored[one.filled] = np.int8(np.rint(max(-7.9, min(7.9, y)) / STEP))
    one.filled += 1
    if one.filled == len(one.stored):
        return due.FIT_DUE
    return due.WEEK_DUE if a_week else due.NOTHING


@lean_kernel
def _wait(one: Record, tables: Tables, arl0: float, value: float, time_ms: int, work: Work) -> int:
    """A value of which cells are to be made; returns what is due. After an alarm a plain series is judged meanwhile, by
    ranks among the values that wait, and so is one of few values a day.
    """
    one.waiting[one.filled] = value
    one.filled += 1
    if one.blind != EARLY:
        return due.CELLS_DUE if one.filled == WAITING else due.NOTHING
    below, here = 0.0, 0.0
    for k in range(one.filled):
        below += one.waiting[k] < value
        here += one.waiting[k] == value
    one.largest = max(one.largest, np.int32(here))
    if one.n > EARLY and one.day != HELD:
        weigh(one, tables, Ranks(below, here, float(one.filled), float(one.largest)), work)
        if reaches(one, tables, arl0, work) and _stands(one, tables, arl0, time_ms, work):
            return due.ALARM
    return due.CELLS_DUE if one.filled == WAITING_EARLY else due.NOTHING


@lean_kernel
def _due(one: Record, arl0: float, counted_max: int, a_week: bool) -> int:
    """What is due after a value that has been judged and raised no alarm; `a_week`: a week of following is over."""
    if one.total >= counted_max:
        return due.HALVING_DUE
    if a_week:
        return due.WEEK_DUE
    if one.whitened:
        return due.REVISION_DUE if one.n % REVISED == 0 and one.evidence < 1e3 else due.NOTHING
    if one.n < BLIND or one.n % LOOKED != 0:
        return due.NOTHING
    if one.evidence >= 0.01 * arl0 and one.day == OVER and not (is_unproven(one) and leans(one)):
        return due.NOTHING
    return due.LOOK_DUE if one.n // (one.n & -one.n) < 8 else due.NOTHING  # four times until their number has doubled


@lean_kernel
def _keep_reference(one: Record, cell: int, q: float) -> None:
    """What a series that was given a reference is held for does not become usual meanwhile: it is not counted. Nor is
    it dependence if all ranks lie high, or low: they are followed about their mean.
    """
    one.counts[cell] -= 1
    one.total -= 1
    one.q_mean += (q - one.q_mean) / (one.pairs + 1)


@lean_kernel
def _stands(one: Record, tables: Tables, arl0: float, time_ms: int, work: Work) -> bool:
    """Whether evidence that has reached what was asked is an alarm, which then counts for or against the series.

    On the first day, slow drift of a plain series is none: the series is held until the day is over. Nor is that of a
    series which may depend on its past, as far as few values show: it is blind until they are more.
    """
    if is_unproven(one) and not is_believed(one, tables, time_ms, work):
        clear(one)
        one.blind = BLIND
        return False
    still = stood_still(one, tables, work)
    if one.day != OVER and time_ms > one.first_ms and not (one.whitened or still):
        clear(one)
        one.day = HELD
        if one.blind == 0:
            _forget_ranks(one)
        return False
    count_alarm(one, arl0, still)
    return True


@lean_kernel
def standardised(one: Record, value: float) -> float:
    """The value in units of the series' own spread, within what a stored value can hold."""
    if one.side != 0.0:
        beyond = one.side * (value - one.shift) / one.knee
        value = one.side * (math.log(beyond) if beyond > 1.0 else beyond - 1.0)
    return float(max(-7.9, min(7.9, (value - one.centre) / one.spread)))


@lean_kernel
def _less_calendar(one: Record, waves: NDArray[np.float32], y: float, time_ms: int) -> tuple[float, bool]:
    """A standardised value less what the calendar does to it, if that is of use; it follows the value. Then whether a
    week of following is over.
    """
    apart = max(0, min(HOUR_MS, time_ms - one.last_ms))
    if apart > 0 or time_ms < one.last_ms - DAY_MS:  # a clock that was ahead for once doesn't stop it for good
        one.last_ms = time_ms
    if apart == 0 and not one.calendar_used:
        return y, False
    wave = waves[time_ms % WEEK_MS * waves.shape[0] // WEEK_MS]
    cycle = 0.0
    for k in range(1, len(wave)):
        cycle += one.calendar[k] * wave[k]
    plain = y - one.calendar[0]
    error = plain - cycle
    step = np.float32(2.0 * apart / (min(one.elapsed_ms, MEMORY_MS) + 3 * DAY_MS) * error)
    one.calendar[0] += step
    for k in range(1, len(wave)):
        one.calendar[k] += np.float32(2.0) * step * wave[k]
    one.gain += apart / DAY_MS * (plain * plain - error * error)
    day = one.elapsed_ms // DAY_MS
    one.elapsed_ms += apart
    if one.elapsed_ms // DAY_MS == day:
        return (y - cycle if one.calendar_used else y), False
    one.days += 1.0
    one.gains += one.gain
    one.gains_squared += one.gain * one.gain
    one.gain = 0.0
    return (y - cycle if one.calendar_used else y), one.elapsed_ms // DAY_MS % 7 == 0


@lean_kernel
def _residual(one: Record, y: float) -> float:
    """What a standardised value is beyond its level, its waves and its inertia, over its scale; all but the last follow
    it.
    """
    d = y - one.level - one.wave[0, 1] - one.wave[1, 1]
    one.memory += 1.0
    for k in range(2):
        angle, height, turned = one.wave[k, 0], one.wave[k, 1], one.wave[k, 2]
        if angle > 0.0:  # height and phase follow over about two periods; then the wave turns on
            height += angle / (2.0 * math.pi) * d
            cosine, sine = math.cos(angle), math.sin(angle)
            one.wave[k, 1] = height * cosine - turned * sine
            one.wave[k, 2] = height * sine + turned * cosine
    one.level += d / one.memory
    by_phi, by_theta = one.d_last - one.theta * one.slope[0], one.e_last - one.theta * one.slope[1]
    e, h = d - one.phi * one.d_last - one.theta * one.e_last, one.h
    one.known[0] += by_phi * by_phi / h
    one.known[1] += by_phi * by_theta / h
    one.known[2] += by_theta * by_theta / h
    one.steps[0] += by_phi * e / h
    one.steps[1] += by_theta * e / h
    one.slope[0], one.slope[1], one.d_last, one.e_last = by_phi, by_theta, d, e
    one.h = one.omega + one.alpha * min(e * e, BOUND * h) + one.beta * h
    return float(e / math.sqrt(h))


@lean_kernel
def _cell(one: Record, x: float) -> int:
    """The cell of a value: how many edges lie at or below it."""
    low, high = 0, one.used
    while low < high:
        middle = (low + high) >> 1
        if x < one.edges[middle]:
            high = middle
        else:
            low = middle + 1
    return low


@lean_kernel
def _count(one: Record, cell: int) -> Ranks:
    """Count a value in its cell; returns its ranks: of a chained series, among those that followed the same value."""
    counts, first = one.counts, CHAINED * one.state if one.chained else 0
    counts[first + cell] += 1
    one.total += 1
    below, here = 0.0, float(counts[first + cell])
    for k in range(first, first + cell):
        below += counts[k]
    if not one.chained:
        one.largest = max(one.largest, counts[cell])
        return Ranks(below, here, float(one.total), float(one.largest))
    one.state = cell
    total, largest = 0.0, 0.0
    for k in range(first, first + CHAINED):
        total, largest = total + counts[k], max(largest, float(counts[k]))
    if total <= THIN:
        share = PRIOR / one.total
        total += PRIOR
        for k in range(len(counts)):
            below += share * counts[k] if k % CHAINED < cell else 0.0
            here += share * counts[k] if k % CHAINED == cell else 0.0
    return Ranks(below, here, total, largest)


@lean_kernel
def _widen(one: Record, x: float, cell: int, at: int) -> None:
    """While no evidence is gathered yet, move the outermost edges so that no value lies beyond them."""
    if cell == 0:
        one.edges[0] = x
        inner = 1
    elif cell == one.used:
        one.edges[cell - 1] = np.nextafter(x, math.inf)
        inner = cell - 1
    else:
        return
    one.counts[inner] += one.counts[cell]
    one.counts[cell] = 0
    one.largest = max(one.largest, one.counts[inner])
    one.recent[at] = inner


@lean_kernel
def _follow(one: Record, q: float) -> None:
    """Running products that show dependence: of a rank with the one before and with earlier ones; of its square too."""
    one.pairs += 1
    one.qq += q * q
    p = q * q - one.qq / one.pairs
    one.qq_last += q * one.q_last
    one.qq_slow += q * one.q_slow
    one.pp += p * p
    one.pp_slow += p * one.p_slow
    one.q_last = q
    one.q_slow += (q - one.q_slow) / SLOW
    one.p_slow += (p - one.p_slow) / SLOW


@lean_kernel
def _forget_ranks(one: Record) -> None:
    """Begin these products again."""
    one.pairs = 0
    one.qq, one.qq_last, one.qq_slow, one.pp, one.pp_slow = 0.0, 0.0, 0.0, 0.0, 0.0
    one.q_last, one.q_slow, one.p_slow = 0.0, 0.0, 0.0


@lean_kernel
def follow_all(series: Series, rows: I64, scores: F64) -> None:
    """`_follow`, for the ranks of a sample of each series in its order."""
    for k in range(len(rows)):
        for score in scores[k]:
            _follow(series[rows[k]], score)
