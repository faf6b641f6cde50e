"""Times that place records of several topics in one order, although some producer's clock is wrong.

Records of a topic keep the order of their offsets. So each is placed by the greatest time up to it, of all records that
are not *ahead*. Without that exception, one record of 2036 would place all later ones of its topic behind those of the
other topics.

The records that follow one vote whether it is ahead: each is either earlier or not, until one side leads by `LEAD`. So
a wrong clock is recognized unless it writes about half of the records. At the end of the records, few votes are left:
a smaller lead counts, and a time that is unusual among all topics is ahead unless as many vote for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.jit import kernel
from detectors.arrays.types import I64, Bools

LEAD: Final = 32  # votes: 2 in 10^6 records of a producer that writes 40 % are mistaken, by the gambler's ruin
LEAD_AT_END: Final = 4
SPREADS: Final = 3  # times the distance from the lower quartile to the median, beyond which times are unusual


def placing_times(stated: Sequence[I64]) -> list[I64]:
    """The increasing times of each topic's records, in ms. `stated` [topics][n] are the records' own, or less than 0.

    A record that is ahead or has no time takes that of the record before it. If there is none, it takes that of the
    first one that is not ahead, or -1.
    """
    known = [times[times >= 0] for times in stated]
    if not all(increases(times) for times in known):
        usual = usual_ms(np.concatenate(known))
        known = [times if increases(times) else _placed(times, ahead(times, usual)) for times in known]
    return [_filled(times, placed) for times, placed in zip(stated, known, strict=True)]


def usual_ms(times: I64) -> int:
    """The latest usual time of these [n > 0]."""
    lower, middle = (int(np.partition(times, k)[k]) for k in ((len(times) - 1) // 4, (len(times) - 1) // 2))
    return min(middle + SPREADS * (middle - lower), int(times.max()))


def increases(times: I64) -> bool:
    """Whether no time is earlier than the one before it."""
    return bool((times[1:] >= times[:-1]).all())


def _placed(times: I64, is_ahead: Bools) -> I64:
    """The last record is never ahead, so there is a first one that is not."""
    placed: I64 = np.maximum.accumulate(np.where(is_ahead, -1, times))
    first: np.int64 = times[np.argmin(is_ahead)]
    return np.asarray(np.maximum(placed, first), np.int64)


def _filled(stated: I64, placed: I64) -> I64:
    """Times of all records, from those of the records that state one."""
    found: I64 = np.concatenate([np.array([-1], np.int64), placed])[np.cumsum(stated >= 0)]
    return found


@kernel
def ahead(times: I64, usual: int) -> NDArray[np.bool_]:
    """Which of a topic's records [n] are ahead."""
    found = np.zeros(len(times), np.bool_)
    for i in range(len(times)):
        lead, k = 0, i + 1
        while k < len(times) and -LEAD < lead < LEAD:
            lead += 1 if times[k] < times[i] else -1
            k += 1
        needed = LEAD if k < len(times) else 1 - LEAD_AT_END if times[i] > usual else LEAD_AT_END
        found[i] = lead >= needed
    found[-1:] = False
    return found
