"""The join of late labels with their predictions: bounded, by prediction id, in event time.

A prediction with an id waits for its label in a ring, oldest first out. A label that finds its prediction, or brings it
along, gives the model's error, a value of the column `error`. A prediction leaves when its label arrives, when its
successor of the same id comes after the time-out, when too many wait, or some time after the time-out. A label is
unmatched, and counted, if its prediction is unknown, has a label already, or is too old.

The two events alone decide what is too late. When the others leave follows from the unit's clock, which one wrong clock
moves by a day at most. So they wait for another time-out, or for a day if that is less: a clock that is ahead by less,
or by more than a day, spoils its own events alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.jit import kernel
from detectors.arrays.types import F64, I64, U64
from streamer.codecs.class_labels import QUIET_NAN
from streamer.contracts.event_clock import STEP_MS
from streamer.detect.remap import Arrays, Remaps
from streamer.detect.settings import ErrorKind, LabelSettings
from streamer.events import ERROR_COLUMN, EventBatch, EventKind

WHO: Final = 3  # columns of `who`, before those of the segment: subject, sequence, event_time_ms
EMPTY = -1
# columns of LabelJoin._meta: what is known of the ring and what has been counted
HEAD, TAIL, WAITING, MATCHED, UNMATCHED, EXPIRED, EVICTED = range(7)
NOTHING = QUIET_NAN  # bits of a prediction that isn't there
CLASS_MASK = (1 << 48) - 1
PROBABILITY_MIN = 1e-15  # what is less counts as that, so that one certain mistake is not infinitely wrong
LEAVE_MAX = 2  # at one event: more than come in, so that what has waited too long does leave
KINDS = list(ErrorKind)  # a kernel knows a kind by its place
SQUARED, ZERO_ONE, LOG_LOSS = (KINDS.index(k) for k in (ErrorKind.SQUARED, ErrorKind.ZERO_ONE, ErrorKind.LOG_LOSS))


class LabelJoin:
    """Predictions that wait for their label. 48 to 192 bytes each; 16 to 64 more where models have segments."""

    def __init__(self, settings: LabelSettings, has_segments: bool = False) -> None:
        self.settings = settings
        self._width = WHO + 2 * has_segments
        self._allocate(64)
        self._meta = np.zeros(7, np.int64)
        self._kind_of = np.empty(0, np.uint8)  # by model; follows from the settings and the names

    def join(
        self,
        batch: EventBatch,
        subjects: I64,
        sequences: I64,
        models: Sequence[str],
        segments: I64 | None = None,
        clock_ms: I64 | None = None,
    ) -> LabelMatches:
        """Take the predictions of a batch in and match its labels, event by event, in order; `models` are names by id.

        `segments` is [n, 2], subject and sequence of each event's segment, if models have segments. `clock_ms` is the
        unit's clock after each event [n]; None: all event times are believed.
        """
        self._make_room(len(batch))
        k = int(np.count_nonzero(batch.kind & EventKind.LABEL))
        whose = [subjects, sequences, batch.event_time_ms] + ([] if segments is None else list(segments.T))
        event, error, lag_ms = np.empty(k, np.int64), np.empty(k), np.empty(k, np.int64)
        mine = np.empty((k, self._width), np.int64)
        timeout_ms, open_max = int(self.settings.timeout_s * 1000), self.settings.open_max
        now_ms = batch.event_time_ms if clock_ms is None else np.minimum(batch.event_time_ms, clock_ms)
        leave_ms = now_ms - timeout_ms - min(timeout_ms, STEP_MS)
        state = (self._hash, self._id, self._who, self._value, self._meta)
        kinds = self._kinds(models)[batch.model]
        outcomes = (batch.prediction, batch.prediction.view(np.int64), batch.label.view(np.int64), kinds)
        events = (batch.kind, batch.join_id, batch.event_time_ms, leave_ms, outcomes, np.column_stack(whose))
        found = _join(state, events, timeout_ms, open_max, (event, mine, error, lag_ms))
        subject, sequence, mine = mine[:found, 0], mine[:found, 1], mine[:found, WHO:]
        return LabelMatches(event[:found], subject, sequence, error[:found], lag_ms[:found] / 1000, mine)

    @property
    def counts(self) -> dict[str, int]:
        """How many labels matched or not, and how many predictions left without one."""
        matched, unmatched, expired, evicted = (int(x) for x in self._meta[MATCHED:])
        return {"matched": matched, "unmatched": unmatched, "expired": expired, "evicted": evicted}

    def dump(self) -> Arrays:
        """The predictions that wait, oldest first, and the counts."""
        ring, meta = self._waiting(), self._meta.copy()
        meta[HEAD], meta[TAIL] = 0, len(ring)  # as if the ring began here: where it really does is chance
        return {"id": self._id[ring], "who": self._who[ring], "value": self._value[ring], "meta": meta}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        n = len(arrays["id"])
        self._allocate(_power_of_two(max(n, 64)))
        who = arrays["who"]  # dumped under other settings, it may lack the columns of a segment, or hold spare ones
        kept = min(self._width, who.shape[1])
        self._who[:n, kept:], self._who[:n, :kept] = EMPTY, who[:, :kept]
        self._id[:n], self._value[:n] = arrays["id"], arrays["value"]
        self._meta = arrays["meta"].copy()
        _index(self._hash, self._id, n)

    @staticmethod
    def remap(arrays: Arrays, remaps: Remaps) -> Arrays:
        """What was dumped, without the predictions of evicted subjects."""
        who, meta, subjects = arrays["who"], arrays["meta"].copy(), remaps.subjects
        kept = subjects.kept[who[:, 0]]
        who = who[kept]
        for column in (0, WHO) if who.shape[1] > WHO else (0,):
            who[:, column] = subjects.new(who[:, column])
        meta[TAIL] = meta[WAITING] = np.count_nonzero(kept)
        return {"id": arrays["id"][kept], "who": who, "value": arrays["value"][kept], "meta": meta}

    def _kinds(self, models: Sequence[str]) -> NDArray[np.uint8]:
        """The kind of error of each model, as its place among `ErrorKind`."""
        new, settings = models[len(self._kind_of) :], self.settings
        if new:
            kinds = [KINDS.index(settings.errors.get(model, settings.error)) for model in new]
            self._kind_of = np.concatenate([self._kind_of, np.array(kinds, np.uint8)])
        return self._kind_of

    def _allocate(self, size: int) -> None:
        self._hash = np.full(2 * size, EMPTY, np.int32)  # place of a prediction id -> position in the ring
        self._id = np.zeros(size, np.uint64)  # 0: left
        self._who = np.zeros(
            (size, self._width), np.int64
        )  # subject, sequence, event_time_ms; subject, sequence of its segment
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


@dataclass(frozen=True, slots=True)
class LabelMatches:
    """The predictions that a batch's labels matched; `k` of them, in order of the label events."""

    event: I64  # [k] index of the label's event in the batch
    subject: I64  # [k] subject of the prediction
    sequence: I64  # [k] number of the prediction in its subject
    error: F64  # [k] of its model's kind
    lag_s: F64  # [k] from the prediction's event time to the label's; 0 where they are one event
    segment: I64  # [k, 2] subject of the prediction's segment and number in it; [k, 0] without segments

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
    """Drop what has left already, and the oldest if they came before `oldest_ms` or are too many."""
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
def _place_of_next(hashed: NDArray[np.int32], ids: U64, who: I64, meta: I64, key: np.uint64, oldest_ms: int) -> int:
    """Where the key stands, or would: an earlier prediction of the same id leaves if it is too old for its label."""
    at = _find(hashed, ids, key)
    if hashed[at] != EMPTY and who[hashed[at], 2] < oldest_ms:
        meta[EXPIRED] += 1
        meta[WAITING] -= 1
        _remove(hashed, ids, at)
        at = _find(hashed, ids, key)
    return int(at)


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
    kind, join_id, time_ms, leave_ms, outcomes, whose = events
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
            _leave_oldest(hashed, ids, who, meta, leave_ms[i], open_max)
            at = _place_of_next(hashed, ids, who, meta, key, oldest_ms)
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
