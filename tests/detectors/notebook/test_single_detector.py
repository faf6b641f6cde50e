"""One series, by name: the table, the near names, and the same kernel."""

import subprocess
import sys
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest

from detectors import SingleDetector, detector
from detectors.adwin.bank import AdwinSettings
from detectors.base import Alarms
from detectors.checks import as_taken
from detectors.ks.window import KsWindowSettings
from detectors.registry import DETECTORS, UnknownNameError, bank, settings_of


def jump(seed=1):
    random = np.random.default_rng(seed)
    return np.concatenate([random.normal(size=1200), random.normal(2.0, 1.0, 600)])


def jump_for(name):
    """As the detector takes values."""
    return as_taken(bank(name, settings_of(name), 0), jump(), np.arange(1800))


@pytest.mark.parametrize("name", DETECTORS)
def test_one_value_at_a_time_is_the_bank_with_one_row(name):
    """`update` alarms where `update_many` and the bank do, and remembers what the latest alarm said."""
    values = jump_for(name)
    single, many = detector(name), detector(name)
    found = [i for i, value in enumerate(values) if single.update(value)]
    alarms = many.update_many(values)
    rows = np.zeros(len(values), np.int64)
    expected = bank(name, settings_of(name), 1).update(rows, values, rows)
    assert found == alarms.at.tolist() == expected.at.tolist() != []
    assert (single.at, single.n_seen) == (found[-1], len(values))
    ago = int(expected.onset_ago[-1])
    assert single.onset == many.onset == (int(expected.at[-1]) - ago if ago >= 0 else None)
    for what in ("statistic", "threshold"):
        assert getattr(single.last_alarm, what) == getattr(many.last_alarm, what) == getattr(expected, what)[-1]
    for what in ("effect", "before", "after", "category"):
        assert getattr(single, what) == getattr(many, what) == getattr(expected, what)[-1]
    assert single.effect_unit == bank(name, settings_of(name), 1).effect_unit


def test_before_the_first_alarm_nothing_is_known():
    """No alarm, no onset, no effect."""
    quiet = detector("adwin")
    assert not quiet.update(1.0)
    assert quiet.at is quiet.onset is quiet.last_alarm is quiet.effect is None


def test_a_reference_is_taken_by_those_who_compare_with_one():
    """ks_window judges against it from the start; the others say that it is of no use to them."""
    random = np.random.default_rng(2)
    reference = random.normal(size=1000)
    watched = detector("ks_window", window=100, alpha=1e-4, reference=reference)
    assert len(watched.update_many(random.normal(3.0, 1.0, 100))) == 1
    for name, options in (("adwin", {}), ("ks_window", {"sliding": True})):
        with pytest.raises(ValueError, match="takes no reference"):
            detector(name, reference=reference, **options)
        with pytest.raises(NotImplementedError, match="own past"):
            bank(name, settings_of(name, **options), 1).set_reference(0, reference)


def test_times_are_passed_on():
    """One a value, or one for all; another number of them is refused."""

    class Telltale:
        """Keeps the times it was given."""

        def __init__(self):
            self.seen = []

        def update(self, rows, values, event_time_ms):  # noqa: ARG002 -- as a bank does
            self.seen.append(event_time_ms.tolist())
            return Alarms.none()

    watched = detector("adwin")
    watched._bank, watched._step = Telltale(), None
    watched.update(1.0, time_ms=5)
    watched.update(1.0)
    watched.update_many([1.0, 2.0], time_ms=[6, 7])
    watched.update_many([1.0, 2.0], time_ms=8)
    assert watched._bank.seen == [[5], [0], [6, 7], [8, 8]]
    with pytest.raises(ValueError, match="one time a value, or one for all"):
        watched.update_many([1.0, 2.0], time_ms=[1, 2, 3])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_no_numbers_are_refused(value):
    """One NaN would spoil a mean for good, so it never gets in; what was there stays."""
    watched = detector("adwin")
    with pytest.raises(ValueError, match="leave missing values out"):
        watched.update(value)
    with pytest.raises(ValueError, match="leave missing values out"):
        watched.update_many([1.0, value])
    assert watched.n_seen == 0


def test_unknown_names_come_with_the_nearest():
    """Of detectors and of settings; a name near to none gets the list."""
    with pytest.raises(UnknownNameError, match="there is no detector 'adwim'; did you mean 'adwin'"):
        detector("adwim")
    with pytest.raises(UnknownNameError, match="adwin has no setting 'detla'; did you mean 'delta'"):
        detector("adwin", detla=0.1)
    with pytest.raises(UnknownNameError, match="there are adwin, category_rates, category_window, ddm"):
        bank("xyz", AdwinSettings(), 1)


def test_settings_of_another_detector_are_refused():
    """The bank says whose settings it wants."""
    with pytest.raises(TypeError, match="adwin takes AdwinSettings, got KsWindowSettings"):
        bank("adwin", KsWindowSettings(), 1)


@pytest.mark.parametrize("name", DETECTORS)
def test_settings_are_frozen_and_have_defaults(name):
    """What a config may leave out, and what nobody changes behind a bank's back."""
    settings = DETECTORS[name].settings()
    with pytest.raises(FrozenInstanceError):
        setattr(settings, fields(settings)[0].name, 1)
    assert isinstance(SingleDetector(name, settings), SingleDetector)


@pytest.mark.parametrize("name", DETECTORS)
def test_banks_refuse_what_does_not_fit(name):
    """Rows that don't exist and vectors of unequal length never reach a kernel; a foreign state is not loaded."""
    made = bank(name, settings_of(name), 2)
    nowhere = np.zeros(1, np.int64)
    for row in (-1, 2):
        with pytest.raises(IndexError, match="call grow first"):
            made.update(np.array([row]), np.zeros(1), nowhere)
        with pytest.raises(IndexError, match="call grow first"):
            made.reset(np.array([row]))
    with pytest.raises(ValueError, match="one length"):
        made.update(np.zeros(2, np.int64), np.zeros(1), nowhere)
    with pytest.raises(ValueError, match="0 or more"):
        bank(name, settings_of(name), -1)
    dump = made.dump(slice(0, 2))
    with pytest.raises(ValueError, match="the state doesn't fit"):
        made.load(slice(0, 1), dump)
    for missing in dump:
        with pytest.raises(ValueError, match=f"`{missing}`"):
            made.load(slice(0, 2), {key: array for key, array in dump.items() if key != missing})


def test_importing_the_package_is_cheap():
    """`import detectors` brings neither numba nor scipy, making a detector does; river comes with its own."""
    code = (
        "import sys, detectors; heavy = {'numba', 'scipy', 'river'} & set(sys.modules); assert not heavy, heavy; "
        "detectors.detector('adwin'); assert 'numba' in sys.modules; assert 'river' not in sys.modules; "
        "detectors.detector('ddm'); assert 'river' in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)


def test_the_package_has_no_other_names():
    """A misspelt import fails as imports do."""
    with pytest.raises(ImportError):
        from detectors import detecter  # noqa: F401


FRAME = np.arange(6.0).reshape(3, 2)
NANOSECONDS = np.array(["2026-07-01", "2026-07-02", "2026-07-03"], "datetime64[ns]")
HOURS = NANOSECONDS.astype("datetime64[h]")


@pytest.mark.parametrize(
    ("values", "time_ms", "sentence"),
    [
        (FRAME, 0, r"adwin watches one series, got values of shape \(3, 2\): pass one column, such as frame\['x'\]"),
        (FRAME[:1], 0, r"shape \(1, 2\): pass one column"),
        (FRAME[np.newaxis], 0, r"shape \(1, 3, 2\): pass one column"),
        (NANOSECONDS, 0, r"adwin takes numbers, got times \(datetime64\[ns\]\): pass times as time_ms"),
        (np.ma.masked_array([1.0, 2.0, 3.0], [0, 1, 0]), 0, r"pass values\.compressed\(\)"),
        (FRAME[:, 0], NANOSECONDS, r"got datetime64\[ns\]: pass np\.asarray\(times, 'datetime64\[ms\]'\)\.astype"),
        (FRAME[:, 0], HOURS, r"got datetime64\[h\]: pass np\.asarray"),
        (FRAME[:, 0], NANOSECONDS[0], r"got datetime64\[ns\]"),
        (FRAME[:, 0], NANOSECONDS.astype("int64"), "beyond the year 9999: divide nanoseconds by 1,000,000"),
        (FRAME[:, 0], [0.5, 1.5, 2.5], "in whole milliseconds since 1970, got float64"),
        (FRAME[:, 0], [0.0, np.nan, 1.0], "in whole milliseconds since 1970, got float64"),
        (FRAME[:, 0], [0.0, np.inf, 1.0], "beyond the year 9999"),
        (FRAME[:, 0], NANOSECONDS.astype(object), "in whole milliseconds since 1970, got object"),
        (FRAME[:, 0], ["2026-07-01"] * 3, "in whole milliseconds since 1970, got <U10"),
    ],
)
def test_what_would_be_misread_is_refused(values, time_ms, sentence):
    """Tables, times of other units and types: the error says what to pass instead, and no value is taken."""
    watched = detector("adwin")
    with pytest.raises(ValueError, match=sentence):
        watched.update_many(values, time_ms=time_ms)
    assert watched.n_seen == 0
    if isinstance(time_ms, np.datetime64):  # one time serves `update` too
        with pytest.raises(ValueError, match=sentence):
            watched.update(1.0, time_ms=time_ms)


def test_what_the_errors_advise_works():
    """One column of a table, [n] or [n, 1], and times converted as the sentence says."""
    times = np.asarray(NANOSECONDS, "datetime64[ms]").astype("int64")
    assert times.tolist() == [1_782_864_000_000, 1_782_950_400_000, 1_783_036_800_000]
    for values in (FRAME[:, 1], FRAME[:, 1:]):
        watched = detector("adwin")
        watched.update_many(values, time_ms=times)
        watched.update(np.float32(1.0), time_ms=times[0])
        assert watched.n_seen == 4
    for time in (np.datetime64(0, "ms"), np.timedelta64(1, "s")):
        with pytest.raises(ValueError, match="takes numbers, got a time"):
            detector("adwin").update(time)


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ([1.0, 2.0, np.nan], r"got 1 NaN or infinite of 3: pass reference\[np\.isfinite\(reference\)\]"),
        ([1.0, np.inf, -np.inf], "got 2 NaN or infinite of 3"),
        (FRAME, r"ks_window watches one series, got a reference of shape \(3, 2\): pass one column"),
        ([5.0], "takes a reference of 2 values or more, got 1: pass a sample of the column's training data"),
        ([], "takes a reference of 2 values or more, got 0"),
        (NANOSECONDS, "takes numbers, got times"),
    ],
)
def test_a_reference_that_is_no_sample_is_refused(reference, sentence):
    """It says what to pass instead."""
    with pytest.raises(ValueError, match=sentence):
        detector("ks_window", reference=reference)
