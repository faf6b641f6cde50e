"""From event numbers back to places in the log."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.series.offsets import OffsetMark, Offsets


def fed(subjects, offsets, cuts=()):
    marks = Offsets()
    bounds = [0, *sorted(cuts), len(subjects)]
    for a, b in pairwise(bounds):
        numbers = marks.count(subjects[a:b])
        marks.record(subjects[a:b], numbers, offsets[a:b], offsets[a:b] * 10)
    return marks


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(2, 6), st.lists(st.integers(0, 3000), max_size=4))
def test_places_are_near_and_never_depend_on_cuts(seed, subjects_n, cuts):
    """An event is placed within an eighth of its age, in offsets of an evenly mixed log, however the log was cut."""
    rng = np.random.default_rng(seed)
    subjects = rng.integers(0, subjects_n, 3000)
    offsets = np.arange(3000) + 500
    marks, cut = fed(subjects, offsets), fed(subjects, offsets, cuts)
    mine = offsets[subjects == 0]
    for number in rng.integers(0, len(mine), 20):
        place = marks.locate(0, int(number))
        age = len(mine) - number
        assert abs(place.offset - mine[number]) <= subjects_n * max(16, age / 8) * 1.5
        assert place == cut.locate(0, int(number))
        assert place.event_time_ms // 10 in (place.offset, place.offset - 1, place.offset + 1)


def test_an_age_of_a_million_events_is_still_found():
    """One subject alone: interpolation is exact, at every age."""
    n = 1_000_000
    marks = fed(np.zeros(n, np.int64), np.arange(n))
    for number in (0, 1, 999, 123_456, 999_990, n - 1):
        assert marks.locate(0, number) == OffsetMark(number, number, number * 10)


def test_the_last_sixteen_marks_are_exact_and_what_lies_between_them_is_linear():
    """Offsets that grow ever faster: interpolation uses the nearest marks there are, no coarser ones."""
    offsets = np.arange(1000) ** 2
    marks = fed(np.zeros(1000, np.int64), offsets)
    newest = 999 // 16
    for mark in range(newest - 15, newest):
        assert marks.locate(0, 16 * mark).offset == offsets[16 * mark]
        between = (offsets[16 * mark] + offsets[16 * mark + 16]) // 2
        assert marks.locate(0, 16 * mark + 8).offset == between
    assert (
        marks.locate(0, 16 * newest + 3).offset == offsets[16 * newest] + (offsets[999] - offsets[16 * newest]) * 3 // 7
    )


def test_labels_count_for_no_subject():
    """Events of subject -1 get no number and leave no mark."""
    marks = fed(np.array([0, -1, 0]), np.array([5, 6, 7]))
    assert marks.count(np.array([-1, 0])).tolist() == [-1, 2]
    assert marks.last(0) == OffsetMark(1, 7, 70)


def test_a_loaded_set_of_marks_answers_alike():
    """Dump and load lose nothing."""
    rng = np.random.default_rng(3)
    subjects, offsets = rng.integers(0, 5, 4000), np.arange(4000)
    marks, other = fed(subjects, offsets), Offsets()
    other.load(marks.dump())
    assert [other.locate(2, n) for n in range(0, 800, 7)] == [marks.locate(2, n) for n in range(0, 800, 7)]
