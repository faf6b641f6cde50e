"""The compiled step of one value: the same alarms and the same state as a batch, bit for bit."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors import detector
from detectors.arrays.stepping import Stepper, has_steps
from detectors.registry import bank, settings_of

STEPPED = {
    "adwin": {"delta": 0.1, "clock": 8, "max_buckets": 3, "levels": 6},
    "ks_window": {"window": 40, "reference_size": 30, "alpha": 1e-3},
    "ks_window sliding": {"window": 40, "reference_size": 30, "alpha": 1e-3, "sliding": True},
    "ks_window of 20,000": {"window": 20_000, "reference_size": 600, "alpha": 1e-3},
    "ks_window sliding over 40,000": {"window": 20_000, "reference_size": 20_000, "sliding": True},
    "shiryaev_roberts": {"arl0": 1000.0},
    "shiryaev_roberts with a tolerance": {"arl0": 1000.0, "tolerance": 0.02},
    "category_rates": {"arl0": 1000.0, "baseline_size": 50, "categories_max": 3},
    "rate": {"arl0": 1e5, "baseline_size": 50},
}
MARKS, CATEGORIES = st.integers(0, 1), st.integers(0, 6)
NUMBERS = st.one_of(st.floats(-3.0, 3.0), st.integers(0, 3))


def made(case, **more):
    return detector(case.split()[0], **STEPPED[case], **more)


def state_of(single):
    return {name: array.tobytes() for name, array in single._bank.dump(slice(0, 1)).items()}


def alarm_of(single):
    names = ("at", "onset", "last_alarm", "statistic", "threshold", "effect", "before", "after", "category", "n_seen")
    return repr([getattr(single, name) for name in names])


@st.composite
def streams(draw, case):
    """Regimes of repeated pieces, which change, so that there are alarms; and the time between values."""
    one = {"category_rates": CATEGORIES, "rate": MARKS}.get(case.split()[0], NUMBERS)
    pieces = draw(st.lists(st.tuples(st.lists(one, min_size=1, max_size=12), st.integers(1, 60)), max_size=6))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    values = [float(v) for piece, times in pieces for v in random.permutation(piece * times)]
    return values, draw(st.sampled_from([0, 1, 60_000, 7_200_000]))


@pytest.mark.parametrize("case", STEPPED)
@settings(deadline=None, max_examples=12)
@given(data=st.data())
def test_a_step_is_a_batch_of_one(case, data):
    """After any stream, in any cuts between single values and batches, state and latest alarm are those of a batch."""
    values, apart_ms = data.draw(streams(case))
    times = 1_767_571_200_000 + apart_ms * np.arange(len(values))
    cut = data.draw(st.integers(0, len(values)))
    ones, many = made(case), made(case)
    found = [i for i in range(cut) if ones.update(values[i], time_ms=int(times[i]))]
    found += [cut + int(at) for at in ones.update_many(values[cut:], time_ms=times[cut:]).at]
    assert found == many.update_many(values, time_ms=times).at.tolist()
    assert state_of(ones) == state_of(many)
    assert alarm_of(ones) == alarm_of(many)


@pytest.mark.parametrize("case", STEPPED)
def test_long_streams_pass_every_phase(case):
    """10,000 values with inertia, then others: cells, dependence, revisions, halvings and alarms; a step for each."""
    random = np.random.default_rng(3)
    values = random.normal(size=10_000)
    for i in range(2000, 6000):
        values[i] += 0.9 * values[i - 1]
    values[8000:] += 4.0
    if case.startswith("category"):
        values = np.clip(np.round(values), -3.0, 3.0) + 3.0
    if case == "rate":
        values = (values > 2.0).astype(float)
    times = 1_767_571_200_000 + 3_600_000 * np.arange(len(values))
    ones, many = made(case), made(case)
    assert ones._step is not None
    found = [i for i, v in enumerate(values.tolist()) if ones.update(v, time_ms=int(times[i]))]
    assert found == many.update_many(values, time_ms=times).at.tolist()
    assert (found != []) != case.endswith("000")  # these windows hold all values
    assert state_of(ones) == state_of(many)
    assert alarm_of(ones) == alarm_of(many)


@pytest.mark.parametrize("case", STEPPED)
def test_a_copy_has_its_own_memory(case):
    """Copied or pickled amid a stream, it goes on as the original would, which stays as it was."""
    values = [float(i % 2) for i in range(300)]
    original = made(case)
    for value in values[:200]:
        original.update(value)
    before = state_of(original)
    for twin in (copy.deepcopy(original), pickle.loads(pickle.dumps(original))):  # noqa: S301 -- written above
        assert state_of(twin) == before
        for value in values[200:]:
            twin.update(value)
        assert state_of(original) == before != state_of(twin)
        whole = made(case)
        whole.update_many(values)
        assert state_of(twin) == state_of(whole)


def test_a_stepper_cannot_be_copied():
    """It holds addresses of memory that a copy would not own."""
    with pytest.raises(TypeError, match="can't be copied or saved"):
        copy.deepcopy(bank("adwin", settings_of("adwin"), 1).stepper())
    with pytest.raises(ValueError, match="contiguous"):
        Stepper(lambda *_: 0, (np.zeros((4, 4))[:, 1],))


@pytest.mark.parametrize(
    ("case", "value", "sentence"),
    [
        ("adwin", float("nan"), "can't judge nan"),
        ("ks_window", float("inf"), "can't judge inf"),
        ("ks_window sliding", float("-inf"), "can't judge -inf"),
        ("shiryaev_roberts", float("nan"), "can't judge nan"),
        ("category_rates", 0.5, "takes ids of categories"),
        ("category_rates", -1, "takes ids of categories"),
        ("category_rates", 2.0**53, "takes ids of categories"),
        ("category_rates", float("nan"), "can't judge nan"),
        ("rate", 2, "every value must be 0 or 1"),
        ("rate", float("inf"), "can't judge inf"),
    ],
)
def test_a_refused_value_leaves_no_trace(case, value, sentence):
    """The error is that of a batch, and the state stays as it was."""
    single = made(case)
    single.update(1.0)
    before = state_of(single)
    with pytest.raises(ValueError, match=sentence):
        single.update(value)
    assert (state_of(single), single.n_seen) == (before, 1)


def test_numbers_of_any_type_are_taken():
    """Whole numbers, those of numpy and booleans give what a float gives; so do times."""
    expected = made("adwin")
    expected.update(1.0, time_ms=5)
    for value in (1, True, np.float32(1.0), np.float64(1.0), np.int8(1), np.array(1.0)):
        for time in (5, 5.0, np.int64(5)):
            single = made("adwin")
            single.update(value, time_ms=time)
            assert state_of(single) == state_of(expected)
    with pytest.raises(ValueError, match="beyond the year 9999"):
        made("adwin").update(1.0, time_ms=1 << 62)


def test_detectors_without_a_step_still_take_single_values():
    """Those of river and `joint` go by batches of one value."""
    assert not has_steps(bank("joint", settings_of("joint"), 1))
    assert detector("page_hinkley")._step is None
