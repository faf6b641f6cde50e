"""Wrong set-ups, each in memory: `driftline doctor` names the true cause and the next step, and of a sound one neither.

`tests/e2e/test_doctor.py` and `test_doctor_on_brokers.py` have those that need a broker.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamer.app.doctor import sample_findings
from streamer.app.finding import DoctorFinding, Level
from streamer.app.recognition import Sample
from streamer.config import Config
from streamer.eventlog.base import Records

NOW_S = 1_795_418_160
N = 60
Make = Callable[[int], Any]


def scored(i: int, **more: Any) -> dict[str, Any]:
    """A sound prediction, a minute after another."""
    event = {"model_id": f"eta-{i % 2}", "model_version": "3", "prediction_id": f"p{i}", "event_time": NOW_S + i - N}
    return {**event, "features": {"dist": i / 7, "line": f"L{i % 3}"}, "prediction": i / 5, **more}


def truth(i: int, **more: Any) -> dict[str, Any]:
    return {"model_id": f"eta-{i % 2}", "prediction_id": f"p{i}", "event_time": NOW_S + i - N, "label": i / 5, **more}


def flat(i: int) -> dict[str, Any]:
    return {"modelName": f"eta-{i % 2}", "requestId": f"r{i}", "createdAt": NOW_S + i - N, "inputs": {"dist": i / 7},
            "yhat": 1.5 + i}  # fmt: skip


FLAT = {"model_id": "$.modelName", "prediction_id": "$.requestId", "event_time": "$.createdAt", "features": "$.inputs",
        "prediction": "$.yhat"}  # fmt: skip


def local(i: int) -> str:
    """A time of Vancouver in winter without its zone."""
    return f"{datetime.fromtimestamp(NOW_S + i - N, UTC) - timedelta(hours=8):%Y-%m-%d %H:%M:%S}"


def arrow(i: int) -> bytes:
    table = pa.table({"model_id": ["m"], "event_time": [NOW_S], "x": [1.5 + i]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


@dataclass(frozen=True)
class Wrong:
    """A wrong set-up: its records, its settings, and words of the finding and of its next step."""

    make: Make
    text: str
    next_step: str
    topic: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    labels: Make | None = None
    partition: Callable[[int], int] = lambda i: i % 2
    labels_partition: Callable[[int], int] = lambda i: i % 2
    key: str | None = None
    training: dict[tuple[str, str, str], list[Any]] | None = None


def mapped(**fields: Any) -> dict[str, Any]:
    return {"fields": {**FLAT, **fields}}


TRAINED = {("eta-0", "3", "dist"): list(np.arange(50.0)), ("eta-1", "3", "dist"): list(np.arange(50.0))}
LINES = {(m, "3", "line"): ["L0", "L1", "L2"] * 9 for m in ("eta-0", "eta-1")}
CASES = {
    # Paths
    "model at a near-miss name": Wrong(flat, "missing_model", "model_id: $.modelName", mapped(model_id="$.modelname")),
    "time at a near-miss name": Wrong(
        flat, "has anything at event_time: $.createdat", "did you mean $.createdAt", mapped(event_time="$.createdat")
    ),
    "prediction at a near-miss name": Wrong(
        flat, "has anything at prediction: $.yHat", "did you mean $.yhat", mapped(prediction="$.yHat")
    ),
    "features at a wrong path": Wrong(
        flat, "has anything at features: $.input", "did you mean $.inputs?", mapped(features="$.input")
    ),
    "one feature at a wrong path": Wrong(
        flat, "has anything at features.distance: $.inputs.distance", "did you mean $.inputs.dist",
        mapped(features={"dist": "$.inputs.dist", "distance": "$.inputs.distance"}),
    ),
    "id at a wrong path": Wrong(
        flat, "has anything at prediction_id: $.request_id", "did you mean $.requestId",
        mapped(prediction_id="$.request_id"),
    ),
    "segment that is not there": Wrong(
        flat, "has anything at segment: $.depot", "events have $.createdAt", mapped(segment="$.depot")
    ),
    "version at a wrong path": Wrong(
        flat, "has anything at model_version: $.rev", "events have", mapped(model_version="$.rev")
    ),
    "model in keys that are not there": Wrong(flat, "missing_model", "modelName", mapped(model_id="$key")),
    "id in keys that are not there": Wrong(
        flat, "has anything at prediction_id: $key", "the records have no key", mapped(prediction_id="$key")
    ),
    "id in a header that is not there": Wrong(
        flat, "has anything at prediction_id: $headers.ce_id", "headers of the records",
        mapped(prediction_id="$headers.ce_id"),
    ),
    "rows where there are none": Wrong(
        flat, "nothing at the path of rows", "model_id: $.modelName",
        {"fields": {"rows": "$.data", "model_id": "=m", "features": "$row"}},
    ),
    "no mapping at all": Wrong(flat, "missing_model", "fields: {model_id: $.modelName"),
    "model mapped to the id of the event": Wrong(
        flat, "nearly every event names another model (r0, r2, r4)", "map model_id to what names the model",
        mapped(model_id="$.requestId"),
    ),
    "version mapped to the id of the event": Wrong(
        flat, "nearly every event names another version", "map model_version", mapped(model_version="$.requestId")
    ),
    "id mapped to the model": Wrong(
        flat, "all predictions of a model have one prediction_id", "map prediction_id to what differs",
        mapped(prediction_id="$.modelName"),
    ),
    # Formats
    "csv as json": Wrong(lambda i: b"m,1.5,%d" % i, "use format csv", "csv"),
    "avro as json": Wrong(lambda i: b"\x00\x00\x00\x00\x2a\x02\x06abc\x80\x3f" + bytes([i]), "schema id 42", "avro"),
    "avro container as json": Wrong(lambda _i: b"Obj\x01" + bytes(40), "use format avro", "avro"),
    "arrow as json": Wrong(arrow, "use format arrow", "arrow"),
    "compressed values": Wrong(lambda i: gzip.compress(json.dumps(scored(i)).encode()), "gzip", "gzip"),
    "json as csv": Wrong(scored, "none of 60 records", "remove", {"format": "csv", "columns": ["model_id", "x"]}),
    "json as arrow": Wrong(scored, "none of 60 records is understood (60", "remove", {"format": "arrow"}),
    "the preset of another tool": Wrong(
        scored, "wrong_type", "without any settings of the topic, 60 events", {"preset": "kserve-v2"}
    ),
    "a preset whose records name no model": Wrong(
        lambda i: {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [i]}], "id": f"a{i}"},
        "missing_model", "model_id", {"preset": "kserve-v2"},
    ),
    "tombstones": Wrong(lambda i: None if i % 3 else scored(i), "40 null_value", "tombstones: skip"),
    # Times
    "milliseconds as seconds": Wrong(
        lambda i: scored(i, event_time=(NOW_S + i - N) * 1000), "bad_event_time", "event_time_unit: s",
        {"event_time_unit": "s"},
    ),
    "seconds as milliseconds": Wrong(
        scored, "more than a day old", "event_time_unit: ms does not fit", {"event_time_unit": "ms"}
    ),
    "local times without a zone": Wrong(
        lambda i: scored(i, event_time=local(i)), "are 8 h behind their records", "set time_zone"
    ),
    "a producer whose clock is two hours ahead": Wrong(
        lambda i: scored(i, event_time=NOW_S + i - N + 7200 * (i % 2)), "30 time_too_far_ahead", "clocks of producers"
    ),
    "a feed that stands still": Wrong(
        lambda i: scored(i, event_time=NOW_S - 9 * 86_400 + i), "more than a day old", "check the producers"
    ),
    # Labels
    "labels in other partitions": Wrong(
        scored, "60 of 60 labels are in another partition", "labels.repartition", labels=truth,
        labels_partition=lambda i: 1 - i % 2,
    ),
    "labels of other ids": Wrong(
        scored, "none of 60 labels has a prediction", "compare prediction_id",
        labels=lambda i: truth(i, prediction_id=f"x{i}"),
    ),
    "labels of a model of another name": Wrong(
        scored, "none of 60 labels has a prediction", "model_id of both",
        labels=lambda i: truth(i, model_id="eta"),
    ),
    "labels without an id": Wrong(
        scored, "missing_prediction_id", "map prediction_id of the labels",
        labels=lambda i: {**truth(i), "prediction_id": None},
    ),
    "classes under an error of numbers": Wrong(
        scored, "labels are classes, as 'late', but labels.error of eta-0 is absolute", "zero_one",
        labels=lambda i: truth(i, label="late"),
    ),
    "inputs and outputs that nobody joins": Wrong(
        lambda i: {k: v for k, v in scored(i).items() if k != "prediction"}, "60 of them share an id", "pairing: {}",
        labels=lambda i: {k: v for k, v in scored(i).items() if k != "features"},
    ),
    "halves of different ids": Wrong(
        lambda i: {k: v for k, v in scored(i).items() if k != "prediction"}, "so none is joined", "map prediction_id",
        {"pairing": {}}, labels=lambda i: {**scored(i, prediction_id=f"o{i}"), "features": None},
    ),
    # Keys
    "a model over several partitions": Wrong(
        scored, "2 of 2 models are on several partitions", "rekey", partition=lambda i: i // 2 % 2
    ),
    # Values
    "an embedding as a feature": Wrong(
        lambda i: scored(i, features={"emb": [0.5] * 64, "x": i}), "emb: objects or lists", "lists: {emb: 0..15}"
    ),
    "objects deeper than the depth": Wrong(
        lambda i: scored(i, features={"user": {"age": i}}), "user: objects or lists", "fields.depth",
        {"fields": {"depth": 0}},
    ),
    "numbers with a decimal comma": Wrong(
        lambda i: scored(i, features={"fare": f"{i},5"}), "fare: nearly every text is another one, as '0,5'",
        "fields.numbers: {fare: '1.234,5' or '1 234,5'}",
    ),
    "an id among the features": Wrong(
        lambda i: scored(i, features={"trip": f"t{i}", "x": i}), "trip: nearly every text is another", "leave it out"
    ),
    # Names in settings
    "a cast that fits nothing": Wrong(
        scored, "cast.lines fits no column; did you mean line", "correct the pattern",
        config={"cast": {"lines": "number"}},
    ),
    "an error metric of an unknown model": Wrong(
        scored, "labels.errors", "correct the pattern", config={"labels": {"errors": {"etta-0": "zero_one"}}}
    ),
    "segments of an unknown model": Wrong(
        scored, "segments", "correct the pattern", config={"segments": {"bus-*": {"by": "line"}}}
    ),
    "a watched column that is not there": Wrong(
        scored, "fits no column; did you mean dist", "correct the pattern",
        config={"watch": {"*": {"distt": ["shiryaev_roberts"]}}},
    ),
    # Training data
    "training data of other models": Wrong(
        scored, "no model of the samples has training data (eta-0, eta-1)", "eta_0 is there",
        training={("eta_0", "3", "dist"): list(np.arange(50.0))},
    ),
    "training data of another version": Wrong(
        scored, "version 3 of eta-0 has no training data; 2 has", "build them for this version",
        training={(m, "2", c): v for (m, _, c), v in TRAINED.items()},
    ),
    "training data with another name of a column": Wrong(
        scored, "training data have the column distt", "did you mean dist?",
        training={("eta-0", "3", "distt"): list(np.arange(50.0)), **LINES},
    ),
    "training data of another type": Wrong(
        scored, "line holds numbers in training data and texts in events", "--type line=text",
        training={**TRAINED, ("eta-0", "3", "line"): list(np.arange(50.0))},
    ),
    # Limits
    "too few columns": Wrong(
        lambda i: scored(i, features={f"f{j}": j for j in range(8)}), "of limits.columns_max", "raise limits.columns",
        config={"limits": {"columns_max": 12}},
    ),
    "too few models": Wrong(
        lambda i: scored(i, model_id=f"m{i % 8}"), "8 of 10 of limits.models_max", "raise limits.models_max",
        config={"limits": {"models_max": 10}},
    ),
    "too few categories": Wrong(
        lambda i: scored(i, features={"line": f"L{i % 15}"}), "of limits.categories_max", "raise limits.categories_max",
        config={"limits": {"categories_max": 20}},
    ),
    "records that are larger than the limit": Wrong(
        lambda i: scored(i, note="x" * 900 * (i % 2)), "too_large", "value_bytes_max: 512", {"value_bytes_max": 512}
    ),
    "events of more values than the limit": Wrong(
        lambda i: scored(i, features={f"f{j}": j for j in range(9)}), "too_many_columns", "values_max: 4",
        {"values_max": 4},
    ),
    "records of more events than the limit": Wrong(
        lambda i: [scored(5 * i + j) for j in range(5)], "too_many_rows", "rows_max: 3", {"rows_max": 3}
    ),
    "an empty topic": Wrong(lambda _i: ..., "it holds no record", "start its producers"),
}  # fmt: skip


def sample_of(topic: str, make: Make, partition: Callable[[int], int], key: str | None) -> Sample:
    """Records whose time is that of a sound event."""
    parts: dict[int, list[Any]] = {}
    for i in range(N):
        made = make(i)
        if made is not ...:
            value = made if made is None or isinstance(made, bytes) else json.dumps(made).encode()
            at_ms = (NOW_S + i - N) * 1000
            parts.setdefault(partition(i), []).append((i, at_ms, key and key.encode(), value, ()))
    return Sample(topic, [Records.build(topic, p, rows) for p, rows in sorted(parts.items())])


def write_training(training: dict[tuple[str, str, str], list[Any]], file) -> None:
    """Training data in Parquet: a row for each value of each column."""
    columns = sorted({column for _, _, column in training})
    rows = [
        {"model_id": model, "model_version": version, **dict.fromkeys(columns), column: value}
        for (model, version, column), values in training.items() for value in values
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), file)


def findings(wrong: Wrong, folder) -> list[DoctorFinding]:
    topics = {"scores": wrong.topic, **({"truth": wrong.topic} if wrong.labels else {})}
    references = {}
    if wrong.training:
        references = {"references": {"file": str(folder / "ref")}}
        write_training(wrong.training, folder / "ref")
    config = Config.model_validate_json(json.dumps({"topics": topics, **references, **wrong.config}))
    samples = [sample_of("scores", wrong.make, wrong.partition, wrong.key)]
    if wrong.labels:
        samples.append(sample_of("truth", wrong.labels, wrong.labels_partition, wrong.key))
    return list(sample_findings(config, samples, NOW_S * 1000))


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_set_up_is_named_with_its_cause_and_the_next_step(name, tmp_path):
    """One finding has both."""
    wrong = CASES[name]
    found = [one for one in findings(wrong, tmp_path) if one.level is not Level.OK]
    fitting = [one for one in found if wrong.text in one.text and wrong.next_step in (one.next_step + one.text)]
    assert fitting, found
    assert all(one.next_step for one in found)


@pytest.mark.parametrize("training", [None, TRAINED | LINES])
def test_a_sound_set_up_raises_no_concern(training, tmp_path):
    """With labels, and with training data."""
    found = findings(Wrong(scored, "", "", labels=truth, training=training), tmp_path)
    assert [one for one in found if one.level is not Level.OK] == []
