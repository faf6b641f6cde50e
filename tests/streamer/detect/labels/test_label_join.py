"""Late labels meet their predictions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_kit import EVENTS, batch_of, join, left

from streamer.codecs.class_labels import encode_labels
from streamer.detect.label_join import LabelJoin
from streamer.detect.settings import ErrorKind, LabelSettings
from streamer.events import EventBatch, EventKind

DAY_S = 86_400


class Plain:
    """The same with dictionaries: the oracle."""

    def __init__(self, timeout_s, open_max, early_max):
        self.timeout_s, self.open_max, self.early_max = timeout_s, open_max, early_max
        self.waiting, self.labels, self.errors = {}, {}, []
        self.counts = {"matched": 0, "unmatched": 0, "early": 0, "expired": 0, "evicted": 0}

    def fold(self, events):
        for i, (kind, key, time_s, value) in enumerate(events):
            if kind & EventKind.PREDICTION and key and not math.isnan(value):
                for _, expired in left(self.waiting, time_s, self.timeout_s, self.open_max):
                    self.counts["expired" if expired else "evicted"] += 1
                if kind & EventKind.LABEL or not self.early(i, key, time_s, value):
                    self.wait(i, key, time_s, value)
            if kind & EventKind.LABEL:
                self.label(i, key, time_s, value)
        return self.errors, self.counts

    def wait(self, i, key, time_s, value):
        for old in [k for k, (_, t, _) in self.waiting.items() if k[0] == key and t < time_s - self.timeout_s]:
            del self.waiting[old]
            self.counts["expired"] += 1
        self.waiting.setdefault((key, i % 3), (i, time_s, value))

    def early(self, i, key, time_s, value):
        label = self.labels.get(key)
        if label is None or label[2] == i % 3 or abs(label[1] - time_s) > self.timeout_s:
            return False
        self.counts["early"] -= not label[3]
        label[2:] = [i % 3, True]
        self.found(i, (i, time_s, value), label[0])
        return True

    def found(self, i, prediction, label):
        self.errors.append((i, prediction[0] % 3, prediction[0], abs(label / 2 - prediction[2])))
        self.counts["matched"] += 1

    def label(self, i, key, time_s, value):
        if not key:
            if math.isnan(value):
                self.counts["unmatched"] += 1
            else:
                self.found(i, (i, time_s, value), value)
            return
        mine = [k for k, (_, t, _) in self.waiting.items() if k[0] == key and t >= time_s - self.timeout_s]
        mine = [] if math.isnan(value) else mine
        last = -1
        for one in mine:
            last = one[1]
            self.found(i, self.waiting.pop(one), value)
        for (_, _, _, had), _ in left(self.labels, time_s, self.timeout_s, self.early_max):
            self.counts["early"] -= not had
            self.counts["unmatched"] += not had
        if key in self.labels and self.labels[key][1] < time_s - self.timeout_s:
            had = self.labels.pop(key)[3]
            self.counts["early"] -= not had
            self.counts["unmatched"] += not had
        kept = key not in self.labels and not math.isnan(value)
        if kept:
            self.labels[key] = [value, time_s, last, bool(mine)]
        if not mine:
            self.counts["early" if kept else "unmatched"] += 1


@given(EVENTS, st.integers(0, 120), st.integers(1, 40), st.integers(1, 6), st.integers(1, 6))
def test_the_join_is_that_of_a_dictionary_however_events_are_cut(events, cut, timeout_s, open_max, early_max):
    """Matches, time-outs and evictions are those of the plain loop."""
    label_join = LabelJoin(LabelSettings(timeout_s, open_max, early_max))
    found = join(label_join, events[:cut]) + join(label_join, events[cut:], min(cut, len(events)))
    assert (found, label_join.counts) == Plain(timeout_s, open_max, early_max).fold(events)


P, L = EventKind.PREDICTION, EventKind.LABEL


def test_a_label_may_come_before_its_prediction():
    """The prediction's event completes the pair; the lag is from the prediction to the label, so 0 or less."""
    label_join = LabelJoin(LabelSettings(30))
    batch = batch_of([(L, 1, 100, 4), (P, 1, 105, 7)])
    found = label_join.join(batch, np.arange(2), np.arange(2), ["m"])
    assert (found.event.tolist(), found.error.tolist(), found.lag_s.tolist()) == ([1], [5.0], [-5.0])
    assert found.predicted_ms.tolist() == [105_000]


def test_every_version_gets_its_error_wherever_the_label_stands():
    """Predictions of three versions share an id; their label comes first, between them, or last."""
    for events in ([L, P, P, P], [P, L, P, P], [P, P, P, L]):
        label_join = LabelJoin(LabelSettings())
        found = join(label_join, [(kind, 7, 10 + i, 2) for i, kind in enumerate(events)])
        assert sorted(subject for _, subject, _, _ in found) == sorted(i % 3 for i, k in enumerate(events) if k is P)
        assert label_join.counts == {"matched": 3, "unmatched": 0, "early": 0, "expired": 0, "evicted": 0}


def test_early_labels_are_bounded_and_counted_when_they_leave():
    """Of five labels, two wait; predictions behind the others stay without a label."""
    label_join = LabelJoin(LabelSettings(early_max=2))
    join(label_join, [(L, i, 10, 2) for i in range(1, 6)])
    assert label_join.counts == {"matched": 0, "unmatched": 3, "early": 2, "expired": 0, "evicted": 0}
    assert len(join(label_join, [(P, i, 11, 2) for i in range(1, 6)])) == 2


def test_a_prediction_waits_for_exactly_its_time_out():
    """A label as late as the time-out allows still counts, though another prediction came meanwhile."""
    events = [(EventKind.PREDICTION, 1, 10, 1), (EventKind.PREDICTION, 2, 40, 1), (EventKind.LABEL, 1, 40, 1)]
    for timeout_s, matched in ((30, 1), (29, 0)):
        label_join = LabelJoin(LabelSettings(timeout_s, 9))
        join(label_join, events)
        assert label_join.counts["matched"] == matched


def test_a_label_that_is_no_number_leaves_its_prediction_waiting():
    """The next label finds it; a prediction that is no number waits for none."""
    nan = float("nan")
    events = [(EventKind.PREDICTION, 1, 10, 1), (EventKind.LABEL, 1, 10, nan), (EventKind.LABEL, 1, 10, 6)]
    events += [(EventKind.PREDICTION, 2, 10, nan), (EventKind.LABEL, 2, 10, 6)]
    label_join = LabelJoin(LabelSettings())
    assert join(label_join, events) == [(2, 0, 0, 2.0)]
    assert label_join.counts == {"matched": 1, "unmatched": 1, "early": 1, "expired": 0, "evicted": 0}


@given(EVENTS, EVENTS)
def test_a_loaded_join_goes_on_as_the_one_it_came_from(before, after):
    """Dump and load lose nothing that matters."""
    one, other = (LabelJoin(LabelSettings(30, 5)) for _ in range(2))
    join(one, before)
    other.load(one.dump())
    assert join(other, after, len(before)) == join(one, after, len(before))
    assert other.counts == one.counts


@pytest.mark.parametrize("ahead_s", [3600, 7200, 30 * DAY_S, 253_402_300_000 - 1_000_000])
def test_a_clock_that_is_ahead_spoils_its_own_events_alone(ahead_s):
    """However many predictions it dates, those of others wait, as the clock of the unit says, and find their labels."""
    label_join, start = LabelJoin(LabelSettings(7200, 1000)), 1_000_000
    for wave in range(20):
        first, at = 1 + 100 * wave, start + 60 * wave
        events = [(EventKind.PREDICTION, first + i, at, 1) for i in range(10)]
        events += [(EventKind.PREDICTION, first + 10 + i, at + ahead_s, 1) for i in range(30)]
        events += [(EventKind.LABEL, first + i, at + 50, 1) for i in range(10)]
        clock_s = at + ahead_s if ahead_s < DAY_S else at
        join(label_join, events, clock_s=clock_s)
    assert label_join.counts["matched"] == 200


def test_a_prediction_of_an_id_whose_time_is_over_replaces_it():
    """An id that comes again after the time-out is another prediction's, though the first still takes room."""
    events = [(EventKind.PREDICTION, 1, 10, 1), (EventKind.PREDICTION, 1, 45, 2), (EventKind.LABEL, 1, 50, 6)]
    label_join = LabelJoin(LabelSettings(30, 100))
    assert join(label_join, events) == [(2, 1, 1, 1.0)]
    assert label_join.counts == {"matched": 1, "unmatched": 0, "early": 0, "expired": 1, "evicted": 0}


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf"), 1e30])
def test_a_time_out_that_is_none_is_refused(timeout_s):
    """Neither what is not above 0 nor what no clock can count to."""
    with pytest.raises(ValueError, match="timeout_s must be above 0"):
        LabelSettings(timeout_s)


def test_memory_follows_what_waits_not_what_has_passed():
    """200,000 matched predictions leave a ring behind that fits the largest batch."""
    label_join = LabelJoin(LabelSettings())
    for first in range(0, 200_000, 10_000):
        events = np.arange(first + 1, first + 10_001)
        n = len(events)
        base = batch_of([(EventKind.PREDICTION | EventKind.LABEL, 1, 1, 1)] * 2)
        zeros = np.zeros(n, np.int32)
        batch = EventBatch(
            "t", 0, np.full(n, 3, np.uint8), zeros, zeros, np.full(n, 1000), np.arange(n), zeros,
            events.astype(np.uint64), np.ones(n), np.ones(n), np.zeros(n + 1, np.int64), base.column, base.number,
            base.category,
        )  # fmt: skip
        label_join.join(batch, np.zeros(n, np.int64), np.arange(n), ["m"])
    assert label_join.counts == {"matched": 200_000, "unmatched": 0, "early": 0, "expired": 0, "evicted": 0}
    assert len(label_join.dump()["id"]) == 0
    assert len(label_join._waiting._id) <= 1 << 15


KINDS_OF_ERROR = {
    "absolute": lambda predicted, label: abs(label - predicted),
    "squared": lambda predicted, label: (label - predicted) ** 2,
    "zero_one": lambda predicted, label: float(label != predicted),
    "log_loss": lambda predicted, label: -math.log(max(predicted if label else 1 - predicted, 1e-15)),
}


def error_of(prediction, label, kind, apart):
    """The error of one prediction, its label in the same event or in a later one; None if it can't be said."""
    events = (
        [(EventKind.PREDICTION, 1, 1, 0), (EventKind.LABEL, 1, 1, 0)]
        if apart
        else [(EventKind.PREDICTION | EventKind.LABEL, 0, 1, 0)]
    )
    batch = batch_of(events)
    batch.prediction[0], batch.label[-1] = encode_labels([prediction])[0], encode_labels([label])[0]
    batch.prediction[1:], batch.label[:-1] = np.nan, np.nan
    label_join = LabelJoin(LabelSettings(errors={"m": ErrorKind(kind)}))
    n = np.zeros(len(events), np.int64)
    errors = label_join.join(batch, n, n, ["m"])
    return float(errors.error[0]) if len(errors.error) else None


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("kind", KINDS_OF_ERROR)
@pytest.mark.parametrize(("prediction", "label"), [(0.2, 1), (0.75, 0), (1, 1), (0, 1), (1.0, False)])
def test_the_error_is_of_the_kind_that_suits_the_task(kind, prediction, label, apart):
    """Each kind is its formula, also of certain mistakes."""
    assert error_of(prediction, label, kind, apart) == pytest.approx(KINDS_OF_ERROR[kind](prediction, label))


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize(
    ("kind", "prediction", "label", "error"),
    [
        ("zero_one", "fraud", "fraud", 0.0),
        ("zero_one", "fraud", "fine", 1.0),
        ("zero_one", "1", 1, 0.0),
        ("zero_one", "true", True, 0.0),
        ("absolute", "3.5", 1, 2.5),
        ("zero_one", "", "", 0.0),
        ("zero_one", None, "fine", None),
        ("zero_one", "fine", [1], None),
        ("zero_one", None, 1, None),
        ("absolute", "fraud", "fraud", None),
        ("absolute", 1.0, "fine", None),
        ("log_loss", 1.5, 1, None),
        ("log_loss", 0.5, 2, None),
        ("log_loss", "fine", 1, None),
    ],
)
def test_classes_may_be_texts_and_what_makes_no_sense_is_unmatched(kind, prediction, label, error, apart):
    """Names of classes are compared; a text that should be a quantity, or a probability of 1.5, has no error."""
    if apart and prediction is None:
        prediction = float("nan")
    assert error_of(prediction, label, kind, apart) == error
