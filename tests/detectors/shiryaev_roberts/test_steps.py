"""Jumps between levels are no dependence, and what looks like them from afar is none."""

import numpy as np
import pytest

from benchmarks.detection.dependent_laws import LAWS, cycle, inert
from detectors.registry import bank, settings_of
from detectors.shiryaev_roberts.state import STORED
from detectors.shiryaev_roberts.steps import without_jumps

SEEDS = 20


def states(dwell):
    def draw(r, s):
        return 2.0 * (np.cumsum(r.random(len(s)) < 1.0 / dwell) % 2) + r.standard_normal(len(s))

    return draw


def share_of_jumps(draw):
    """The share of samples of which jumps are the best account."""
    found = [without_jumps(draw(np.random.default_rng([1, seed]), np.zeros(STORED))) for seed in range(SEEDS)]
    return np.mean([left is not None for left in found])


def test_what_jumps_leave_is_what_was_under_them():
    """Of three levels, three deviations apart, with the places known to a few values."""
    noise = np.random.default_rng(2).normal(size=STORED)
    left = without_jumps(noise + np.repeat([0.0, 3.0, 0.0, -3.0], STORED // 4))
    assert np.mean(np.abs(left - noise) < 0.4) > 0.97
    assert left.std() == pytest.approx(1.0, abs=0.1)


def test_levels_without_noise_leave_nothing():
    """A flag that is switched, and switched back."""
    left = without_jumps(np.repeat([0.0, 1.0, 0.0, 1.0], STORED // 4))
    assert left is not None
    assert not left.any()


@pytest.mark.parametrize("dwell", [200, 500])
def test_two_states_are_jumps(dwell):
    """Nearly always; where no change falls into the sample, or two that are close, there may be none."""
    assert share_of_jumps(states(dwell)) >= 0.8


SMOOTH = {
    **{f"AR(1) of {phi:g}": inert(phi) for phi in (0.5, 0.9, 0.97, 0.995)},
    "AR(1) of .95 under as much noise": inert(0.95, 1.0),
    **{
        f"cycle of {n}, {h:g}": cycle(n, h)
        for n, h in ((288, 1.0), (1440, 0.3), (1440, 1.0), (2880, 0.5), (10_080, 1.0))
    },
    "GARCH": LAWS["GARCH of .1, .85"],
}


@pytest.mark.parametrize("law", SMOOTH)
def test_what_is_smooth_or_inert_is_none(law):
    """Of 20 samples one at most."""
    assert share_of_jumps(SMOOTH[law]) <= 1.0 / SEEDS


def test_independent_values_have_none():
    """There is nothing that jumps would pay for."""
    assert share_of_jumps(lambda r, s: r.standard_normal(len(s))) == 0.0


def test_a_series_that_switches_is_not_deafened():
    """Of the switches between two states after 500 values on average, two of three are seen, in the last half too."""
    seen, switches = 0, 0
    for seed in range(6):
        random = np.random.default_rng([3, seed])
        changes = random.random(40_000) < 1.0 / 500.0
        values = 2.0 * (np.cumsum(changes) % 2) + random.standard_normal(40_000)
        one = bank("shiryaev_roberts", settings_of("shiryaev_roberts"), 1)
        at = one.update(np.zeros(40_000, np.int64), values, np.zeros(40_000, np.int64)).at
        starts = np.flatnonzero(changes)
        late = starts[:-1] >= 20_000
        seen += np.count_nonzero((np.searchsorted(at, starts[1:]) > np.searchsorted(at, starts[:-1]))[late])
        switches += np.count_nonzero(late)
    assert seen >= 0.65 * switches
