"""Labels that join nothing are seen: in the summary, the metrics and an alert, each with the cause that fits."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.app.offline.warnings import IDS, MODELS, PARTITIONS
from streamer.app.replay import replay
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.commands.service.replay import summary_text
from streamer.config import Config
from streamer.detect.fold import DetectFold
from streamer.detect.settings import DetectSettings
from streamer.eventlog.base import Records
from streamer.eventlog.recordings.parquet_writer import RecordingWriter
from streamer.telemetry.metrics import Metrics

START_MS = 1_782_889_200_000
PREDICTIONS, LABELS = "bus.predictions", "bus.labels"


def predictions(n, models=4, partitions=4):
    """Each model's on one partition, keyed by model."""
    rows = {p: [] for p in range(partitions)}
    for i in range(n):
        event = {"model_id": f"m{i % models}", "prediction_id": f"p{i}", "event_time": START_MS + 1000 * i}
        event |= {"features": {"x": i % 7, "at": [[1, 2]]}, "prediction": 1.0}
        rows[i % models % partitions].append((START_MS + 1000 * i, event))
    return PREDICTIONS, rows


def labels(n, partition_of, models=4, partitions=6, rename=str):
    """A second behind their predictions."""
    rows = {p: [] for p in range(partitions)}
    for i in range(n):
        event = {"model_id": rename(f"m{i % models}"), "prediction_id": f"p{i}", "label": 2.0}
        event["event_time"] = START_MS + 1000 * i + 1500
        rows[partition_of(i)].append((event["event_time"], event))
    return LABELS, rows


def written(folder, *topics):
    path = folder / "recording.parquet"
    with RecordingWriter(path) as writer:
        for topic, partitions in topics:
            for partition, rows in partitions.items():
                stretch = [(i, at, b"k", json.dumps(event).encode(), ()) for i, (at, event) in enumerate(rows)]
                writer.write(Records.build(topic, partition, stretch))
    return str(path)


def replayed(folder, *topics, **sections):
    """The summary, and the alerts of the kind `label_mismatch`."""
    found = []
    config = Config.model_validate_json(json.dumps({"topics": {PREDICTIONS: {}, LABELS: {}}} | sections))
    summary = replay(config, [written(folder, *topics)], None, lambda out: found.append(out), lambda *_: None)
    alerts = [json.loads(one.value) for one in found if one.topic == config.outputs.alerts]
    return summary, [one for one in alerts if one["kind"] == "label_mismatch"]


def test_labels_on_other_partitions_are_reported(tmp_path):
    """Six partitions of labels, keyed by id, against four of predictions, keyed by model: nearly no label joins."""
    summary, alerts = replayed(tmp_path, predictions(16_000), labels(16_000, lambda i: (i * 7 + i // 4) % 2 + 4))
    assert (summary.records, summary.labels["matched"], summary.labels["waiting"]) == (32_000, 0, 16_000)
    assert "16,000 labels: 0 matched, 16,000 waiting" in summary_text(summary)
    assert any("16,000 of 16,000 labels" in text and f"16,000 are {PARTITIONS}" in text for text in summary.warnings)
    assert {one["category"] for one in alerts} == {"no_predictions"}
    assert sorted(one["at"]["partition"] for one in alerts) == [4, 5]
    assert all((one["column"], one["after"], one["n_current"]) == ("(labels)", 0.0, 1000) for one in alerts)


def test_labels_that_join_raise_nothing(tmp_path):
    """Keyed like their predictions, all labels are matched, and there is no alert and no warning about them."""
    summary, alerts = replayed(tmp_path, predictions(8000), labels(8000, lambda i: i % 4, partitions=4))
    assert summary.labels["matched"] == 8000
    assert alerts == []
    assert not any("labels have" in text for text in summary.warnings)


def test_a_model_without_predictions_and_other_ids_are_told_apart(tmp_path):
    """The warning names the cause: another name of the model, or ids that no prediction has."""
    summary, alerts = replayed(tmp_path, predictions(4000), labels(4000, lambda i: i % 4, rename=str.upper))
    assert any(f"4,000 are {MODELS}" in text for text in summary.warnings)
    assert {one["category"] for one in alerts} == {"no_predictions"}
    topic, rows = labels(4000, lambda i: i % 4)
    other = {p: [(at, event | {"prediction_id": "#" + event["prediction_id"]}) for at, event in rows[p]] for p in rows}
    short = {"labels": {"timeout_s": 60}}
    summary, alerts = replayed(tmp_path, predictions(4000), (topic, other), **short)
    assert summary.labels["matched"] == 0
    assert any(f" are {IDS}" in text for text in summary.warnings)
    assert {one["category"] for one in alerts} == {"other_ids"}


def test_values_that_nobody_watches_are_named_once(tmp_path):
    """A list as a feature is counted as a fault, and named once for its model with what to map instead."""
    summary, _ = replayed(tmp_path, predictions(400, models=2))
    named = [text for text in summary.warnings if "column at of" in text]
    assert [text.split(" holds")[0] for text in named] == ["column at of m0", "column at of m1"]
    assert all("fields.lists names the items of lists, as in {at: 0..15}" in text for text in named)
    assert summary.value_fates["faulty"] == 400


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 99), timeout_s=st.sampled_from([50.0, 1e6]), early_max=st.sampled_from([10, 50_000]))
def test_every_label_has_one_fate(tmp_path_factory, seed, timeout_s, early_max):
    """Matched, expired, evicted, repeated and waiting labels are all labels, and the metrics show the same."""
    rng = np.random.default_rng(seed)
    topic, rows = labels(600, lambda i: i % 4, partitions=4)
    wild = {
        p: [
            (at, event | ({"prediction_id": f"p{rng.integers(900)}"} if rng.random() < 0.4 else {})) for at, event in of
        ]
        for p, of in rows.items()
    }
    settings_of_labels = {"timeout_s": timeout_s, "early_max": early_max}
    summary, _ = replayed(tmp_path_factory.mktemp("fates"), predictions(600), (topic, wild), labels=settings_of_labels)
    assert sum(summary.labels.values()) == 600
    assert summary.labels["matched"] > 0
    metrics = Metrics()
    metrics.count({("label_fates", fate): n for fate, n in summary.labels.items() if fate != "waiting"})
    shown = metrics.registry.get_sample_value("driftline_labels_total", {"outcome": "matched"})
    assert shown == summary.labels["matched"]


@pytest.mark.parametrize("size", [1, 7, 499, 500, 1200])
def test_a_mismatch_is_found_at_the_same_label_in_any_cut(size):
    """Two blocks of labels without predictions raise the alert at their last label, however the log is cut."""
    _, rows = labels(1200, lambda _: 0, partitions=1)
    fold, found = DetectFold(DetectSettings({LABELS: JsonCodec(JsonSettings())}, {})), []
    records = [(i, at, b"k", json.dumps(event).encode(), ()) for i, (at, event) in enumerate(rows[0])]
    for start in range(0, len(records), size):
        found += fold.step([Records.build(LABELS, 0, records[start : start + size])])
        if start % (7 * size) == 0:
            again = DetectFold(fold.settings)
            again.load(fold.dump())
            fold = again
    (alert,) = [json.loads(one.value) for one in found if one.topic == "driftline.alerts"]
    assert (alert["kind"], alert["at"]["offset"], alert["onset"]["offset"]) == ("label_mismatch", 999, 0)
