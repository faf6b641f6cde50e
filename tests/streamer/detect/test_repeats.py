"""Repeated predictions count once."""

import json

import numpy as np
import pytest
from fold_kit import START_MS, fold, records
from hypothesis import given
from hypothesis import strategies as st

from streamer.detect.settings import Limits


def event(number=0, **more):
    of = {"model_id": "m", "prediction_id": str(number), "event_time": START_MS, "features": {"x": 1.0}}
    return json.dumps({name: value for name, value in (of | more).items() if value is not None}).encode()


def counted(*values, **changes):
    one = fold(detectors={}, **changes)
    one.step([records("predictions", values)])
    assert one.tally["repeated_events", "predictions"] == len(values) - int(one.context.offsets.last(0).number) - 1
    return one.tally["repeated_events", "predictions"]


def test_a_record_that_comes_again_counts_once():
    """Whether at once or later; the first of each process is logged."""
    assert counted(event(1), *[event(1)] * 600, event(2), event(1)) == 601


@pytest.mark.parametrize(
    ("other", "repeats"),
    [
        ({}, 1),
        ({"event_time": START_MS + 5}, 1),  # a retry with a new time
        ({"features": {"x": 2.0}}, 0),
        ({"features": {"x": 1.0, "y": None}}, 0),
        ({"prediction": 1.0}, 0),
        ({"label": 1.0}, 0),
        ({"prediction_id": "other"}, 0),
    ],
)
def test_of_one_id_only_the_same_values_are_a_repeat(other, repeats):
    """Ids that are used again for other predictions stay."""
    assert counted(event(), event(**other)) == repeats


@pytest.mark.parametrize(
    ("x", "time_ms", "repeats"), [(1.5, 0, 1), (1.5, 1, 0), (1.0, 0, 0), ("sun", 0, 0), (None, 0, 0)]
)
def test_without_ids_equal_fractions_at_one_time_are_a_repeat(x, time_ms, repeats):
    """Whole numbers, categories and missing values may be equal by chance."""
    of = {"prediction_id": None, "features": {"x": x}}
    assert counted(event(**of), event(**of, event_time=START_MS + time_ms)) == repeats


def test_the_window_is_bounded_and_may_be_off():
    """A repeat beyond the window counts as new; with 0, all count."""
    values = [event(1), event(2), event(3), event(1)]
    assert [counted(*values, limits=Limits(repeats_max=n)) for n in (0, 2, 3)] == [0, 0, 1]


@given(st.lists(st.integers(0, 6), max_size=40), st.integers(0, 40), st.integers(1, 5))
def test_cuts_of_a_stream_with_repeats_never_show(numbers, cut, window):
    """Two steps, with a load between them, leave the state of one."""
    values, limits = [event(number) for number in numbers], Limits(repeats_max=window)
    whole, first, second = (fold(detectors={}, limits=limits) for _ in range(3))
    whole.step([records("predictions", values)])
    first.step([records("predictions", values[:cut])])
    second.load(first.dump())
    second.step([records("predictions", values[cut:], first=len(values[:cut]))])
    one, other = whole.dump(), second.dump()
    assert one.meta == other.meta
    assert all(np.array_equal(one.arrays[name], other.arrays[name], equal_nan=True) for name in one.arrays)


def runs(*lengths):
    """New events, each followed by so many repeats of it."""
    return [value for i, n in enumerate(lengths) for value in [event(i)] * (n + 1)]


@pytest.mark.parametrize("cut", [1, 50, 100, 101, 150, 500, 505])
def test_a_producer_that_is_stuck_is_reported_once_a_run(cut):
    """At 100 repeats in a row, and then at four times the longest run of before."""
    values, one = runs(20, 150, 599, 2400), fold(detectors={})
    found = one.step([records("predictions", values[:cut])])
    found += one.step([records("predictions", values[cut:], first=cut)])
    alerts = [json.loads(output.value) for output in found]
    assert [(a["kind"], a["column"], a["onset"]["offset"], a["at"]["offset"]) for a in alerts] == [
        ("repeated", "(events)", 22, 121),
        ("repeated", "(events)", 773, 772 + 4 * 599),
    ]
    assert [(a["before"], a["after"]) for a in alerts] == [(20.0, 100.0), (599.0, 2396.0)]
    assert alerts[0]["summary"] == "(events) repeat earlier ones: 100 in a row, at most 20 before."


def test_models_are_stuck_one_by_one():
    """Repeats of one model do not end the run of another, and a new event of another one does not either."""
    values = [event(0, model_id=model) for _ in range(101) for model in ("a", "b")]
    values[150] = event(7, model_id="a")
    found = fold(detectors={}).step([records("predictions", values)])
    assert [json.loads(output.value)["model_id"] for output in found] == ["b"]
