"""The promise of Shiryaev-Roberts on ranks, and what it says of itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from benchmarks.detection import dependence
from detectors import detector
from detectors.registry import bank, settings_of
from detectors.shiryaev_roberts.bank import ShiryaevRobertsSettings
from detectors.shiryaev_roberts.state import records_of

LAWS = {
    "normal": lambda random, n: random.normal(size=n),
    "lognormal": lambda random, n: np.exp(random.normal(size=n)),
    "cauchy": lambda random, n: random.standard_cauchy(n),
    "coins": lambda random, n: (random.random(n) < 0.2).astype(np.float64),
    "poisson": lambda random, n: random.poisson(3.0, n).astype(np.float64),
    "half_zero": lambda random, n: np.where(random.random(n) < 0.5, 0.0, np.exp(random.normal(size=n))),
}


def made(rows=1, **options):
    return bank("shiryaev_roberts", settings_of("shiryaev_roberts", **options), rows)


def fed(one, values):
    """The alarms of values in which the series stand one after the other: [rows, values of each]."""
    values = np.atleast_2d(values)
    rows = np.repeat(np.arange(len(values)), values.shape[1])
    return one.update(rows, values.reshape(-1), rows)


def inert(random, phi, rows, values):
    """AR(1) with variance 1, in its stationary state."""
    noise = random.normal(size=(rows, values)) * (1.0 - phi * phi) ** 0.5
    noise[:, 0] = random.normal(size=rows)
    return lfilter([1.0], [1.0, -phi], noise, axis=1)


@pytest.mark.parametrize(("arl0", "rows", "values"), [(1e3, 40, 20_000), (1e4, 20, 100_000)])
@pytest.mark.parametrize("law", LAWS)
def test_false_alarms_are_those_that_were_asked(law, arl0, rows, values):
    """0.7 to 1.1 times as many, ties or not; the bounds leave room for three standard errors of chance."""
    one = made(rows, arl0=arl0)
    alarms = fed(one, LAWS[law](np.random.default_rng(1), (rows * values)).reshape(rows, values))
    asked = rows * values / arl0
    ratio = len(alarms) / asked
    print(f"{law}, asked 1 in {arl0:.0f}: {ratio:.2f} of {asked:.0f}")
    assert 0.7 - 3 * (0.7 / asked) ** 0.5 < ratio < 1.1 + 3 * (1.1 / asked) ** 0.5


@pytest.mark.parametrize("size", [20, 200, 5000])
def test_a_finite_reference_is_no_drift(size):
    """A series judged against a sample of its own law alarms no more than was asked, however small the sample."""
    random = np.random.default_rng(2)
    rows, values = 300, 4000
    one = made(rows, arl0=1e4)
    for row in range(rows):
        one.set_reference(row, random.normal(size=size))
    assert not one.learning().any()
    assert len(fed(one, random.normal(size=(rows, values)))) < 1.1 * rows * values / 1e4 + 3 * 120**0.5


@pytest.mark.parametrize("alike", [0.0, 0.9])
def test_many_columns_share_the_asked_rate(alike):
    """Of rows of 50 columns that change together or not, no more are alarms than of a single column: 1 in 10,000."""
    models, columns, values = 4, 50, 20_000
    random = np.random.default_rng(14)
    one, found = made(models * columns, arl0=1e4), 0
    for begin in range(0, values, 1000):
        common = random.normal(size=(models, 1, 1000))
        part = alike**0.5 * common + (1.0 - alike) ** 0.5 * random.normal(size=(models, columns, 1000))
        rows = np.repeat(np.arange(models * columns), 1000)
        alarms = one.update(rows, part.reshape(-1), rows, np.full(len(rows), columns))
        found += len(np.unique(alarms.row // columns * values + begin + alarms.at % 1000))
        assert (alarms.threshold > 1e4 * columns - 300).all()
    print(f"{found} alarms of {models} models where {models * values / 1e4:.0f} were asked for")
    assert found <= models * values / 1e4 + 3 * (models * values / 1e4) ** 0.5


def test_a_reference_spares_the_learning():
    """A drift that was there from the first value on is seen against the reference, with its onset."""
    random = np.random.default_rng(3)
    one = made()
    one.set_reference(0, random.normal(size=1000))
    alarms = fed(one, random.normal(1.0, 1.0, 200))
    assert alarms.at[0] < 60
    assert abs(alarms.at[0] - alarms.onset_ago[0]) <= 15
    assert alarms.n_reference[0] >= 1000


@pytest.mark.parametrize("increasing", [lambda x: 3.0 * x - 1e4, np.exp, np.arctan, lambda x: 1e-200 * x], ids=range(4))
def test_an_increasing_map_changes_no_bit(increasing):
    """Same alarms, same evidence, same onset: ranks know no units."""
    random = np.random.default_rng(4)
    values = random.normal(size=(20, 3000))
    values[:, 1500:] += 0.5
    plain, mapped = fed(made(20), values), fed(made(20), increasing(values))
    assert len(plain) >= 18
    for name in ("at", "row", "statistic", "effect", "onset_ago", "n_reference", "n_current"):
        assert (getattr(plain, name) == getattr(mapped, name)).all(), name


MAPS = {
    "moved": lambda x: x + 1e6,
    "scaled": lambda x: 1e-3 * x,
    "cubed": lambda x: x**3,
    "exponential": lambda x: np.exp(x / 1e3),
    "of both signs": lambda x: np.where(x < 0, 1e9 * x, 1e-9 * x),
}


@given(
    seed=st.integers(0, 1000),
    step=st.sampled_from([1, 50, 600]),
    at=st.integers(0, 900),
    shift=st.integers(-900, 900),
    kind=st.sampled_from(sorted(MAPS)),
    tolerance=st.sampled_from([0.0, 0.05]),
)
def test_any_increasing_map_of_any_series_changes_no_bit(seed, step, at, shift, kind, tolerance):
    """Ties or not, wherever and however it drifts, as long as no dependence is found (and whitening begins)."""
    random = np.random.default_rng(seed)
    whole = np.round(random.normal(0.0, 300.0, 1200) / step) * step
    whole[at:] += shift
    mapped = MAPS[kind](whole)
    assert len(np.unique(mapped)) == len(np.unique(whole))  # no two values were rounded into one
    one, other = made(arl0=1e3, tolerance=tolerance), made(arl0=1e3, tolerance=tolerance)
    found, expected = fed(other, mapped), fed(one, whole)
    for name in ("at", "statistic", "threshold", "effect", "onset_ago", "n_reference", "n_current"):
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes(), name
    a, b = (records_of(of.dump(slice(0, 1))["series"])[0] for of in (one, other))
    for name in ("counts", "sums", "aged", "evidence", "recent", "qq", "way") if a["settled"] else ():
        assert a[name].tobytes() == b[name].tobytes(), name


CHANGES = {
    "location": lambda x: x + 1.0,
    "wider": lambda x: 2.0 * x,
    "narrower": lambda x: 0.5 * x,
    "two_humps": lambda x: np.where(x > 0, 1.0, -1.0) + 0.3 * x,
    "skew": lambda x: np.exp(x) / 2.0 - 0.8,
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_of_the_law_is_seen(change):
    """Location, scale and shape, in each of 20 series within 500 values, dated to within some ten values."""
    random = np.random.default_rng(5)
    values = random.normal(size=(20, 2000))
    values[:, 1500:] = CHANGES[change](values[:, 1500:])
    alarms = fed(made(20), values)
    at = alarms.at - alarms.row * 2000
    row, first = np.unique(alarms.row[at >= 1500], return_index=True)
    assert len(row) == 20
    onset = (at - alarms.onset_ago)[at >= 1500][first]
    assert np.median(abs(onset - 1500)) <= 20


def test_an_alarm_says_how_far():
    """Effect near the distance between the laws, before and after near their medians, in the column's units."""
    random = np.random.default_rng(6)
    values = 100.0 + 10.0 * random.normal(size=(40, 1600))
    values[:, 1500:] += 10.0
    alarms = fed(made(40), values)
    assert len(np.unique(alarms.row)) == 40
    assert np.median(alarms.effect) == pytest.approx(0.38, abs=0.08)  # what 1 standard deviation comes to
    assert np.median(alarms.before) == pytest.approx(100.0, abs=1.0)
    assert np.median(alarms.after) == pytest.approx(110.0, abs=3.0)
    assert (alarms.after > alarms.before).all()


def test_medians_of_whole_numbers_are_whole():
    """Before and after are values that the column has."""
    random = np.random.default_rng(7)
    values = random.poisson(np.where(np.arange(1800) < 1500, 3.0, 6.0)).astype(np.float64)
    alarms = fed(made(), values)
    assert (alarms.before[0], alarms.after[0] in (5.0, 6.0)) == (3.0, True)


@pytest.mark.parametrize("phi", [0.5, 0.9, 0.95])
def test_inertia_is_learned_and_no_drift(phi):
    """At most 0.3 false alarms in 10,000 values, though each depends on the one before; a real shift is still seen."""
    random = np.random.default_rng(8)
    values = inert(random, phi, 50, 20_000)
    one = made(50, arl0=1e5)
    assert len(fed(one, values)) <= 30  # 0.3 in 10,000
    watching = np.flatnonzero(~one.learning())
    assert len(watching) >= 45  # the others have just raised one
    alarms = fed(one, values[:, -4000:] + 6.0)
    assert np.isin(watching, alarms.row).all()
    assert np.median(alarms.after[np.unique(alarms.row, return_index=True)[1]]) > 1.0


def test_a_cycle_is_learned_and_no_drift():
    """A day of 288 values, under as much noise."""
    random = np.random.default_rng(9)
    cycle = np.sin(np.arange(20_000) * 2 * np.pi / 288)
    assert len(fed(made(10), cycle + random.normal(size=(10, 20_000)))) <= 6


def test_learning_can_be_seen():
    """For 256 values at first, not with a reference, and again where dependence has to be learned."""
    random = np.random.default_rng(10)
    one = made(2)
    one.set_reference(1, random.normal(size=100))
    assert one.learning().tolist() == [True, False]
    fed(one, random.normal(size=(2, 255)))
    assert one.learning(slice(0, 1)).tolist() == [True]
    fed(one, random.normal(size=(2, 1)))
    assert one.learning().tolist() == [False, False]
    fed(one, np.tile(inert(random, 0.95, 1, 300), (2, 1)))
    assert one.learning().tolist() == [True, True]


def test_one_value_at_a_time():
    """The face for notebooks says the same as the bank."""
    random = np.random.default_rng(11)
    values = np.concatenate([random.normal(size=800), random.normal(2.0, 1.0, 100)])
    alone = detector("shiryaev_roberts", arl0=1e4)
    alarms = fed(made(arl0=1e4), values)
    assert [i for i, value in enumerate(values) if alone.update(value)] == alarms.at.tolist()
    assert alone.onset == alarms.at[-1] - alarms.onset_ago[-1]
    assert alone.learning  # again, since the alarm
    assert not detector("shiryaev_roberts", reference=values[:100]).learning
    assert detector("adwin").learning is None


def test_the_past_fades_at_its_bound():
    """Counts stay bounded over a million values, and the series goes on."""
    one = made(arl0=1e12)
    fed(one, np.random.default_rng(12).normal(size=(1 << 20) + 1000))
    dumped = one.dump(slice(0, 1))["series"]
    again = made(arl0=1e12)
    again.load(slice(0, 1), {"series": dumped})
    assert len(fed(again, np.random.default_rng(13).normal(2.0, 1.0, 300))) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("arl0", 999.0),
        ("arl0", 2e12),
        ("arl0", float("nan")),
        ("reference_size", 1),
        ("reference_size", 1 << 20),
        ("tolerance", -0.1),
        ("tolerance", 0.5),
    ],
)
def test_settings_out_of_range(name, value):
    """Are refused with a sentence."""
    with pytest.raises(ValueError, match=f"{name} must lie between"):
        ShiryaevRobertsSettings(**{name: value})


def test_a_reference_of_nothing():
    """Is refused too."""
    with pytest.raises(ValueError, match="holds no finite value"):
        made().set_reference(0, np.array([np.nan]))


@pytest.mark.parametrize("law", ["AR(1) of .95 under as much noise", "GARCH of .1, .85", "cycle of 1,440 values"])
def test_other_dependence_is_learned_and_no_drift(law):
    """At most 0.3 false alarms in 10,000 values, on laws that others alarm on for ever."""
    random = np.random.default_rng(14)
    series = np.array([dependence.LAWS[law](random, np.zeros(50_000)) for _ in range(10)])
    assert len(fed(made(10, arl0=1e5), series)) <= 15


@pytest.mark.parametrize(("moved", "scaled", "share"), [(2.0, 1.0, 0.9), (0.0, 2.0, 0.6), (0.0, 0.5, 0.9)])
def test_a_clustered_scale_hides_no_real_change(moved, scaled, share):
    """A shift, and a scale that changes for good, are seen, though the scale changes all the time."""
    assert dependence.seen_of(dependence.LAWS["GARCH of .1, .85"], 1, moved, scaled) >= share


def test_alarms_in_a_row_are_how_the_series_is():
    """A cycle of 5,000 values is no dependence that ranks show within 1,024; after four alarms it is learned."""
    t = np.arange(60_000)
    values = np.random.default_rng(15).normal(size=(5, 60_000)) + np.sin(t * 2 * np.pi / 5000)
    alarms = fed(made(5, arl0=1e5), values)
    at = alarms.at - 60_000 * alarms.row
    assert np.count_nonzero(at > 30_000) <= 0.3 * 5 * 3


def test_inertia_that_looks_skewed_at_first():
    """256 inert values often lie askew by chance; the logarithm they get must not tear later ones apart."""
    random = np.random.default_rng([4, 3])
    assert len(fed(made(10, arl0=1e5), inert(random, 0.97, 10, 50_000))) <= 6
