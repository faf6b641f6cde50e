"""A column watched with a stated false-alarm rate, from a configuration file to a retrain request."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamer.app import replay as app
from streamer.config.load import load_config

N, DRIFT = 6000, 4000
FILE = """
kafka: {bootstrap: localhost:9092}
topics: {predictions: {codec: json}}
detectors: {shiryaev_roberts: {arl0: 1e5}}
"""


def replayed(tmp_path, text, m0_has_three=False):
    """What a replay of two models tells by topic: the spread of the first one's feature doubles at DRIFT."""
    random = np.random.default_rng(1)
    spread = np.where((np.arange(N) % 2 == 0) & (np.arange(N) >= DRIFT), 2.0, 1.0)
    amount = np.exp(spread * random.normal(size=N))
    beside = random.normal(size=(N, 2)).tolist()
    lines = []
    for i in range(N):
        features = {"amount": amount[i], "shop": "abc"[i % 3]}
        if m0_has_three and i % 2 == 0:
            features |= {"age": beside[i][0]} | ({"tip": beside[i][1]} if i > N // 2 else {})
        lines.append(json.dumps({"model_id": f"m{i % 2}", "event_time": 1000 * i, "features": features}))
    (tmp_path / "predictions.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "driftline.yaml").write_text(text)
    reported = {}
    app.replay(
        load_config(tmp_path / "driftline.yaml"),
        [str(tmp_path / "predictions.jsonl")],
        "predictions",
        lambda output: reported.setdefault(output.topic, []).append(output.value),
        lambda *_: None,
    )
    return reported


@pytest.mark.parametrize("with_reference", [False, True])
def test_a_spread_that_doubles_is_one_alert_an_incident_and_a_request(tmp_path, conforms, with_reference):
    """With onset, statistic and effect; the model whose feature stays is not, nor is anything before the drift."""
    text = FILE
    if with_reference:
        training = np.exp(np.random.default_rng(2).normal(size=2000))
        pq.write_table(pa.table({"model_id": ["m0"] * 2000, "amount": training}), tmp_path / "training.parquet")
        text += "references: {file: training.parquet}\n"
    reported = replayed(tmp_path, text)
    firing, ready = (conforms("alert.v1", value) for value in reported["driftline.alerts"])
    assert (firing["state"], ready["state"], firing["alert_id"]) == ("firing", "ready", ready["alert_id"])
    assert (firing["model_id"], firing["column"], firing["detector"]) == ("m0", "amount", "shiryaev_roberts")
    assert firing["statistic"] >= firing["threshold"]
    assert firing["threshold"] == pytest.approx(1e5, abs=256)
    assert (firing["effect_unit"], 0.1 < firing["effect"] < 0.5) == ("ks_distance", True)
    assert DRIFT < firing["at"]["offset"] < DRIFT + 200
    assert DRIFT - 200 < firing["onset"]["offset"] < firing["at"]["offset"]
    assert abs(ready["onset"]["offset"] - DRIFT) < 60
    assert firing["n_reference"] == 2000 if with_reference else 50 < firing["n_reference"] <= 64  # what is kept
    assert len(reported["driftline.incidents"]) >= 1
    (request,) = (conforms("retrain-request.v1", value) for value in reported["driftline.retrain-requests"])
    assert request["model_id"] == "m0"


def test_columns_of_a_model_share_the_rate_that_was_asked(tmp_path):
    """Of three columns of numbers, one of which comes late, each has to show three times as much; texts don't count."""
    alerts = [json.loads(value) for value in replayed(tmp_path, FILE, m0_has_three=True)["driftline.alerts"]]
    assert {alert["column"] for alert in alerts} == {"amount"}
    assert alerts[0]["threshold"] == pytest.approx(3e5, abs=256)
