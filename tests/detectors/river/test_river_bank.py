"""The detectors of river, by name, are river's: alarm for alarm, also across a stop."""

import math
import subprocess
import sys
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
from river import drift
from river.drift import binary

from detectors.base import Alarms
from detectors.registry import DEFAULT, bank, settings_of
from detectors.river.bank import LATELY, RiverSummary
from detectors.river.catalog import RIVER

CLASSES = {
    "page_hinkley": drift.PageHinkley,
    "kswin": drift.KSWIN,
    "ddm": binary.DDM,
    "eddm": binary.EDDM,
    "fhddm": binary.FHDDM,
    "hddm_a": binary.HDDMA,
    "hddm_w": binary.HDDMW,
}
NUMBERS = ("page_hinkley", "kswin")
SETTINGS = [
    *((name, {}) for name in CLASSES),
    ("page_hinkley", {"mode": "down", "threshold": 10.0, "alpha": 0.99, "min_instances": 1}),
    ("page_hinkley", {"mode": "up", "delta": 0.5}),
    ("kswin", {"alpha": 0.05, "window_size": 30, "stat_size": 15, "seed": 7}),
    ("ddm", {"warm_start": 5, "drift_threshold": 2.0}),
    ("eddm", {"warm_start": 10, "beta": 0.95}),
    ("fhddm", {"short_window_size": 20, "confidence_level": 0.01}),
    ("hddm_a", {"two_sided_test": True, "drift_confidence": 0.05}),
    ("hddm_w", {"two_sided_test": True, "lambda_val": 0.2}),
]


def stream(name, seed):
    """Regimes of irregular length: numbers of several means and spreads, or errors of several shares."""
    random = np.random.default_rng(seed)
    n = 700 if name == "kswin" else 6000
    regime = np.cumsum(random.random(n) < 1 / 200)
    if name in NUMBERS:
        means, spreads = random.normal(scale=2.0, size=n), random.exponential(size=n)
        return means[regime] + spreads[regime] * random.normal(size=n)
    shares = random.random(n) ** 2
    return (random.random(n) < shares[regime]).astype(np.float64)


def river_s_alarms(name, settings, values):
    """Where a plain object of river detects drift; FHDDM is fed with what is right, not with errors."""
    plain, found = CLASSES[name](**asdict(settings)), []
    for at, value in enumerate(values.tolist()):
        seen = value if name in NUMBERS else int(value == 0) if name == "fhddm" else int(value)
        plain.update(seen)
        if plain.drift_detected:
            found.append(at)
    return found


def feed(made, rows, values):
    return made.update(rows, values, np.zeros(len(rows), np.int64))


def test_all_of_river_is_there():
    """But adwin, which is ours, and those that don't look at the values: a new one in river is noticed here."""
    offered = {cls for room in (drift, binary) for cls in vars(room).values() if hasattr(cls, "drift_detected")}
    assert offered - {drift.ADWIN, drift.NoDrift, drift.DummyDriftDetector} == set(CLASSES.values())
    assert set(CLASSES) == set(RIVER)
    assert not set(RIVER) & set(DEFAULT)


@pytest.mark.parametrize(("name", "options"), SETTINGS, ids=str)
def test_alarms_are_those_of_river(name, options):
    """Five series in turns, each against a plain object of its own; the bank is dumped and loaded now and then."""
    settings = settings_of(name, **options)
    series = np.array([stream(name, seed) for seed in range(5)])
    rows, values = np.tile(np.arange(5), series.shape[1]), series.T.reshape(-1)
    edges = [0, 1, 13, 400, 1111, len(rows) // 2, len(rows) - 3, len(rows)]
    made, found = bank(name, settings, 5), {row: [] for row in range(5)}
    for begin, end in pairwise(edges):
        revived = bank(name, settings, 5)
        revived.load(slice(0, 5), made.dump(slice(0, 5)))
        made = revived
        alarms = feed(made, rows[begin:end], values[begin:end])
        for at, row in zip(alarms.at.tolist(), alarms.row.tolist(), strict=True):
            found[row].append((begin + at) // 5)
        assert (alarms.statistic >= alarms.threshold).all()
    for row in range(5):
        assert found[row] == river_s_alarms(name, settings, series[row])
    assert sum(map(len, found.values())) > 3


@pytest.mark.parametrize("name", CLASSES)
def test_defaults_are_river_s(name):
    """All but kswin's seed, without which two runs would differ."""
    plain = CLASSES[name]() if name != "kswin" else CLASSES[name](seed=1)
    for setting, value in asdict(settings_of(name)).items():
        assert getattr(plain, setting) == value


@pytest.mark.parametrize("name", [name for name in CLASSES if name not in NUMBERS])
def test_a_value_above_zero_is_an_error(name):
    """Other values than 0 and 1 are judged by their sign, and never make a detector stumble."""
    errors = stream(name, 3)
    odd = np.where(errors > 0, 0.3 + 1e9 * errors, -errors - 2.5)
    rows = np.zeros(len(errors), np.int64)
    settings = settings_of(name)
    assert feed(bank(name, settings, 1), rows, odd).at.tolist() == river_s_alarms(name, settings, errors)


@pytest.mark.parametrize("name", [name for name in CLASSES if name not in NUMBERS])
def test_a_model_that_gets_worse_alarms_and_one_that_gets_better_does_not(name):
    """Errors go from one in twenty to one in two, and the other way."""
    worse = np.concatenate([np.arange(600) % 20 == 0, np.arange(300) % 2 == 0]).astype(np.float64)
    rows, settings = np.zeros(900, np.int64), settings_of(name, **({"beta": 0.6} if name == "eddm" else {}))
    found = feed(bank(name, settings, 1), rows, worse)
    assert 600 < found.at[0] <= 800
    assert found.before[0] < 0.2 < 0.3 < found.after[0]
    assert found.effect[0] > 0.5
    assert len(feed(bank(name, settings, 1), rows, worse[::-1].copy())) == 0


def test_hddm_reports_what_was_compared():
    """The distance of the share of errors from its best, and Hoeffding's bound on it."""
    values = np.concatenate([np.zeros(50), np.ones(50)])
    alarms = feed(bank("hddm_a", settings_of("hddm_a"), 1), np.zeros(100, np.int64), values)
    n = int(alarms.at[0]) + 1
    assert alarms.statistic[0] == pytest.approx((n - 50) / n)
    assert alarms.threshold[0] == pytest.approx(math.sqrt((n - 50) / 50 / n / 2 * math.log(2 / 0.001)))


def test_every_series_draws_the_same():
    """kswin in row 999 of many alarms where it does in row 0 of one, whatever else goes on."""
    values, settings = stream("kswin", 1), settings_of("kswin")
    alone = feed(bank("kswin", settings, 1), np.zeros(len(values), np.int64), values)
    among = feed(bank("kswin", settings, 1000), np.full(len(values), 999), values)
    assert alone.at.tolist() == among.at.tolist() != []


@pytest.mark.parametrize("name", CLASSES)
def test_the_largest_numbers_are_survived(name):
    """Sums overflow in river; an alarm stays finite all the same."""
    values = np.where(np.random.default_rng(1).random(400) < 0.5, -1.0, 1.0) * sys.float_info.max
    alarms = feed(bank(name, settings_of(name), 1), np.zeros(400, np.int64), values)
    for said in ("statistic", "threshold", "effect", "before", "after"):
        assert np.isfinite(getattr(alarms, said)).all()
    assert isinstance(alarms, Alarms)


def test_the_past_is_plain_means():
    """Before: all but the latest; after: the latest, at most half of all; effect: in deviations of the old ones."""
    for n in (2, 3, 40, 500):
        values = np.random.default_rng(n).normal(5.0, 2.0, n)
        past = RiverSummary()
        for value in values.tolist():
            past.add(value)
        late = min(LATELY, n // 2)
        old, new = values[:-late], values[-late:]
        effect, before, after, n_old, n_new = past.compare()
        assert (before, after) == (pytest.approx(old.mean()), pytest.approx(new.mean()))
        assert (n_old, n_new) == (n - late, late)
        assert effect == pytest.approx(abs(new.mean() - old.mean()) / old.std() if old.std() else 0.0)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("page_hinkley", {"min_instances": 0}),
        ("page_hinkley", {"delta": -0.1}),
        ("page_hinkley", {"threshold": math.inf}),
        ("page_hinkley", {"alpha": 0.0}),
        ("page_hinkley", {"mode": "sideways"}),
        ("kswin", {"alpha": 1.0}),
        ("kswin", {"window_size": 1}),
        ("kswin", {"stat_size": 51}),
        ("kswin", {"seed": -1}),
        ("ddm", {"warm_start": 0}),
        ("ddm", {"drift_threshold": 0.0}),
        ("eddm", {"beta": 0.0}),
        ("eddm", {"alpha": 0.5}),
        ("fhddm", {"sliding_window_size": 0}),
        ("fhddm", {"confidence_level": math.nan}),
        ("fhddm", {"short_window_size": 101}),
        ("hddm_a", {"drift_confidence": 0.0}),
        ("hddm_w", {"lambda_val": 1.5}),
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused(name, wrong):
    """Also those that river takes and then fails on; the sentence names detector, setting and value."""
    ((setting, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name}: {setting} must .* got {value}"):
        settings_of(name, **wrong)


def test_the_default_detectors_do_without_river():
    """The service doesn't wait for an import that none of its detectors needs."""
    code = (
        "import sys, streamer.cli, streamer.app.folds; from detectors.registry import bank; "
        "from streamer.config.models import default_detectors; "
        "made = [bank(name, settings, 1) for name, settings in default_detectors().items()]; "
        "assert len(made) == 3; assert 'river' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
