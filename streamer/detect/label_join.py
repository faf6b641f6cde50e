"""Late labels meet their predictions: a bounded join by prediction id, in event time.

A prediction with an id waits for its label in a ring, oldest first out; a label that finds its prediction, or brings it
along, gives the model's error as a value of the column `error`: of the kind that suits its task. A prediction leaves
when its label comes, when a prediction comes that is later than it by more than the time-out, or when too many wait. A
second label for a prediction, one that comes too late and one for an unknown prediction are the same to us: unmatched,
and counted.

What is too late is told by the two events alone, and one event makes at most `LEAVE_MAX` others leave, so that a clock
that is years ahead spoils its own events and hardly any other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.jit import kernel
from streamer.codecs.class_labels import QUIET_NAN
from streamer.detect.label_values import Errors
from streamer.events import EventBatch, Kind

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
U64 = NDArray[np.uint64]

EMPTY = -1
WHO = 3  # columns of what is known of whose prediction waits, before those of its segment
# columns of LabelJoin._meta: what is known of the ring and what has been counted
HEAD, TAIL, WAITING, MATCHED, UNMATCHED, EXPIRED, EVICTED = range(7)
NOTHING = QUIET_NAN  # bits of a prediction that isn't there
CLASS_MASK = (1 << 48) - 1
PROBABILITY_MIN = 1e-15  # what is less counts as that, so that one certain mistake is not infinitely wrong
LEAVE_MAX = 2  # more than come in, so that what has waited too long does leave
TIMEOUT_MAX_S = 100 * 366 * 86_400.0


class ErrorKind(StrEnum):
    """How wrong a prediction was, by what the model predicts: a quantity (`absolute`, in its units, or `squared`), a
    class (`zero_one`: 1 if the label is another) or the probability of a label that is 0 or 1 (`log_loss`, in nats).
    """

    ABSOLUTE = "absolute"
    SQUARED = "squared"
    ZERO_ONE = "zero_one"  # classes may be texts, numbers or booleans
    LOG_LOSS = "log_loss"  # at most 34.6


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """How long predictions wait for labels, and what is made of both.

    error: what an error is.
    errors: the same for single models, by model_id.
    watch_lag: watch how long labels take, as the column `label_lag_s`. Labels that come in batches look like drift to
        detectors, as the lags of a batch are not independent.
    """

    timeout_s: float = 7 * 86_400.0  # in event time
    open_max: int = 1_000_000  # predictions that wait at once, per partition; the oldest leave first
    error: ErrorKind = ErrorKind.ABSOLUTE
    errors: Mapping[str, ErrorKind] = field(default_factory=dict)
    watch_lag: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.timeout_s <= TIMEOUT_MAX_S:
            raise ValueError(f"timeout_s must be above 0 and at most 100 years, not {self.timeout_s}")
        if not 1 <= self.open_max <= 1 << 28:
            raise ValueError(f"open_max must be 1 to {1 << 28}, not {self.open_max}")


_KINDS = list(ErrorKind)
SQUARED, ZERO_ONE, LOG_LOSS = (_KINDS.index(k) for k in (ErrorKind.SQUARED, ErrorKind.ZERO_ONE, ErrorKind.LOG_LOSS))


class LabelJoin:
    """Predictions that wait for their label. 48 to 192 bytes each; 16 to 64 more where models have segments."""

    def __init__(self, settings: LabelSettings, has_segments: bool = False) -> None:
        self.settings = settings
        self._width = WHO + 2 * has_segments
        self._allocate(64)
        self._meta = np.zeros(7, np.int64)
        self._kind_of = np.empty(0, np.uint8)  # by model; follows from the settings and the names

    def join(
        self, batch: EventBatch, subjects: I64, numbers: I64, models: Sequence[str], segments: I64 | None = None
    ) -> Errors:
        """Take a batch's predictions in and match its labels, event by event, in order; `models` are names by id.

        `segments` is [n, 2], subject and number of each event's segment, where models have segments.
        """
        self._make_room(len(batch))
        k = int(np.count_nonzero(batch.kind & Kind.LABEL))
        whose = [subjects, numbers, batch.event_time_ms] + ([] if segments is None else list(segments.T))
        event, error, lag_ms = np.empty(k, np.int64), np.empty(k), np.empty(k, np.int64)
        mine = np.empty((k, self._width), np.int64)
        timeout_ms, open_max = int(self.settings.timeout_s * 1000), self.settings.open_max
        state = (self._hash, self._id, self._who, self._value, self._meta)
        kinds = self._kinds(models)[batch.model]
        outcomes = (batch.prediction, batch.prediction.view(np.int64), batch.label.view(np.int64), kinds)
        events = (batch.kind, batch.join_id, batch.event_time_ms, outcomes, np.column_stack(whose))
        found = _join(state, events, timeout_ms, open_max, (event, mine, error, lag_ms))
        subject, number, mine = mine[:found, 0], mine[:found, 1], mine[:found, WHO:]
        return Errors(event[:found], subject, number, error[:found], lag_ms[:found] / 1000, mine)

    @property
    def counts(self) -> dict[str, int]:
        """How labels and waiting predictions have ended so far."""
        matched, unmatched, expired, evicted = (int(x) for x in self._meta[MATCHED:])
        return {"matched": matched, "unmatched": unmatched, "expired": expired, "evicted": evicted}

    def dump(self) -> dict[str, NDArray[Any]]:
        ring, meta = self._waiting(), self._meta.copy()
        meta[HEAD], meta[TAIL] = 0, len(ring)  # as if the ring began here: where it really does is chance
        return {"id": self._id[ring], "who": self._who[ring], "value": self._value[ring], "meta": meta}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        n = len(arrays["id"])
        self._allocate(_power_of_two(max(n, 64)))
        who = arrays["who"]  # under other settings, predictions that wait may have no segment, or need none
        kept = min(self._width, who.shape[1])
        self._who[:n, kept:], self._who[:n, :kept] = EMPTY, who[:, :kept]
        self._id[:n], self._value[:n] = arrays["id"], arrays["value"]
        self._meta = arrays["meta"].copy()
        _index(self._hash, self._id, n)

    def _kinds(self, models: Sequence[str]) -> NDArray[np.uint8]:
        """The kind of error of each model, as its place among `ErrorKind`."""
        new, settings = models[len(self._kind_of) :], self.settings
        if new:
            kinds = [_KINDS.index(settings.errors.get(model, settings.error)) for model in new]
            self._kind_of = np.concatenate([self._kind_of, np.array(kinds, np.uint8)])
        return self._kind_of

    def _allocate(self, size: int) -> None:
        self._hash = np.full(2 * size, EMPTY, np.int32)  # place of a prediction id -> position in the ring
        self._id = np.zeros(size, np.uint64)  # 0: left
        self._who = np.zeros((size, self._width), np.int64)  # subject, number, event_time_ms; the same of its segment
        self._value = np.zeros(size)

    def _waiting(self) -> I64:
        ring: I64 = np.arange(self._meta[HEAD], self._meta[TAIL]) & (len(self._id) - 1)
        here: NDArray[np.bool_] = self._id[ring] != 0
        return ring[here]

    def _make_room(self, events: int) -> None:
        if self._meta[TAIL] - self._meta[HEAD] + events <= len(self._id):
            return
        kept = self.dump()
        n = len(kept["id"])
        self._allocate(_power_of_two(max(2 * n, n + events)))
        self._id[:n], self._who[:n], self._value[:n] = kept["id"], kept["who"], kept["value"]
        self._meta[HEAD], self._meta[TAIL] = 0, n
        _index(self._hash, self._id, n)


def _power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()


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
