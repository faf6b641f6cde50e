"""Alarms know when the change began."""

import numpy as np
import pytest

from detectors.registry import bank, settings_of

SERIES, CHANGE = 60, 1500

# The median error allowed, in events, at a jump of 1 and of 0.5 standard deviations.
BOUNDS = [
    ("adwin", {}, 4, 24),
    ("adwin", {"delta": 1e-5}, 4, 24),
    ("ks_window", {}, 6, 24),
    ("ks_window", {"sliding": True}, 6, 24),
    ("shiryaev_roberts", {}, 12, 24),
]


def first_alarms(name, options, shift):
    """The first alarm of each series from the change on: (delay, said onset - true onset, went up)."""
    random = np.random.default_rng(21)
    values = random.normal(size=(CHANGE + 1000, SERIES))
    values[CHANGE:] += shift
    rows = np.tile(np.arange(SERIES), len(values))
    alarms = bank(name, settings_of(name, **options), SERIES).update(rows, values.reshape(-1), rows)
    found = {}
    for at, row, ago, before, after in zip(
        alarms.at // SERIES, alarms.row, alarms.onset_ago, alarms.before, alarms.after, strict=True
    ):
        if at >= CHANGE:
            found.setdefault(int(row), (at - CHANGE, at - ago - CHANGE, after > before))
    return np.array(list(found.values()))


@pytest.mark.parametrize(("name", "options", "at_one", "at_half"), BOUNDS, ids=str)
def test_onset_of_abrupt_jumps(name, options, at_one, at_half):
    """Every jump is seen, its direction is right, and half of the onsets lie within a few events of the truth."""
    for shift, bound in ((1.0, at_one), (-1.0, at_one), (0.5, at_half)):
        delay, error, went_up = first_alarms(name, options, shift).T
        print(f"{name} {options} {shift:+} sd: delay {np.median(delay):.0f}, onset error {np.median(abs(error)):.0f}")
        assert len(delay) == SERIES or (shift == 0.5 and len(delay) >= 0.9 * SERIES)
        assert np.median(abs(error)) <= bound
        assert (went_up == (shift > 0)).all()


@pytest.mark.parametrize("options", [{}, {"arl0": 1e6, "tolerance": 0.01}], ids=str)
@pytest.mark.parametrize("shift", [2.0, 4.0, 8.0, -8.0])
def test_a_great_jump_is_dated_and_measured(shift, options):
    """By two deviations and more: half of the onsets within a value, eight of ten within three. The effect is that of
    the new values alone, and after is the median of these few.
    """
    values = np.random.default_rng(23).normal(size=(SERIES, CHANGE + 100))
    values[:, CHANGE:] += shift
    rows = np.repeat(np.arange(SERIES), CHANGE + 100)
    alarms = bank("shiryaev_roberts", settings_of("shiryaev_roberts", **options), SERIES).update(
        rows, values.reshape(-1), rows
    )
    at = alarms.at % (CHANGE + 100)
    first = at >= CHANGE
    error = np.abs(at - alarms.onset_ago - CHANGE)[first]
    assert np.median(error) <= 1
    assert np.percentile(error, 80) <= 3
    assert np.median(alarms.effect[first]) >= (0.7 if abs(shift) == 2.0 else 0.95)
    assert np.median(np.abs(alarms.after[first] - shift)) <= 0.6
    assert np.percentile(np.abs(alarms.after[first] - shift), 80) <= 1.0


@pytest.mark.parametrize("options", [{}, {"sliding": True}], ids=str)
def test_onset_where_the_mean_stays(options):
    """A change of spread is dated too, by the detectors that see one."""
    random = np.random.default_rng(22)
    values = random.normal(size=(2500, 40))
    values[1500:] *= 3.0
    rows = np.tile(np.arange(40), 2500)
    alarms = bank("ks_window", settings_of("ks_window", **options), 40).update(rows, values.reshape(-1), rows)
    _, first = np.unique(alarms.row, return_index=True)
    assert len(first) == 40
    assert np.median(abs(alarms.at[first] // 40 - alarms.onset_ago[first] - 1500)) <= 25
