"""What the join of labels gives: the errors of predictions, and which predictions have got their label."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.jit import lean_kernel
from detectors.arrays.types import F64, I64
from detectors.series.id_ring import (
    EMPTY,
    EVICTED,
    EXPIRED,
    HEAD,
    LEAVE_MAX,
    TAIL,
    TIME,
    WAITING,
    after,
    append,
    find,
    home,
    leave_oldest,
    remove,
)  # fmt: skip
from streamer.codecs.class_labels import QUIET_NAN
from streamer.detect.settings import PROBABILITY_MIN, ErrorKind
from streamer.events import ERROR_COLUMN

# ... and of a label: subject of its last prediction, number of predictions, event_time_ms, model, offset, topic
MATCHES, MODEL, OFFSET = 1, 3, 4
# of LabelJoin._counts: pairs, and what became of labels; EARLY is how many wait that have no prediction yet
MATCHED, JOINED, EARLY, LATE, CROWDED, REPEATED = range(6)
FATES: Final = ("matched", "expired", "evicted", "repeated")  # as metrics name them
# columns of `who` behind all others, for corrections: event time of the label, bits of the prediction, and offset and
# topic of the label
GIVEN: Final = 4
CLASS_MASK = (1 << 48) - 1
KINDS = list(ErrorKind)  # a kernel knows a kind by its place
SQUARED, ZERO_ONE, LOG_LOSS = (KINDS.index(k) for k in (ErrorKind.SQUARED, ErrorKind.ZERO_ONE, ErrorKind.LOG_LOSS))
VERSIONS_MAX: Final = 8  # predictions of one id that wait at once; further ones are left out


class Labelled(NamedTuple):
    """Predictions that got their first label; `l` of them, in order of events."""

    event: I64  # [l] index in the batch of the later event
    subject: I64  # [l] subject of the prediction
    predicted_ms: I64  # [l] event time of the prediction
    topic: I64  # [l] rank of the topic of the label; -1: it came in its prediction's record


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
    came: I64  # [k, 2] offset of the label's record and rank of its topic; -1: it came in its prediction's record
    labelled: Labelled  # predictions whose first label came, also where corrections are awaited
    strange: I64  # indices of labels whose model has had no prediction by then, whether they match one later or not

    @property
    def label_ms(self) -> I64:
        """Event times of the labels [k]."""
        return self.predicted_ms + np.rint(self.lag_s * 1000).astype(np.int64)

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
def add(out: Any, found: int, i: int, whose: I64, of: int, error: float, label: Any) -> int:
    """Store one match of the prediction at `of` with a label (lag in ms, offset, topic); returns how many there are."""
    out[0][found], out[2][found] = i, error
    out[3][found, 0], out[3][found, 1], out[3][found, 2] = label
    for column in range(out[1].shape[1]):
        out[1][found, column] = whose[of, column]
    return int(found + 1)


@lean_kernel
def note(notes: I64, i: int, subject: int, predicted_ms: int, topic: int) -> None:
    """Store that a prediction got its first label."""
    notes[0, 0] += 1
    at = notes[0, 0]
    notes[at, 0], notes[at, 1], notes[at, 2], notes[at, 3] = i, subject, predicted_ms, topic


@lean_kernel
def give(waiting: Any, position: int, label: Any, error: float, i: int, notes: I64) -> None:
    """Let a prediction that waits have a label (time in ms, offset, topic) of this error, instead of an earlier one."""
    _, _, who, value, bits, _ = waiting
    given = who.shape[1] - GIVEN
    if who[position, given] == EMPTY:
        who[position, given + 1] = bits[position]
        note(notes, i, who[position, 0], who[position, TIME], label[2])
    who[position, given], who[position, given + 2], who[position, given + 3] = label
    value[position] = error


@lean_kernel
def release(waiting: Any, position: int, i: int, out: Any, found: int) -> int:
    """Store the error of a prediction that leaves, if it has a label; returns the matches so far."""
    _, _, who, value, _, _ = waiting
    given = who.shape[1] - GIVEN
    if who[position, given] == EMPTY:
        return found
    label = who[position, given] - who[position, TIME], who[position, given + 2], who[position, given + 3]
    return int(add(out, found, i, who, position, value[position], label))


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
    labels: Any, counts: I64, position: int, label_bits: int, label: Any, last: int, matches: int
) -> None:
    """Let a label that waits for later predictions give way to a correction, which may have matched."""
    _, _, who, _, bits, _ = labels
    if matches > 0:
        counts[EARLY] -= 1 if who[position, MATCHES] == 0 else 0
        counts[REPEATED] += 1 if who[position, MATCHES] == 0 else 0
        who[position, 0] = last
    bits[position] = label_bits
    who[position, TIME], who[position, OFFSET], who[position, OFFSET + 1] = label
    who[position, MATCHES] += matches


@lean_kernel
def wait(waiting: Any, events: Any, i: int, timeout_ms: int, out: Any, found: int) -> tuple[int, int]:
    """Let prediction `i` wait, unless one of the same subject and id does; those too old for its label leave.

    Returns its position, or `EMPTY`, and the matches so far.
    """
    hashed, ids, who, _, value_bits, meta = waiting
    _, join_id, (time_ms, _), outcomes, whose, _, _ = events
    is_last = who.shape[1] > whose.shape[1]
    key = join_id[i]
    at = find(hashed, ids, key, home(hashed, key))
    versions = 0
    while hashed[at] != EMPTY:
        if who[hashed[at], TIME] < time_ms[i] - timeout_ms:
            before = found
            if is_last:
                found = release(waiting, hashed[at], i, out, found)
            meta[EXPIRED] += 1 if found == before else 0
            meta[WAITING] -= 1
            remove(hashed, ids, at)
            at = find(hashed, ids, key, at)
            continue
        versions += 1
        if who[hashed[at], 0] == whose[i, 0] or versions == VERSIONS_MAX:
            return EMPTY, found
        at = find(hashed, ids, key, after(hashed, at))
    position = append(waiting, at, key)
    value_bits[position] = outcomes[1][i]
    for column in range(who.shape[1]):
        who[position, column] = whose[i, column] if column < whose.shape[1] else EMPTY
    return position, found


@lean_kernel
def keep_label(
    labels: Any, counts: I64, events: Any, i: int, limits: Any, last: int, matches: int, is_last: bool, alone: I64
) -> bool:
    """Let label `i` wait for later predictions; False where it is none, or where its id has a label already."""
    hashed, ids, who, _, bits, meta = labels
    _, join_id, (time_ms, leave_ms), outcomes, _, model, places = events
    _, _, label, label_bits, _ = outcomes
    key = join_id[i]
    label_of = time_ms[i], places[i, 0], places[i, 1]
    leave_oldest(labels, leave_ms[i], limits[2], MATCHES, alone)
    at = find(hashed, ids, key, home(hashed, key))
    if hashed[at] != EMPTY and who[hashed[at], TIME] < time_ms[i] - limits[0]:  # that of another prediction
        alone[0] += 1 if who[hashed[at], MATCHES] == 0 else 0
        meta[EXPIRED] += 1
        meta[WAITING] -= 1
        remove(hashed, ids, at)
        at = find(hashed, ids, key, home(hashed, key))
    counts[LATE] += alone[0]
    counts[CROWDED] += alone[1]
    counts[EARLY] -= alone[0] + alone[1]
    alone[:] = 0
    if np.isnan(label[i]) and not is_class(label_bits[i]):
        return False
    if hashed[at] != EMPTY:
        replace_label(labels, counts, hashed[at], label_bits[i], label_of, last, matches) if is_last else None
        return False
    position = append(labels, at, key)
    bits[position] = label_bits[i]
    who[position, 0], who[position, MATCHES], who[position, MODEL] = last, matches, model[i]
    who[position, TIME], who[position, OFFSET], who[position, OFFSET + 1] = label_of
    return True
