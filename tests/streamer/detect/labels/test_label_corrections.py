"""Corrected labels replace earlier ones, if the settings say so."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_kit import EVENTS, join, left

from streamer.detect.label_join import LabelJoin
from streamer.detect.remap import Remap, Remaps
from streamer.detect.settings import Corrections, LabelSettings
from streamer.events import EventKind

P, L = EventKind.PREDICTION, EventKind.LABEL
LAST = {"corrections": Corrections.LAST}


class PlainLast:
    """Corrections with dictionaries: a prediction gives its error when it leaves."""

    def __init__(self, timeout_s, open_max, early_max):
        self.timeout_s, self.open_max, self.early_max = timeout_s, open_max, early_max
        self.waiting, self.labels, self.errors, self.labelled = {}, {}, [], []  # waiting: [i, time, prediction, label]
        self.counts = {"matched": 0, "unmatched": 0, "early": 0, "expired": 0, "evicted": 0}

    def fold(self, events):
        for i, (kind, key, time_s, value) in enumerate(events):
            if kind & EventKind.PREDICTION and key and not math.isnan(value):
                for one, expired in left(self.waiting, time_s, self.timeout_s, self.open_max):
                    self.leave(i, one, "expired" if expired else "evicted")
                self.predict(i, key, time_s, value, bool(kind & EventKind.LABEL))
            if kind & EventKind.LABEL:
                self.label(i, key, time_s, value)
        return self.errors, self.counts

    def leave(self, i, one, how):
        j, _, value, label = one
        self.counts["matched" if label is not None else how] += 1
        if label is not None:
            self.errors.append((i, j % 3, j, abs(label / 2 - value)))

    def give(self, i, one, label):
        if one[3] is None:
            self.labelled.append((i, one[0] % 3, one[1] * 1000))
        one[3] = label

    def predict(self, i, key, time_s, value, is_both):
        for old in [k for k, one in self.waiting.items() if k[0] == key and one[1] < time_s - self.timeout_s]:
            self.leave(i, self.waiting.pop(old), "expired")
        if (key, i % 3) in self.waiting:
            return
        self.waiting[key, i % 3] = one = [i, time_s, value, None]
        early = self.labels.get(key)
        if not is_both and early and early[2] != i % 3 and abs(early[1] - time_s) <= self.timeout_s:
            self.counts["early"] -= not early[3]
            early[2:] = [i % 3, True]
            self.give(i, one, early[0])

    def label(self, i, key, time_s, value):
        is_one = not math.isnan(value)
        if not key:
            if is_one:
                self.labelled.append((i, i % 3, time_s * 1000))
                self.errors.append((i, i % 3, i, abs(value / 2 - value)))
            self.counts["matched" if is_one else "unmatched"] += 1
            return
        mine = [one for k, one in self.waiting.items() if k[0] == key and one[1] >= time_s - self.timeout_s and is_one]
        for one in mine:
            self.give(i, one, value)
        for (_, _, _, had), _ in left(self.labels, time_s, self.timeout_s, self.early_max):
            self.counts["early"] -= not had
            self.counts["unmatched"] += not had
        if key in self.labels and self.labels[key][1] < time_s - self.timeout_s:
            had = self.labels.pop(key)[3]
            self.counts["early"] -= not had
            self.counts["unmatched"] += not had
        known = self.labels.get(key)
        kept = known is None and is_one
        if kept:
            self.labels[key] = [value, time_s, mine[-1][0] % 3 if mine else -1, bool(mine)]
        elif is_one:
            if mine:
                self.counts["early"] -= not known[3]
                self.counts["unmatched"] += not known[3]
                known[2:] = [mine[-1][0] % 3, True]
            known[:2] = [value, time_s]
        if not mine:
            self.counts["early" if kept else "unmatched"] += 1


@given(EVENTS, st.integers(0, 120), st.integers(1, 40), st.integers(1, 6), st.integers(1, 6))
def test_corrections_are_those_of_a_dictionary_however_events_are_cut(events, cut, timeout_s, open_max, early_max):
    """The last label of each prediction gives its error, once, when the prediction leaves."""
    label_join, plain = (
        LabelJoin(LabelSettings(timeout_s, open_max, early_max, **LAST)),
        PlainLast(timeout_s, open_max, early_max),
    )
    expected, labelled = plain.fold(events), []
    found = join(label_join, events[:cut], 0, labelled=labelled)
    found += join(label_join, events[cut:], min(cut, len(events)), labelled=labelled)
    assert (found, label_join.counts) == expected
    assert labelled == plain.labelled


@given(EVENTS, EVENTS, st.booleans())
def test_corrections_survive_a_restart(before, after, has_segments):
    """Dump and load lose nothing, also of predictions that have a label."""
    one, other = (LabelJoin(LabelSettings(30, 5, **LAST), has_segments) for _ in range(2))
    join(one, before, has_segments=has_segments)
    other.load(one.dump())
    found = join(one, after, len(before), has_segments=has_segments)
    assert join(other, after, len(before), has_segments=has_segments) == found
    assert other.counts == one.counts


@pytest.mark.parametrize("corrections", Corrections)
def test_a_corrected_label_counts_by_setting(corrections):
    """Of three labels the first counts, or the last that is in time; either way once."""
    events = [(P, 1, 10, 1), (L, 1, 12, 4), (L, 1, 30, 8), (L, 1, 41, 16), (P, 2, 71, 1)]
    label_join = LabelJoin(LabelSettings(30, corrections=corrections))
    error = 1.0 if corrections is Corrections.FIRST else 3.0
    assert [one[1:] for one in join(label_join, events)] == [(0, 0, error)]
    assert label_join.counts["matched"] == 1


def test_a_correction_of_an_early_label_counts_for_later_versions():
    """A version that arrives behind the correction gets the corrected label."""
    events = [(L, 1, 10, 4), (P, 1, 11, 1), (L, 1, 12, 8), (P, 1, 13, 1), (P, 9, 99, 1), (P, 8, 99, 1)]
    label_join = LabelJoin(LabelSettings(30, **LAST))
    assert [one[1:] for one in join(label_join, events)] == [(1, 1, 3.0), (0, 3, 3.0)]


def test_a_change_of_the_setting_keeps_what_waits():
    """Predictions without a label wait on; one that has a label counts no more after `last` ends."""
    events = [(P, 1, 10, 1), (P, 2, 10, 1), (L, 1, 11, 4)]
    last, first = LabelJoin(LabelSettings(30, **LAST)), LabelJoin(LabelSettings(30))
    join(last, events)
    first.load(last.dump())
    assert join(first, [(L, 1, 12, 8), (L, 2, 12, 8)], 3) == [(4, 1, 1, 3.0)]
    last.load(first.dump())
    assert len(last.dump()["id"]) == 0


@given(EVENTS)
def test_eviction_keeps_the_labels_of_the_predictions_that_stay(before):
    """Without the subjects that are evicted, the others go on as if nothing had happened to them."""
    one, other = (LabelJoin(LabelSettings(30, 1000, **LAST)) for _ in range(2))
    join(one, before)
    subjects, models = Remap.of(np.array([True, False, True])), Remap.of(np.array([True]))
    kept = LabelJoin.remap(one.dump(), Remaps(models, models, subjects, subjects, {}))
    assert len(kept["given"]) == len(kept["id"]) == np.count_nonzero(one.dump()["who"][:, 0] != 1)
    other.load(kept)
    found = [(s, n, error) for _, s, n, error in join(one, [(P, 99, 500, 1)] * 80, len(before)) if s != 1]
    mine = [(s * 2, n, error) for _, s, n, error in join(other, [(P, 99, 500, 1)] * 80, len(before))]
    assert mine == found
