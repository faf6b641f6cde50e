"""Alarms speak for or against a series by how they came."""

import numpy as np
import pytest

from detectors.registry import bank, settings_of
from detectors.shiryaev_roberts.alternatives import tables
from detectors.shiryaev_roberts.cells import COUNTED_MAX, settle
from detectors.shiryaev_roberts.evidence import advance
from detectors.shiryaev_roberts.kernel_types import ALARM, EvidenceRules, Fed, work_space
from detectors.shiryaev_roberts.state import WORDS, records_of

SERIES, LEVELS = 10, 14


def alarmed(**fields):
    """A series at its next alarm, given what stands in its record."""
    series = records_of(np.zeros((1, WORDS), np.int64))
    settle(series, np.array([0]), np.sort(np.random.default_rng(9).normal(size=1000))[np.newaxis])
    for name, value in fields.items():
        series[0][name] = value
    zero, one = np.zeros(1, np.int64), np.ones(1, np.int64)
    fed = Fed(zero, np.zeros(1), zero, one)
    advance(series, tables(), EvidenceRules(1e5, COUNTED_MAX), fed, zero.copy(), zero.copy(), work_space())
    assert series[0]["due"] == ALARM
    return series[0]


@pytest.mark.parametrize(
    ("n", "age", "before", "after"),
    [
        (2000, 1000, 3, 4),  # soon, and half of the values have drifted
        (2000, 1000, 16, 16),
        (2000, 400, 3, 4),
        (2000, 100, 3, 3),  # soon, but it had stood still for 19 times as long
        (120, 40, 3, 3),  # in so few values twice as long is long
        (120, 80, 3, 4),
        (20_000, 1000, 3, 3),  # neither soon nor late
        (80_000, 40_000, 3, 2),  # late
        (80_000, 100, 0, 0),
    ],
)
def test_alarms_too_many_are_counted(n, age, before, after):
    """One that comes soon is one more, unless it is upon a jump; one that comes late is one less."""
    assert alarmed(n=n, alarms=before, sums=1e8, aged=age * 1e8)["alarms"] == after


@pytest.mark.parametrize("name", ["qq_last", "qq_slow", "pp_slow"])
def test_a_jump_of_ranks_that_depend_is_one_too_many(name):
    """By more than four standard errors: on the rank before, on the last ones, or their scale on theirs."""
    ranks = {"n": 2000, "pairs": 2000, "qq": 667.0, "pp": 178.0}
    of = ranks["pp"] if name == "pp_slow" else ranks["qq"]
    errors = {"qq_last": 2000.0**-0.5, "qq_slow": (31.0 * 2000) ** -0.5, "pp_slow": (31.0 * 2000) ** -0.5}
    more = 1.0 if name == "pp_slow" else 0.0
    for z, after in ((3.0 + more, 3), (5.5 + more, 4)):
        one = alarmed(**ranks, alarms=3, sums=1e8, aged=1e9, **{name: z * errors[name] * of})
        assert one["alarms"] == after, z


def test_a_chain_that_alarms_is_one_too_many():
    """Its ranks are those among the values that followed the same one, which show no dependence."""
    assert alarmed(n=2000, chained=1, alarms=3, sums=1e8, aged=1e9)["alarms"] == 4


def series_of(means, seed):
    return np.repeat(means, 1000, axis=1) + np.random.default_rng(seed).normal(size=(SERIES, 1000 * means.shape[1]))


@pytest.mark.parametrize("options", [{"arl0": 1e5}, {"arl0": 1e6, "tolerance": 0.01}], ids=["sharp", "default"])
@pytest.mark.parametrize("kind", ["to and fro", "new level"])
def test_drifts_that_come_again_and_again_are_all_seen(kind, options):
    """Fourteen by 1.5 deviations and more, every 1,000 values: each of them in nine of ten series, the last as soon as
    the first.
    """
    random = np.random.default_rng(1)
    steps = random.uniform(1.5, 4.0, (SERIES, LEVELS)) * random.choice([-1.0, 1.0], (SERIES, LEVELS))
    levels = np.cumsum(steps, axis=1) if kind == "new level" else np.tile([2.0, 0.0], (SERIES, LEVELS // 2))
    values = series_of(np.concatenate([np.zeros((SERIES, 3)), levels], axis=1), 2)
    alarms = bank("shiryaev_roberts", settings_of("shiryaev_roberts", **options), SERIES).update(
        np.repeat(np.arange(SERIES), values.shape[1]), values.reshape(-1), np.zeros(values.size, np.int64)
    )
    row, at = np.divmod(alarms.at, values.shape[1])
    level, delay = np.divmod(at - 3000, 1000)
    for k in range(LEVELS):
        assert len(np.unique(row[level == k])) >= 0.9 * SERIES, k
    assert np.median(delay[level == LEVELS - 1]) <= 2 * np.median(delay[level == 0])
