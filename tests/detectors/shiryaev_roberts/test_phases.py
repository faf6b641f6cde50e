"""Series of few values that depend on the one before; and what is not known well counts for less."""

import numpy as np
import pytest
from scipy.signal import lfilter

from benchmarks.detection.dependent_laws import LAWS, chain
from detectors.registry import bank, settings_of
from detectors.shiryaev_roberts.bank import ShiryaevRobertsBank, ShiryaevRobertsSettings
from detectors.shiryaev_roberts.dependence import TOO_MANY
from detectors.shiryaev_roberts.phases import DOUBT, QUIET, revise, temper
from detectors.shiryaev_roberts.state import WORDS, records_of

CHAINS = [law for law in LAWS if law.startswith("0")]


def fed(values, arl0=1e4, columns=None):
    """The bank that has seen these series, [rows, values], and its alarms."""
    one = ShiryaevRobertsBank(ShiryaevRobertsSettings(arl0=arl0), len(values))
    row = np.repeat(np.arange(len(values)), values.shape[1])
    return one, one.update(row, values.reshape(-1), np.zeros(values.size, np.int64))


@pytest.mark.parametrize("law", CHAINS)
def test_a_chain_is_no_drift(law):
    """At most as many false alarms as were asked, one in 10,000 values, and some for chance."""
    draw, random = LAWS[law], np.random.default_rng(1)
    _, alarms = fed(np.array([draw(random, np.zeros(20_000)) for _ in range(20)]))
    assert len(alarms) <= 40 + 12


@pytest.mark.parametrize(
    ("before", "after"),
    [((0.05, 0.2), (0.2, 0.2)), ((0.02, 0.02), (0.02, 0.1)), ((0.9, 0.9), (0.5, 0.5))],
)
def test_another_chain_is_seen(before, after):
    """More frequent runs of ones, shorter ones, and turns that are no turns any more."""
    random, n = np.random.default_rng(2), 5000
    changed = np.array(
        [np.r_[chain(*before)(random, np.zeros(n)), chain(*after)(random, np.zeros(3000))] for _ in range(20)]
    )
    _, alarms = fed(changed, arl0=1e6)
    row, at = np.divmod(alarms.at, changed.shape[1])
    assert len(np.unique(row[at >= n])) >= 18
    assert np.count_nonzero(at < n) <= 1


def test_what_is_certain_is_no_evidence():
    """Values that come strictly in turn raise nothing; once they stand still they do."""
    turns = np.array([np.r_[np.arange(20_000) % period, np.full(300, 1.0)] for period in (2, 3)])
    _, alarms = fed(turns, arl0=1e6)
    assert (alarms.at % turns.shape[1] >= 20_000).all()
    assert set(alarms.row) == {0, 1}


def test_ranks_are_those_among_the_values_that_followed_the_same():
    """Counted by the value before, in each row of the counts."""
    random = np.random.default_rng(3)
    values = chain(0.05, 0.1)(random, np.zeros(1000))[np.newaxis] + 7.0
    one, _ = fed(values, arl0=1e12)
    (series,) = one._series()
    assert series["chained"] == 1
    edges = series["edges"][: series["used"]]
    cells = np.searchsorted(edges, values[0], side="right")
    counted = int(series["counts"].sum())
    pairs = np.zeros(64, np.int64)
    np.add.at(pairs, 8 * cells[-counted - 1 : -1] + cells[-counted:], 1)
    assert series["counts"].tolist() == pairs.tolist()
    assert series["n"] == series["total"] == counted
    assert len(set(cells)) == 2


@pytest.mark.parametrize("new", [2.0, -1.0])
def test_a_value_that_was_never_there_is_seen(new):
    """A third value, beside two that come in runs."""
    random = np.random.default_rng(4)
    _, alarms = fed(np.r_[chain(0.05, 0.05)(random, np.zeros(3000)), np.full(200, new)][np.newaxis], arl0=1e6)
    assert alarms.at.tolist()[0] >= 3000
    assert alarms.after.tolist()[0] == new


@pytest.mark.parametrize("levels", [4, 6, 7])
def test_up_to_six_values_make_a_chain(levels):
    """Steps of a wheel that seldom turns: chained with six values, whitened with seven."""
    random = np.random.default_rng(8)
    turns = np.cumsum(random.random((1, 4000)) < 0.2, axis=1) % levels
    one, alarms = fed(turns.astype(np.float64), arl0=1e6)
    assert len(alarms) == 0
    assert (one._series()["chained"][0] == 1) == (levels <= 6)


def test_restored_is_never_stopped():
    """A chain goes on where it was."""
    values = chain(0.02, 0.02)(np.random.default_rng(5), np.zeros(4000))
    values[3000:] = chain(0.2, 0.2)(np.random.default_rng(6), np.zeros(1000))
    whole = fed(values[np.newaxis])[1]
    one, before = fed(values[np.newaxis, :2000])
    other = bank("shiryaev_roberts", settings_of("shiryaev_roberts", arl0=1e4), 1)
    other.load(slice(0, 1), one.dump(slice(0, 1)))
    after = other.update(np.zeros(2000, np.int64), values[2000:], np.zeros(2000, np.int64))
    assert before.at.tolist() + (after.at + 2000).tolist() == whole.at.tolist()
    assert before.statistic.tolist() + after.statistic.tolist() == whole.statistic.tolist()


@pytest.mark.parametrize(("before", "after"), [(0.06, 0.3), (0.5, 0.8), (0.0, 0.4)])
def test_of_two_values_before_and_after_are_means(before, after):
    """An error rate that rises from 6 to 30 in 100 says so, where both medians are 0."""
    random = np.random.default_rng(7)
    values = (random.random((30, 3000)) < np.where(np.arange(3000) < 2500, before, after)).astype(np.float64)
    _, alarms = fed(values, arl0=1e6)
    first = alarms.at % 3000 >= 2500
    assert np.median(alarms.before[first]) == pytest.approx(before, abs=0.02)
    assert np.median(alarms.after[first]) == pytest.approx(after, abs=0.15)


ROW = np.array([0])


def whitened(**fields):
    series = records_of(np.zeros((1, WORDS), np.int64))
    series[0]["whitened"], series[0]["pairs"] = 1, 1024
    for name, value in fields.items():
        series[0][name] = value
    return series


def test_coefficients_are_revised_as_values_come():
    """Of 20 series under noise, after 40,000 values they lie closer to the truth than 1,024 alone would have it."""
    random = np.random.default_rng(1)
    values = lfilter([1.0], [1.0, -0.95], random.normal(size=(20, 40_000)) * (1 - 0.95**2) ** 0.5, axis=1)
    values += random.normal(size=values.shape)
    one = bank("shiryaev_roberts", settings_of("shiryaev_roberts", arl0=1e9), 20)
    rows = np.repeat(np.arange(20), 2000)
    one.update(rows, values[:, :2000].reshape(-1), np.zeros_like(rows))
    first = one._series()["phi"].copy()
    rows = np.repeat(np.arange(20), 38_000)
    one.update(rows, values[:, 2000:].reshape(-1), np.zeros_like(rows))
    last = one._series()["phi"]
    assert (one._series()["whitened"] == 1).all()
    assert np.abs(last - 0.95).mean() < 0.5 * np.abs(first - 0.95).mean()
    assert last.mean() == pytest.approx(0.95, abs=0.01)


def test_a_step_is_that_of_gauss_and_newton():
    """The solution of the normal equations; for an AR(1), of the first alone."""
    one = whitened(phi=0.5, theta=-0.2, known=(400.0, 100.0, 300.0), steps=(8.0, -3.0))
    revise(one, ROW)
    step = np.linalg.solve([[400.0, 100.0], [100.0, 300.0]], [8.0, -3.0])
    assert [one[0]["phi"], one[0]["theta"]] == pytest.approx([0.5 + step[0], -0.2 + step[1]], rel=1e-5)
    assert (one[0]["steps"] == 0.0).all()
    alone = whitened(phi=0.5, known=(399.0, 100.0, 300.0), steps=(8.0, -3.0))
    revise(alone, ROW)
    assert (alone[0]["phi"], alone[0]["theta"]) == pytest.approx((0.52, 0.0))


def test_the_power_is_that_of_the_error_left():
    """Two standard errors of the gain (1 + theta) / (1 - phi), by the delta method; less known, less power."""
    powers = []
    for n in (500.0, 5000.0, 50_000.0):
        information = n * np.array([[2.0, 0.4], [0.4, 1.2]])
        slope = np.array([1.0 / 0.2, 1.0 / 0.7])
        error = np.sqrt(slope @ np.linalg.inv(information) @ slope)
        one = whitened(phi=0.8, theta=-0.3, known=(information[0, 0] - 1, information[0, 1], information[1, 1]), qq=1e9)
        temper(one, ROW)
        assert one[0]["power"] == pytest.approx(1.0 / (1.05 * (1.0 + 2.0 * error) ** 2), rel=1e-3)
        powers.append(float(one[0]["power"]))
    assert powers == sorted(powers)


def test_alarms_too_many_are_believed_less():
    """Each divides the power, from the fourth on."""
    powers = []
    for alarms in (0, TOO_MANY, TOO_MANY + 1, TOO_MANY + 3):
        series = records_of(np.zeros((1, WORDS), np.int64))
        series[0]["pairs"], series[0]["qq"], series[0]["pp"], series[0]["alarms"] = 1000, 333.0, 88.0, alarms
        temper(series, ROW)
        powers.append(float(series[0]["power"]))
    assert powers == pytest.approx([1.0, 1.0, 1.0 / DOUBT, 1.0 / DOUBT**3])


@pytest.mark.parametrize(("n", "after"), [(QUIET, 4), (2 * QUIET, 4), (QUIET + 256, 5)])
def test_quiet_brings_trust_back(n, after):
    """A whitened series forgets one alarm too many for each 65,536 values without one."""
    one = whitened(n=n, alarms=5, known=(400.0, 100.0, 300.0))
    revise(one, ROW)
    assert one[0]["alarms"] == after


def test_weeks_that_differ_by_chance_become_quiet():
    """Each stretch of 400 values has a share of its own: after the first alarms, there are at most 0.3 in 10,000."""
    random = np.random.default_rng(2)
    share = np.repeat(random.beta(12, 20, size=(4, 500)), 400, axis=1)
    values = np.where(random.random(share.shape) < share, random.exponential(3.0, share.shape), 0.0)
    one = bank("shiryaev_roberts", settings_of("shiryaev_roberts"), 4)
    rows = np.repeat(np.arange(4), 200_000)
    at = one.update(rows, values.reshape(-1), np.zeros_like(rows)).at % 200_000
    assert np.count_nonzero(at > 50_000) <= 0.3 * 4 * 15
