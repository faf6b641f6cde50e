"""Categories, counted: the asked rate of false alarms, one alarm a change, either way, runs, cycles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import UNSEEN_CATEGORY
from detectors.categories.rates import CategoryRatesBank, CategoryRatesSettings
from detectors.categories.shares import ALTERNATIVES, ODDS

SHARES = [0.3, 0.2, 0.1, 0.1, 0.1, 0.08, 0.05, 0.04, 0.03]


def fed(values, **changed):
    """The bank that has seen these series, [rows, values], and its alarms; `at` counts within a series."""
    bank = CategoryRatesBank(CategoryRatesSettings(**changed), len(values))
    row = np.repeat(np.arange(len(values)), values.shape[1])
    alarms = bank.update(row, values.reshape(-1).astype(np.float64), np.zeros(values.size, np.int64))
    return bank, alarms, alarms.at % values.shape[1]


LAWS = {
    "two": lambda r, n: r.choice(2, n, p=[0.7, 0.3]),
    "nine": lambda r, n: r.choice(9, n, p=SHARES),
    "Zipf": lambda r, n: np.minimum(r.zipf(1.5, n), 50),
    "rare": lambda r, n: r.random(n) < 0.003,
}
IN_RUNS = {
    "two in runs of 50": lambda r, n: np.cumsum(r.random(n) < 0.02) % 2,
    "five in runs of just 50": lambda r, n: np.repeat(r.integers(0, 5, n // 50 + 1), 50)[:n],
    "three in runs of 3": lambda r, n: np.repeat(r.choice(3, n, p=[0.5, 0.3, 0.2]), r.geometric(1 / 3, n))[:n],
}


def false_alarms(draw, arl0, tolerance=0.0001):
    """Alarms in two million values that never change."""
    random, n = np.random.default_rng(1), 100_000
    return len(fed(np.array([draw(random, n) for _ in range(20)]), arl0=arl0, tolerance=tolerance)[1])


@pytest.mark.parametrize("law", LAWS)
def test_false_alarms_are_as_asked(law):
    """Independent values, 200 alarms asked: half as many or more, and no tenth too many."""
    assert 100 <= false_alarms(LAWS[law], 1e4) <= 220


@pytest.mark.parametrize("law", IN_RUNS)
def test_the_asked_rate_is_kept_in_runs(law):
    """Of two million values, 200 false alarms were allowed."""
    assert false_alarms(IN_RUNS[law], 1e4) <= 200


def test_a_short_rate_counts_what_is_learned():
    """At arl0 2,000, of which 1,000 are learned from: as asked."""
    assert 500 <= false_alarms(LAWS["nine"], 2e3) <= 1100


@pytest.mark.parametrize(("period", "height", "allowed"), [(24, 0.25, 0), (288, 0.25, 0), (1440, 0.25, 2)])
def test_shares_that_follow_the_hours_are_usual(period, height, allowed):
    """Eight series of 40,000 values, of which a share goes up and down; counts of runs alone raise 200 at 1,440."""
    random, n = np.random.default_rng(5), 40_000
    around = np.sin(2 * np.pi * np.arange(n) / period + 6 * random.random((8, 1)))
    assert len(fed(random.random((8, n)) < 0.3 + height * around)[1]) <= allowed


@pytest.mark.parametrize(
    ("before", "after", "share", "delay"),
    [(0.2, 0.3, 0.95, 320), (0.05, 0.1, 0.95, 450), (0.3, 0.2, 0.95, 320), (0.1, 0.05, 0.85, 500)],
)
def test_a_rate_that_moves_by_a_tenth_is_seen(before, after, share, delay):
    """Either way, within 1,000 values at arl0 1e5: as soon as `shiryaev_roberts` sees it, one alarm a change."""
    random, rows = np.random.default_rng(7), 60
    values = np.hstack([random.random((rows, 2000)) < before, random.random((rows, 1000)) < after])
    _, alarms, at = fed(values, arl0=1e5)
    seen = at[at >= 2000] - 2000
    assert len(seen) >= share * rows
    assert len(alarms) <= rows + 2
    assert np.median(seen) <= delay
    assert np.median(alarms.effect) == pytest.approx(abs(after - before), abs=0.02)


def test_a_category_that_goes_is_named():
    """Where one of ten goes from .3 to .1, no other rises as clearly as it falls."""
    random = np.random.default_rng(8)
    others = np.full(15, 0.7 / 15), np.full(15, 0.9 / 15)
    values = np.array(
        [
            np.r_[random.choice(16, 3000, p=[0.3, *others[0]]), random.choice(16, 600, p=[0.1, *others[1]])]
            for _ in range(20)
        ]
    )
    _, alarms, at = fed(values)
    assert len(alarms) == 20
    assert (at >= 3000).all()
    assert np.mean(alarms.category == 0) >= 0.9
    assert np.median(alarms.before) == pytest.approx(0.3, abs=0.02)
    assert np.median(alarms.after) == pytest.approx(0.1, abs=0.05)


def test_shares_that_move_again_and_again_are_seen_each_time():
    """Ten changes each 2,000 values: the last as soon as the first."""
    random, rows = np.random.default_rng(9), 12
    shares = np.repeat([0.2, *([0.4, 0.2] * 5)], [3000, *[2000] * 10])
    at = fed(random.random((rows, len(shares))) < shares)[2]
    for change in range(3000, 23_000, 2000):
        assert np.sum((at >= change) & (at < change + 2000)) >= rows - 1
        assert np.median(at[(at >= change) & (at < change + 2000)]) - change <= 250


def test_the_evidence_is_that_of_a_plain_loop():
    """The sums of each category are those of the recursion, value by value."""
    random, size = np.random.default_rng(10), 50
    values = np.r_[random.choice(3, 400, p=[0.6, 0.3, 0.1]), 7]
    bank, alarms, _ = fed(values[np.newaxis], baseline_size=size, arl0=1e12)
    assert not len(alarms)
    held = bank.dump(slice(0, 1))
    assert (held["weight"][0, :4] == 1.0).all()
    categories = [None, *held["category"][0, :3]]
    for slot, category in enumerate(categories):
        ones = ~np.isin(values, categories[1:]) if slot == 0 else values == category
        sums, aged = np.zeros(ALTERNATIVES), np.zeros(ALTERNATIVES)
        for n in range(size, len(values)):
            ratio = np.where(ones[n], ODDS, 1.0) / (1.0 + (ODDS - 1.0) * ones[: n + 1].mean())
            older = 0.0 if ones[n] and ones[: n + 1].sum() == 1 else aged + sums  # no onset before the first one
            sums, aged = (sums + 1.0) * ratio, older * ratio
        found = held["evidence"][0, slot].reshape(-1, ALTERNATIVES)
        assert found[0] == pytest.approx(sums, rel=1e-3)
        assert found[1] == pytest.approx(aged, rel=1e-3)


def test_runs_of_chance_are_within_the_asked_rate():
    """Four kinds of weather in runs of 30 on average: 13 alarms in a million values, where 10 were asked for and
    `category_window` raises 750.
    """
    random = np.random.default_rng(2)
    weather = [
        np.repeat(random.choice(4, 50_000, p=[0.5, 0.3, 0.15, 0.05]), random.geometric(1 / 30, 50_000))[:50_000]
        for _ in range(20)
    ]
    assert len(fed(np.array(weather), arl0=1e5)[1]) <= 20


@pytest.mark.parametrize("size", [0, 5000])
def test_a_change_is_one_alarm_that_names_the_category(size):
    """Of nine categories one doubles and triples: found in 20 of 20 series, dated, by one alarm."""
    random, n = np.random.default_rng(3), 3000
    moved = np.array([0.1, 0.2, 0.3, *SHARES[3:]])
    values = np.array([np.r_[random.choice(9, n, p=SHARES), random.choice(9, n, p=moved)] for _ in range(20)])
    bank = CategoryRatesBank(CategoryRatesSettings(), 20)
    for row in range(20 if size else 0):
        bank.set_reference(row, random.choice(9, size, p=SHARES).astype(np.float64))
    alarms = bank.update(
        np.repeat(np.arange(20), 2 * n), values.reshape(-1).astype(np.float64), np.zeros(values.size, int)
    )
    at = alarms.at % (2 * n)
    assert sorted(alarms.row) == list(range(20))
    assert set(alarms.category) <= {0, 2}  # 0 falls from .3 to .1
    assert np.mean(alarms.category == 2) >= 0.85
    assert np.median(at) < n + 250
    assert np.median(np.abs(at - alarms.onset_ago - n)) <= 30
    assert np.median(alarms.before) == pytest.approx(0.1, abs=0.02)
    assert np.median(alarms.after) == pytest.approx(0.3, abs=0.06)
    assert alarms.effect == pytest.approx(np.abs(alarms.after - alarms.before))


def test_a_new_category_is_the_unseen():
    """Also where many come, none of them often, or more than are counted one by one."""
    random = np.random.default_rng(4)
    values = np.r_[random.choice(3, 2000), random.integers(100, 200, 300)][np.newaxis]
    _, alarms, at = fed(values)
    assert alarms.category.tolist() == [UNSEEN_CATEGORY]
    assert 2000 <= at[0] < 2020


def test_what_a_reference_lacks_is_unseen_at_once():
    """No value is needed to learn that."""
    bank = CategoryRatesBank(CategoryRatesSettings(), 1)
    bank.set_reference(0, np.tile([5.0, 6.0], 1000))
    alarms = bank.update(np.zeros(40, np.int64), np.full(40, 7.0), np.zeros(40, np.int64))
    assert alarms.category.tolist() == [UNSEEN_CATEGORY]
    assert alarms.onset_ago.tolist() == alarms.at.tolist()


@pytest.mark.parametrize("size", [0, 2000])
def test_an_unseen_category_is_dated_to_its_first_value(size):
    """Not to the 2,000 values before, at each of which it may as well have begun; `after` is its share since."""
    random = np.random.default_rng(31)
    bank = CategoryRatesBank(CategoryRatesSettings(), 1)
    if size:
        bank.set_reference(0, random.choice(3, size, p=[0.6, 0.3, 0.1]).astype(float))
    values = np.r_[random.choice(3, 3000, p=[0.6, 0.3, 0.1]), random.choice([0, 1, 7], 600, p=[0.6, 0.3, 0.1])]
    alarms = bank.update(np.zeros(3600, np.int64), values.astype(float), np.zeros(3600, np.int64))
    assert alarms.category.tolist() == [UNSEEN_CATEGORY]
    first, at = np.argmax(values == 7), alarms.at[0]
    assert at - alarms.onset_ago[0] == first
    assert alarms.after[0] == pytest.approx(np.mean(values[first : at + 1] == 7))


def test_learning_can_be_seen():
    """At first, and after an alarm; not with a reference."""
    bank, alarms, _ = fed(np.r_[np.tile([0, 1], 600), np.full(100, 2)][np.newaxis])
    assert len(alarms) == 1
    assert bank.learning().tolist() == [True]
    bank, _, _ = fed(np.tile([0, 1], 600)[np.newaxis])
    assert bank.learning().tolist() == [False]
    bank = CategoryRatesBank(CategoryRatesSettings(), 2)
    bank.set_reference(0, np.tile([5.0, 6.0], 1000))
    assert bank.learning().tolist() == [False, True]


def test_after_an_alarm_other_categories_are_learned():
    """What was unseen has a name then, and the alarm of a second change names it."""
    random = np.random.default_rng(5)
    values = np.r_[random.choice(2, 1500), 2 + random.choice(2, 1500), np.full(300, 3)][np.newaxis]
    _, alarms, _ = fed(values)
    assert alarms.category.tolist() == [UNSEEN_CATEGORY, 3]


@given(st.integers(0, 2**32), st.lists(st.integers(0, 3000), max_size=4))
@settings(max_examples=30, deadline=None)
def test_cuts_show_nowhere_also_right_after_alarms(seed, cuts):
    """An alarm changes how the values behind it in the same batch are placed."""
    random = np.random.default_rng(seed)
    rows = random.integers(0, 3, 3000)
    values = (random.integers(0, 4, 3000) + 10 * (np.arange(3000) // 800)).astype(np.float64)
    times = np.zeros(3000, np.int64)
    whole = CategoryRatesBank(CategoryRatesSettings(baseline_size=100, categories_max=3), 3)
    alarms = whole.update(rows, values, times)
    bank, at = CategoryRatesBank(CategoryRatesSettings(baseline_size=100, categories_max=3), 3), []
    for part in np.split(np.arange(3000), sorted(cuts)):
        at += [int(part[one]) for one in bank.update(rows[part], values[part], times[part]).at]
    assert at == alarms.at.tolist()
    assert len(at) >= 3
    for name, array in whole.dump(slice(0, 3)).items():
        assert array.tobytes() == bank.dump(slice(0, 3))[name].tobytes()


@pytest.mark.parametrize(
    "changed",
    [
        {"baseline_size": 9},
        {"tolerance": 0.6},
        {"arl0": 10.0},
        {"categories_max": 0},
        {"categories_max": 255},
        {"reference_size": 1},
    ],
)
def test_settings_out_of_range(changed):
    """With the range."""
    (name,) = changed
    with pytest.raises(ValueError, match=f"category_rates: {name} must lie between"):
        CategoryRatesSettings(**changed)


def test_a_reference_of_nothing():
    """It must hold a value, and ids alone."""
    bank = CategoryRatesBank(CategoryRatesSettings(), 1)
    with pytest.raises(ValueError, match="no finite value"):
        bank.set_reference(0, np.empty(0))
    with pytest.raises(ValueError, match="category_rates takes ids"):
        bank.set_reference(0, np.array([0.5]))
