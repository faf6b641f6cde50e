"""Scores of classes by time agree with plain counts, their bounds hold, and drifts are dated."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import binomtest

import driftline
from streamer.errors import UsageError

START_MS = 1_777_593_600_000
NAMED = {"time": "at", "prediction": "said", "label": "truth"}


def trips(n=3_000, late_wrong=0.4):
    """Classes 0 to 2, a row a minute; from row 2,000 on, class 2 is often taken for 1."""
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, n)
    wrong = rng.random(n) < np.where((np.arange(n) >= 2_000) & (truth == 2), late_wrong, 0.05)
    said = np.where(wrong, (truth + 2) % 3, truth)
    chance = np.where(said == 1, 0.9, 0.1)
    at = pa.array(START_MS + 60_000 * np.arange(n), pa.timestamp("ms"))
    return pa.table({"at": at, "said": said, "truth": truth, "chance": chance, "word": ["x"] * n})


def test_scores_are_those_of_plain_counts():
    """Precision, recall, F1 and calibration of each day and class, with the bounds that scipy gives."""
    table = trips()
    found = driftline.class_history(table, **NAMED, probabilities={"1": "chance"}).scores.to_pylist()
    assert [(one["start"].day, one["class"]) for one in found] == [(d, c) for d in (1, 2, 3) for c in ("0", "1", "2")]
    truth, said, chance = (table[name].to_numpy()[:1440] for name in ("truth", "said", "chance"))
    for i, one in enumerate(found[:3]):
        both, n, predicted = (int(x.sum()) for x in ((truth == i) & (said == i), truth == i, said == i))
        assert (one["n_labels"], one["n_predicted"]) == (n, predicted)
        assert one["f1"] == pytest.approx(2 * both / (n + predicted))
        for score, of in (("precision", predicted), ("recall", n)):
            bounds = binomtest(both, of).proportion_ci(method="wilson")
            got = one[score], one[f"{score}_low"], one[f"{score}_high"]
            assert got == pytest.approx((both / of, bounds.low, bounds.high), abs=1e-6)
    assert found[1]["brier"] == pytest.approx(((chance - (truth == 1)) ** 2).mean())
    assert found[1]["calibration_error"] < 0.15
    assert found[0]["brier"] is None


def test_a_drift_of_a_class_is_dated():
    """Recall of class 2 and precision of class 1 fall from row 2,000 on; nothing else is reported, nor without it."""
    drifts = driftline.class_history(trips(), **NAMED).drifts.to_pylist()
    assert {(one["class"], one["score"]) for one in drifts} == {("2", "recall"), ("1", "precision")}
    for one in drifts:
        row = (one["onset"].timestamp() * 1000 - START_MS) / 60_000
        assert 1_950 <= row <= 2_050
        assert one["onset"] < one["seen_at"]
        assert one["after"] < one["before"] - 0.15
    assert driftline.class_history(trips(late_wrong=0.05), **NAMED).drifts.num_rows == 0


def test_a_path_is_read_as_a_table_is(tmp_path):
    """Parquet gives the same as the table in memory."""
    pq.write_table(trips(600), tmp_path / "trips.parquet")
    assert driftline.class_history(tmp_path / "trips.parquet", **NAMED) == driftline.class_history(trips(600), **NAMED)


def test_the_order_of_rows_and_texts_do_not_matter():
    """Rows are sorted by time; classes are compared as texts; rows without a label are left out."""
    table, texts = trips(600), trips(600)
    for i, name in enumerate(("said", "truth"), 1):
        texts = texts.set_column(i, name, pa.array([str(one) for one in texts[name].to_pylist()]))
    shuffled = texts.take(pa.array(np.random.default_rng(2).permutation(600)))
    unlabelled = pa.concat_tables([shuffled, shuffled.slice(0, 3).set_column(2, "truth", pa.nulls(3, pa.string()))])
    assert driftline.class_history(unlabelled, **NAMED) == driftline.class_history(table, **NAMED)


@pytest.mark.parametrize(
    ("options", "error", "why"),
    [
        ({"label": "true"}, UsageError, "the table has no column true; it has at, said, truth, chance, word"),
        ({"probabilities": {"1": "said"}}, ValueError, "a probability must lie between 0 and 1"),
        ({"time": "word"}, ValueError, "word of row 0 is no time: 'x'"),
        ({"every": "x"}, ValueError, "x"),
    ],
)
def test_what_can_not_be_scored_is_refused(options, error, why):
    """The sentence names the column."""
    with pytest.raises(error, match=why):
        driftline.class_history(trips(50), **{**NAMED, **options})
