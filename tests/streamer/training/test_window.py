"""The training table: which rows, with which labels, and what says where they came from."""

from __future__ import annotations

import hashlib
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from training_kit import TOPICS, envelopes, label, prediction, request, window

from streamer.config import Config, load_config
from streamer.detect.references.store import ReferenceStore
from streamer.errors import GapError, UsageError
from streamer.eventlog.recordings import recording
from streamer.training import job, parts, read_window, store_reference, write_window
from streamer.training.window import WindowOptions


@pytest.fixture
def stream(tmp_path):
    """Predictions of two models in turn (bus-1 at even offsets), and a label for each but every seventh."""
    models = ["bus-1", "bus-2"]
    predictions = [prediction(i // 2, models[i % 2]) for i in range(400)]
    labels = [label(i, 10.0 * i + 3, model) for i in range(200) if i % 7 for model in models]
    config = tmp_path / "driftline.yaml"
    config.write_text(TOPICS)
    files = [
        envelopes(tmp_path / "predictions.json", "rides.predictions", predictions),
        envelopes(tmp_path / "labels.json", "rides.labels", labels),
    ]
    return {"config": load_config(str(config), needs=()), "recordings": files}


def test_each_prediction_of_the_model_in_the_window_is_a_row_with_its_label(stream):
    """Rows are the window's predictions of the model alone, each with its own label and its error."""
    table = read_window(request(window(100, 200)), **stream)
    rows = table.to_pylist()
    assert [row["minute"] for row in rows] == list(range(50, 100))
    assert {row["model_id"] for row in rows} == {"bus-1"}
    for row in rows:
        i = int(row["minute"])
        assert row["prediction"] == 10.0 * i
        assert row["line"] == ("A" if i % 2 else "B")
        assert row["temp"] == (None if i % 5 == 0 else i / 2)
        assert row["label"] == (10.0 * i + 3 if i % 7 else None)
        assert row["error"] == (3.0 if i % 7 else None)
        assert (row["label_time"] is None) == (row["label"] is None)


def test_windows_with_roles_are_read_as_they_are(stream):
    """A window of the role labels gives labels and no rows; labels outside it are not joined."""
    labels = window(0, 100, "rides.labels", role="labels")
    table = read_window(request(window(0, 400, role="predictions"), labels), **stream)
    joined = [row["minute"] for row in table.to_pylist() if row["label"] is not None]
    assert table.num_rows == 200
    assert joined == [i for i in range(200) if i % 7][:50]


def test_history_and_until_now_add_rows(stream):
    """`history` adds the rows before the drift and marks them; `until_now` those up to the end of the topic."""
    asked = request(window(200, 300), history=[window(100, 200)])
    table = read_window(asked, **stream, options=WindowOptions(history=True, until_now=True))
    marks = {row["minute"]: row["history"] for row in table.to_pylist()}
    assert marks == {i: i < 100 for i in range(50, 200)}


def test_the_holdout_is_the_latest_share(stream, tmp_path):
    """A hold-out of a fifth is the latest fifth by event time, in a file of its own."""
    found = write_window(request(window(0, 400)), tmp_path / "out", **stream, options=WindowOptions(holdout=0.2))
    train, holdout = (pq.read_table(tmp_path / "out" / f"{name}.parquet") for name in ("train", "holdout"))
    assert [*found.files.values()] == [train.num_rows, holdout.num_rows] == [160, 40]
    assert max(train["event_time"].to_pylist()) < min(holdout["event_time"].to_pylist())
    both = parts(read_window(request(window(0, 400)), **stream, options=WindowOptions(holdout=0.2)))
    assert [part["minute"].to_pylist() for part in both] == [part["minute"].to_pylist() for part in (train, holdout)]
    assert not list((tmp_path / "out").glob("*.part"))


def test_a_file_says_how_to_make_it_again(stream, tmp_path):
    """The metadata hold the request with its evidence, its digest, the offsets, and a digest of the data."""
    asked = request(window(0, 400))
    write_window(asked, tmp_path / "a", **stream)
    write_window(asked, tmp_path / "b", **stream)
    a, b = (pq.read_schema(tmp_path / one / "window.parquet").metadata for one in "ab")
    assert a == b
    raw = a[b"driftline.request"]
    assert json.loads(raw)["evidence"] == asked["evidence"]
    assert a[b"driftline.request_digest"].decode() == hashlib.sha256(raw).hexdigest()
    spans = json.loads(a[b"driftline.windows"])
    assert {
        "topic": "rides.predictions",
        "partition": 0,
        "start_offset": 0,
        "end_offset": 400,
        "gives": "rows",
    } in spans
    other = read_window(request(window(0, 398)), **stream).schema.metadata
    assert other[b"driftline.data_digest"] != a[b"driftline.data_digest"]


@given(rows=st.integers(1, 90), seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_cuts_never_change_a_table(stream, monkeypatch, rows, seed):
    """The same records in chunks of any size give the same rows and the same metadata."""
    whole = read_window(request(window(0, 400)), **stream, options=WindowOptions(holdout=0.3))
    with monkeypatch.context() as patched:
        patched.setattr(recording.Recording.chunks, "__defaults__", (rows + random.Random(seed).randrange(9),))
        cut = read_window(request(window(0, 400)), **stream, options=WindowOptions(holdout=0.3))
    assert cut.equals(whole, check_metadata=True)


def test_a_repeated_prediction_and_a_second_label_count_once(tmp_path):
    """A producer's retry is no second row, and of two labels the first counts."""
    events = [prediction(0), prediction(0), prediction(1), label(0, 1.0), label(0, 2.0, later=40)]
    file = envelopes(tmp_path / "all.json", "rides.predictions", events)
    table = read_window(request(window(0, 5)), recordings=[file])
    assert table["label"].to_pylist() == [1.0, None]


def test_classes_keep_their_names(tmp_path):
    """Predictions and labels that are names of classes are text in the table; the error says whether they differ."""
    events = [prediction(i, prediction="late") for i in range(3)]
    events += [label(0, "late"), label(1, "early"), label(2, 1)]
    file = envelopes(tmp_path / "all.json", "rides.predictions", events)
    config = tmp_path / "driftline.yaml"
    config.write_text("topics: {rides.predictions: {format: json}}\nlabels: {error: zero_one}\n")
    table = read_window(request(window(0, 6)), recordings=[file], config=load_config(str(config), needs=()))
    assert table["prediction"].to_pylist() == ["late"] * 3
    assert table["label"].to_pylist() == ["late", "early", "1"]
    assert table["error"].to_pylist() == [0.0, 1.0, 1.0]


def test_requests_and_responses_become_one_row(tmp_path):
    """Where features and predictions come in two records, their pair is one row; a half alone is one too."""
    halves = []
    for i in range(4):
        whole = prediction(i)
        halves += [{k: v for k, v in whole.items() if k != "prediction"}]
        halves += [{k: v for k, v in whole.items() if k != "features"}] if i < 3 else []
    file = envelopes(tmp_path / "all.json", "rides.predictions", halves)
    config = tmp_path / "driftline.yaml"
    config.write_text("topics: {rides.predictions: {format: json, pairing: {timeout_s: 60}}}\n")
    table = read_window(request(window(0, 7)), recordings=[file], config=load_config(str(config), needs=()))
    assert table["prediction"].to_pylist() == [0.0, 10.0, 20.0, None]
    assert table["minute"].to_pylist() == [0.0, 1.0, 2.0, 3.0]


def test_what_retention_took_is_named(tmp_path):
    """A window whose first offsets are gone is an error that counts them; `partial` takes the rest."""
    file = envelopes(tmp_path / "late.json", "rides.predictions", [prediction(i) for i in range(60, 100)], first=60)
    with pytest.raises(GapError, match=r"begins at offset 60.*begins at 50 .*deleted 10 of its 50 offsets.*--partial"):
        read_window(request(window(50, 100)), recordings=[file])
    rest = read_window(request(window(50, 100)), recordings=[file], options=WindowOptions(partial=True))
    assert rest.num_rows == 40
    with pytest.raises(GapError, match=r"ends at offset 100, but .* ends at 120"):
        read_window(request(window(60, 120)), recordings=[file])


def test_what_can_not_be_read_is_named(stream, tmp_path):
    """A request without rows, a record that is no request, and a recording of another topic say so."""
    with pytest.raises(UsageError, match="hold no event of bus-9"):
        read_window(request(window(0, 400), model_id="bus-9"), **stream)
    with pytest.raises(UsageError, match="no retrain request"):
        read_window(b'{"model_id": 1}', **stream)
    with pytest.raises(UsageError, match=r"holds no record of trams\[0\].* it has rides"):
        read_window(request(window(0, 10, "trams")), **stream)


def test_the_window_becomes_the_reference_of_the_new_version(stream, tmp_path):
    """Features of the window are kept under the new version; the predictions of the old model are not."""
    config = Config.model_validate_json(json.dumps({"references": {"url": str(tmp_path / "store")}}))
    asked = json.dumps(request(window(0, 160), window(0, 340, "rides.labels", role="labels"))).encode()
    digest = store_reference(asked, "8", config=config, recordings=stream["recordings"])
    found = ReferenceStore(config.references.url, 2000).load("bus-1", "8", digest).by_series
    assert {column for _, _, column in found} == {"minute", "temp", "line"}
    assert {(model, version) for model, version, _ in found} == {("bus-1", "8")}
    assert found["bus-1", "8", "minute"].values.tolist() == [float(i) for i in range(80)]
    assert store_reference(asked, "8", config=config, recordings=["/nowhere"]) == digest, "it is there already"


def test_a_trainer_names_its_own_training_data(stream, tmp_path, monkeypatch):
    """A table or a file, with the predictions and errors of the new version; the launcher then leaves it alone."""
    (tmp_path / "driftline.yaml").write_text(TOPICS + "references: {url: store}\n")
    monkeypatch.setenv("DRIFTLINE_RECORDINGS", ":".join(stream["recordings"]))
    asked = json.dumps(request(window(0, 160))).encode()
    data = pa.table({"minute": [1.0, 2.0], "prediction": [10.0, 20.0], "error": [0.1, 0.2]})
    pq.write_table(data, tmp_path / "mine.parquet")
    store = ReferenceStore(str(tmp_path / "store"), 2000)
    monkeypatch.setenv("DRIFTLINE_RESULT", str(tmp_path / "result.json"))
    with job(asked, config=str(tmp_path / "driftline.yaml")) as training:
        digests = [training.keep_reference("8", data), training.keep_reference("9", str(tmp_path / "mine.parquet"))]
        training.trained("8", errors=([2.0] * 40, [1.0] * 40))
    said = json.loads((tmp_path / "result.json").read_text())
    assert said["challenger"]["evidence"] > 20 > said["champion"]["evidence"] == 1
    for version, digest in zip("89", digests, strict=True):
        found = store.load("bus-1", version, digest).by_series
        assert {column for _, _, column in found} == {"minute", "prediction", "error"}


def test_the_version_that_drifted_is_no_challenger(tmp_path, monkeypatch):
    """A trainer that names it has failed, with that reason."""
    monkeypatch.setenv("DRIFTLINE_RESULT", str(tmp_path / "result.json"))
    asked = json.dumps(request(window(0, 160))).encode()
    with pytest.raises(UsageError, match="version 7 serves already"), job(asked) as training:
        training.trained("7")
    said = json.loads((tmp_path / "result.json").read_text())
    assert (said["kind"], "version 7 serves already and has drifted" in said["comment"]) == ("failed", True)


def test_a_reference_needs_a_store(stream):
    """Without `references.url`, the error names it."""
    with pytest.raises(UsageError, match=r"references\.url is not set"):
        store_reference(json.dumps(request(window(0, 160))).encode(), "8", config=stream["config"])
