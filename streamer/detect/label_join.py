"""The join of late labels with their predictions: bounded, by prediction id, in event time.

A prediction with an id waits for its label in a ring, oldest first out. A label that finds its prediction, or brings it
along, gives the model's error, a value of the column `error`. A prediction leaves when its label arrives, when its
successor of the same id comes after the time-out, when too many wait, or some time after the time-out.

A label matches every prediction of its id that waits: those of a champion and its challengers. It then waits in a ring
of its own, `early_max` labels long, for predictions that arrive behind it. A label is unmatched, and counted, if it
leaves that ring without any prediction, or is another label of an id that has one.

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

from detectors.arrays.jit import kernel, lean_kernel
from detectors.arrays.types import F64, I64
from detectors.series.id_ring import (
    EMPTY,
    EVICTED,
    EXPIRED,
    TIME,
    WAITING,
    IdRing,
    after,
    append,
    entries_of,
    find,
    home,
    leave_oldest,
    remove,
)  # fmt: skip
from retrain.messages.patterns import first_match
from streamer.codecs.class_labels import QUIET_NAN
from streamer.contracts.event_clock import STEP_MS
from streamer.detect.remap import Arrays, Remaps
from streamer.detect.settings import ErrorKind, LabelSettings
from streamer.events import ERROR_COLUMN, EventBatch, EventKind
from streamer.runtime.snapshot import nested, unnested

WHO: Final = 3  # columns of `who`, before those of the segment: subject, sequence, event_time_ms ...
MATCHES, MODEL = 1, 3  # ... and of a label: subject of its last prediction, number of predictions, event_time_ms, model
MATCHED, UNMATCHED, EARLY = range(3)  # of LabelJoin._counts; EARLY is how many wait that have no prediction yet
VERSIONS_MAX: Final = 8  # predictions of one id that wait at once; further ones are left out
CLASS_MASK = (1 << 48) - 1
PROBABILITY_MIN = 1e-15  # what is less counts as that, so that one certain mistake is not infinitely wrong
KINDS = list(ErrorKind)  # a kernel knows a kind by its place
SQUARED, ZERO_ONE, LOG_LOSS = (KINDS.index(k) for k in (ErrorKind.SQUARED, ErrorKind.ZERO_ONE, ErrorKind.LOG_LOSS))


class LabelJoin:
    """Predictions that wait for their label, and labels that wait for a prediction.

    48 to 192 bytes each; 16 to 64 more for a prediction where models have segments.
    """

    def __init__(self, settings: LabelSettings, has_segments: bool = False) -> None:
        self.settings = settings
        self._waiting = IdRing(WHO + 2 * has_segments)
        self._labels = IdRing(MODEL + 1)
        self._counts = np.zeros(3, np.int64)
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
        labels = int(np.count_nonzero(batch.kind & EventKind.LABEL))
        self._waiting.make_room(len(batch))
        self._labels.make_room(labels)
        k = len(batch) + labels * VERSIONS_MAX
        whose = [subjects, sequences, batch.event_time_ms] + ([] if segments is None else list(segments.T))
        out = np.empty(k, np.int64), np.empty((k, len(whose)), np.int64), np.empty(k), np.empty(k, np.int64)
        limits = int(self.settings.timeout_s * 1000), self.settings.open_max, self.settings.early_max
        now_ms = batch.event_time_ms if clock_ms is None else np.minimum(batch.event_time_ms, clock_ms)
        times = batch.event_time_ms, now_ms - limits[0] - min(limits[0], STEP_MS)
        bits = batch.prediction.view(np.int64), batch.label.view(np.int64)
        outcomes = (batch.prediction, bits[0], batch.label, bits[1], self._kinds(models)[batch.model])
        events = (batch.kind, batch.join_id, times, outcomes, np.column_stack(whose), batch.model)
        found = _join(self._waiting.state, self._labels.state, self._counts, events, limits, out)
        event, mine, error, lag_ms = out[0][:found], out[1][:found], out[2][:found], out[3][:found]
        return LabelMatches(event, mine[:, 0], mine[:, 1], error, lag_ms / 1000, mine[:, TIME], mine[:, WHO:])

    @property
    def counts(self) -> dict[str, int]:
        """How many predictions were matched, how many labels were not or wait, and how many predictions left."""
        matched, unmatched, early = self._counts.tolist()
        expired, evicted = self._waiting.meta[[EXPIRED, EVICTED]].tolist()
        return {
            "matched": matched, "unmatched": unmatched, "early": early, "expired": expired, "evicted": evicted
        }  # fmt: skip

    def dump(self) -> Arrays:
        """The predictions and labels that wait, oldest first, and the counts."""
        return self._waiting.dump() | nested("early", self._labels.dump()) | {"counts": self._counts.copy()}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restore what was dumped."""
        self._waiting.load(arrays)
        self._labels.load(unnested("early", arrays))
        self._counts = arrays["counts"].copy()

    @staticmethod
    def remap(arrays: Arrays, remaps: Remaps) -> Arrays:
        """What was dumped, without the predictions of evicted subjects and the labels of evicted models."""
        subjects, early = remaps.subjects, unnested("early", arrays)
        waiting = entries_of(arrays, subjects.kept[arrays["who"][:, 0]])
        who = waiting["who"]
        for column in (0, WHO) if who.shape[1] > WHO else (0,):
            who[:, column] = subjects.new(who[:, column])
        early = entries_of(early, remaps.models.kept[early["who"][:, MODEL]])
        early["who"][:, 0] = subjects.new(early["who"][:, 0])
        early["who"][:, MODEL] = remaps.models.new(early["who"][:, MODEL])
        return waiting | nested("early", early) | {"counts": arrays["counts"]}

    def _kinds(self, models: Sequence[str]) -> NDArray[np.uint8]:
        """The kind of error of each model, as its place among `ErrorKind`."""
        new, settings = models[len(self._kind_of) :], self.settings
        if new:
            kinds = [KINDS.index(first_match(settings.errors, model) or settings.error) for model in new]
            self._kind_of = np.concatenate([self._kind_of, np.array(kinds, np.uint8)])
        return self._kind_of


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
def _is_class(bits: int) -> bool:
    """Whether these are the bits of a NaN that stands for the name of a class."""
    return bool(bits > QUIET_NAN and bits & CLASS_MASK != 0)


@lean_kernel
def _zero_one(predicted: float, predicted_bits: int, label: float, label_bits: int) -> float:
    """Whether two classes differ; NaN if one of them is missing."""
    if np.isnan(predicted) != np.isnan(label):
        has_class = _is_class(predicted_bits) or _is_class(label_bits)
        return 1.0 if has_class else np.nan  # a text is none of the classes that are numbers
    if np.isnan(label):
        both = _is_class(predicted_bits) and _is_class(label_bits)
        return (1.0 if predicted_bits != label_bits else 0.0) if both else np.nan
    return 1.0 if predicted != label else 0.0


@lean_kernel
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


@lean_kernel
def _add(out: Any, found: int, i: int, whose: I64, of: int, error: float, lag_ms: int) -> int:
    """Store one match of the prediction at `of`; returns how many there are."""
    out[0][found], out[2][found], out[3][found] = i, error, lag_ms
    for column in range(whose.shape[1]):
        out[1][found, column] = whose[of, column]
    return int(found + 1)


@lean_kernel
def _take_prediction(
    waiting: Any, labels: Any, counts: I64, events: Any, i: int, limits: Any, out: Any, found: int
) -> int:
    """Match prediction `i` with a label that came before it, or let it wait; returns the matches so far."""
    _, join_id, (time_ms, _), outcomes, whose, _ = events
    prediction, prediction_bits, _, _, kinds = outcomes
    hashed, ids, who, value, bits, _ = labels
    at = hashed[find(hashed, ids, join_id[i], home(hashed, join_id[i]))]
    if at != EMPTY and who[at, 0] != whose[i, 0] and abs(who[at, TIME] - time_ms[i]) <= limits[0]:
        error = _error(kinds[i], prediction[i], value[at], prediction_bits[i], bits[at])
        if not np.isnan(error):
            counts[EARLY] -= 1 if who[at, MATCHES] == 0 else 0
            who[at, 0] = whose[i, 0]
            who[at, MATCHES] += 1
            return int(_add(out, found, i, whose, i, error, who[at, TIME] - time_ms[i]))
    _wait(waiting, join_id[i], whose, i, prediction_bits[i], time_ms[i] - limits[0])
    return found


@lean_kernel
def _wait(waiting: Any, key: np.uint64, whose: I64, i: int, bits: int, oldest_ms: int) -> None:
    """Let prediction `i` wait, unless one of the same subject and id does; those too old for its label leave."""
    hashed, ids, who, _, value_bits, meta = waiting
    at = find(hashed, ids, key, home(hashed, key))
    versions = 0
    while hashed[at] != EMPTY:
        if who[hashed[at], TIME] < oldest_ms:
            meta[EXPIRED] += 1
            meta[WAITING] -= 1
            remove(hashed, ids, at)
            at = find(hashed, ids, key, at)
            continue
        versions += 1
        if who[hashed[at], 0] == whose[i, 0] or versions == VERSIONS_MAX:
            return
        at = find(hashed, ids, key, after(hashed, at))
    position = append(waiting, at, key)
    value_bits[position] = bits
    for column in range(who.shape[1]):
        who[position, column] = whose[i, column]


@lean_kernel
def _match_label(waiting: Any, events: Any, i: int, timeout_ms: int, out: Any, found: int) -> int:
    """Match label `i` with every prediction of its id that waits; returns the matches so far."""
    hashed, ids, who, value, value_bits, meta = waiting
    _, join_id, (time_ms, _), outcomes, _, _ = events
    _, _, label, label_bits, kinds = outcomes
    key = join_id[i]
    at = find(hashed, ids, key, home(hashed, key))
    while hashed[at] != EMPTY:
        position = hashed[at]
        predicted, bits = value[position], value_bits[position]
        error = _error(kinds[i], predicted, label[i], bits, label_bits[i])
        if who[position, TIME] >= time_ms[i] - timeout_ms and not np.isnan(error):
            found = _add(out, found, i, who, position, error, time_ms[i] - who[position, TIME])
            meta[WAITING] -= 1
            remove(hashed, ids, at)
        else:
            at = after(hashed, at)
        at = find(hashed, ids, key, at)
    return int(found)


@lean_kernel
def _keep_label(labels: Any, counts: I64, events: Any, i: int, limits: Any, last: int, matches: int) -> bool:
    """Let label `i` wait for later predictions; False where it is none, or where its id has a label already."""
    hashed, ids, who, _, bits, meta = labels
    _, join_id, (time_ms, leave_ms), outcomes, _, model = events
    _, _, label, label_bits, _ = outcomes
    key = join_id[i]
    lonely = leave_oldest(labels, leave_ms[i], limits[2], MATCHES)
    at = find(hashed, ids, key, home(hashed, key))
    if hashed[at] != EMPTY and who[hashed[at], TIME] < time_ms[i] - limits[0]:  # that of another prediction
        lonely += 1 if who[hashed[at], MATCHES] == 0 else 0
        meta[EXPIRED] += 1
        meta[WAITING] -= 1
        remove(hashed, ids, at)
        at = find(hashed, ids, key, home(hashed, key))
    counts[UNMATCHED] += lonely
    counts[EARLY] -= lonely
    if hashed[at] != EMPTY or (np.isnan(label[i]) and not _is_class(label_bits[i])):
        return False
    position = append(labels, at, key)
    bits[position] = label_bits[i]
    who[position, 0], who[position, MATCHES], who[position, TIME], who[position, MODEL] = (
        last, matches, time_ms[i], model[i]
    )  # fmt: skip
    return True


@lean_kernel
def _take_label(waiting: Any, labels: Any, counts: I64, events: Any, i: int, limits: Any, out: Any, found: int) -> int:
    """Match label `i`, and let it wait for later predictions; returns the matches so far."""
    _, join_id, _, outcomes, whose, _ = events
    prediction, prediction_bits, label, label_bits, kinds = outcomes
    if join_id[i] == 0:  # label and prediction of one event need no id
        error = _error(kinds[i], prediction[i], label[i], prediction_bits[i], label_bits[i])
        if np.isnan(error):
            counts[UNMATCHED] += 1
            return found
        return _add(out, found, i, whose, i, error, 0)
    now = _match_label(waiting, events, i, limits[0], out, found)
    last = out[1][now - 1, 0] if now > found else EMPTY
    kept = _keep_label(labels, counts, events, i, limits, last, now - found)
    if now == found:
        counts[EARLY if kept else UNMATCHED] += 1
    return int(now)


@kernel
def _join(waiting: Any, labels: Any, counts: I64, events: Any, limits: Any, out: Any) -> int:
    kind, join_id, times, outcomes, whose, _ = events
    prediction, prediction_bits, _, _, kinds = outcomes
    found = 0
    for i in range(len(kind)):
        is_class = kinds[i] == ZERO_ONE and _is_class(prediction_bits[i])
        if kind[i] & 1 and join_id[i] != 0 and (is_class or not np.isnan(prediction[i])):
            leave_oldest(waiting, times[1][i], limits[1], EMPTY)
            if kind[i] & 2:  # its own label comes before any that waits
                _wait(waiting, join_id[i], whose, i, prediction_bits[i], times[0][i] - limits[0])
            else:
                found = _take_prediction(waiting, labels, counts, events, i, limits, out, found)
        if kind[i] & 2:
            found = _take_label(waiting, labels, counts, events, i, limits, out, found)
    counts[MATCHED] += found
    return int(found)
