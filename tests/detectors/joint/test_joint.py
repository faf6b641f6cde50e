"""Joint drift: dependence between columns is watched, and nothing else is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors import detector
from detectors.joint.bank import JointBank, JointSettings, Score, moved, weights
from detectors.joint.kernels import correlations


def rows_of(bank, x):
    """Feed streams [streams, rows, columns] side by side."""
    streams, n, columns = x.shape
    rows = np.tile(np.arange(streams), n)
    return bank.update(rows, np.swapaxes(x, 0, 1).reshape(-1, columns), np.zeros(streams * n, np.int64))


def flipped(rng, streams=20, n=3000, columns=4, at=2000):
    """Columns 1 and 2 correlate by .8, and by -.2 from `at` on; all are standard normal throughout."""
    x = rng.normal(size=(streams, n, columns))
    rho = np.where(np.arange(n) < at, 0.8, -0.2)
    x[:, :, 2] = rho * x[:, :, 1] + np.sqrt(1 - rho**2) * x[:, :, 2]
    return x


def test_a_correlation_that_flips_is_found_and_named():
    """In every stream, within four blocks, with the pair, its correlations and an onset right to a block and a half."""
    bank = JointBank(JointSettings(columns=4), 20)
    alarms = rows_of(bank, flipped(np.random.default_rng(1)))
    assert sorted(alarms.row.tolist()) == list(range(20))
    at = alarms.at // 20
    assert at.min() >= 2000
    assert at.max() < 2000 + 5 * 24
    assert (np.abs(at - alarms.onset_ago - 2000) <= 36).all()
    assert {moved(category) for category in alarms.category.tolist()} == {(Score(1, False), Score(2, False))}
    np.testing.assert_allclose(alarms.before, 0.8, atol=0.1)
    np.testing.assert_allclose(np.median(alarms.after), -0.2, atol=0.15)


def test_dependence_that_no_correlation_shows_is_found():
    """One column becomes large where the other is far from its middle, either way: their correlation stays 0."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(10, 4000, 3))
    shape = np.sort(rng.normal(size=100_000))
    u = np.sort((rng.normal(size=100_000) ** 2 - 1) / np.sqrt(2) * 0.8 + 0.6 * rng.normal(size=100_000))
    v = (x[:, 2000:, 0] ** 2 - 1) / np.sqrt(2) * 0.8 + 0.6 * x[:, 2000:, 1]
    x[:, 2000:, 1] = shape[np.minimum(np.searchsorted(u, v), 99_999)]  # a normal column all the same
    assert abs(np.corrcoef(x[:, 2000:, 0].ravel(), x[:, 2000:, 1].ravel())[0, 1]) < 0.05
    alarms = rows_of(JointBank(JointSettings(columns=3), 10), x)
    assert sorted(alarms.row.tolist()) == list(range(10))
    assert (alarms.at // 10 >= 2000).all()
    assert {moved(category) for category in alarms.category.tolist()} == {(Score(0, True), Score(1, False))}


def test_a_little_in_every_pair_is_found():
    """A common factor of 12 columns that gives each pair a correlation of .1."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(10, 3000, 12))
    x[:, 2000:] = np.sqrt(0.1) * rng.normal(size=(10, 1000, 1)) + np.sqrt(0.9) * x[:, 2000:]
    alarms = rows_of(JointBank(JointSettings(), 10), x)
    assert sorted(set(alarms.row.tolist())) == list(range(10))
    assert np.median(alarms.at // 10 - 2000) < 200


def what_columns_do_alone():
    at, hidden = np.arange(6000), np.random.default_rng(8).random((20, 6000, 6))
    later = (at >= 3000)[None, :, None]
    yield "all jump at once", lambda x: x + 3.0 * later
    yield "one jumps", lambda x: x + 3.0 * later * np.array([1, 0, 0, 0, 0, 0])
    yield "all widen", lambda x: x * np.where(later, 5.0, 1.0)
    yield "another unit", lambda x: np.where(later, np.exp(x / 10.0), x)
    yield "a ramp", lambda x: x + np.maximum(at - 3000, 0)[None, :, None] / 300.0
    yield "a day that all share", lambda x: x + 2.0 * np.sin(at * 2 * np.pi / 1440)[None, :, None]
    yield "nulls for long", lambda x: np.where(later & (np.arange(6) == 1) & (at < 4500)[None, :, None], np.nan, x)
    yield "nulls from now on", lambda x: np.where(later & (np.arange(6) < 3), np.inf, x)
    yield "nulls here and there", lambda x: np.where(later & (hidden < 0.3), np.nan, x)
    yield "stuck", lambda x: np.where(later & (np.arange(6) == 1), 7.0, x)
    yield "nearly stuck", lambda x: np.where(later & (np.arange(6) == 1), x > 1.7, x)
    yield "scales far apart", lambda x: x * np.array([1e-300, 1e300, 1.0, 1e-9, 1e9, 5.0])


@pytest.mark.parametrize(
    ("name", "change"), list(what_columns_do_alone()), ids=lambda v: v if isinstance(v, str) else ""
)
def test_what_columns_do_alone_is_none_of_its_business(name, change):
    """Columns that depend on each other, and go on to, while each or all of them drift, fail or get another unit."""
    rng = np.random.default_rng(4)
    x = 0.6 * rng.normal(size=(20, 6000, 1)) + 0.8 * rng.normal(size=(20, 6000, 6))
    alarms = rows_of(JointBank(JointSettings(columns=6), 20), change(x))
    assert len(alarms) <= 1, f"{name}: {len(alarms)} alarms in 120,000 rows"


def law(name):
    rng = np.random.default_rng(5)

    def factor(rho):
        return np.sqrt(rho) * rng.normal(size=(40, 8000, 1)) + np.sqrt(1 - rho) * rng.normal(size=(40, 8000, 5))

    laws = {
        "independent": lambda: factor(0.0),
        "dependent": lambda: factor(0.7),
        "heavy tails": lambda: factor(0.5) * rng.standard_t(2, size=(40, 8000, 1)),
        "whole numbers": lambda: np.round(2 * factor(0.3)),
        "one in five null": lambda: np.where(rng.random((40, 8000, 5)) < 0.2, np.nan, factor(0.3)),
    }
    return laws[name]()


@pytest.mark.parametrize("name", ["independent", "dependent", "heavy tails", "whole numbers", "one in five null"])
def test_false_alarms_come_as_asked(name):
    """Of 32 asked for there are 16 to 48, whatever the columns' laws."""
    alarms = rows_of(JointBank(JointSettings(arl0=1e4, columns=5), 40), law(name))
    assert 16 <= len(alarms) <= 48


def test_dependence_that_keeps_changing_alarms_less_and_less():
    """Each alarm soon after another doubles what is learned before the next: no alarm for every change."""
    rng = np.random.default_rng(6)
    turns = np.arange(40_000) // 500 % 2 == 0
    rho = np.where(turns, 0.8, -0.8)
    x = rng.normal(size=(1, 40_000, 2))
    x[:, :, 1] = rho * x[:, :, 0] + 0.6 * x[:, :, 1]
    alarms = rows_of(JointBank(JointSettings(columns=2), 1), x)
    assert 1 <= len(alarms) <= 12


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3000), st.integers(2, 5))
def test_a_snapshot_is_the_bank(seed, stop, columns):
    """Stopped anywhere, dumped and loaded into another bank, it goes on to the same alarms and the same state."""
    rng = np.random.default_rng(seed)
    x = flipped(rng, 1, 3000, 5, 1500)[0, :, :columns]
    x[rng.random(x.shape) < 0.05] = np.nan
    zeros = np.zeros(len(x), np.int64)
    whole, first = (JointBank(JointSettings(arl0=1e4, columns=columns), 1) for _ in range(2))
    expected = whole.update(zeros, x, zeros)
    begun = first.update(zeros[:stop], x[:stop], zeros[:stop])
    second = JointBank(first.settings, 1)
    second.load(slice(0, 1), first.dump(slice(0, 1)))
    rest = second.update(zeros[stop:], x[stop:], zeros[stop:])
    assert [*begun.at.tolist(), *(rest.at + stop).tolist()] == expected.at.tolist()
    for name, array in whole.dump(slice(0, 1)).items():
        assert array.tobytes() == second.dump(slice(0, 1))[name].tobytes(), name


def test_a_single_stream_takes_rows():
    """`update` one row at a time finds what the bank finds, and says when it learns."""
    x = flipped(np.random.default_rng(1), 1)[0]
    watched = detector("joint", columns=4)
    assert watched.learning
    found = [i for i, row in enumerate(x) if watched.update(row)]
    assert [2000 <= at < 2120 for at in found] == [True]
    assert moved(watched.category) == (Score(1, False), Score(2, False))
    assert watched.effect_unit == "correlation"
    with pytest.raises(ValueError, match="rows of 4 columns"):
        watched.update([1.0, 2.0])


def test_correlations_have_their_places():
    """What stands where, and how much it weighs: two columns have nothing that is said of all."""
    assert [moved(k) for k in (1, 2, 3, 4)] == [
        (Score(0, False), Score(1, False)), (Score(0, True), Score(1, False)),
        (Score(0, False), Score(1, True)), (Score(0, True), Score(1, True)),
    ]  # fmt: skip
    for columns in (2, 3, 12):
        assert len(weights(columns)) == correlations(columns)
    np.testing.assert_allclose(weights(12).sum(), 1.0)
    assert weights(2)[[0, 5]].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"arl0": 100.0}, "arl0 must lie between 10,000"),
        ({"columns": 1}, "columns must lie between 2 and 64"),
        ({"columns": 65}, "columns must lie between 2 and 64"),
        ({"block": 8}, "block must lie between 16 and 64"),
    ],
)
def test_settings_out_of_range_are_refused(options, sentence):
    """With the range."""
    with pytest.raises(ValueError, match=sentence):
        JointSettings(**options)


def test_no_reference_is_taken():
    """It says why."""
    with pytest.raises(ValueError, match="takes no reference"):
        detector("joint", reference=[1.0, 2.0])
    with pytest.raises(NotImplementedError, match="joint takes no reference"):
        JointBank(JointSettings(), 1).set_reference(0, np.zeros(3))
