"""Labels and predictions that meet, however they are written and in whatever order they come."""

from __future__ import annotations

import numpy as np
from situation_kit import event, replayed, shifted


def errors(seed: int, n: int = 900, later: float = 15.0) -> list[float]:
    """Errors of predictions that grow in the middle."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=n) * np.where(np.arange(n) < n // 2, 1.5, later)).round(3).tolist()


def test_a_label_before_its_prediction(tmp_path):
    """In a join of two streams the right record may come first (KAFKA-19536, quixio/quix-streams#874)."""
    records = [
        one
        for i, error in enumerate(errors(1))
        for one in (event(i, label=100 + error), event(i, features={"x": 1.0}, prediction=100.0))
    ]
    assert replayed(tmp_path, records).drifts == {("m", "error")}


def test_a_champion_and_its_challenger_share_an_id(tmp_path):
    """One label, two predictions; version 2 goes wrong (Pulsefy/Lumenpulse#1256)."""
    x, bad = shifted(2, 900, 0, 0), shifted(3, 900, 0, 30)
    records = [
        one
        for i in range(900)
        for one in (
            event(i, model_version="1", prediction=85.0),
            event(i, model_version="2", prediction=85.0 + bad[i]),
            event(i, label=85.0 + x[i]),
        )
    ]
    found = replayed(tmp_path, records)
    alerts = {(one["kind"], one["model_version"], one["column"]) for one in found.alerts}
    assert ("drift", "2", "error") in alerts
    assert ("drift", "1", "error") not in alerts
    assert ("better_version", "1", "error") in alerts
    assert {found.columns("m")[f"{version}/error"]["values"] for version in "12"} == {900}


def test_a_class_written_in_two_ways(tmp_path):
    """1 and "1", "true" and true (NannyML/nannyml#238, evidentlyai/evidently#1275)."""
    rng, records = np.random.default_rng(4), []
    wrong = rng.random(900) < np.where(np.arange(900) < 400, 0.05, 0.6)
    forms = {
        "int-text": (int, lambda one: str(int(one))),
        "text-int": (lambda one: str(int(one)), int),
        "booltext-bool": (lambda one: str(one).lower(), bool),
    }
    for i, (truth, is_wrong) in enumerate(zip(rng.random(900) < 0.5, wrong, strict=True)):
        for model, (predicted, labelled) in forms.items():
            records.append(event(i, model, prediction=predicted(bool(truth ^ is_wrong))))
            records.append(event(i, model, label=labelled(bool(truth))))
    found = replayed(tmp_path, records, labels={"error": "zero_one"})
    assert {(model, "error") for model in forms} <= found.drifts
