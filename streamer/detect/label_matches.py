"""What the join of labels gives: the errors of predictions, and which predictions have got their label."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.jit import lean_kernel
from detectors.arrays.types import F64, I64
from detectors.series.id_ring import EMPTY, EVICTED, EXPIRED, HEAD, LEAVE_MAX, TAIL, TIME, WAITING
from streamer.codecs.class_labels import QUIET_NAN
from streamer.detect.settings import ErrorKind
from streamer.events import ERROR_COLUMN

MATCHES, MODEL = 1, 3  # ... and of a label: subject of its last prediction, number of predictions, event_time_ms, model
MATCHED, UNMATCHED, EARLY = range(3)  # of LabelJoin._counts; EARLY is how many wait that have no prediction yet
GIVEN: Final = 2  # columns of `who` behind all others, for corrections: event time of the label, bits of the prediction
CLASS_MASK = (1 << 48) - 1
PROBABILITY_MIN = 1e-15  # what is less counts as that, so that one certain mistake is not infinitely wrong
KINDS = list(ErrorKind)  # a kernel knows a kind by its place
SQUARED, ZERO_ONE, LOG_LOSS = (KINDS.index(k) for k in (ErrorKind.SQUARED, ErrorKind.ZERO_ONE, ErrorKind.LOG_LOSS))


class Labelled(NamedTuple):
    """Predictions that got their first label; `l` of them, in order of events."""

    event: I64  # [l] index in the batch of the later event
    subject: I64  # [l] subject of the prediction
    predicted_ms: I64  # [l] event time of the prediction


@dataclass(frozen=True, slots=True)
class LabelMatches:
    """The predictions that a batch's labels matched; `k` of them, in order of events."""

    event: I64  # [k] index in the batch of the later event, which completes the pair
    subject: I64  # [k] subject of the prediction
    sequence: I64  # [k] number of the prediction in its subject
    error: F64  # [k] of its model's kind
    lag_s: F64  # [k] from the prediction's event time to the label's; 0 where they are one event
    predicted_ms: I64  # [k] event time of the prediction
    segment: I64  # [k, 2] subject of the prediction's segment and number in it; [k, 0] without segments
    labelled: Labelled  # predictions whose first label came, also where corrections are awaited

    def values(self, lag_column: int) -> LabelValues:
        """The errors as values of a column, and behind them the lags if those have a column (not -1)."""
        values = [(ERROR_COLUMN, self.error), (lag_column, self.lag_s)][: 1 if lag_column < 0 else 2]
        n = len(values)
        return LabelValues(
            np.tile(self.event, n),
            np.tile(self.subject, n),
            np.tile(self.sequence, n),
            np.repeat(np.array([column for column, _ in values], np.int32), len(self.event)),
            np.concatenate([value for _, value in values]),
            np.tile(self.segment, (n, 1)),
        )


class LabelValues(NamedTuple):
    """Values that labels bring; `m` of them."""

    event: I64  # [m]
    subject: I64  # [m]
    sequence: I64  # [m]
    column: NDArray[np.int32]  # [m]
    value: F64  # [m]
    segment: I64  # [m, 2], or [m, 0]


@lean_kernel
def is_class(bits: int) -> bool:
    """Whether these are the bits of a NaN that stands for the name of a class."""
    return bool(bits > QUIET_NAN and bits & CLASS_MASK != 0)


@lean_kernel
def _zero_one(predicted: float, predicted_bits: int, label: float, label_bits: int) -> float:
    """Whether two classes differ; NaN if one of them is missing."""
    if np.isnan(predicted) != np.isnan(label):
        has_class = is_class(predicted_bits) or is_class(label_bits)
        return 1.0 if has_class else np.nan  # a text is none of the classes that are numbers
    if np.isnan(label):
        both = is_class(predicted_bits) and is_class(label_bits)
        return (1.0 if predicted_bits != label_bits else 0.0) if both else np.nan
    return 1.0 if predicted != label else 0.0


@lean_kernel
def error_of(kind: int, predicted: float, label: float, predicted_bits: int, label_bits: int) -> float:
    """How wrong a prediction was; NaN if that can't be said."""
    if kind == ZERO_ONE:
        return float(_zero_one(predicted, predicted_bits, label, label_bits))
    if kind == LOG_LOSS:
        if not 0.0 <= predicted <= 1.0 or (label != 0.0 and label != 1.0):
            return np.nan
        of_label = predicted if label == 1.0 else 1.0 - predicted
        return -math.log(max(of_label, PROBABILITY_MIN))
    off = abs(label - predicted)
    return off * off if kind == SQUARED else off


@lean_kernel
def add(out: Any, found: int, i: int, whose: I64, of: int, error: float, lag_ms: int) -> int:
    """Store one match of the prediction at `of`; returns how many there are."""
    out[0][found], out[2][found], out[3][found] = i, error, lag_ms
    for column in range(out[1].shape[1]):
        out[1][found, column] = whose[of, column]
    return int(found + 1)


@lean_kernel
def give(waiting: Any, position: int, time_ms: int, error: float, i: int, notes: I64) -> None:
    """Let a prediction that waits have a label of this error, instead of an earlier one."""
    _, _, who, value, bits, _ = waiting
    given = who.shape[1] - GIVEN
    if who[position, given] == EMPTY:
        who[position, given + 1] = bits[position]
        notes[0, 0] += 1
        notes[notes[0, 0], 0], notes[notes[0, 0], 1], notes[notes[0, 0], 2] = i, who[position, 0], who[position, TIME]
    who[position, given], value[position] = time_ms, error


@lean_kernel
def release(waiting: Any, position: int, i: int, out: Any, found: int) -> int:
    """Store the error of a prediction that leaves, if it has a label; returns the matches so far."""
    _, _, who, value, _, _ = waiting
    given_ms = who[position, who.shape[1] - GIVEN]
    if given_ms == EMPTY:
        return found
    return int(add(out, found, i, who, position, value[position], given_ms - who[position, TIME]))


@lean_kernel
def release_oldest(waiting: Any, oldest_ms: int, open_max: int, i: int, out: Any, found: int) -> int:
    """Store the errors of those predictions that `leave_oldest` drops next; returns the matches so far."""
    _, ids, who, _, _, meta = waiting
    at, left, before = meta[HEAD], 0, found
    while at < meta[TAIL] and left < LEAVE_MAX:
        oldest = at & (len(ids) - 1)
        at += 1
        if ids[oldest] != 0:
            expired = who[oldest, TIME] < oldest_ms
            if not expired and meta[WAITING] - left < open_max:
                break
            left += 1
            found = release(waiting, oldest, i, out, found)
            meta[EXPIRED if expired else EVICTED] -= found - before  # it leaves with its label
            before = found
    return int(found)


@lean_kernel
def replace_label(
    labels: Any, counts: I64, position: int, label_bits: int, time_ms: int, last: int, matches: int
) -> None:
    """Let a label that waits for later predictions give way to a correction, which may have matched."""
    _, _, who, _, bits, _ = labels
    if matches > 0:
        counts[EARLY] -= 1 if who[position, MATCHES] == 0 else 0
        counts[UNMATCHED] += 1 if who[position, MATCHES] == 0 else 0
        who[position, 0] = last
    bits[position], who[position, TIME] = label_bits, time_ms
    who[position, MATCHES] += matches
