"""The test of shares decides as scipy does, at every event, and says which category it was."""

import numpy as np
import pytest
from scipy.stats import chi2, chi2_contingency

from detectors import detector
from detectors.base import UNSEEN_CATEGORY
from detectors.categories.kernels import POOLED
from detectors.categories.window import CategoryWindowBank, CategoryWindowSettings
from detectors.registry import settings_of

# reference, window, categories that are counted one by one, categories there are
SIZES = [(100, 100, 6, 9), (300, 60, 32, 5), (60, 300, 4, 40), (2, 2, 1, 2), (500, 31, 255, 60)]


def feed(bank, values, row=0):
    rows = np.full(len(values), row)
    return bank.update(rows, np.asarray(values, np.float64), rows)


def counts(values, apart):
    """The shared slot first, then each category that is counted alone."""
    each = [np.count_nonzero(values == category) for category in apart]
    return np.array([len(values) - sum(each), *each])


def learned(reference, categories_max):
    """The categories counted one by one, and the reference by slot, each value as it is to the slots of the others."""
    apart = list(dict.fromkeys(reference))[:categories_max]
    table = np.zeros(len(apart) + 1, int)
    for i, value in enumerate(reference):
        without = list(dict.fromkeys(np.delete(reference, i)))[:categories_max]
        table[apart.index(value) + 1 if value in without and value in apart else 0] += 1
    return apart, table


def sampled(reference, categories_max):
    """The same of a sample that has no order: the most frequent are counted one by one."""
    found, times = np.unique(reference, return_counts=True)
    order = np.argsort(-times, kind="stable")
    apart, others = order[:categories_max], order[categories_max:]
    table = np.where(times[apart] > max(times[others], default=0) + 1, times[apart], 0)
    return list(found[apart]), np.array([len(reference) - table.sum(), *table])


def table_of(reference, current, apart):
    """Reference and window by slot; rare slots pooled, empty ones left out."""
    table = np.array([reference, counts(current, apart)])
    few = table.sum(axis=0) < POOLED
    table = np.column_stack([table[:, few].sum(axis=1), table[:, ~few]])
    return table[:, table.sum(axis=0) > 0]


def moving(random, n, window):
    """Shares that move and move back, so that decisions rise and fall; some categories come only then."""
    usual, other = random.dirichlet(np.full(n, 0.7), 2)
    parts = [(usual, window + 150), (other, 2 * window + 50), (usual, 2 * window + 50)]
    return np.concatenate([random.choice(n, size, p=shares) for shares, size in parts]).astype(float)


@pytest.mark.parametrize("given", [False, True], ids=["learned", "given"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_decision_is_scipy_s_at_every_event(size, given):
    """`pvalue <= alpha` of the likelihood ratio form of chi2_contingency, on the pooled table."""
    n_reference, window, categories_max, n = size
    random = np.random.default_rng(size)
    values = moving(random, n, window)
    reference = random.choice(values[: window + 150], n_reference)
    bank = CategoryWindowBank(CategoryWindowSettings(window, n_reference, 1e-3, categories_max), 1)
    if given:
        bank.set_reference(0, reference)
        apart, table = sampled(reference, categories_max)
    else:
        assert len(feed(bank, reference)) == 0
        apart, table = learned(reference, categories_max)
    seen, over = [], True  # whether the last drift is
    for i in range(len(values)):
        alarms = feed(bank, values[i : i + 1])
        if i + 1 < window:
            assert len(alarms) == 0
            continue
        pooled = table_of(table, values[i + 1 - window : i + 1], apart)
        expected = chi2_contingency(pooled, correction=False, lambda_="log-likelihood")
        assert bank.drifted(0) == (expected.pvalue <= 1e-3), f"at value {i}"
        assert len(alarms) == (bank.drifted(0) and over)
        if len(alarms):
            assert alarms.statistic[0] == pytest.approx(expected.statistic, abs=1e-8)
            assert alarms.statistic[0] >= alarms.threshold[0]
        above, critical = expected.statistic - expected.dof, chi2.isf(1e-3, expected.dof)
        over = not bank.drifted(0) and (over or 4 * above < critical - expected.dof)
        seen.append(bank.drifted(0))
    assert n == 2 or 0 < sum(seen) < len(seen)


def test_one_change_is_one_alarm():
    """Also where the statistic stays near the critical one: 12 alarms a series before."""
    random = np.random.default_rng(20)
    before, after = [0.1, 0.3, 0.3, 0.2, 0.1], [0.25, 0.25, 0.25, 0.15, 0.1]
    for _ in range(10):
        values = np.concatenate([random.choice(5, 2000, p=before), random.choice(5, 3000, p=after)])
        assert len(feed(CategoryWindowBank(CategoryWindowSettings(), 1), values)) == 1


def test_an_alarm_says_which_share_moved_from_what_to_what_since_when():
    """A share that goes from 0.1 to 0.4 is named, and the distance is that of the shares."""
    random = np.random.default_rng(1)
    values = np.concatenate(
        [random.choice([7, 8, 9], 2000, p=[0.5, 0.4, 0.1]), random.choice([7, 8, 9], 900, p=[0.2, 0.4, 0.4])]
    )
    alarms = feed(CategoryWindowBank(CategoryWindowSettings(), 1), values)
    (at,) = alarms.at.tolist()
    reference, window = (
        np.array([np.mean(part == c) for c in (7, 8, 9)]) for part in (values[:500], values[at - 499 : at + 1])
    )
    assert alarms.category.tolist() == [7 + np.argmax((window - reference) ** 2 / (window + reference))]
    moved = abs(alarms.after[0] - alarms.before[0])
    assert alarms.effect[0] == pytest.approx(max(np.abs(window - reference).sum() / 2, moved))
    assert alarms.before[0] == pytest.approx(reference[alarms.category[0] - 7])
    assert abs(at - alarms.onset_ago[0] - 2000) < 30
    assert alarms.n_current[0] == alarms.onset_ago[0] + 1
    assert alarms.after[0] == pytest.approx(
        np.mean(values[at + 1 - alarms.n_current[0] : at + 1] == alarms.category[0])
    )


def test_of_shares_that_move_the_rare_one_is_named():
    """What was 2 % and is 12 % is the change, not the 98 % that are 88 %."""
    random = np.random.default_rng(4)
    values = np.concatenate([random.random(1500) < 0.02, random.random(500) < 0.12])
    assert feed(CategoryWindowBank(CategoryWindowSettings(), 1), values).category.tolist() == [1]


def test_rare_categories_that_are_all_replaced_are_seen():
    """60 categories, each too rare to be judged alone, give way to 60 others."""
    random = np.random.default_rng(5)
    values = np.concatenate([random.choice(60, 1500), 60 + random.choice(60, 300)])
    alarms = feed(CategoryWindowBank(CategoryWindowSettings(), 1), values)
    assert alarms.category.tolist() == [UNSEEN_CATEGORY]
    assert 1500 < alarms.at[0] < 1800


def test_what_the_reference_has_not_is_reported_as_unseen():
    """New categories, however many and none of them large, are one category to the test."""
    random = np.random.default_rng(2)
    old = random.choice(3, 1500)
    new = np.where(random.random(500) < 0.3, 100 + np.arange(500), random.choice(3, 500))
    alarms = feed(CategoryWindowBank(CategoryWindowSettings(), 1), np.concatenate([old, new]))
    assert alarms.category.tolist() == [UNSEEN_CATEGORY]
    assert alarms.before[0] == 0.0
    assert alarms.effect[0] >= alarms.after[0] > 0.2


@pytest.mark.parametrize("shares", [np.full(300, 1 / 300), np.array([0.9] + [0.1 / 300] * 300)], ids=["even", "rare"])
def test_categories_that_are_counted_as_one_are_no_drift(shares):
    """A reference always has met more of what it counts one by one than later windows do: that alone raises nothing."""
    values = np.random.default_rng(3).choice(len(shares), (5000, 20), p=shares)
    rows = np.tile(np.arange(20), 5000)
    bank = CategoryWindowBank(CategoryWindowSettings(), 20)
    assert len(bank.update(rows, values.ravel().astype(float), rows)) == 0


@pytest.mark.parametrize("bad", [0.5, -1.0, 2.0**53, 1e300])
def test_what_is_no_category_is_refused(bad):
    """Numbers that are no ids are a mistake of the caller, and nothing is changed by it."""
    bank = CategoryWindowBank(CategoryWindowSettings(), 1)
    before = bank.dump(slice(0, 1))
    with pytest.raises(ValueError, match="ids of categories"):
        feed(bank, [1.0, bad])
    for name, array in bank.dump(slice(0, 1)).items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    "options", [{"window": 1}, {"reference_size": 1}, {"alpha": 0.0}, {"categories_max": 0}, {"categories_max": 256}]
)
def test_settings_out_of_range_are_refused(options):
    """Each names itself and its range."""
    with pytest.raises(ValueError, match=f"category_window: {next(iter(options))}"):
        settings_of("category_window", **options)


def test_one_series_by_name():
    """The face for notebooks takes ids as any other value."""
    one = detector("category_window", window=50, reference=[0, 1] * 250)
    assert one.effect_unit == "tv_distance"
    assert len(one.update_many([0, 1] * 50)) == 0
    assert len(one.update_many([0] * 50)) == 1
