"""Tables as recordings give the outputs of the same events as JSON lines."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from streamer.app import replay as app
from streamer.app.offline.recorded_tables import TableSource, open_recordings
from streamer.app.offline.table_files import ParquetTable
from streamer.codecs.field_paths import FieldMap
from streamer.config import Config
from streamer.errors import UsageError

START_MS = 1_772_431_200_000


def rows(n=900):
    rng = np.random.default_rng(3)
    x = rng.normal(size=n) + 5 * (np.arange(n) > n // 2)
    return [
        {
            "route": "99", "at": START_MS + 60_000 * i, "x": round(float(x[i]), 3), "zip": ("00501", "94110")[i % 2],
            "gap": None if i % 7 else 1.5, "eta": float(i % 3),
        }
        for i in range(n)
    ]  # fmt: skip


FIELDS = {
    "model_id": "$.route",
    "model_version": None,
    "prediction_id": None,
    "event_time": "$.at",
    "prediction": "$.eta",
}


def outputs(path, **topic):
    config = Config.model_validate_json(
        json.dumps({"topics": {"t": {"fields": {**FIELDS, **topic.pop("fields", {})}, **topic}}})
    )
    found = []
    summary = app.replay(config, [str(path)], "t", found.append, lambda *_: None)
    return summary, [(one.topic, one.key, one.value) for one in found]


def parquet(table, path):
    pq.write_table(table, path, row_group_size=100)
    return path


def csv(table, path):
    pyarrow.csv.write_csv(table, path)
    return path


@pytest.mark.parametrize(("write", "name"), [(parquet, "t.parquet"), (csv, "t.csv")])
@pytest.mark.parametrize("topic", [{}, {"format": "csv", "columns": ["other"]}, {"fields": {"features": "$"}}])
def test_tables_are_their_json_lines(tmp_path, write, name, topic):
    """A row is an event with the same mapping, in Parquet and CSV, whatever the format of the topic's records."""
    events = rows()
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(one) + "\n" for one in events))
    wanted = outputs(tmp_path / "t.jsonl", fields={"features": "$"})
    path = write(pa.Table.from_pylist(events), tmp_path / name)
    summary, found = outputs(path, **topic)
    assert (summary.events, summary.values, found) == (900, wanted[0].values, wanted[1])
    assert any(topic == "driftline.alerts" for topic, *_ in found)


def test_times_structures_and_local_times_are_read(tmp_path):
    """Columns of times are times; a structure `features` has the features; local times take the zone of the topic."""
    table = pa.table({
        "route": [99], "at": pa.array([datetime(2026, 11, 1, 1, 30)], pa.timestamp("us")),  # noqa: DTZ001
        "features": [{"x": 1.5, "y": None}], "eta": [1],
    })  # fmt: skip
    summary, _ = outputs(parquet(table, tmp_path / "t.parquet"), time_zone="America/Vancouver")
    assert (summary.values, summary.dead_letters) == (3, 0)
    assert summary.first_event_time == datetime(2026, 11, 1, 8, 30, tzinfo=UTC)


def test_offsets_are_the_numbers_of_rows(tmp_path):
    """Chunks of any size give the same records."""
    path = parquet(pa.Table.from_pylist(rows(50)), tmp_path / "t.parquet")
    found = []
    for size in (7, 50):
        source = TableSource(str(path), "t", FieldMap(), ParquetTable(str(path)))
        parts = [part for chunk in source.chunks(size) for part in chunk.split()]
        found.append([(int(part.offset[i]), part.value_of(i)) for part in parts for i in range(len(part))])
    assert found[0] == found[1]
    assert [offset for offset, _ in found[0]] == list(range(50))


@pytest.mark.parametrize(("name", "content"), [("t.csv", b""), ("t.csv", b"a,b\n1,2,3\n"), ("t.parquet", b"PAR1junk")])
def test_a_table_that_can_not_be_read_is_a_sentence(tmp_path, name, content):
    """What is damaged or empty is refused by name."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=name):
        open_recordings([str(tmp_path / name)], "t", Config())


def test_a_request_and_its_response_are_one_prediction(tmp_path):
    """By the preset, features of requests and predictions of responses are columns of the version of the responses."""
    lines = []
    rng = np.random.default_rng(4)
    for i in range(600):
        about = {"id": f"r{i}", "inferenceservicename": "income", "type": "x"}
        age = float(rng.normal(40 + 30 * (i > 300)))
        inputs = [{"name": "age", "shape": [1], "data": [age]}]
        outputs = [{"name": "p", "shape": [1], "data": [0.5]}]
        for lag_ms, data in ((0, {"inputs": inputs}), (20, {"model_version": "3", "outputs": outputs})):
            lines.append({**about, "time": START_MS + 60_000 * i + lag_ms, "data": data})
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    config = Config.model_validate_json(json.dumps({"topics": {"t": {"preset": "kserve-v2"}}}))
    found = []
    summary = app.replay(config, [str(tmp_path / "t.jsonl")], "t", found.append, lambda *_: None)
    alerts = [json.loads(one.value) for one in found if one.topic == "driftline.alerts"]
    assert {(one["model_version"], one["column"]) for one in alerts} == {("3", "age")}
    assert (summary.dead_letters, summary.warnings) == (0, ())
