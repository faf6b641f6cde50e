"""The join of late labels with their predictions: bounded, by prediction id, in event time.

A prediction with an id waits for its label in a ring, oldest first out. A label that finds its prediction, or brings it
along, gives the model's error, a value of the column `error`. A prediction leaves when its label arrives, when its
successor of the same id comes after the time-out, when too many wait, or some time after the time-out.

A label matches every prediction of its id that waits: those of a champion and its challengers. It then waits in a ring
of its own, `early_max` labels long, for predictions that arrive behind it. A label is unmatched, and counted, if it
leaves that ring without any prediction, or is another label of an id that has one.

With `corrections: last`, a prediction stays when its label arrives, and further labels of its id replace it. The error
counts when the prediction leaves. Meanwhile, the ring holds the error in place of the prediction, and that beside it.

The two events alone decide what is too late. When the others leave follows from the unit's clock, which one wrong clock
moves by a day at most. So they wait for another time-out, or for a day if that is less: a clock that is ahead by less,
or by more than a day, spoils its own events alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.growth import ensure_length
from detectors.arrays.jit import kernel, lean_kernel
from detectors.arrays.types import I64, Bools
from detectors.series.id_ring import (
    EMPTY,
    EVICTED,
    EXPIRED,
    LEAVE_MAX,
    TIME,
    WAITING,
    IdRing,
    after,
    entries_of,
    find,
    home,
    leave_oldest,
    remove,
)  # fmt: skip
from retrain.messages.patterns import first_match
from streamer.contracts.event_clock import STEP_MS
from streamer.detect.label_matches import (
    EARLY,
    FATES,
    GIVEN,
    JOINED,
    KINDS,
    MATCHED,
    MATCHES,
    MODEL,
    OFFSET,
    REPEATED,
    VERSIONS_MAX,
    ZERO_ONE,
    Labelled,
    LabelMatches,
    add,
    error_of,
    give,
    is_class,
    keep_label,
    note,
    release_oldest,
    wait,
)
from streamer.detect.remap import Arrays, Remaps
from streamer.detect.settings import Corrections, LabelSettings
from streamer.events import EventBatch, EventKind
from streamer.runtime.snapshot import nested, unnested

WHO: Final = 3  # columns of `who`, before those of the segment: subject, sequence, event_time_ms ...


class LabelJoin:
    """Predictions that wait for their label, and labels that wait for a prediction.

    48 to 192 bytes each; 16 to 64 more for a prediction where models have segments.
    """

    def __init__(self, settings: LabelSettings, has_segments: bool = False) -> None:
        self.settings = settings
        self._is_last = settings.corrections is Corrections.LAST
        self._waiting = IdRing(WHO + 2 * has_segments + GIVEN * self._is_last)
        self._labels = IdRing(OFFSET + 2)
        self._counts = np.zeros(6, np.int64)
        self._kind_of = np.empty(0, np.uint8)  # by model; follows from the settings and the names
        self._predicts = np.zeros(0, bool)  # by model: whether a prediction of it has come

    def join(
        self,
        batch: EventBatch,
        subjects: I64,
        sequences: I64,
        models: Sequence[str],
        segments: I64 | None = None,
        clock_ms: I64 | None = None,
        topics: I64 | None = None,
    ) -> LabelMatches:
        """Take the predictions of a batch in and match its labels, event by event, in order; `models` are names by id.

        `segments` is [n, 2], subject and sequence of each event's segment, if models have segments. `clock_ms` is the
        unit's clock after each event [n]; None: all event times are believed. `topics` are ranks [n]; None: all 0.
        """
        labels = int(np.count_nonzero(batch.kind & EventKind.LABEL))
        self._waiting.make_room(len(batch))
        self._labels.make_room(labels)
        k = len(batch) + (len(batch) * (LEAVE_MAX + VERSIONS_MAX) if self._is_last else labels * VERSIONS_MAX)
        whose = [subjects, sequences, batch.event_time_ms] + ([] if segments is None else list(segments.T))
        notes = np.zeros((1 + (len(batch) + labels * VERSIONS_MAX) * self._is_last, 4), np.int64)  # [0, 0]: how many
        out = np.empty(k, np.int64), np.empty((k, len(whose)), np.int64), np.empty(k), np.empty((k, 3), np.int64), notes
        limits = int(self.settings.timeout_s * 1000), self.settings.open_max, self.settings.early_max
        now_ms = batch.event_time_ms if clock_ms is None else np.minimum(batch.event_time_ms, clock_ms)
        times = batch.event_time_ms, now_ms - limits[0] - min(limits[0], STEP_MS)
        bits = batch.prediction.view(np.int64), batch.label.view(np.int64)
        outcomes = (batch.prediction, bits[0], batch.label, bits[1], self._kinds(models)[batch.model])
        at = np.column_stack([batch.offset, np.zeros(len(batch), np.int64) if topics is None else topics])
        events = (batch.kind, batch.join_id, times, outcomes, np.column_stack(whose), batch.model, at)
        found = _join(self._waiting.state, self._labels.state, self._counts, events, limits, out)
        event, mine, error, lag_s = out[0][:found], out[1][:found], out[2][:found], out[3][:found, 0] / 1000
        came = out[3][:found, 1:]
        along = (mine[:, 0] == subjects[event]) & (mine[:, 1] == sequences[event]) & (came == at[event]).all(axis=1)
        came[along] = EMPTY
        labelled = Labelled(event, mine[:, 0], mine[:, TIME], came[:, 1])
        if self._is_last:
            noted = notes[1 : 1 + notes[0, 0]]
            noted[batch.kind[noted[:, 0]] == EventKind.PREDICTION | EventKind.LABEL, 3] = EMPTY
            labelled = Labelled(*noted.T)
        strange = self._strange(batch, labels)
        return LabelMatches(
            event, mine[:, 0], mine[:, 1], error, lag_s, mine[:, TIME], mine[:, WHO:], came, labelled, strange
        )

    @property
    def open(self) -> int:
        """How many predictions wait for their label."""
        return int(self._waiting.meta[WAITING])

    @property
    def counts(self) -> dict[str, int]:
        """How many predictions were matched, how many labels were not or wait, and how many predictions left."""
        matched, _, early, *lost = self._counts.tolist()
        expired, evicted = self._waiting.meta[[EXPIRED, EVICTED]].tolist()
        return {"matched": matched, "unmatched": sum(lost), "early": early, "expired": expired, "evicted": evicted}

    @property
    def fates(self) -> dict[str, int]:
        """What became of the labels: one of `FATES` for each that does not wait.

        `repeated` are further labels of an id that has one, and labels without a value.
        """
        _, joined, _, *lost = self._counts.tolist()
        return dict(zip(FATES, (joined, *lost), strict=True))

    def dump(self) -> Arrays:
        """The predictions and labels that wait, oldest first, and the counts."""
        waiting = self._waiting.dump()
        if self._is_last:
            waiting |= {"who": waiting["who"][:, :-GIVEN], "given": waiting["who"][:, -GIVEN:]}
        early = nested("early", self._labels.dump())
        return waiting | early | {"counts": self._counts.copy(), "predicts": self._known()}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restore what was dumped, perhaps under other settings."""
        self._waiting.load(self._with_given(arrays))
        self._labels.load(unnested("early", arrays))
        self._counts, self._predicts = arrays["counts"].copy(), arrays["predicts"].copy()

    def _with_given(self, arrays: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """The predictions that wait: with their labels where corrections are awaited, else those without one."""
        given = arrays.get("given", np.full((len(arrays["id"]), GIVEN), EMPTY, np.int64))
        if not self._is_last:
            return entries_of(arrays, given[:, 0] == EMPTY) if "given" in arrays else arrays
        own = self._waiting.width - GIVEN
        who = np.full((len(given), own), EMPTY, np.int64)
        kept = min(own, arrays["who"].shape[1])
        who[:, :kept] = arrays["who"][:, :kept]
        return {**arrays, "who": np.concatenate([who, given], axis=1)}

    @staticmethod
    def remap(arrays: Arrays, remaps: Remaps) -> Arrays:
        """What was dumped, without the predictions of evicted subjects and the labels of evicted models."""
        subjects, early = remaps.subjects, unnested("early", arrays)
        waiting = entries_of(arrays, subjects.kept[arrays["who"][:, 0]])
        if "given" in arrays:
            waiting["given"] = arrays["given"][subjects.kept[arrays["who"][:, 0]]]
        who = waiting["who"]
        for column in (0, WHO) if who.shape[1] > WHO else (0,):
            who[:, column] = subjects.new(who[:, column])
        early = entries_of(early, remaps.models.kept[early["who"][:, MODEL]])
        early["who"][:, 0] = subjects.new(early["who"][:, 0])
        early["who"][:, MODEL] = remaps.models.new(early["who"][:, MODEL])
        predicts = arrays["predicts"][remaps.models.kept[: len(arrays["predicts"])]]
        predicts = predicts[: 1 + int(np.flatnonzero(predicts).max(initial=-1))]
        return waiting | nested("early", early) | {"counts": arrays["counts"], "predicts": predicts}

    def _strange(self, batch: EventBatch, labels: int) -> I64:
        """The labels whose model has had no prediction by then: indices. Stores the models of the batch."""
        is_made = (batch.kind & EventKind.PREDICTION) != 0
        made = np.flatnonzero(is_made)
        known = self._predicts = ensure_length(self._predicts, int(batch.model.max(initial=-1)) + 1, 0)
        strange = np.empty(0, np.int64)
        if labels:
            first = np.full(len(known), len(batch), np.int64)
            first[batch.model[made[::-1]]] = made[::-1]  # the first of each model is stored last
            late = np.flatnonzero(~is_made & ((batch.kind & EventKind.LABEL) != 0))
            of = batch.model[late]
            strange = late[~known[of] & (first[of] > late)]
        known[batch.model[made]] = True
        return strange

    def _known(self) -> Bools:
        """By model, whether a prediction of it has come, up to the last one of which this is so."""
        return self._predicts[: 1 + int(np.flatnonzero(self._predicts).max(initial=-1))].copy()

    @property
    def waiting_by_model(self) -> dict[int, tuple[int, bool]]:
        """By model, how many labels wait without a prediction, and whether any prediction of the model has come."""
        who, known = self._labels.dump()["who"], self._known()
        models, counts = np.unique(who[who[:, MATCHES] == 0, MODEL], return_counts=True)
        is_known = [bool(known[model]) if model < len(known) else False for model in models.tolist()]
        return dict(zip(models.tolist(), zip(counts.tolist(), is_known, strict=True), strict=True))

    def _kinds(self, models: Sequence[str]) -> NDArray[np.uint8]:
        """The kind of error of each model, as its place among `ErrorKind`."""
        new, settings = models[len(self._kind_of) :], self.settings
        if new:
            kinds = [KINDS.index(first_match(settings.errors, model) or settings.error) for model in new]
            self._kind_of = np.concatenate([self._kind_of, np.array(kinds, np.uint8)])
        return self._kind_of


@lean_kernel
def _take_prediction(
    waiting: Any, labels: Any, counts: I64, events: Any, i: int, limits: Any, out: Any, found: int
) -> int:
    """Match prediction `i` with a label that came before it, or let it wait; returns the matches so far."""
    _, join_id, (time_ms, _), outcomes, whose, _, _ = events
    prediction, prediction_bits, _, _, kinds = outcomes
    hashed, ids, who, value, bits, _ = labels
    is_last = waiting[2].shape[1] > whose.shape[1]
    position = EMPTY
    if is_last:
        position, found = wait(waiting, events, i, limits[0], out, found)
        if position == EMPTY:
            return found
    at = hashed[find(hashed, ids, join_id[i], home(hashed, join_id[i]))]
    if at != EMPTY and who[at, 0] != whose[i, 0] and abs(who[at, TIME] - time_ms[i]) <= limits[0]:
        error = error_of(kinds[i], prediction[i], value[at], prediction_bits[i], bits[at])
        if not np.isnan(error):
            if who[at, MATCHES] == 0:
                counts[EARLY] -= 1
                counts[JOINED] += 1
            who[at, 0] = whose[i, 0]
            who[at, MATCHES] += 1
            label = who[at, TIME], who[at, OFFSET], who[at, OFFSET + 1]
            if is_last:
                give(waiting, position, label, error, i, out[4])
                return found
            return int(add(out, found, i, whose, i, error, (label[0] - time_ms[i], label[1], label[2])))
    if not is_last:
        wait(waiting, events, i, limits[0], out, found)
    return found


@lean_kernel
def _match_label(waiting: Any, events: Any, i: int, timeout_ms: int, out: Any, found: int) -> tuple[int, int, int]:
    """Match label `i` with every prediction of its id that waits.

    Returns the matches so far, those of this label, and the subject of the last one.
    """
    hashed, ids, who, value, value_bits, meta = waiting
    _, join_id, (time_ms, _), outcomes, whose, _, places = events
    is_last = who.shape[1] > whose.shape[1]
    matches, subject = 0, EMPTY
    _, _, label, label_bits, kinds = outcomes
    key = join_id[i]
    at = find(hashed, ids, key, home(hashed, key))
    while hashed[at] != EMPTY:
        position = hashed[at]
        kept = value[position]  # the error, where there is a label already
        if is_last and who[position, who.shape[1] - GIVEN] != EMPTY:
            value_bits[position] = who[position, who.shape[1] - GIVEN + 1]
        predicted, bits = value[position], value_bits[position]
        error = error_of(kinds[i], predicted, label[i], bits, label_bits[i])
        fits = who[position, TIME] >= time_ms[i] - timeout_ms and not np.isnan(error)
        if fits:
            matches, subject = matches + 1, who[position, 0]
        if is_last and fits:
            give(waiting, position, (time_ms[i], places[i, 0], places[i, 1]), error, i, out[4])
        elif is_last and who[position, who.shape[1] - GIVEN] != EMPTY:
            value[position] = kept
        if fits and not is_last:
            came = time_ms[i] - who[position, TIME], places[i, 0], places[i, 1]
            found = add(out, found, i, who, position, error, came)
            meta[WAITING] -= 1
            remove(hashed, ids, at)
        else:
            at = after(hashed, at)
        at = find(hashed, ids, key, at)
    return found, matches, subject


@lean_kernel
def _take_label(
    waiting: Any, labels: Any, counts: I64, events: Any, i: int, limits: Any, out: Any, found: int, alone: I64
) -> int:
    """Match label `i`, and let it wait for later predictions; returns the matches so far."""
    _, join_id, _, outcomes, whose, _, places = events
    prediction, prediction_bits, label, label_bits, kinds = outcomes
    is_last = waiting[2].shape[1] > whose.shape[1]
    if join_id[i] == 0:  # label and prediction of one event need no id
        error = error_of(kinds[i], prediction[i], label[i], prediction_bits[i], label_bits[i])
        if np.isnan(error):
            counts[REPEATED] += 1
            return found
        counts[JOINED] += 1
        if is_last:
            note(out[4], i, whose[i, 0], whose[i, TIME], places[i, 1])
        return add(out, found, i, whose, i, error, (0, places[i, 0], places[i, 1]))
    now, matches, last = _match_label(waiting, events, i, limits[0], out, found)
    kept = keep_label(labels, counts, events, i, limits, last, matches, is_last, alone)
    counts[JOINED if matches > 0 else EARLY if kept else REPEATED] += 1
    return int(now)


@kernel
def _join(waiting: Any, labels: Any, counts: I64, events: Any, limits: Any, out: Any) -> int:
    kind, join_id, times, outcomes, whose, _, _ = events
    prediction, prediction_bits, _, _, kinds = outcomes
    found, alone = 0, np.zeros(2, np.int64)
    for i in range(len(kind)):
        has_class = kinds[i] == ZERO_ONE and is_class(prediction_bits[i])
        if kind[i] & 1 and join_id[i] != 0 and (has_class or not np.isnan(prediction[i])):
            if waiting[2].shape[1] > whose.shape[1]:
                found = release_oldest(waiting, times[1][i], limits[1], i, out, found)
            leave_oldest(waiting, times[1][i], limits[1], EMPTY, alone)
            if kind[i] & 2:  # its own label comes before any that waits
                _, found = wait(waiting, events, i, limits[0], out, found)
            else:
                found = _take_prediction(waiting, labels, counts, events, i, limits, out, found)
        if kind[i] & 2:
            found = _take_label(waiting, labels, counts, events, i, limits, out, found, alone)
    counts[MATCHED] += found
    return int(found)
