"""What a notebook needs: classes with signatures, what a detector shows, columns of a frame, river's interface."""

import copy
import doctest
import inspect
import math
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import river.checks
from river import drift, linear_model
from scipy.stats import ks_2samp

import detectors
from detectors import (
    Adwin,
    CategoryRates,
    CategoryWindow,
    ColumnDetectors,
    KsWindow,
    RiverDetector,
    ShiryaevRoberts,
    detector,
)
from detectors.notebook.named import NamedDetector
from detectors.registry import DETECTORS

CLASSES = {kind.detector_name: kind for kind in NamedDetector.__subclasses__()}
OURS = [name for name, known in DETECTORS.items() if known.bank.__module__.startswith("detectors.")]
PAGES = Path(__file__).parents[3] / "docs" / "detectors"
random = np.random.default_rng(5)
JUMP = np.concatenate([random.normal(size=1500), random.normal(1.5, 1.0, 500)])


def test_every_detector_has_a_class():
    """It is in the package under its name, and each name of the package exists."""
    assert sorted(CLASSES) == sorted(OURS)
    assert {kind.__name__ for kind in CLASSES.values()} <= set(detectors.__all__) <= set(dir(detectors))
    assert all(getattr(detectors, name).__name__ == name for name in detectors.__all__)


@pytest.mark.parametrize("name", OURS)
def test_a_signature_is_the_settings(name):
    """Names, order, defaults and types; a reference where the detector takes one. `help` shows the settings."""
    given = dict(inspect.signature(CLASSES[name]).parameters)
    takes = given.pop("reference", None)
    settings = fields(DETECTORS[name].settings)
    assert [(one.name, one.default, one.annotation) for one in given.values()] == [
        (field.name, field.default, field.type) for field in settings
    ]
    assert all(one.kind is inspect.Parameter.KEYWORD_ONLY for one in given.values())
    assert (takes is not None) == CLASSES[name]()._bank.takes_reference
    assert inspect.cleandoc(DETECTORS[name].settings.__doc__) in inspect.getdoc(CLASSES[name])
    assert CLASSES[name]().params == detector(name).params


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Adwin(delta="0.1"), "adwin: delta must be a number, got '0.1' of type str"),
        (lambda: Adwin(clock=32.5), "adwin: clock must be a whole number, got 32.5 of type float"),
        (lambda: Adwin(clock=True), "adwin: clock must be a whole number, got True of type bool"),
        (lambda: KsWindow(sliding="no"), "ks_window: sliding must be True or False, got 'no' of type str"),
        (lambda: detector("hddm_w", lambda_val=None), "lambda_val must be a number, got None"),
        (lambda: Adwin().clone(detla=1.0), "did you mean 'delta'"),
        (lambda: Adwin().update("x"), "adwin takes numbers, got the text 'x'"),
    ],
)
def test_a_wrong_type_is_refused(make, sentence):
    """The sentence names the setting, what it must be, and what came."""
    with pytest.raises(ValueError, match=sentence):
        make()


def test_a_repr_makes_it_again():
    """What stands before the comment is the expression of a fresh one."""
    d = KsWindow(window=50, reference=JUMP[:100])
    d.update_many(JUMP[1000:])
    assert repr(d).endswith(f"# 1,000 values, alarm at {d.at:,}")
    assert eval(repr(d), {"KsWindow": KsWindow}).params == d.params  # noqa: S307 -- written above
    assert repr(detector("adwin")).startswith("detector('adwin', delta=1e-06, ")
    assert repr(Adwin()).endswith("# 0 values, no alarm yet")


def test_equal_is_in_settings_and_state():
    """A copy is equal until one of them goes on; a clone begins without values; reset makes it equal to a clone."""
    d = ShiryaevRoberts(reference=JUMP[:300])
    d.update_many(JUMP)
    twin, fresh = copy.deepcopy(d), d.clone()
    assert d == twin != fresh
    twin.update(0.0)
    assert d != twin
    assert d.reset() is d
    assert (d == fresh, d.at, d.n_seen) == (True, None, 0)
    assert d.clone(arl0=1e4) != fresh != ShiryaevRoberts() != 5
    assert fresh.update_many(JUMP).at.tolist() == ShiryaevRoberts(reference=JUMP[:300]).update_many(JUMP).at.tolist()


@pytest.mark.parametrize("name", ["shiryaev_roberts", "adwin", "ks_window"])
def test_a_statistic_reaches_its_threshold_at_the_alarm(name):
    """Where the trace says alarm, and nowhere before; the detector itself stays as it was, and then does the same."""
    d = detector(name)
    d.update_many(JUMP[:700])
    before = copy.deepcopy(d)
    trace = d.trace(JUMP[700:])
    assert d == before
    at = np.flatnonzero(trace["alarm"])
    assert at.tolist() == d.update_many(JUMP[700:]).at.tolist() != []
    judged = ~np.isnan(trace["statistic"][: at[0]])
    if name == "adwin":  # tests at every 32nd value only: between, the nearest cut may prove a change already
        judged[at[0] - 32 :] = False
    assert judged.any()
    assert (trace["statistic"][: at[0]][judged] < trace["threshold"][: at[0]][judged]).all()
    assert (trace["statistic"][at] >= trace["threshold"][at]).all()
    assert pa.table(trace).num_rows == 1300


@pytest.mark.parametrize("sliding", [False, True])
def test_a_p_value_is_that_of_scipy(sliding):
    """Of the values in the two windows now, ties included."""
    d, values = KsWindow(window=60, reference_size=90, sliding=sliding), np.round(JUMP, 1)
    for at in (149, 150, 163, 400):
        d.reset().update_many(values[:at])
        if at < 150:
            assert math.isnan(d.p_value)
            continue
        old = values[at - 150 : at - 60] if sliding else values[:90]
        expected = ks_2samp(old, values[at - 60 : at], method="asymp")
        assert (d.statistic, d.p_value) == pytest.approx((expected.statistic, expected.pvalue), abs=1e-12)
        assert d.state()["p_value"] == d.p_value


def test_evidence_is_shown_for_rates_and_categories():
    """NaN while they learn; then below the threshold as long as nothing changes."""
    marks = (np.random.default_rng(2).random(1500) < 0.1).astype(float)
    for name in ("rate", "category_rates"):
        d = detector(name)
        trace = d.trace(marks)
        assert np.isnan(trace["statistic"][:1000]).all()
        assert (trace["statistic"][1001:] < trace["threshold"][1001:]).mean() > 0.9
    assert math.isnan(detector("page_hinkley").statistic)


def test_alarms_iterate_and_make_a_table():
    """One row an alarm, in order; a repr names the first ten."""
    alarms = Adwin(delta=0.5, clock=1).update_many(np.repeat(np.arange(40.0) % 2, 50))
    assert len(alarms) > 10
    assert [one.at for one in alarms] == alarms.at.tolist()
    assert pa.table(alarms.columns()).column("effect").to_pylist() == [one.effect for one in alarms]
    assert repr(alarms).splitlines()[0] == f"Alarms: {len(alarms)}"
    assert repr(alarms).splitlines()[-1] == f"  and {len(alarms) - 10} more"


def test_texts_are_categories():
    """The alarms are those of their numbers; the category comes as text; texts and numbers don't mix."""
    draw = np.random.default_rng(3).choice
    texts = draw(["a", "b", "c"], 2000, p=[0.5, 0.3, 0.2]).tolist()
    texts += draw(["a", "b", "c"], 400, p=[0.2, 0.2, 0.6]).tolist()
    codes = [list(dict.fromkeys(texts)).index(text) for text in texts]
    d, by_code, by_batch = CategoryRates(), CategoryRates(), CategoryRates()
    found = [i for i, text in enumerate(texts) if d.update(text)]
    assert found == [i for i, code in enumerate(codes) if by_code.update(code)]
    assert found == by_batch.update_many(texts).at.tolist() != []
    assert d == by_code == by_batch
    assert (d.category, by_code.category) == ("c", 1)
    window = CategoryWindow()
    window.update_many(["a", "b"])
    trace = window.trace(["a", "c"])
    assert (trace["value"].tolist(), window.n, window.update("b"), window.n) == (["a", "c"], 2, False, 3)
    for wrong, sentence in (
        (lambda: d.update(3), "got a number after texts"),
        (lambda: d.update(1.0), "got a number after texts"),
        (lambda: window.update(1.0), "got a number after texts"),
        (lambda: d.update_many([1.0]), "got a number after texts"),
        (lambda: by_code.update("a"), "got the text 'a' after numbers"),
        (lambda: CategoryRates().update_many(["a", None]), "got None among texts"),
    ):
        with pytest.raises(ValueError, match=sentence):
            wrong()


def test_columns_share_one_promise():
    """Each of k columns gets k times `arl0`; the alarms are those of its own detector at that rate."""
    frame = {"x": JUMP, "flat": np.zeros(2000), "city": ["a", "b"] * 1000}
    watched = ColumnDetectors(arl0=1e5)
    found = watched.update_many(frame)
    alone = ShiryaevRoberts(arl0=3e5, tolerance=0.01)
    assert [(one.column, one.at) for one in found] == [("x", at) for at in alone.update_many(JUMP).at.tolist()] != []
    assert [one.onset for one in found] == [alone.onset]
    assert [d.params["arl0"] for d in watched.detectors.values()] == [3e5] * 3
    by_row = ColumnDetectors(arl0=1e5)
    rows = [dict(zip(frame, row, strict=True)) for row in zip(*frame.values(), strict=True)]
    assert [alarm for row in rows[1000:] for alarm in by_row.update(row)] != []
    assert "3 columns, 2,000 rows" in repr(watched)
    assert ColumnDetectors(arl0=1e5).update_many(pa.table(frame)) == found == watched.reset().update_many(frame)


def test_missing_values_of_a_column_keep_their_rows():
    """They are left out and counted; an alarm names the row, not the number of the value."""
    holes = np.full(4000, np.nan)
    holes[::2] = JUMP
    plain, found = ColumnDetectors(arl0=1e4), ColumnDetectors(arl0=1e4)
    expected = [2 * one.at for one in plain.update_many({"x": JUMP})]
    assert [one.at for one in found.update_many({"x": holes})] == expected != []
    assert found.missing == {"x": 2000}
    trained = ColumnDetectors(arl0=1e4, reference={"x": holes[:2000], "t": ["a", None] * 1000})
    assert [d.name for d in trained.detectors.values()] == ["shiryaev_roberts", "category_rates"]


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        ({"x": JUMP}, "column 't' is missing"),
        ({"x": [1.0], "t": ["a", "b"]}, r"one length, got \[1, 2\]"),
        ({"x": ["1"], "t": ["a"]}, "column 'x' held numbers before"),
        ({"x": [1.0], "t": [2.0]}, "column 't' held texts before"),
        ({"x": [np.inf], "t": ["a"]}, "can't judge NaN or infinity"),
        ({"x": [[1.0, 2.0]], "t": ["a"]}, r"column 'x' has shape \(1, 2\)"),
        ({"x": np.array(["2026-01-01"], "datetime64[s]"), "t": ["a"]}, "column 'x' holds times"),
        ({"x": [1.0], "t": np.array(["a", 1], object)}, None),
        (5, "pass a frame or a dict"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused(frame, sentence):
    """The sentence names the column; no row is taken."""
    watched = ColumnDetectors(reference={"x": JUMP, "t": ["a", "b"] * 500})
    with pytest.raises(ValueError, match=sentence or "mixes texts"):
        watched.update_many(frame)
    assert watched.n_seen == 0
    with pytest.raises(ValueError, match="arl0 must lie between"):
        ColumnDetectors(arl0=10.0, reference={"x": JUMP})


@pytest.mark.parametrize("params", list(RiverDetector._unit_test_params()), ids=lambda params: params["name"])
def test_the_adapter_passes_the_checks_of_river(params, monkeypatch):
    """All of `check_estimator`: repr, clone, pickle, parameters, mutation."""
    # River has no data sets for drift detectors, but imports scikit-learn before it finds that out.
    monkeypatch.setattr(river.checks, "_yield_datasets", lambda *_, **__: iter(()))
    assert len(list(river.checks.yield_checks(RiverDetector(**params)))) >= 9
    river.checks.check_estimator(RiverDetector(**params))


def test_the_adapter_serves_a_pipeline():
    """`DriftRetrainingClassifier` retrains once the errors rise, as `drift_detected` says so for one value."""
    model = drift.DriftRetrainingClassifier(linear_model.LogisticRegression(), RiverDetector("rate", {"arl0": 1e5}))
    retrained = 0
    for i in range(4000):
        x = {"x": float(JUMP[i % 1500])}
        first = model.model
        model.learn_one(x, (x["x"] > 0) != (i >= 2500))
        retrained += model.model is not first
    assert retrained >= 1
    alone = RiverDetector("adwin")
    flags = []
    for value in JUMP.tolist():
        alone.update(value)
        flags.append(alone.drift_detected)
    assert np.flatnonzero(flags).tolist() == detector("adwin").update_many(JUMP).at.tolist() != []


@pytest.mark.parametrize(("page", "examples"), [("notebook.md", 20), ("statistics.md", 7)])
def test_the_page_is_true(page, examples):
    """Its examples give what they say."""
    result = doctest.testfile(str(PAGES / page), module_relative=False, verbose=False)
    assert result.attempted >= examples
    assert result.failed == 0
