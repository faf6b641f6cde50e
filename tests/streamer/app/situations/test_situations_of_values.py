"""Values of columns as producers write them: what drifts raises an alert, and nothing else."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from situation_kit import built, event, replayed, shifted

from detectors.series.decimals import number_in


def test_one_odd_first_value(tmp_path):
    """A token or warm-up call before 1,299 good values (evidentlyai/evidently#329, varied)."""
    x, y = shifted(1, 1300, 10, 14), shifted(2, 1300, 7, 9)
    records = [event(i, features={"na_first": x[i]}, prediction=y[i]) for i in range(1300)]
    records[0] |= {"features": {"na_first": "N/A"}, "prediction": "warmup"}
    assert replayed(tmp_path, records).drifts == {("m", "na_first"), ("m", "prediction")}


def test_numbers_as_texts(tmp_path):
    """An amount and a score that are texts (NannyML/nannyml#292, evidentlyai/evidently#95)."""
    amount, score = shifted(3, 1600, 30, 90, 15), shifted(4, 1600, 0.1, 0.9, 0.05)
    records = [
        event(i, features={"amount": f"{amount[i]:.2f}"}, prediction=f"{score[i]:.4f}") for i in range(len(amount))
    ]
    assert replayed(tmp_path, records).drifts == {("m", "amount"), ("m", "prediction")}


def test_numbers_with_thousands_separators(tmp_path):
    """`1,234.50` is a number, in events as in training data; `1,234` alone may be a fraction, and stays a text."""
    amounts = [f"{x:,.2f}" for x in shifted(7, 1200, 900, 1500, 200)]
    assert {"," in one for one in amounts} == {True, False}
    (tmp_path / "train.csv").write_text("model_id,amount\n" + "".join(f'm,"{one}"\n' for one in amounts[:500]))
    built(tmp_path, str(tmp_path / "train.csv"), "--format", "csv")
    records = [event(i, features={"amount": one}, prediction=1.0) for i, one in enumerate(amounts)]
    found = replayed(tmp_path, records, references={"file": str(tmp_path / "ref")})
    column = found.columns("m")["amount"]
    assert (found.drifts, column["kind"], column["faults"]) == ({("m", "amount")}, "numbers", 0)
    assert bool(column["reference"])
    assert [number_in(one) for one in ("1,234", "1,234,567", "1.234,5", "12,34.5", "0,123.5", "-1,234.5")] == [
        None, None, None, None, None, -1234.5,
    ]  # fmt: skip


def test_float32_production_and_float64_training(tmp_path):
    """Nothing changes but the width of floats (NannyML/nannyml#397)."""
    rng = np.random.default_rng(5)
    pq.write_table(pa.table({"model_id": ["m"] * 2000, "discount": rng.choice([0.1, 0.2, 0.4], 2000)}),
                   tmp_path / "train.parquet")  # fmt: skip
    built(tmp_path, str(tmp_path / "train.parquet"))
    served = [float(np.float32(one)) for one in rng.choice([0.1, 0.2, 0.4], 900)]
    records = [event(i, features={"discount": x}, prediction=1.0) for i, x in enumerate(served)]
    assert replayed(tmp_path, records, references={"file": str(tmp_path / "ref")}).alerts == []


def turned(seed: int, n: int) -> list[float]:
    """Probabilities of the class `yes`, whose law turns over in the middle."""
    return [round(min(max(one, 0.01), 0.99), 3) for one in shifted(seed, n, 0.28, 0.72, 0.15)]


def test_class_probabilities(tmp_path):
    """A prediction that is an object or a list (deepchecks/deepchecks#1775, evidentlyai/evidently#281)."""
    records = [
        event(i, model, prediction=form(p))
        for i, p in enumerate(turned(6, 800))
        for model, form in (("dict", lambda p: {"no": 1 - p, "yes": p}), ("list", lambda p: [1 - p, p]))
    ]
    assert {model for model, _ in replayed(tmp_path, records).drifts} == {"dict", "list"}


def test_nested_and_list_features(tmp_path):
    """Objects and embeddings (evidentlyai/evidently#1828; Feast and clickstream rows)."""
    age, emb = shifted(7, 800, 40, 60, 8), shifted(8, 800, 0, 4)
    records = [event(i, features={"user": {"age": age[i]}, "emb": [emb[i], 1.5]}, prediction=1.0) for i in range(800)]
    assert replayed(tmp_path, records).drifts == {("m", "user.age"), ("m", "emb[0]")}


def test_texts_and_whole_numbers_are_categories(tmp_path):
    """Shares of a mixed category turn over (evidentlyai/evidently#329); no fault keeps the request back."""
    rng, values = np.random.default_rng(9), ["a", "b", 7, 123]
    laws = ([0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4])
    records = [event(i, features={"cat": values[rng.choice(4, p=laws[i >= 1500])]}, prediction=1) for i in range(3000)]
    found = replayed(tmp_path, records)
    assert "123" in {one["category"] for one in found.alerts if one["kind"] == "drift"}
    assert {one["kind"] for one in found.alerts} == {"drift"}
    assert len(found.requests) == 1


def test_one_shift_of_a_flag_is_one_alert(tmp_path):
    """The share of ones goes from 0 to 0.2 once (online-ml/river#574)."""
    flags = (np.random.default_rng(10).random(5000) < np.where(np.arange(5000) < 1500, 0, 0.2)).astype(int).tolist()
    records = [event(i, features={"flag": one}, prediction=1.0) for i, one in enumerate(flags)]
    found = replayed(tmp_path, records, detectors={"ks_window": None})
    assert 1 <= len(found.alerts) <= 2


def test_a_stuck_producer(tmp_path):
    """One record that comes 600 times is no drift, and is counted (SeldonIO/seldon-core#2109, varied)."""
    x = shifted(11, 1500, 0, 0)
    records = [event(i, features={"x": one}, prediction=one + 1) for i, one in enumerate(x)]
    records[800:800] = [records[800]] * 600
    found = replayed(tmp_path, records)
    assert (found.drifts, found.requests) == (set(), [])
    assert found.columns("m")["x"]["values"] == 1500


def test_columns_of_the_calendar(tmp_path):
    """Weekend and day of the month through three weeks (evidentlyai/evidently#509, varied)."""
    days = [2 + i // 288 + (i % 288 >= 216) for i in range(6048)]  # events of five minutes, from 06:00
    records = [
        event(5 * i, features={"weekend": int(day % 7 in (0, 1)), "day_of_month": day, "x": x}, prediction=1.0)
        for i, (day, x) in enumerate(zip(days, shifted(12, 6048, 0, 0), strict=True))
    ]
    assert replayed(tmp_path, records).alerts == []


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_logs_as_tables(tmp_path, form):
    """Exports of prediction logs, a row an event (BigQuery, Athena; Azure ML's older collector)."""
    x = shifted(13, 900, 0, 4)
    rows = [{"model_id": "m", "event_time": event(i)["event_time"], "x": one, "p": 1} for i, one in enumerate(x)]
    file = tmp_path / f"log.{form}"
    (pq.write_table if form == "parquet" else pyarrow.csv.write_csv)(pa.Table.from_pylist(rows), file)
    situation = replayed(tmp_path, [event(0, features={"x": 1.0})])
    assert situation.replay(str(file)).drifts == {("m", "x")}
