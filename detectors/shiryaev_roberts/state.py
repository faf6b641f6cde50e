"""The state of one series of `shiryaev_roberts.py`, as a record; all zeros are a fresh series.

A series goes through phases, and what one phase needs the others don't, so their arrays share bytes:

    waiting    128 values ─► cells; judged from the 21st on where the series was found plain before, then 96
    watching   cells, counts and evidence; no evidence is gathered before the 256th value without a reference
    learning   1,024 values, coarse: where values depend on earlier ones, it is learned how; then watching again

The kernels get an array of records. Their compiled form is filed under the type of the record, so a change of a field
here is a change for them too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Series = NDArray[Any]  # [rows] of RECORD
Record = Any  # one of them

WAITING = 128  # values from which the cells are made ...
WAITING_EARLY = 96  # ... of a series that is judged meanwhile: they leave room for `sums` and `aged`
CELLS = 64
ALTERNATIVES = 32
CHAINED = 8  # cells at most of a series that is chained: its counts are those of pairs
STORED = 1024  # values from which dependence is learned
RECENT = 64  # latest values whose cells are remembered
LATEST = 8  # latest values remembered as they came
CALENDAR = 21  # coefficients of the calendar: a constant, and two a wave
PLAIN_OR_NOT = 16 * CELLS  # first byte of what plain series have, or those that depend on their past

_OVERLAID: list[tuple[str, Any, tuple[int, ...], int]] = [  # name, type, shape, first byte
    ("waiting", np.float64, (WAITING,), 0),
    ("stored", np.int8, (STORED,), 0),
    ("edges", np.float64, (CELLS,), 0),  # increasing; cell k holds edges[k - 1] <= value < edges[k]
    ("counts", np.int32, (CELLS,), 8 * CELLS),  # by cell; of a chained series by the cell before, and the cell
    ("sums", np.float32, (ALTERNATIVES,), 12 * CELLS),  # Shiryaev-Roberts: of likelihood ratios, over all onsets
    ("aged", np.float32, (ALTERNATIVES,), 12 * CELLS + 4 * ALTERNATIVES),  # the same, times the age of the onset
    ("latest", np.float64, (LATEST,), PLAIN_OR_NOT),  # plain series: in turn with `recent`
    ("calendar", np.float32, (CALENDAR,), PLAIN_OR_NOT),  # others: the coefficients of `calendar.py`
]
_PLAIN: list[tuple[str, Any, tuple[int, ...]]] = [
    # how far it is
    ("n", np.int64, ()),  # values since it began, or since the cells of its reference were made
    ("filled", np.int16, ()),  # values in `waiting` or `stored`
    ("due", np.int8, ()),  # why the last value stopped the kernel
    ("settled", np.int8, ()),  # 1: there are cells
    ("learning", np.int8, ()),  # 1: values go to `stored`
    ("whitened", np.int8, ()),  # 1: cells are those of residuals
    ("way", np.int8, ()),  # 1 + the alternative that the last alarm spoke for; 0: there was none
    ("day", np.int8, ()),  # of `calendar.py`: how far the first day is
    ("first_ms", np.int64, ()),  # event time of the first value, until its first day is over
    ("calm", np.int8, ()),  # 1: what looked like dependence was learned to be none; not asked at value 256
    ("alarms", np.int8, ()),  # of `trust.py`: those too many, less those that came late
    ("side", np.int8, ()),  # +1, -1: a logarithm of side * (value - shift) / knee comes first; 0: none
    ("calendar_used", np.int8, ()),
    ("chained", np.int8, ()),  # 1: a value is ranked among those that followed the same one
    ("state", np.int8, ()),  # the cell of the last value, where it is chained
    # cells
    ("used", np.int16, ()),  # edges in use
    ("total", np.int32, ()),  # sum of the counts
    ("largest", np.int32, ()),  # greatest count
    ("recent_n", np.int32, ()),  # values that have been in `recent`
    ("recent", np.uint8, (RECENT,)),  # in turn
    ("shown", np.int8, (3,)),  # standard errors of dependence, in tenths, at the last look
    ("middle", np.float64, ()),  # median of the values of which the cells were made
    # evidence
    ("blind", np.int16, ()),  # values before the first that counted as evidence
    ("took", np.int16, ()),  # values from onset to alarm of the last drift that was reported
    ("evidence", np.float32, ()),  # weighted sum of `sums`
    ("beyond", np.float32, (ALTERNATIVES,)),  # `sums`, against "within the tolerance" in place of "as before"
    ("power", np.float32, ()),  # likelihood ratios are raised to it: 1 unless dependence makes them boast
    # dependence of the ranks q in (-1, 1), and of p = q * q - its mean
    ("pairs", np.int32, ()),  # ranks in the sums below
    ("q_mean", np.float32, ()),  # taken off q on a held first day; else 0
    ("q_last", np.float32, ()),
    ("q_slow", np.float32, ()),  # moving average of q
    ("p_slow", np.float32, ()),
    ("qq", np.float32, ()),  # sums of products: q with q, with the one before, with its moving average ...
    ("qq_last", np.float32, ()),
    ("qq_slow", np.float32, ()),
    ("pp", np.float32, ()),
    ("pp_slow", np.float32, ()),
    # whitening: value -> standardised -> less level and waves -> innovation of an ARMA(1,1) -> over its scale
    ("shift", np.float64, ()),
    ("knee", np.float64, ()),
    ("centre", np.float64, ()),
    ("spread", np.float64, ()),
    ("level", np.float32, ()),
    ("memory", np.float32, ()),  # values over which the level is averaged; in `early.py` those before it
    ("wave", np.float32, (2, 3)),  # angle a value (0: no wave), its present height, and a quarter turn on
    ("phi", np.float32, ()),
    ("theta", np.float32, ()),  # 0: an AR(1)
    ("d_last", np.float32, ()),
    ("e_last", np.float32, ()),
    ("slope", np.float32, (2,)),  # of the innovation, less: by phi and theta
    ("steps", np.float32, (2,)),  # sums of slope times innovation since the coefficients were revised ...
    (
        "known",
        np.float32,
        (3,),
    ),  # ... and of the slopes' products, from the first value on: phi, both, theta; see `early.py`
    # calendar
    ("last_ms", np.int64, ()),  # event time of the last value; in `early.py` that with which it began
    ("elapsed_ms", np.int64, ()),  # time over which the calendar has been followed
    ("gain", np.float32, ()),  # squared error that its forecasts have saved today ...
    ("gains", np.float32, ()),  # ... and on the days before, of which older ones count less
    ("gains_squared", np.float32, ()),
    ("days", np.float32, ()),
    ("omega", np.float32, ()),  # h = omega + alpha * innovation ** 2 + beta * h is the innovation's variance
    ("alpha", np.float32, ()),
    ("beta", np.float32, ()),
    ("h", np.float32, ()),
]


def _record() -> np.dtype[Any]:
    names, formats, offsets = [], [], []
    for name, dtype, shape, first in _OVERLAID:
        names.append(name)
        formats.append((dtype, shape))
        offsets.append(first)
    at = PLAIN_OR_NOT + 4 * CALENDAR
    for name, dtype, shape in _PLAIN:
        size = np.dtype(dtype).itemsize
        at = -(-at // size) * size
        names.append(name)
        formats.append((dtype, shape) if shape else dtype)
        offsets.append(at)
        at += size * int(np.prod(shape))
    spec: Any = {"names": names, "formats": formats, "offsets": offsets, "itemsize": -(-at // 8) * 8}
    record: np.dtype[Any] = np.dtype(spec)
    return record


RECORD = _record()
WORDS = RECORD.itemsize // 8  # a record as whole numbers, in which form it is kept and dumped


def records_of(words: NDArray[np.int64]) -> Series:
    """The records whose words are given, [rows, WORDS], in the same memory."""
    return words.view(RECORD).reshape(len(words))
