"""What a series was like before, and whether it is back to that."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.recovery.history_sample import KEPT, HistorySample
from detectors.recovery.judge import (
    LIFE_WINDOWS,
    NEW_SHIFT,
    RECOVERED,
    SAME_SHIFT,
    SETTLED,
    RecoveryJudge,
    categories_before,
    numbers_before,
)

NORMAL = np.random.default_rng(0).normal(size=64)


def kept_of(values, cuts=()):
    """What is kept of one row's values, given in pieces."""
    earlier = HistorySample()
    for part in np.split(np.arange(len(values)), sorted(cuts)):
        earlier.add(np.zeros(len(part), np.int64), values[part], part)
    return earlier


@given(st.integers(1, 200_000), st.lists(st.integers(0, 200_000), max_size=3))
@settings(max_examples=40)
def test_what_is_kept_reaches_far_back_and_knows_its_place(n, cuts):
    """It holds values of the numbers asked for alone, from all of the recent life, however the life was cut."""
    values = np.arange(n, dtype=np.float64)
    earlier = kept_of(values, [cut for cut in cuts if cut < n])
    assert earlier.dump(1).tobytes() == kept_of(values).dump(1).tobytes()
    whole = earlier.between(0, n - 1, 0, n)
    assert min(n, KEPT - 1) <= len(whole) <= KEPT
    assert np.ptp(whole) >= 0.8 * (n - 1)
    half = earlier.between(0, n - 1, n // 4, n // 2)
    assert ((half < n // 2) & (half >= n // 4 - n // 64)).all()
    assert len(half) >= min(n // 8, 8)


def watching(before, row=0, number=3000):
    judge = RecoveryJudge()
    judge.begin(row, number, before)
    return judge


def fed(judge, values, row=0):
    return judge.update(np.full(len(values), row), np.asarray(values, np.float64))


@pytest.mark.parametrize(("shift", "scale"), [(0.5, 1.0), (1.0, 1.0), (3.0, 1.0), (0.0, 2.5), (0.0, 0.3)])
def test_a_series_is_back_when_it_is_back(shift, scale):
    """While it is away, in level or in spread, it is not back; once it is, that shows within a dozen windows."""
    random = np.random.default_rng(2)
    before = numbers_before(NORMAL, 0.2)
    judge = watching(before)
    assert fed(judge, random.normal(shift, scale, 20 * before.window)) == []
    (end,) = fed(judge, random.normal(size=12 * before.window))
    assert end.verdict == RECOVERED
    assert end.distance < end.distance_max / 2
    assert len(judge) == 0


def test_halfway_back_is_not_back():
    """From three deviations off to two is nearer, and still another world."""
    random = np.random.default_rng(3)
    judge = watching(numbers_before(NORMAL, 0.8))
    assert fed(judge, random.normal(3.0, 1.0, 500)) == []
    assert fed(judge, random.normal(2.0, 1.0, 5000)) == []


@pytest.mark.parametrize("rate", [0.228, 0.4])
def test_a_rate_that_is_nearer_is_not_back(rate):
    """From 6 % to 94 and then to 23: far less than half of the way is left, and it is still another rate."""
    random = np.random.default_rng(3)
    judge = watching(numbers_before((np.arange(64) < 4) * 1.0, 0.87))
    assert fed(judge, random.random(1000) < 0.936) == []
    assert RECOVERED not in [one.verdict for one in fed(judge, random.random(12_000) < rate)]


def test_an_alarm_is_looked_into():
    """A window after it separates another drift from the return, the same drift and the one whose place it took."""
    random = np.random.default_rng(3)
    judge = watching(numbers_before(NORMAL, 0.8))
    judge.reassess(0)  # nothing is known yet of the first drift
    assert fed(judge, random.normal(3.0, 1.0, 500)) == []
    for level, why in (
        (0.0, SAME_SHIFT),
        (3.0, SAME_SHIFT),
        (1.5, NEW_SHIFT),
        (3.0, SAME_SHIFT),
        (1.5, SAME_SHIFT),
        (-2.0, NEW_SHIFT),
    ):
        judge.reassess(0)
        assert [(one.at, one.verdict) for one in fed(judge, random.normal(level, 1.0, 200))] == [(127, why)]


def test_a_row_is_back_nearly_always():
    """Of a hundred rows of each law that return, 95 are seen to within a dozen windows."""
    random = np.random.default_rng(7)
    laws = [
        (numbers_before, 0.8, lambda n: random.normal(size=n), lambda n: random.normal(3.0, 1.0, n)),
        (numbers_before, 0.87, lambda n: random.random(n) < 0.06, lambda n: random.random(n) < 0.9),
        (numbers_before, 0.5, lambda n: random.random(n) < 0.3, lambda n: random.random(n) < 0.8),
        (categories_before, 0.5, lambda n: random.choice(3, n, p=[0.6, 0.3, 0.1]), lambda n: np.full(n, 2)),
    ]
    for before_of, gone, usual, drifted in laws:
        judge = RecoveryJudge()
        for row in range(100):
            judge.begin(row, 3000, before_of(usual(64).astype(np.float64), gone))
        for law, windows in ((drifted, 2), (usual, 12)):
            values = law(100 * 128 * windows).astype(np.float64)
            found = judge.update(np.arange(len(values)) % 100, values)
            assert len(judge) == 100 - len(found)
        assert [one.verdict for one in found] == [RECOVERED] * len(found)
        assert len(judge) <= 5


def test_what_never_comes_back_becomes_the_usual():
    """After a hundred windows the row is let go."""
    random = np.random.default_rng(4)
    before = numbers_before(NORMAL, 0.8)
    (end,) = fed(watching(before), random.normal(3.0, 1.0, 20_000))
    assert (end.at, end.verdict) == (LIFE_WINDOWS * before.window - 1, SETTLED)


def test_a_row_that_flaps_must_be_calm_for_longer_each_time():
    """Each recovery that is soon followed by another drift takes twice as many windows as the last."""
    random = np.random.default_rng(5)
    judge, number, took = RecoveryJudge(), 3000, []
    before = numbers_before(NORMAL, 0.8)
    for _ in range(3):
        judge.begin(0, number, before)
        assert fed(judge, random.normal(3.0, 1.0, 2 * before.window)) == []
        (end,) = fed(judge, random.normal(size=80 * before.window))
        took.append((end.at + 1) // before.window)
        number += 2 * before.window + end.at + 1
    assert took[0] * 2 <= took[1]
    assert took[1] * 2 <= took[2]


def test_categories_come_back_too():
    """By their shares."""
    random = np.random.default_rng(6)
    judge = watching(categories_before(np.repeat([4.0, 7.0], [48, 16]), 0.5))
    assert fed(judge, random.choice([4, 7], 3000, p=[0.2, 0.8])) == []
    assert judge.is_known(0, 4, 0.7)
    assert not judge.is_known(0, 4, 0.25)
    assert fed(judge, random.choice([4, 7], 3000, p=[0.75, 0.25]))[0].verdict == RECOVERED


@given(st.integers(0, 1000), st.lists(st.integers(0, 4000), max_size=4), st.booleans())
@settings(max_examples=30)
def test_cuts_and_restores_change_nothing(seed, cuts, restored):
    """Rows side by side, cut anywhere and dumped and loaded in between, end alike and leave the same state."""
    random = np.random.default_rng(seed)
    rows = random.integers(0, 4, 4000)  # of which row 3 is not watched
    values = random.normal(np.where(np.arange(4000) < 1500, 3.0, 0.0))

    def run(edges):
        judge, ends, start = RecoveryJudge(), [], 0
        for row in (2, 0, 1):
            judge.begin(row, 100, numbers_before(NORMAL, 0.8))
        for end in [*sorted({*edges, 1000}), 4000]:
            if start == 1000:
                judge.reassess(1)
            ends += [(start + e.at, *e[1:]) for e in judge.update(rows[start:end], values[start:end])]
            start = end
            if restored:
                dumped, judge = judge.dump(), RecoveryJudge()
                judge.load(dumped)
        return ends, {name: array.tobytes() for name, array in judge.dump().items()}

    whole, cut = run([]), run(cuts)
    assert cut == whole
    assert [end[1] for end in whole[0]] != []
