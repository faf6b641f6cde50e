"""Columns of categories, from events to a retrain request."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from detectors.registry import DETECTORS
from streamer.app import replay as app
from streamer.config import Config
from streamer.config.models import ReferencesSection

N, DRIFT = 8000, 3000
ALL_KINDS = {name: DETECTORS[name].settings() for name in ("adwin", "ks_window", "category_window")}
WATCHED = Config(detectors=ALL_KINDS)


def replayed(tmp_path, weather_of, config=WATCHED):
    """What a replay of two models publishes, by topic; `weather_of(random, model, i)` is the only feature."""
    random = np.random.default_rng(1)
    lines = [
        json.dumps(
            {"model_id": f"m{i % 2}", "event_time": 1000 * i, "features": {"weather": weather_of(random, i % 2, i)}}
        )
        for i in range(N)
    ]
    file = tmp_path / "predictions.jsonl"
    file.write_text("\n".join(lines) + "\n")
    published = {}
    summary = app.replay(
        config,
        [str(file)],
        "predictions",
        lambda output: published.setdefault(output.topic, []).append(output.value),
        lambda *_: None,
    )
    published.pop("driftline.profiles", None)
    published = {topic: [json.loads(value) for value in values] for topic, values in published.items()}
    return summary, published


def rainier(random, model, i):
    """Rain goes from 0.1 to 0.4 for the first model alone."""
    rain = 0.4 if model == 0 and i >= DRIFT else 0.1
    return str(random.choice(["sun", "cloud", "rain"], p=[0.9 - rain, 0.1, rain]))


def snowed_in(random, model, i):
    """Most of it becomes something that was never there before, under many names."""
    new = model == 0 and i >= DRIFT and random.random() < 0.6
    return f"snow-{random.integers(50)}" if new else str(random.choice(["sun", "cloud", "rain"]))


@pytest.mark.parametrize(("weather_of", "name"), [(rainier, "rain"), (snowed_in, "(unseen)")])
def test_shares_that_move_are_one_alert_an_incident_and_a_request(tmp_path, conforms, weather_of, name):
    """The alert names the category that moved most, with its shares; the model whose weather stays has none."""
    summary, published = replayed(tmp_path, weather_of)
    firing, ready = published["driftline.alerts"]
    assert (firing["state"], ready["state"], firing["alert_id"]) == ("firing", "ready", ready["alert_id"])
    assert (firing["model_id"], firing["column"], firing["detector"]) == ("m0", "weather", "category_window")
    assert (firing["effect_unit"], firing["reference_digest"]) == ("tv_distance", "")
    assert firing["category"] == name
    assert abs(firing["after"] - firing["before"]) > 0.2
    assert abs(firing["onset"]["offset"] - DRIFT) < 60
    assert {incident["incident_id"] for incident in published["driftline.incidents"]} == {
        published["driftline.retrain-requests"][0]["incident_id"]
    }
    (request,) = published["driftline.retrain-requests"]
    assert request["evidence"][0]["category"] == firing["category"]
    assert (summary.series, summary.alarms, summary.requests) == (2, 1, 1)
    for topic, contract in (
        ("alerts", "alert.v1"),
        ("incidents", "incident.v1"),
        ("retrain-requests", "retrain-request.v1"),
    ):
        for value in published[f"driftline.{topic}"]:
            conforms(contract, json.dumps(value).encode())


def test_numbers_in_a_category_column_are_faults_and_change_nothing(tmp_path):
    """Text and numbers in turn are judged as the text alone would be."""
    summary, published = replayed(tmp_path, lambda random, _, i: 3.5 if i % 3 == 0 else str(random.integers(3)))
    assert summary.alarms == 0
    assert set(published) <= {"driftline.epochs", "driftline.watermarks"}


def test_training_data_of_numbers_are_not_held_against_categories(tmp_path):
    """A reference for a column that turns out to be text is of no use, and does no harm."""
    file = tmp_path / "training.parquet"
    pq.write_table(pa.table({"model_id": ["m0"] * 600, "weather": [float(i) for i in range(600)]}), file)
    config = Config(detectors=ALL_KINDS, references=ReferencesSection(file=str(file)))
    _, published = replayed(tmp_path, rainier, config)
    assert published["driftline.alerts"][0]["reference_digest"] == ""
