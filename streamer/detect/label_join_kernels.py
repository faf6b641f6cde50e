"""Kernels of the join of labels with their predictions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.jit import kernel
from detectors.arrays.types import I64, U64
from streamer.codecs.class_labels import QUIET_NAN
from streamer.detect.settings import ErrorKind

EMPTY = -1
# columns of LabelJoin._meta: what is known of the ring and what has been counted
HEAD, TAIL, WAITING, MATCHED, UNMATCHED, EXPIRED, EVICTED = range(7)
NOTHING = QUIET_NAN  # bits of a prediction that isn't there
CLASS_MASK = (1 << 48) - 1
PROBABILITY_MIN = 1e-15  # what is less counts as that, so that one certain mistake is not infinitely wrong
LEAVE_MAX = 2  # more than come in, so that what has waited too long does leave
KINDS = list(ErrorKind)  # a kernel knows a kind by its place
SQUARED, ZERO_ONE, LOG_LOSS = (KINDS.index(k) for k in (ErrorKind.SQUARED, ErrorKind.ZERO_ONE, ErrorKind.LOG_LOSS))


@kernel
def _find(hashed: NDArray[np.int32], ids: U64, key: np.uint64) -> int:
    """Where the key stands in the hash table, or the empty place where it would."""
    mask = len(hashed) - 1
    at = np.int64(key & np.uint64(mask))
    while hashed[at] != EMPTY and ids[hashed[at]] != key:
        at = (at + 1) & mask
    return int(at)


@kernel
def _remove(hashed: NDArray[np.int32], ids: U64, at: int) -> None:
    """Take out what stands at `at`, moving later entries of its run up (Knuth 6.4, algorithm R)."""
    mask = len(hashed) - 1
    ids[hashed[at]] = np.uint64(0)
    hole = at
    probe = at
    while True:
        probe = (probe + 1) & mask
        if hashed[probe] == EMPTY:
            break
        home = np.int64(ids[hashed[probe]] & np.uint64(mask))
        if ((probe - home) & mask) >= ((probe - hole) & mask):
            hashed[hole] = hashed[probe]
            hole = probe
    hashed[hole] = EMPTY


@kernel
def _index(hashed: NDArray[np.int32], ids: U64, n: int) -> None:
    for position in range(n):
        hashed[_find(hashed, ids, ids[position])] = position


@kernel
def _leave_oldest(hashed: NDArray[np.int32], ids: U64, who: I64, meta: I64, oldest_ms: int, open_max: int) -> None:
    """Let go of what has left already, and of the oldest if they came before `oldest_ms` or are too many."""
    mask = len(ids) - 1
    left = 0
    while meta[HEAD] < meta[TAIL]:
        oldest = meta[HEAD] & mask
        if ids[oldest] != 0:
            expired = who[oldest, 2] < oldest_ms
            if left == LEAVE_MAX or (not expired and meta[WAITING] < open_max):
                return
            left += 1
            meta[EXPIRED if expired else EVICTED] += 1
            meta[WAITING] -= 1
            _remove(hashed, ids, _find(hashed, ids, ids[oldest]))
        meta[HEAD] += 1


@kernel
def _is_class(bits: int) -> bool:
    """Whether these are the bits of a NaN that stands for the name of a class."""
    return bool(bits > QUIET_NAN and bits & CLASS_MASK != 0)


@kernel
def _zero_one(predicted: float, predicted_bits: int, label: float, label_bits: int) -> float:
    """Whether two classes differ; NaN if one of them is missing."""
    if np.isnan(predicted) != np.isnan(label):
        has_class = _is_class(predicted_bits) or _is_class(label_bits)
        return 1.0 if has_class else np.nan  # a text is none of the classes that are numbers
    if np.isnan(label):
        both = _is_class(predicted_bits) and _is_class(label_bits)
        return (1.0 if predicted_bits != label_bits else 0.0) if both else np.nan
    return 1.0 if predicted != label else 0.0


@kernel
def _error(kind: int, predicted: float, label: float, predicted_bits: int, label_bits: int) -> float:
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


@kernel
def _next_position(hashed: NDArray[np.int32], ids: U64, meta: I64, at: int, key: np.uint64) -> int:
    """Where in the ring a prediction that comes now waits."""
    position = meta[TAIL] & (len(ids) - 1)
    meta[TAIL] += 1
    meta[WAITING] += 1
    hashed[at] = position
    ids[position] = key
    return int(position)


@kernel
def _join(state: Any, events: Any, timeout_ms: int, open_max: int, out: Any) -> int:
    hashed, ids, who, value, meta = state
    event, mine, error, lag_ms = out
    kind, join_id, time_ms, outcomes, whose = events
    prediction, prediction_bits, label_bits, error_kind = outcomes
    value_bits = value.view(np.int64)
    pair = np.empty(2)  # a prediction and its label
    pair_bits = pair.view(np.int64)
    found = 0
    for i in range(len(kind)):
        key = join_id[i]
        oldest_ms = time_ms[i] - timeout_ms
        is_class = error_kind[i] == ZERO_ONE and _is_class(prediction_bits[i])
        if kind[i] & 1 and key != 0 and (is_class or not np.isnan(prediction[i])):
            _leave_oldest(hashed, ids, who, meta, oldest_ms, open_max)
            at = _find(hashed, ids, key)
            if hashed[at] == EMPTY:
                position = _next_position(hashed, ids, meta, at, key)
                value_bits[position] = prediction_bits[i]
                who[position] = whose[i]
        if kind[i] & 2 == 0:
            continue
        at, bits = -1, NOTHING
        lag_ms[found] = 0
        if key == 0:  # label and prediction of one event need no id
            mine[found], bits = whose[i], prediction_bits[i]
        else:
            at = _find(hashed, ids, key)
            position = hashed[at]
            if position != EMPTY and who[position, 2] >= oldest_ms:
                mine[found] = who[position]
                bits = value_bits[position]
                lag_ms[found] = time_ms[i] - who[position, 2]
        pair_bits[0], pair_bits[1] = bits, label_bits[i]
        event[found], error[found] = i, _error(error_kind[i], pair[0], pair[1], bits, label_bits[i])
        if np.isnan(error[found]):
            meta[UNMATCHED] += 1
            continue
        meta[MATCHED] += 1
        found += 1
        if at >= 0:
            meta[WAITING] -= 1
            _remove(hashed, ids, at)
    return found
