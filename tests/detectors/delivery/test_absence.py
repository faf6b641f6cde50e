"""Columns that are no longer there: the kernel beside a plain reading of the same rules."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.delivery.absence import EVERY, GAPS, VALUES_MIN, Absences, AbsenceSettings, Seen


def fold(absences, presence, start=0):
    """Feed events of one subject: row `i` of `presence` says which series event `start + i` has a value of."""
    event, series = np.nonzero(presence)
    life = start + np.arange(len(presence))
    seen = Seen(event, series, life[event])
    found = absences.update(seen, np.zeros((len(presence), 1), np.int64), life[:, None])
    return list(zip(*(part.tolist() for part in found), strict=True))


def watching(series, **changed):
    absences = Absences(AbsenceSettings(**changed))
    absences.add(np.zeros(series, np.int64))
    return absences


def plainly(presence, events_min):
    """(event, series, allowed, first, last, values) of each absence, event by event."""
    found = []
    usual = [{"life": [], "times": 0} for _ in presence[0]]
    for life, row in enumerate(presence):
        for one, is_there in zip(usual, row, strict=True):
            if is_there:
                one["life"].append(life)
        if (life + 1) % EVERY:
            continue
        for series, one in enumerate(usual):
            lives = one["life"]
            if len(lives) < VALUES_MIN:
                continue
            gaps = np.diff(lives)
            allowed = int(max(events_min << one["times"], GAPS * gaps.mean(), 2 * gaps.max()))
            if life - lives[-1] > allowed:
                found.append((life, series, life, allowed, lives[0], lives[-1], len(lives)))
                one["life"], one["times"] = [], one["times"] + 1
    return found


@st.composite
def presences(draw):
    """Runs of events in which each of three columns comes with a probability of its own."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    runs = draw(st.lists(st.tuples(st.integers(1, 600), *[st.sampled_from([0, 0, 0.05, 0.5, 1])] * 3), min_size=1))
    return np.concatenate([rng.random((n, 3)) < np.array(chances) for n, *chances in runs])


@given(presences(), st.integers(10, 300), st.lists(st.integers(0, 3000), max_size=5))
@settings(max_examples=300, deadline=None)
def test_the_kernel_finds_what_the_rules_say_however_the_events_are_cut(presence, events_min, cuts):
    """The same absences as read plainly, whatever the batches."""
    absences, found = watching(3, events_min=events_min), []
    edges = sorted({0, len(presence), *(cut for cut in cuts if cut < len(presence))})
    for start, end in pairwise(edges):
        found += [(start + event, *rest) for event, *rest in fold(absences, presence[start:end], start)]
    assert found == plainly(presence.tolist(), events_min)


def test_a_column_in_every_event_is_missed_after_a_hundred():
    """And once; the others are not."""
    presence = np.ones((1000, 2), bool)
    presence[500:, 1] = False
    ((event, series, _, allowed, first, last, values),) = fold(watching(2), presence)
    assert (series, allowed, first, last, values) == (1, 100, 0, 499, 500)
    assert 600 <= event < 600 + EVERY


def test_a_column_that_comes_and_goes_alarms_less_and_less():
    """150 events with the column, 150 without, and so on: one alarm in 100,000 events."""
    presence = (np.arange(100_000) // 150 % 2 == 0)[:, None]
    assert len(fold(watching(1), presence)) == 1


def test_a_second_absence_is_a_second_alarm():
    """When the column was back for long enough; twice as many events are needed."""
    presence = np.ones((3000, 1), bool)
    presence[1000:1500] = presence[2000:] = False
    assert [(last, allowed) for *_, allowed, _, last, _ in fold(watching(1), presence)] == [(999, 100), (1999, 200)]


def test_rare_columns_are_not_missed():
    """Two hundred columns that come by chance, once in 2 to 100 events: none is an alarm in 20,000 events."""
    rng = np.random.default_rng(1)
    presence = rng.random((20_000, 200)) < 1 / rng.integers(2, 100, 200)
    assert fold(watching(200), presence) == []


def test_subjects_are_apart_and_series_may_join_later():
    """What one subject has says nothing of another."""
    absences = Absences(AbsenceSettings())
    absences.add(np.array([0, 1]))
    n = 400
    subject, life = np.tile([0, 1], n)[:, None], np.repeat(np.arange(n), 2)[:, None]
    everywhere = Seen(np.arange(2 * n), np.tile([0, 1], n), life[:, 0])
    assert len(absences.update(everywhere, subject, life).event) == 0
    absences.add(np.array([1]))
    only_first = Seen(np.arange(0, 2 * n, 2), np.zeros(n, np.int64), n + np.arange(n))
    assert absences.update(only_first, subject, n + life).series.tolist() == [1]


def test_events_of_no_subject_count_for_none():
    """A label has neither subject nor number."""
    absences = watching(1)
    none = np.full((5000, 1), -1)
    assert len(absences.update(Seen(*[np.empty(0, np.int64)] * 3), none, none).event) == 0


def test_restored_is_never_stopped():
    """The state has all there is."""
    rng = np.random.default_rng(2)
    presence = rng.random((4000, 3)) < 0.5
    presence[1500:2500, 0] = presence[3000:, 1] = False
    whole = fold(watching(3), presence)
    half = watching(3)
    before = fold(half, presence[:2100])
    restored = Absences(AbsenceSettings())
    restored.load({name: array.copy() for name, array in half.dump().items()}, np.zeros(3, np.int64))
    after = [(event + 2100, *rest) for event, *rest in fold(restored, presence[2100:], 2100)]
    assert len(whole) == 2
    assert before + after == whole


@pytest.mark.parametrize("events_min", [9, 1_000_000_001])
def test_settings_out_of_range_are_refused(events_min):
    """With the range."""
    with pytest.raises(ValueError, match="between 10 and 1e9"):
        AbsenceSettings(events_min=events_min)
